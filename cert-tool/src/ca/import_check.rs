//! The check of a CA before its import: `verify` of a certificate that the CA would issue.

use std::path::Path;

use hub_types::shown::ShownBare;
use time::OffsetDateTime;

use super::validity::validity_below;
use crate::error::Error;
use crate::keys::handle::KeyHandle;
use crate::keys::private::{KeyType, PrivateKey};
use crate::verify::{CheckName, Purpose, Verification, verify_certificate};
use crate::x509::certificate::Certificate;
use crate::x509::encoder::{Serial, SubjectKey};
use crate::x509::name;
use crate::x509::signer::Signer;

/// Has a CA sign a certificate that nobody gets, and verifies it. Refuses the CA where everybody would refuse its
/// certificates; returns what depends on the names in them.
pub(super) fn check(
    folder: &Path,
    certificates: &[Certificate],
    key: Box<dyn KeyHandle>,
    now: OffsetDateTime,
) -> Result<Vec<String>, Error> {
    let bad = |reason: String| Error::BadCa { path: folder.to_owned(), reason };
    let (Some(issuing), Some(top)) = (certificates.first(), certificates.last()) else {
        return Err(bad("it has no certificate".to_owned()));
    };
    if let Some(reason) = self_signature_fault(top) {
        return Err(bad(reason));
    }
    let validity = validity_below(issuing, folder, TEST_DAYS, now)?;
    let own = PrivateKey::generate(KeyType::P256)?;
    let signer = Signer::new(issuing.der(), key)?;
    let der = signer.sign_leaf(TEST_NAME, &SubjectKey::Own(&own), Serial::random()?, validity)?;
    let leaf = Certificate::from_der(&der).ok_or(Error::Crypto("encoding a certificate"))?;
    let by = Verification {
        purpose: Purpose::HubCa,
        trusted: std::slice::from_ref(top),
        between: certificates,
        crls: &[],
        expected: None,
        host: None,
        thumbprints: &[],
        key: None,
        at: now,
    };
    let mut warnings = Vec::new();
    let mut faults = Vec::new();
    let mut advice = Vec::new();
    for check in verify_certificate(&leaf, &by) {
        let name = check.name.as_str();
        advice.extend(check.advice.map(|text| format!("{name}: {}", ShownBare(&text))));
        let Some(fault) = check.fault else { continue };
        let text = format!("{name}: {}", ShownBare(&fault));
        // The names of certificates depend on the devices and their profile.
        if check.name == CheckName::NameConstraints { warnings.push(text) } else { faults.push(text) }
    }
    if faults.is_empty() {
        warnings.extend(advice);
        let told = |warning| format!("certificates of this CA may be refused: {warning}");
        return Ok(warnings.into_iter().map(told).collect());
    }
    faults.extend(warnings);
    Err(bad(format!("a certificate that it issues would be refused ({})", faults.join("; "))))
}

/// Tells that a certificate claims to be signed by itself and is not.
fn self_signature_fault(certificate: &Certificate) -> Option<String> {
    let parsed = certificate.parsed();
    let is_self_issued = name::is_equal(parsed.subject(), parsed.issuer());
    if !is_self_issued || parsed.verify_signature(None).is_ok() {
        return None;
    }
    // A certificate of another key of the same CA names that key.
    let own = crate::x509::certificate::key_identifiers(&parsed);
    let is_of_other_key = matches!(own, (Some(subject), Some(authority)) if subject != authority);
    (!is_of_other_key)
        .then(|| format!("the self-signature of `{}` is not good", ShownBare(certificate.subject())))
}

const TEST_NAME: &str = "trial";
const TEST_DAYS: u32 = 1;

//! The issued certificates, read again, because the list of them may be wrong.

use std::collections::HashMap;

use cert_tool::{IssuedCertificate, IssuedList};
use cli_support::causes::with_causes;
use hub_types::IdentityId;

use crate::batch::{LoadError, find_issued_with};
use crate::ledger::Ledger;
use crate::model::run_id::RunId;

/// The faults of certificate files, by identity.
pub(crate) type CertificateMismatches = HashMap<IdentityId, CertificateMismatch>;

/// A certificate that is not the one that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateMismatch {
    /// The line of the batch file.
    pub(crate) line: u64,
    /// The expected path.
    pub(crate) file: String,
    /// The content found there.
    pub(crate) reason: String,
}

/// Writes the thumbprints of certificates that were issued before into the ledger, computed from
/// the certificates themselves, and returns those that differ from the list.
pub(crate) fn recompute_issued(
    ledger: &mut Ledger,
    run: RunId,
    list: &IssuedList,
) -> Result<CertificateMismatches, LoadError> {
    let mut mismatch = CertificateMismatches::new();
    find_issued_with(ledger, run, list, |row, facts| {
        if let Some(reason) = recompute(&row.spec.identity, facts) {
            let file = facts.certificate.to_string_lossy().into_owned();
            mismatch.insert(row.spec.identity.clone(), CertificateMismatch { line: row.line, file, reason });
        }
    })?;
    Ok(mismatch)
}

/// Corrects the thumbprint by that of the file, and returns the fault of the file.
fn recompute(identity: &IdentityId, facts: &mut IssuedCertificate) -> Option<String> {
    let certificate = match cert_tool::read_certificate(&facts.certificate) {
        Ok(certificate) => certificate,
        Err(error) => return Some(with_causes(&error)),
    };
    let listed = std::mem::replace(&mut facts.sha256, certificate.sha256());
    let found = certificate.common_name().unwrap_or("nobody");
    if found != identity.common_name() {
        return Some(format!("the certificate in it is for `{found}`"));
    }
    (facts.sha256 != listed).then(|| {
        format!("the thumbprint of the certificate in it is {}, the list says {listed}", facts.sha256)
    })
}

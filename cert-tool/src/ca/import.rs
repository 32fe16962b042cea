//! A CA that others made, or whose certificate comes from a root elsewhere.

use std::path::{Path, PathBuf};

use hub_types::shown::ShownBare;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CertificateAuthority;
use super::folder::{self, CHAIN, ISSUING_CERTIFICATE, ISSUING_KEY, ROOT_CERTIFICATE};
use crate::certificate::Certificate;
use crate::error::Error;
use crate::fs;
use crate::key::PrivateKey;
use crate::name;
use crate::secret::{AskSecret, Secret};
use crate::signed_by::{SignatureFault, signature_fault};
use crate::signer::KeyHandle;
use crate::token::{TokenKey, TokenUri};

/// What makes an existing CA one of ours.
#[derive(Debug, Default)]
pub struct ImportedCa {
    /// Its certificate, then those above it in their order; the root may be missing.
    pub certificates: Vec<Certificate>,
    /// Its private key; without, it must be in the folder, where [`request_ca`](crate::request_ca) put it.
    pub key: Option<PathBuf>,
    /// The token that has its private key, if one does.
    pub token: Option<TokenUri>,
    /// What the copy of the key is encrypted with. A key that comes encrypted stays so: without another
    /// passphrase it keeps its own.
    pub passphrase: Option<Secret>,
}

/// Takes over a CA into a folder, when all of it belongs together: the key to the certificate, and each
/// certificate to the one above it. Its name is used in what it issues byte for byte.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// use cert_tool::{ImportedCa, import_ca, read_certificates};
///
/// let certificates = read_certificates(&ca.folder().join("issuing.pem"))?;
/// let key = Some(ca.folder().join("issuing.key"));
/// let copy = ImportedCa { certificates, key, token: None, passphrase: None };
/// let copy = import_ca(&temporary.path().join("copy"), copy, &mut |_| Ok(None))?;
/// assert_eq!(copy.issuing_certificate(), ca.issuing_certificate());
/// # Ok(())
/// # }
/// ```
pub fn import_ca(
    folder: &Path,
    ca: ImportedCa,
    ask: &mut AskSecret<'_>,
) -> Result<CertificateAuthority, Error> {
    let bad = |reason: String| Error::BadCa { path: folder.to_owned(), reason };
    folder::prepare(folder, &[ISSUING_CERTIFICATE])?;
    let ImportedCa { mut certificates, key, token, passphrase } = ca;
    check_chain(&certificates).map_err(bad)?;
    // The passphrase that opens the key is also the one to open the copy with.
    let mut used = None;
    let mut remember = |asked_for: crate::secret::SecretFor<'_>| {
        used = ask(asked_for)?;
        Ok(used.clone())
    };
    let imported = match &key {
        Some(key) => Some(PrivateKey::read_with(key, &mut remember)?),
        None => None,
    };
    let passphrase = passphrase.or_else(|| used.clone());
    let issuing = certificates.first().ok_or_else(|| bad("it has no certificate".to_owned()))?;
    let belongs =
        |key: &dyn KeyHandle| folder::check_is_ca_for(issuing, key).map_err(|reason| bad(reason.to_owned()));
    match (imported, &token) {
        (Some(key), _) => {
            belongs(&key)?;
            key.write_new_with(&folder.join(ISSUING_KEY.key), passphrase.as_ref())?;
        }
        (None, Some(uri)) => {
            belongs(&TokenKey::open(uri, ask)?)?;
            ISSUING_KEY.write_token_uri(folder, uri)?;
        }
        (None, None) => belongs(ISSUING_KEY.open(folder, ask)?.as_ref())?,
    }
    let root = certificates.last().filter(|last| is_self_signed(last)).cloned();
    if let Some(root) = &root {
        let root_file = folder.join(ROOT_CERTIFICATE);
        if !root_file.exists() {
            folder::write_certificates(&root_file, [root])?;
        }
        if certificates.len() > 1 {
            certificates.pop();
        }
    }
    if let Some(between) = certificates.get(1..).filter(|between| !between.is_empty()) {
        folder::write_certificates(&folder.join(CHAIN), between)?;
    }
    // The last one: a CA without it does not exist yet.
    folder::write_certificates(&folder.join(ISSUING_CERTIFICATE), certificates.first())?;
    fs::sync_folder(folder)?;
    CertificateAuthority::open_with(folder, &mut |asked_for| match &passphrase {
        Some(passphrase) => Ok(Some(passphrase.clone())),
        None => ask(asked_for),
    })
}

/// Each must be signed by the next.
fn check_chain(certificates: &[Certificate]) -> Result<(), String> {
    for pair in certificates.windows(2) {
        let [below, above] = pair else { continue };
        let parsed = (X509Certificate::from_der(below.der()), X509Certificate::from_der(above.der()));
        let (Ok((_, lower)), Ok((_, upper))) = parsed else {
            return Err("a certificate of its chain is damaged".to_owned());
        };
        let (lower_name, upper_name) = (ShownBare(below.subject()), ShownBare(above.subject()));
        if !name::is_equal(lower.issuer(), upper.subject()) {
            let issuer = ShownBare(below.issuer());
            return Err(format!(
                "the issuer of `{lower_name}` is `{issuer}`, not `{upper_name}`; the chain goes from the CA up to its root"
            ));
        }
        if !upper.is_ca() {
            return Err(format!("`{upper_name}`, which stands above `{lower_name}`, is not a CA"));
        }
        match signature_fault(below, above) {
            None => {}
            Some(SignatureFault::NotVerified(text)) => return Err(ShownBare(&text).to_string()),
            Some(SignatureFault::OtherKey) => {
                return Err(format!(
                    "`{upper_name}` has not signed `{lower_name}`: it has the issuer's name, but another key"
                ));
            }
        }
    }
    Ok(())
}

fn is_self_signed(certificate: &Certificate) -> bool {
    X509Certificate::from_der(certificate.der()).is_ok_and(|(_, parsed)| {
        parsed.subject().as_raw() == parsed.issuer().as_raw() && parsed.verify_signature(None).is_ok()
    })
}

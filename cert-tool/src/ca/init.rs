//! New CAs: root and issuing CA at once, or an issuing CA whose root is elsewhere.

use std::path::Path;

use time::OffsetDateTime;

use super::folder::{self, FILES, ISSUING_CERTIFICATE, ISSUING_KEY, ISSUING_REQUEST};
use super::root::RootCa;
use crate::error::Error;
use crate::fs;
use crate::key::KeyType;
use crate::pem;
use crate::secret::{AskSecret, Secret};
use crate::token::TokenUri;
use crate::x509::encode_request;

/// What a new CA is to be.
#[derive(Debug, Clone)]
pub struct CaOptions {
    /// The first part of both CAs' common names.
    pub name: String,
    /// The kind of both CAs' keys.
    pub key_type: KeyType,
    /// How long the root is good.
    pub root_days: u32,
    /// How long the issuing CA is good.
    pub issuing_days: u32,
    /// What the private keys are encrypted with; without, their files are protected by their mode only.
    pub passphrase: Option<Secret>,
    /// The token that is to have the issuing CA's key, or the root's where only a root is made; without,
    /// it goes into a file. A key that is in the token already is used as it is.
    pub token: Option<TokenUri>,
}

impl Default for CaOptions {
    fn default() -> Self {
        Self {
            name: "Factory".to_owned(),
            key_type: KeyType::default(),
            root_days: 20 * 365,
            issuing_days: 10 * 365,
            passphrase: None,
            token: None,
        }
    }
}

pub(super) fn init(
    folder: &Path,
    options: &CaOptions,
    now: OffsetDateTime,
    ask: &mut AskSecret<'_>,
) -> Result<(), Error> {
    check_name(folder, &options.name)?;
    folder::prepare(folder, &FILES)?;
    // First what is likeliest to fail: a token that does not open must not leave half a CA behind.
    let key = ISSUING_KEY.create(folder, options, options.token.as_ref(), ask)?;
    let root = RootCa::create(folder, options, None, now, ask)?;
    let issuing = root.sign_issuing(&issuing_name(options), key.as_ref(), options.issuing_days, now)?;
    // The last one: a CA without it does not exist yet.
    folder::write_certificates(&folder.join(ISSUING_CERTIFICATE), [&issuing])
}

/// Makes the key of an issuing CA in a folder, and a request for the root, which is elsewhere
/// ([`RootCa::sign_request`]). The certificate that comes back makes it a CA
/// ([`import_ca`](crate::import_ca)). The request is returned as PEM, and kept as `issuing.csr`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cert_tool::{CaOptions, CertificateAuthority, ImportedCa, RootCa, import_ca, request_ca};
///
/// # let temporary = tempfile::tempdir()?;
/// # let (vault, plant) = (temporary.path().join("vault"), temporary.path().join("plant"));
/// # let now = time::OffsetDateTime::now_utc();
/// let options = CaOptions::default();
/// let root = RootCa::init(&vault, &options, now, &mut |_| Ok(None))?;
/// let request = request_ca(&plant, &options, &mut |_| Ok(None))?;
/// let signed = root.sign_request(&request, 3650, now)?;
/// let certificates = vec![signed, root.certificate().clone()];
/// import_ca(&plant, ImportedCa { certificates, ..ImportedCa::default() }, &mut |_| Ok(None))?;
/// assert!(CertificateAuthority::open(&plant)?.root_certificate().is_some());
/// # Ok(())
/// # }
/// ```
pub fn request_ca(folder: &Path, options: &CaOptions, ask: &mut AskSecret<'_>) -> Result<String, Error> {
    check_name(folder, &options.name)?;
    folder::prepare(folder, &FILES)?;
    let key = ISSUING_KEY.create(folder, options, options.token.as_ref(), ask)?;
    let request =
        pem::encode(pem::CERTIFICATE_REQUEST, &encode_request(&issuing_name(options), key.as_ref())?);
    fs::write_new_private(&folder.join(ISSUING_REQUEST), &request)?;
    Ok(String::from_utf8_lossy(&request).into_owned())
}

fn issuing_name(options: &CaOptions) -> String {
    format!("{} Issuing CA", options.name)
}

/// The common names made of it must fit (RFC 5280, appendix A.1, `ub-common-name`).
pub(super) fn check_name(folder: &Path, name: &str) -> Result<(), Error> {
    let longest = MAX_CA_NAME_CHARS;
    if name.trim().is_empty() || name.chars().count() > longest || name.chars().any(char::is_control) {
        let reason =
            format!("its name must have 1 to {longest} characters, none of them a control character");
        return Err(Error::BadCa { path: folder.to_owned(), reason });
    }
    Ok(())
}

const MAX_CA_NAME_CHARS: usize = 50;

//! New CAs: root and issuing CA at once, or an issuing CA whose root is elsewhere.

use std::path::Path;

use time::OffsetDateTime;

use super::folder::{self, FILES, ISSUING_CERTIFICATE, ISSUING_KEY, ISSUING_REQUEST, Staging};
use super::parent::{AZURE_DEVICE_REGISTRY_DAYS, CaPurpose, ParentCa, SubordinateOptions};
use super::validity::validity;
use crate::encoding::pem;
use crate::error::Error;
use crate::keys::pkcs11::TokenUri;
use crate::keys::private::KeyType;
use crate::platform::fs;
use crate::policy::Policy;
use crate::policy::Tier;
use crate::profile::{ca_subject, check_common_name};
use crate::secrets::secret::{AskSecret, Secret};
use crate::x509::encoder::{CaSubject, SubjectKey, encode_request_again};
use crate::x509::publication::Publication;

/// The options of a new CA.
#[derive(Debug, Clone)]
pub struct CaOptions {
    /// The first part of both CAs' common names.
    pub name: String,
    /// The rest of both CAs' subjects, as RFC 4514 writes it: `C=DE,O=Acme`.
    pub subject: Option<String>,
    /// The kind of both CAs' keys.
    pub key_type: KeyType,
    /// The number of CAs that may stand below the root on a path; `None` for any number.
    pub root_path_length: Option<u8>,
    /// The number of CAs that may stand below the issuing CA; 0 if it signs devices' certificates
    /// only.
    pub issuing_path_length: u8,
    /// The service that is to use the root.
    pub purpose: CaPurpose,
    /// The addresses at which the root publishes its list and its certificate.
    pub root_publication: Publication,
    /// The addresses at which the issuing CA publishes its list and its certificate.
    pub issuing_publication: Publication,
    /// The lifetime of the root, in days.
    pub root_days: u32,
    /// The lifetime of the issuing CA, in days.
    pub issuing_days: u32,
    /// The passphrase that encrypts the private keys; without it, only the mode of the files
    /// protects them.
    pub passphrase: Option<Secret>,
    /// The token that is to have the issuing CA's key, or the root's where only a root is made; without,
    /// it goes into a file. A key that is in the token already is used as it is.
    pub token: Option<TokenUri>,
}

impl CaOptions {
    /// Gives the root a lifetime of so many days, and the issuing CA half of it.
    #[must_use]
    pub fn with_root_days(self, days: u32) -> Self {
        Self { root_days: days, issuing_days: (days / 2).max(1), ..self }
    }
}

impl Default for CaOptions {
    fn default() -> Self {
        Self {
            name: "Factory".to_owned(),
            subject: None,
            key_type: KeyType::default(),
            root_path_length: None,
            issuing_path_length: 0,
            purpose: CaPurpose::default(),
            root_publication: Publication::default(),
            issuing_publication: Publication::default(),
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
    let subject = subject(options, &issuing_name(options))?;
    check_purpose(folder, options)?;
    validity(options.root_days.max(options.issuing_days), now)?;
    let staging = Staging::begin(folder, &FILES)?;
    let place = staging.place();
    // First what is likeliest to fail: the token.
    let key = ISSUING_KEY.create(&place, options, options.token.as_ref(), ask)?;
    write_publication(folder, &place, options)?;
    let root = ParentCa::create_root(&place, options, None, now, ask)?;
    let below = SubordinateOptions {
        days: options.issuing_days,
        path_length: Some(options.issuing_path_length),
        ..SubordinateOptions::default()
    };
    let subject = CaSubject::Encoded(&subject);
    let issuing = root.sign_subordinate(subject, &SubjectKey::Own(key.as_ref()), &below, None, now)?;
    folder::write_certificates(&place.join(ISSUING_CERTIFICATE), [&issuing])?;
    staging.finish()
}

/// Makes the key of an issuing CA in a folder, and a request for the root, which is elsewhere
/// ([`ParentCa::sign_request`]). The certificate that comes back makes it a CA
/// ([`import_ca`](crate::import_ca)). The request is returned as PEM, and kept as `issuing.csr`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cert_tool::{
///     CaOptions, CertificateAuthority, ImportedCa, ParentCa, SubordinateOptions, import_ca, request_ca,
/// };
///
/// # let temporary = tempfile::tempdir()?;
/// # let (vault, plant) = (temporary.path().join("vault"), temporary.path().join("plant"));
/// # let now = time::OffsetDateTime::now_utc();
/// let options = CaOptions::default();
/// let root = ParentCa::init_root(&vault, &options, now, &mut |_| Ok(None))?;
/// let request = request_ca(&plant, &options, &mut |_| Ok(None))?;
/// let signed = root.sign_request(&request, &SubordinateOptions::default(), now)?;
/// let certificates = vec![signed.certificate, root.certificate().clone()];
/// import_ca(&plant, ImportedCa { certificates, ..ImportedCa::default() }, now, &mut |_| Ok(None))?;
/// assert!(CertificateAuthority::open(&plant)?.root_certificate().is_some());
/// # Ok(())
/// # }
/// ```
pub fn request_ca(folder: &Path, options: &CaOptions, ask: &mut AskSecret<'_>) -> Result<String, Error> {
    check_name(folder, &options.name)?;
    let subject = subject(options, &issuing_name(options))?;
    let staging = Staging::begin(folder, &FILES)?;
    let place = staging.place();
    let key = ISSUING_KEY.create(&place, options, options.token.as_ref(), ask)?;
    let request = pem::encode(pem::CERTIFICATE_REQUEST, &encode_request_again(&subject, key.as_ref())?);
    fs::write_new_private(&place.join(ISSUING_REQUEST), &request)?;
    staging.finish()?;
    Ok(String::from_utf8_lossy(&request).into_owned())
}

/// The subject of a new CA in DER.
pub(super) fn subject(options: &CaOptions, common_name: &str) -> Result<Vec<u8>, Error> {
    ca_subject(options.subject.as_deref(), common_name)
}

pub(super) fn root_name(name: &str) -> String {
    format!("{name} Root CA")
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
    check_common_name(name)
        .map_err(|reason| Error::BadCa { path: folder.to_owned(), reason: format!("its name: {reason}") })
}

/// Refuses what contradicts the service that is to use the root.
pub(super) fn check_purpose(folder: &Path, options: &CaOptions) -> Result<(), Error> {
    let fault = match options.purpose {
        CaPurpose::General => None,
        CaPurpose::AzureDeviceRegistry if options.key_type.is_rsa() => {
            Some(format!("a root with a key on P-256 or P-384, not {}", options.key_type))
        }
        CaPurpose::AzureDeviceRegistry if options.root_days <= AZURE_DEVICE_REGISTRY_DAYS => Some(format!(
            "a root of more than {AZURE_DEVICE_REGISTRY_DAYS} days, as the CA below it is good for so many, not {}",
            options.root_days
        )),
        CaPurpose::AzureDeviceRegistry => options
            .root_path_length
            .filter(|length| *length != 1)
            .map(|length| format!("a root with path length 1, not {length}")),
    };
    let Some(fault) = fault else { return Ok(()) };
    let reason = format!("Azure Device Registry takes {fault}");
    Err(Error::BadCa { path: folder.to_owned(), reason })
}

/// Puts the addresses of both CAs into the policy, which is read in one folder and written to another.
pub(super) fn write_publication(folder: &Path, place: &Path, options: &CaOptions) -> Result<(), Error> {
    if options.root_publication.is_empty() && options.issuing_publication.is_empty() {
        return Ok(());
    }
    Policy::read(folder)?
        .with_publication(Tier::Root, options.root_publication.clone())
        .with_publication(Tier::Issuing, options.issuing_publication.clone())
        .write(place)
}

const MAX_CA_NAME_CHARS: usize = 50;

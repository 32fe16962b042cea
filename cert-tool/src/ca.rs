//! [`CertificateAuthority`]: a root CA and the issuing CA below it, in a folder.
//!
//! The root signs the issuing CA and nothing else, so that its key can be kept elsewhere: issuing
//! needs `issuing.pem` and `issuing.key` only.

use std::fmt;
use std::path::{Path, PathBuf};

use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{Certificate, read_certificate};
use crate::crl::RevocationList;
use crate::error::Error;
use crate::fs;
use crate::key::{KeyType, PrivateKey};
use crate::pem;
use crate::secret::{AskSecret, Secret};
use crate::signer::{KeyHandle, Signer};
use crate::x509::{Profile, Serial, SubjectKey, Validity, self_sign_root};

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
}

impl Default for CaOptions {
    fn default() -> Self {
        Self {
            name: "Factory".to_owned(),
            key_type: KeyType::default(),
            root_days: 20 * 365,
            issuing_days: 10 * 365,
            passphrase: None,
        }
    }
}

/// A CA that can issue.
pub struct CertificateAuthority {
    folder: PathBuf,
    issuing: Certificate,
    root: Option<Certificate>,
    signer: Signer,
}

impl CertificateAuthority {
    /// Makes a CA in a folder; nothing in it is overwritten.
    pub fn init(folder: &Path, options: &CaOptions, now: OffsetDateTime) -> Result<Self, Error> {
        check_name(folder, &options.name)?;
        fs::create_private_folder(folder)?;
        fs::check_is_private(folder)?;
        refuse_existing(folder)?;
        let made = MadeCa::make(options, now)?;
        made.root_key.write_new_with(&folder.join(ROOT_KEY), options.passphrase.as_ref())?;
        made.issuing_key.write_new_with(&folder.join(ISSUING_KEY), options.passphrase.as_ref())?;
        write_certificate(&folder.join(ROOT_CERTIFICATE), &made.root)?;
        // The last one: a CA without it does not exist yet.
        write_certificate(&folder.join(ISSUING_CERTIFICATE), &made.issuing)?;
        Self::open_with(folder, &mut |_| Ok(options.passphrase.clone()))
    }

    /// Opens the CA in a folder, whose key is not encrypted, and makes sure that what it signs will be
    /// accepted.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::open_with(folder, &mut |_| Ok(None))
    }

    /// Opens the CA in a folder, and asks for what its key is locked with.
    pub fn open_with(folder: &Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        fs::check_is_private(folder)?;
        let key = PrivateKey::read_with(&folder.join(ISSUING_KEY), ask)?;
        let (root, issuing) = Self::certificates(folder)?;
        let bad = |reason: &str| Error::BadCa { path: folder.to_owned(), reason: reason.to_owned() };
        check_is_ca_for(issuing.der(), &key).map_err(bad)?;
        let signer = Signer::new(issuing.der(), Box::new(key))?;
        Ok(Self { folder: folder.to_owned(), issuing, root, signer })
    }

    /// The certificates of the CA in a folder, for which no key is needed: the root's, where it is kept
    /// there, and the issuing CA's.
    pub fn certificates(folder: &Path) -> Result<(Option<Certificate>, Certificate), Error> {
        let issuing = read_certificate(&folder.join(ISSUING_CERTIFICATE))?;
        let root = folder.join(ROOT_CERTIFICATE);
        let root = root.exists().then(|| read_certificate(&root)).transpose()?;
        Ok((root, issuing))
    }

    /// Whether there is a CA in a folder, or the beginning of one.
    pub fn exists(folder: &Path) -> bool {
        FILES.iter().any(|file| folder.join(file).exists())
    }

    /// The certificate that signs devices' and modules' certificates.
    pub fn issuing_certificate(&self) -> &Certificate {
        &self.issuing
    }

    /// The certificate that a hub is to trust, where it is kept here.
    pub fn root_certificate(&self) -> Option<&Certificate> {
        self.root.as_ref()
    }

    /// Where the CA is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Signs a revocation list; the result is DER.
    pub fn sign_crl(&self, list: &RevocationList) -> Result<Vec<u8>, Error> {
        self.signer.sign_crl(list)
    }

    pub(crate) fn sign_leaf(
        &self,
        common_name: &str,
        key: &SubjectKey<'_>,
        serial: Serial,
        validity: Validity,
    ) -> Result<Vec<u8>, Error> {
        self.signer.sign_certificate(Profile::Leaf, common_name, key, serial, validity)
    }

    /// The validity of a certificate issued now: it begins a little earlier, because devices' clocks
    /// are slow, and never reaches beyond the CA's own.
    pub(crate) fn leaf_validity(&self, days: u32, now: OffsetDateTime) -> Result<Validity, Error> {
        let wanted = validity(days, now);
        let validity = Validity {
            not_before: wanted.not_before.max(self.issuing.not_before()),
            not_after: wanted.not_after.min(self.issuing.not_after()),
        };
        if now < self.issuing.not_before() || self.issuing.not_after() <= now {
            return Err(Error::BadCa {
                path: self.folder.clone(),
                reason: format!(
                    "it is good from {} to {} only",
                    self.issuing.not_before(),
                    self.issuing.not_after()
                ),
            });
        }
        Ok(validity)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAuthority({})", self.issuing.subject())
    }
}

struct MadeCa {
    root_key: PrivateKey,
    root: Vec<u8>,
    issuing_key: PrivateKey,
    issuing: Vec<u8>,
}

impl MadeCa {
    fn make(options: &CaOptions, now: OffsetDateTime) -> Result<Self, Error> {
        let root_key = PrivateKey::generate(options.key_type)?;
        let root_validity = validity(options.root_days, now);
        let root_name = format!("{} Root CA", options.name);
        let root = self_sign_root(&root_name, &root_key, Serial::random()?, root_validity)?;
        let issuing_key = PrivateKey::generate(options.key_type)?;
        let wanted = validity(options.issuing_days, now);
        let issuing_validity =
            Validity { not_after: wanted.not_after.min(root_validity.not_after), ..wanted };
        let signing_key =
            PrivateKey::from_der(&root_key.to_pkcs8()?).ok_or(Error::Crypto("reading a key"))?;
        let issuing = Signer::new(&root, Box::new(signing_key))?.sign_certificate(
            Profile::IssuingCa,
            &format!("{} Issuing CA", options.name),
            &SubjectKey::Own(&issuing_key),
            Serial::random()?,
            issuing_validity,
        )?;
        Ok(Self { root_key, root, issuing_key, issuing })
    }
}

fn validity(days: u32, now: OffsetDateTime) -> Validity {
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let not_before = now.checked_sub(BACKDATE).unwrap_or(now);
    let not_after = now.checked_add(Duration::days(days.into())).unwrap_or(LAST_DATE).min(LAST_DATE);
    Validity { not_before, not_after }
}

fn write_certificate(path: &Path, der: &[u8]) -> Result<(), Error> {
    fs::write_new_private(path, &pem::encode(pem::CERTIFICATE, der))
}

fn refuse_existing(folder: &Path) -> Result<(), Error> {
    match FILES.iter().map(|file| folder.join(file)).find(|path| path.exists()) {
        Some(path) => Err(Error::AlreadyExists { path }),
        None => Ok(()),
    }
}

/// The common names made of it must fit (RFC 5280, appendix A.1, `ub-common-name`).
fn check_name(folder: &Path, name: &str) -> Result<(), Error> {
    let longest = MAX_CA_NAME_CHARS;
    if name.trim().is_empty() || name.chars().count() > longest || name.chars().any(char::is_control) {
        let reason =
            format!("its name must have 1 to {longest} characters, none of them a control character");
        return Err(Error::BadCa { path: folder.to_owned(), reason });
    }
    Ok(())
}

fn check_is_ca_for(der: &[u8], key: &dyn KeyHandle) -> Result<(), &'static str> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| "its certificate is damaged")?;
    if !certificate.is_ca() {
        return Err("its certificate is not one of a CA");
    }
    let usage = certificate.key_usage().map_err(|_| "its certificate has a damaged key usage")?;
    if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err("its certificate must not sign certificates (key usage)");
    }
    if certificate.public_key().subject_public_key.data.as_ref() != key.public_key() {
        return Err("its key is not the one of its certificate");
    }
    Ok(())
}

const ROOT_KEY: &str = "root.key";
const ROOT_CERTIFICATE: &str = "root.pem";
const ISSUING_KEY: &str = "issuing.key";
const ISSUING_CERTIFICATE: &str = "issuing.pem";
const FILES: [&str; 4] = [ROOT_KEY, ROOT_CERTIFICATE, ISSUING_KEY, ISSUING_CERTIFICATE];

const BACKDATE: Duration = Duration::minutes(10);
/// What IEEE 802.1AR and RFC 5280 §4.1.2.5 write for a date that never comes.
const LAST_DATE: OffsetDateTime = time::macros::datetime!(9999-12-31 23:59:59 UTC);
const MAX_CA_NAME_CHARS: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-11-23 12:00 UTC);

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().join("ca");
        (temporary, folder)
    }

    #[test]
    fn a_ca_opens_again_and_is_never_overwritten() {
        let (_temporary, folder) = folder();
        assert!(!CertificateAuthority::exists(&folder));
        let made = CertificateAuthority::init(&folder, &CaOptions::default(), NOW).unwrap();
        assert!(CertificateAuthority::exists(&folder));
        let opened = CertificateAuthority::open(&folder).unwrap();
        assert_eq!(made.issuing_certificate(), opened.issuing_certificate());
        assert_eq!(opened.issuing_certificate().common_name(), Some("Factory Issuing CA"));
        assert_eq!(opened.root_certificate().unwrap().common_name(), Some("Factory Root CA"));
        let again = CertificateAuthority::init(&folder, &CaOptions::default(), NOW);
        assert!(matches!(again, Err(Error::AlreadyExists { .. })));
    }

    #[test]
    fn the_root_may_be_elsewhere() {
        let (_temporary, folder) = folder();
        CertificateAuthority::init(&folder, &CaOptions::default(), NOW).unwrap();
        for file in [ROOT_KEY, ROOT_CERTIFICATE] {
            std::fs::remove_file(folder.join(file)).unwrap();
        }
        assert!(CertificateAuthority::open(&folder).unwrap().root_certificate().is_none());
    }

    #[test]
    fn a_leaf_never_outlives_its_ca() {
        let (_temporary, folder) = folder();
        let ca =
            CertificateAuthority::init(&folder, &CaOptions { issuing_days: 30, ..CaOptions::default() }, NOW);
        let ca = ca.unwrap();
        let leaf = ca.leaf_validity(365, NOW).unwrap();
        assert_eq!(leaf.not_after, ca.issuing_certificate().not_after());
        assert!(leaf.not_before < NOW);
        assert!(matches!(ca.leaf_validity(1, NOW + Duration::days(31)), Err(Error::BadCa { .. })));
    }

    #[test]
    fn another_key_is_refused() {
        let (_temporary, folder) = folder();
        CertificateAuthority::init(&folder, &CaOptions::default(), NOW).unwrap();
        std::fs::rename(folder.join(ROOT_KEY), folder.join(ISSUING_KEY)).unwrap();
        let error = CertificateAuthority::open(&folder).unwrap_err();
        assert!(error.to_string().contains("not the one of its certificate"), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn files_are_for_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let (_temporary, folder) = folder();
        CertificateAuthority::init(&folder, &CaOptions::default(), NOW).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert!(FILES.iter().all(|file| mode(&folder.join(file)) == 0o600));
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o750)).unwrap();
        let error = CertificateAuthority::open(&folder).unwrap_err();
        assert_eq!(error.hint(), Some(format!("chmod 700 {}", folder.display())));
    }
}

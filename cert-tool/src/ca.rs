//! [`CertificateAuthority`]: the CA that issues to devices and modules, in a folder; the root above it
//! is there too, or elsewhere.
//!
//! The root signs issuing CAs and nothing else, so that its key can be kept elsewhere: issuing needs
//! `issuing.pem` and `issuing.key` only.

mod earlier_end;
mod folder;
mod import;
mod import_check;
mod index;
mod init;
mod limits;
mod parent;
mod rekey;
mod renew;
pub(crate) mod revocation;
mod revoked;
mod root;
mod show;
mod validity;

use hub_types::shown::ShownPath;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use time::OffsetDateTime;

use crate::error::secret_for::SecretFor;
use crate::error::{Error, shell_word};
use crate::keys::fingerprint::Fingerprint;
use crate::keys::private::PrivateKey;
use crate::platform::fs;
use crate::policy::{Policy, Tier};
use crate::profile::{Profile, Profiles};
use crate::secrets::secret::AskSecret;
use crate::verify::name_constraints::PathConstraints;
use crate::weak_keys;
use crate::x509::certificate::{Certificate, read_certificate, read_certificates};
use crate::x509::crl::RevocationList;
use crate::x509::encoder::{Serial, SubjectKey, Validity};
use crate::x509::extended_key_usage::ExtendedKeyUsage;
use crate::x509::leaf_template::LeafTemplates;
use crate::x509::publication::Publication;
use crate::x509::signer::Signer;

pub use earlier_end::EarlierEnd;
pub(crate) use folder::check_signs_lists;
pub use import::{ImportedCa, import_ca};
pub use init::{CaOptions, request_ca};
pub use parent::{CaPurpose, ParentCa, SignedCa, SubordinateOptions};
pub use rekey::rekey_ca;
pub use renew::{RenewedCa, renew_ca};
pub use revoked::RevokedCertificates;
pub use show::{CaCertificates, CaDescription, KeyPlace, ProfileSummary};
use validity::validity_below;
pub(crate) use validity::{check_clock, check_is_good, end_after, profile_validity};

/// A CA that can issue.
pub struct CertificateAuthority {
    folder: PathBuf,
    issuing: Certificate,
    chain: Vec<Certificate>,
    root: Option<Certificate>,
    signer: Signer,
    policy: Policy,
    /// Read when they are used first.
    profiles: OnceLock<Profiles>,
}

impl CertificateAuthority {
    /// Makes a root CA and an issuing CA in a folder; nothing in it is overwritten.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cert_tool::{CaOptions, CertificateAuthority};
    ///
    /// # let temporary = tempfile::tempdir()?;
    /// # let folder = temporary.path().join("ca");
    /// let options = CaOptions { name: "Plant 7".to_owned(), ..CaOptions::default() };
    /// let ca = CertificateAuthority::init(&folder, &options, time::OffsetDateTime::now_utc())?;
    /// assert_eq!(ca.issuing_certificate().common_name(), Some("Plant 7 Issuing CA"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn init(folder: &Path, options: &CaOptions, now: OffsetDateTime) -> Result<Self, Error> {
        Self::init_with(folder, options, now, &mut |_| Ok(None))
    }

    /// As [`Self::init`]; the PIN of the token that is to have the key is asked for.
    pub fn init_with(
        folder: &Path,
        options: &CaOptions,
        now: OffsetDateTime,
        ask: &mut AskSecret<'_>,
    ) -> Result<Self, Error> {
        init::init(folder, options, now, ask)?;
        Self::open_with(folder, &mut |asked_for| match asked_for {
            SecretFor::Token(_) => ask(asked_for),
            _ => Ok(options.passphrase.clone()),
        })
    }

    /// Opens the CA in a folder, whose key is not encrypted, and makes sure that what it signs will be
    /// accepted.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        Self::open_with(folder, &mut |_| Ok(None))
    }

    /// Opens the CA in a folder, and asks for what its key is locked with.
    pub fn open_with(folder: &Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        fs::check_is_private(folder)?;
        let (root, issuing) = Self::certificates(folder)?;
        let policy = Policy::read(folder)?;
        let key = folder::ISSUING_KEY.open(folder, ask)?;
        folder::check_is_ca_for(&issuing, key.as_ref())
            .map_err(|reason| Error::BadCa { path: folder.to_owned(), reason: reason.to_owned() })?;
        let signer = Signer::new(issuing.der(), key)?;
        let chain = folder.join(folder::CHAIN);
        let chain = if fs::is_present(&chain)? { read_certificates(&chain)? } else { Vec::new() };
        Ok(Self {
            folder: folder.to_owned(),
            issuing,
            chain,
            root,
            signer,
            policy,
            profiles: OnceLock::new(),
        })
    }

    /// The certificates of the CA in a folder, for which no key is needed: the root's, where it is kept
    /// there, and the issuing CA's.
    pub fn certificates(folder: &Path) -> Result<(Option<Certificate>, Certificate), Error> {
        folder::recover(folder)?;
        let root = folder.join(folder::ROOT_CERTIFICATE);
        if Tier::of(folder) == Tier::Root {
            let reason = format!(
                "it has a root only, which signs CAs; make an issuing CA (`cert-tool ca csr NEW_DIR --name NAME`), \
                 sign its request with this root (`cert-tool ca sign NEW_DIR/issuing.csr --ca {} --out NEW.pem`), \
                 and import the certificate (`cert-tool ca import NEW_DIR --certificate NEW.pem`)",
                shell_word(&ShownPath(folder).to_string())
            );
            return Err(Error::BadCa { path: folder.to_owned(), reason });
        }
        let issuing = read_certificate(&folder.join(folder::ISSUING_CERTIFICATE))?;
        let root = fs::is_present(&root)?.then(|| read_certificate(&root)).transpose()?;
        Ok((root, issuing))
    }

    /// The certificates that devices of the CA in a folder send after their own, for which no key is needed: see
    /// [`Self::chain`].
    pub fn chain_in(folder: &Path) -> Result<Vec<Certificate>, Error> {
        let (_, issuing) = Self::certificates(folder)?;
        let above = folder.join(folder::CHAIN);
        let mut chain = vec![issuing];
        if fs::is_present(&above)? {
            chain.extend(read_certificates(&above)?);
        }
        Ok(chain)
    }

    /// Returns whether a folder holds a CA, or a part of one.
    pub fn exists(folder: &Path) -> bool {
        folder::is_ready(folder) || folder::FILES.iter().any(|file| folder.join(file).exists())
    }

    /// The certificate that signs devices' and modules' certificates.
    pub fn issuing_certificate(&self) -> &Certificate {
        &self.issuing
    }

    /// Returns the certificates that a device sends after its own: that of the issuing CA and those
    /// between it and the root, without the root.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.issuing).chain(&self.chain)
    }

    /// The certificate that a hub is to trust, where it is kept here.
    pub fn root_certificate(&self) -> Option<&Certificate> {
        self.root.as_ref()
    }

    /// Returns the CA's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The CA's own end, where it comes before that of certificates that are issued now for so many days.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cert_tool::{CaOptions, CertificateAuthority};
    /// # let temporary = tempfile::tempdir()?;
    /// # let now = time::OffsetDateTime::now_utc();
    /// let options = CaOptions { issuing_days: 15, ..CaOptions::default() };
    /// let ca = CertificateAuthority::init(&temporary.path().join("ca"), &options, now)?;
    /// assert!(ca.earlier_end(10, now).is_none());
    /// assert!(ca.earlier_end(365, now).is_some_and(|end| end.to_string().contains("not after 365 days")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn earlier_end(&self, days: u32, now: OffsetDateTime) -> Option<EarlierEnd> {
        EarlierEnd::below(&self.issuing, days, now)
    }

    /// Returns the rules for what the CA may issue.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The profiles that its certificates may have: a fault in their file is one for those who issue by them.
    pub fn profiles(&self) -> Result<&Profiles, Error> {
        match self.profiles.get() {
            Some(profiles) => Ok(profiles),
            None => {
                let read = Profiles::read(&self.folder, &self.policy)?;
                Ok(self.profiles.get_or_init(|| read))
            }
        }
    }

    /// A certificate with a code in its common name, with which the owner of a hub proves that the CA
    /// is theirs (Azure IoT Hub, "verify a CA certificate"). It is of no other use: its key is gone.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cert_tool::{CaOptions, CertificateAuthority};
    /// # let temporary = tempfile::tempdir()?;
    /// # let now = time::OffsetDateTime::now_utc();
    /// let ca = CertificateAuthority::init(&temporary.path().join("ca"), &CaOptions::default(), now)?;
    /// let proof = ca.prove("106A5SD242AF512B3498BD6098C4941E66R34H268DDB3288", now)?;
    /// assert_eq!(proof.issuer(), ca.issuing_certificate().subject());
    /// # Ok(())
    /// # }
    /// ```
    pub fn prove(&self, code: &str, now: OffsetDateTime) -> Result<Certificate, Error> {
        self.check_is_not_revoked()?;
        prove(&self.signer, &self.issuing, &self.folder, code, now)
    }

    /// Signs a revocation list; the result is DER.
    pub fn sign_crl(&self, list: &RevocationList) -> Result<Vec<u8>, Error> {
        self.signer.sign_crl(list)
    }

    /// Stand for the keys of this CA and of those above it that are known here.
    pub(crate) fn keys_of_cas(&self) -> Vec<Fingerprint> {
        self.chain()
            .chain(&self.root)
            .map(|it| Fingerprint::of(&weak_keys::usual_form(it.public_key_info())))
            .collect()
    }

    /// The limits on names of this CA and of those above it that are known here.
    pub(crate) fn name_constraints(&self) -> PathConstraints {
        PathConstraints::of(self.chain().chain(&self.root))
    }

    /// The certificates for devices and modules that are good at a time, to be filled in.
    pub(crate) fn leaves(
        &self,
        usages: &[ExtendedKeyUsage],
        publication: &Publication,
        validity: Validity,
    ) -> Result<LeafTemplates<'_>, Error> {
        LeafTemplates::new(&self.signer, usages, publication, validity)
    }

    /// The validity of a certificate with a profile, which may have dates of its own.
    pub(crate) fn profile_validity(
        &self,
        profile: &Profile,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Validity, Error> {
        profile_validity(&self.issuing, &self.folder, &self.policy, profile, days, now)
    }

    /// The validity of a certificate issued now: it begins a little earlier, because devices' clocks
    /// are slow, and never reaches beyond the CA's own.
    pub(crate) fn leaf_validity(&self, days: u32, now: OffsetDateTime) -> Result<Validity, Error> {
        self.policy.check_days(days, &self.folder)?;
        validity_below(&self.issuing, &self.folder, days, now)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CertificateAuthority({})", self.issuing.subject())
    }
}

fn prove(
    signer: &Signer,
    issuer: &Certificate,
    folder: &Path,
    code: &str,
    now: OffsetDateTime,
) -> Result<Certificate, Error> {
    let is_bad = |char: char| char.is_control() || char.is_whitespace();
    if code.is_empty() || code.chars().count() > MAX_CODE_CHARS || code.contains(is_bad) {
        return Err(Error::BadCode);
    }
    let key = PrivateKey::generate(crate::keys::private::KeyType::P256)?;
    let validity = validity_below(issuer, folder, PROOF_DAYS, now)?;
    let der = signer.sign_leaf(code, &SubjectKey::Own(&key), Serial::random()?, validity)?;
    Certificate::from_der(&der).ok_or(Error::Crypto("encoding a certificate"))
}

const PROOF_DAYS: u32 = 30;
/// RFC 5280, appendix A.1, `ub-common-name`.
const MAX_CODE_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::folder::{FILES, ISSUING_KEY, ROOT_CERTIFICATE, ROOT_KEY};
    use time::Duration;

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
        for file in [ROOT_KEY.key, ROOT_CERTIFICATE] {
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
        std::fs::rename(folder.join(ROOT_KEY.key), folder.join(ISSUING_KEY.key)).unwrap();
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
        let files: Vec<_> = FILES.iter().map(|file| folder.join(file)).filter(|file| file.exists()).collect();
        assert!(files.len() == 4 && files.iter().all(|file| mode(file) == 0o600));
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o750)).unwrap();
        let error = CertificateAuthority::open(&folder).unwrap_err();
        assert_eq!(error.hint(), Some(format!("chmod 700 {}", folder.to_string_lossy())));
    }

    #[test]
    fn a_ca_whose_making_was_cut_off_is_made_again_or_gone_on_with() {
        let (_temporary, folder) = folder();
        CertificateAuthority::init(&folder, &CaOptions::default(), NOW).unwrap();
        let names = |place: &Path| -> Vec<_> {
            let entries = std::fs::read_dir(place).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        let made = names(&folder);
        assert!(made.iter().all(|name| !name.starts_with('.')), "{made:?}");
        // Killed while the files were being moved to their places: after none, after each, after all of them.
        for moved in 0..=made.len() {
            let cut = folder.with_file_name(format!("cut-{moved}"));
            fs::create_private_folder(&cut.join(".ready")).unwrap();
            for (at, name) in made.iter().enumerate() {
                let place = if at < moved { cut.clone() } else { cut.join(".ready") };
                std::fs::copy(folder.join(name), place.join(name)).unwrap();
            }
            assert!(CertificateAuthority::exists(&cut));
            CertificateAuthority::open(&cut).unwrap();
            let mut found = names(&cut);
            found.retain(|name| !name.starts_with("index"));
            assert_eq!(found.len(), made.iter().filter(|name| !name.starts_with("index")).count());
        }
        // Killed before it was whole: what is there is nobody's, and the same command makes another.
        let cut = folder.with_file_name("cut");
        fs::create_private_folder(&cut.join(".new")).unwrap();
        std::fs::copy(folder.join(ISSUING_KEY.key), cut.join(".new").join(ISSUING_KEY.key)).unwrap();
        assert!(!CertificateAuthority::exists(&cut));
        CertificateAuthority::init(&cut, &CaOptions::default(), NOW).unwrap();
        assert!(!cut.join(".new").exists());
        assert_ne!(
            std::fs::read(cut.join(ISSUING_KEY.key)).unwrap(),
            std::fs::read(folder.join(ISSUING_KEY.key)).unwrap()
        );
    }

    #[test]
    fn a_ca_that_can_not_be_made_leaves_nothing() {
        let (_temporary, folder) = folder();
        let options = CaOptions {
            token: Some("pkcs11:object=a?module-path=/no/such.so".parse().unwrap()),
            ..CaOptions::default()
        };
        CertificateAuthority::init(&folder, &options, NOW).unwrap_err();
        assert!(!folder.exists());
    }
}

//! [`ParentCa`]: a CA that signs other CAs, and keeps books of them. A root mostly, or a CA between.

use std::fmt;
use std::path::{Path, PathBuf};

use hub_types::shown::ShownBare;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Name};

use super::folder::{self, CHAIN, ISSUING_CERTIFICATE, ISSUING_KEY, ROOT_CERTIFICATE, ROOT_KEY};
use super::limits::Limits;
use super::revoked::check_is_not_revoked;
use super::validity::{check_is_good, validity, validity_below};
use super::{EarlierEnd, prove};
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issued::index::IssuanceIndex;
use crate::issued::index::revocation::Revocation;
use crate::keys::fingerprint::Fingerprint;
use crate::keys::handle::KeyHandle;
use crate::platform::fs;
use crate::policy::{Policy, Tier};
use crate::secrets::secret::AskSecret;
use crate::weak_keys;
use crate::x509::certificate::{Certificate, read_certificate, read_certificates};
use crate::x509::crl::RevocationList;
use crate::x509::csr::CaRequest;
use crate::x509::damage::damaged_extension;
use crate::x509::encoder::{CaSubject, CaTerms, Serial, SubjectKey};
use crate::x509::name;
use crate::x509::name_constraints::NameConstraints;
use crate::x509::publication::Publication;
use crate::x509::signer::Signer;

impl Tier {
    /// The CA that is meant where nothing says which: the issuing one, or the root of a folder without one.
    pub fn of(folder: &Path) -> Self {
        // Why it can't be moved is told when the CA is opened.
        let _ = folder::recover(folder);
        let has = |file: &str| folder.join(file).exists();
        let is_issuing = has(ISSUING_CERTIFICATE) || has(ISSUING_KEY.key) || has(ISSUING_KEY.token);
        if has(ROOT_CERTIFICATE) && !is_issuing { Self::Root } else { Self::Issuing }
    }

    /// The CA of a folder that signs CAs: the root where its key is there, otherwise the issuing one.
    pub fn that_signs_cas(folder: &Path) -> Self {
        let _ = folder::recover(folder);
        let has = |file: &str| folder.join(file).exists();
        if has(ROOT_KEY.key) || has(ROOT_KEY.token) || !has(ISSUING_CERTIFICATE) {
            Self::Root
        } else {
            Self::Issuing
        }
    }
}

/// The options of the certificate of a CA below another CA.
#[derive(Debug, Clone)]
pub struct SubordinateOptions {
    /// The lifetime in days, unless the CA above expires first.
    pub days: u32,
    /// The number of CAs that may stand below it; 0 if it signs devices' certificates only. Without, it is that of
    /// the earlier certificate of the same name and key, or 0.
    pub path_length: Option<u8>,
    /// Its subject is that of the request byte for byte; without, the request must have a common name only.
    pub keep_subject: bool,
    /// Limits on the names in all certificates below it. Without any, they are those of the earlier certificate of
    /// the same name and key.
    pub constraints: NameConstraints,
    /// The service that is to use it.
    pub purpose: CaPurpose,
}

/// The service that is to use a CA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CaPurpose {
    /// None in particular.
    #[default]
    General,
    /// Certificate management of Azure Device Registry with a root of one's own: keys on curves, one CA below the
    /// root, which may also sign data, and at least 365 days.
    AzureDeviceRegistry,
}

impl Default for SubordinateOptions {
    fn default() -> Self {
        Self {
            days: 10 * 365,
            path_length: None,
            keep_subject: false,
            constraints: NameConstraints::default(),
            purpose: CaPurpose::General,
        }
    }
}

impl SubordinateOptions {
    /// The terms of a certificate; those that are not given are the limits of the earlier one.
    fn terms(&self, earlier: Option<&Limits>) -> CaTerms {
        let kept_constraints = earlier.filter(|_| self.constraints.is_empty());
        CaTerms {
            path_length: match (self.path_length, earlier) {
                (None, Some(earlier)) => earlier.path_length,
                (given, _) => Some(given.unwrap_or_default()),
            },
            has_digital_signature: self.purpose == CaPurpose::AzureDeviceRegistry,
            constraints: self.constraints.clone(),
            kept_constraints: kept_constraints.and_then(|earlier| earlier.constraints.clone()),
        }
    }

    /// The limits of the earlier certificate that stay, for people.
    fn kept(&self, earlier: &Limits) -> Vec<String> {
        let mut kept = Vec::new();
        if self.path_length.is_none() {
            kept.push(format!("path length: {}", earlier.path_length_text()));
        }
        if self.constraints.is_empty() && earlier.constraints.is_some() {
            kept.push(format!("name constraints: {}", earlier.names_text()));
        }
        kept
    }
}

/// The certificate that a CA has signed for a CA below it.
#[derive(Debug)]
#[non_exhaustive]
pub struct SignedCa {
    /// The certificate.
    pub certificate: Certificate,
    /// The limits that it has because an earlier certificate of the same name and key has them, for people.
    pub kept: Vec<String>,
}

/// A CA that signs other CAs, with its key at hand.
pub struct ParentCa {
    folder: PathBuf,
    tier: Tier,
    certificate: Certificate,
    /// Those between it and the root, and the root.
    above: Vec<Certificate>,
    signer: Signer,
    publication: Publication,
}

impl ParentCa {
    /// Opens a CA of a folder, and asks for what its key is locked with.
    pub fn open_with(folder: &Path, tier: Tier, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        fs::check_is_private(folder)?;
        folder::recover(folder)?;
        let (file, files) = match tier {
            Tier::Root => (ROOT_CERTIFICATE, ROOT_KEY),
            Tier::Issuing => (ISSUING_CERTIFICATE, ISSUING_KEY),
        };
        let certificate = read_certificate(&folder.join(file))?;
        let key = files.open(folder, ask)?;
        Self::new(folder, tier, certificate, key)
    }

    /// A CA with its key.
    pub(super) fn new(
        folder: &Path,
        tier: Tier,
        certificate: Certificate,
        key: Box<dyn KeyHandle>,
    ) -> Result<Self, Error> {
        folder::check_is_ca_for(&certificate, key.as_ref())
            .map_err(|reason| Error::BadCa { path: folder.to_owned(), reason: reason.to_owned() })?;
        let mut above = Vec::new();
        if tier == Tier::Issuing {
            for file in [CHAIN, ROOT_CERTIFICATE].map(|file| folder.join(file)) {
                above.extend(if fs::is_present(&file)? { read_certificates(&file)? } else { Vec::new() });
            }
        }
        let signer = Signer::new(certificate.der(), key)?;
        let publication = Policy::read(folder)?.publication(tier).clone();
        Ok(Self { folder: folder.to_owned(), tier, certificate, above, signer, publication })
    }

    /// The same CA, whose files are in another folder now.
    pub(super) fn moved_to(self, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..self }
    }

    /// Its certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Returns the certificates that a CA below needs beside its own: this CA's and those above it,
    /// up to the root.
    pub fn chain(&self) -> impl Iterator<Item = &Certificate> {
        std::iter::once(&self.certificate).chain(&self.above)
    }

    /// The folder of the CA.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The books of what it has signed.
    pub fn index(&self) -> Result<IssuanceIndex, Error> {
        IssuanceIndex::open_books(&self.folder, self.tier)
    }

    /// Signs a revocation list; the result is DER.
    pub fn sign_crl(&self, list: &RevocationList) -> Result<Vec<u8>, Error> {
        self.signer.sign_crl(list)
    }

    /// As [`CertificateAuthority::earlier_end`](crate::CertificateAuthority::earlier_end).
    pub fn earlier_end(&self, days: u32, now: OffsetDateTime) -> Option<EarlierEnd> {
        EarlierEnd::below(&self.certificate, days, now)
    }

    /// As [`CertificateAuthority::prove`](crate::CertificateAuthority::prove).
    pub fn prove(&self, code: &str, now: OffsetDateTime) -> Result<Certificate, Error> {
        self.check_is_not_revoked()?;
        prove(&self.signer, &self.certificate, &self.folder, code, now)
    }

    /// Signs the request of a CA, PEM or DER, that [`request_ca`](crate::request_ca) or another program made. Only
    /// the key and the name are taken from it. A CA that has a certificate from here with this name and key keeps its
    /// limits unless the options give others. The certificate is in the books when it is returned.
    pub fn sign_request(
        &self,
        request: impl AsRef<[u8]>,
        options: &SubordinateOptions,
        now: OffsetDateTime,
    ) -> Result<SignedCa, Error> {
        let request = CaRequest::parse(request.as_ref())?;
        self.check_is_another(&request)?;
        let keeps = options.keep_subject || options.purpose == CaPurpose::AzureDeviceRegistry;
        let subject = if keeps {
            CaSubject::Encoded(request.subject()?)
        } else {
            CaSubject::CommonName(request.common_name()?)
        };
        let earlier = self.limits_of_earlier(&request)?;
        let certificate = self.sign_subordinate(subject, request.key(), options, earlier.as_ref(), now)?;
        Ok(SignedCa { certificate, kept: earlier.map(|earlier| options.kept(&earlier)).unwrap_or_default() })
    }

    /// The limits in the newest certificate of the same name and key.
    fn limits_of_earlier(&self, request: &CaRequest) -> Result<Option<Limits>, Error> {
        let Ok((_, name)) = X509Name::from_der(request.raw_subject()) else { return Ok(None) };
        let earlier = self.index()?.newest_of_ca(&name, &request.key().to_info())?;
        earlier.map(|earlier| Limits::of(&earlier.certificate)).transpose()
    }

    /// Refuses a request for this CA's own key, or for its name with another key: nobody could tell the two apart.
    fn check_is_another(&self, request: &CaRequest) -> Result<(), Error> {
        self.check_key_is_another(&request.key().to_info())?;
        let own = self.certificate.parsed();
        match X509Name::from_der(request.raw_subject()) {
            Ok((_, asked)) if name::is_equal(own.subject(), &asked) => {
                Err(Error::BadRequest { source: Box::new(Refusal::NameOfCa) })
            }
            _ => Ok(()),
        }
    }

    /// Refuses the key of this CA, and those of the CAs above it.
    fn check_key_is_another(&self, public_key_info: &[u8]) -> Result<(), Error> {
        let key = weak_keys::usual_form(public_key_info);
        let mut chain = self.chain();
        match chain.any(|ca| weak_keys::usual_form(ca.public_key_info()) == key) {
            true => Err(Error::BadRequest { source: Box::new(Refusal::KeyOfCa) }),
            false => Ok(()),
        }
    }

    pub(super) fn sign_subordinate(
        &self,
        subject: CaSubject<'_>,
        key: &SubjectKey<'_>,
        options: &SubordinateOptions,
        earlier: Option<&Limits>,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let terms = options.terms(earlier);
        self.check_is_not_revoked()?;
        self.check_path_length(terms.path_length)?;
        if options.purpose == CaPurpose::AzureDeviceRegistry {
            self.check_azure_device_registry(key, &terms, options.days, now)?;
        }
        let validity = validity_below(&self.certificate, &self.folder, options.days, now)?;
        let der =
            self.signer.sign_ca(subject, key, &terms, &self.publication, Serial::random()?, validity)?;
        let certificate = self.checked(&der)?;
        self.enter(&certificate)?;
        Ok(certificate)
    }

    /// Refuses a CA that is revoked or on hold in the books of the root in its folder.
    fn check_is_not_revoked(&self) -> Result<(), Error> {
        match self.tier {
            Tier::Issuing => check_is_not_revoked(&self.folder, &self.certificate),
            Tier::Root => Ok(()),
        }
    }

    /// Enters a certificate into the books, unless a different process has signed its name for another key since it
    /// was checked.
    fn enter(&self, certificate: &Certificate) -> Result<(), Error> {
        for _ in 0..ATTEMPTS_TO_ENTER {
            if self.index()?.enter_unless_named(certificate)? {
                return Ok(());
            }
            // If this finds nothing, the certificate with the same name was revoked in between.
            self.check_name(certificate.parsed().subject().as_raw(), certificate)?;
        }
        Err(self.bad("other processes change its books all the time; try again".to_owned()))
    }

    /// Signs a certificate again, and enters it into the books.
    pub(super) fn sign_again(
        &self,
        other: &Certificate,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let certificate = self.signed_again(other, days, now)?;
        self.enter(&certificate)?;
        Ok(certificate)
    }

    /// Signs a certificate again that a CA has already: with its name, its key and its extensions, for so many
    /// days more.
    fn signed_again(
        &self,
        other: &Certificate,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let parsed = other.parsed();
        let is_itself = other.is_same_ca(&self.certificate);
        let validity = if is_itself {
            validity(days, now)?
        } else {
            validity_below(&self.certificate, &self.folder, days, now)?
        };
        let der = self.signer.sign_again(&parsed, &self.publication, Serial::random()?, validity)?;
        self.checked(&der)
    }

    /// Signs the key of another root under the other root's name: a cross-certificate. Whoever trusts this CA then
    /// trusts what is below the other one. The other root's self-signature proves that its owner has the key.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use cert_tool::{CaOptions, ParentCa};
    ///
    /// # let temporary = tempfile::tempdir()?;
    /// # let now = time::OffsetDateTime::now_utc();
    /// # let (old, new) = (temporary.path().join("old"), temporary.path().join("new"));
    /// let old = ParentCa::init_root(&old, &CaOptions::default(), now, &mut |_| Ok(None))?;
    /// let options = CaOptions { name: "Factory G2".to_owned(), ..CaOptions::default() };
    /// let new = ParentCa::init_root(&new, &options, now, &mut |_| Ok(None))?;
    /// let cross = old.cross_sign(new.certificate(), 3650, now)?;
    /// assert_eq!(cross.issuer(), "CN=Factory Root CA");
    /// assert_eq!(cross.subject(), "CN=Factory G2 Root CA");
    /// # Ok(())
    /// # }
    /// ```
    pub fn cross_sign(
        &self,
        other: &Certificate,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let certificate = self.cross_certificate(other, days, now)?;
        self.enter(&certificate)?;
        Ok(certificate)
    }

    /// A cross-certificate as [`Self::cross_sign`] makes it. The caller enters it into the books when a file has it.
    pub(super) fn cross_certificate(
        &self,
        other: &Certificate,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let name = ShownBare(other.subject());
        let parsed = other.parsed();
        if !parsed.is_ca() {
            return Err(self.bad(format!("it signs CAs, and `{name}` is not one")));
        }
        if !name::is_equal(parsed.subject(), parsed.issuer()) || parsed.verify_signature(None).is_err() {
            let reason = format!(
                "`{name}` is not signed by itself, so nothing proves that its owner has the key; a CA below another \
                 one is signed by its request (`cert-tool ca sign REQUEST.csr --ca ROOT --keep-subject --out NEW.pem`)"
            );
            return Err(self.bad(reason));
        }
        if let Some(reason) = damaged_extension(&parsed) {
            return Err(self.bad(format!("`{name}` can't be signed: extension {reason}")));
        }
        self.check_is_not_revoked()?;
        self.check_key_is_another(other.public_key_info())?;
        // Below the other root stands at least the CA that signs devices' certificates.
        let below = other.path_length().map_or(1, |length| length.min(1));
        if let Some(allowed) = self.certificate.path_length().filter(|allowed| *allowed < below + 1) {
            let reason = format!(
                "its path length is {allowed}: a cross-certificate for `{name}` with a CA below it needs {}",
                below + 1
            );
            return Err(self.bad(reason));
        }
        check_is_good(other, &self.folder, now)?;
        self.check_name(parsed.subject().as_raw(), other)?;
        let days_left = (other.not_after() - now).whole_days().clamp(1, u32::MAX.into());
        let days = days.min(u32::try_from(days_left).unwrap_or(u32::MAX));
        self.signed_again(other, days, now)
    }

    /// Parses what was signed, and makes sure that its name is nobody else's and its key is not compromised.
    fn checked(&self, der: &[u8]) -> Result<Certificate, Error> {
        let certificate = Certificate::from_der(der).ok_or(Error::Crypto("encoding a certificate"))?;
        let key = Fingerprint::of(&weak_keys::usual_form(certificate.public_key_info()));
        if self.index()?.is_compromised(key)? {
            return Err(Error::BadRequest { source: Box::new(Refusal::CompromisedKey) });
        }
        let parsed = certificate.parsed();
        let earlier = self
            .index()?
            .newest_of_ca(parsed.subject(), &weak_keys::usual_form(certificate.public_key_info()))?;
        if earlier.and_then(|earlier| earlier.revocation).is_some_and(Revocation::is_hold) {
            return Err(Error::BadRequest { source: Box::new(Refusal::OnHold) });
        }
        self.check_name(parsed.subject().as_raw(), &certificate)?;
        Ok(certificate)
    }

    /// Refuses a name that is this CA's own, or that of a CA with another key: chains and revocation lists could
    /// not be told apart.
    fn check_name(&self, subject: &[u8], certificate: &Certificate) -> Result<(), Error> {
        let name = ShownBare(certificate.subject());
        let is_own_key = certificate.public_key_info() == self.certificate.public_key_info();
        if subject == self.signer.name() && !is_own_key {
            return Err(self.bad(format!("`{name}` is its own name; a CA below it needs a different one")));
        }
        if is_own_key && subject != self.signer.name() {
            return Err(
                self.bad(format!("the key of `{name}` is its own; a CA below it needs a different one"))
            );
        }
        let namesakes = self.index()?.namesakes(certificate)?;
        let Some(other) = namesakes.last() else { return Ok(()) };
        let reason = format!(
            "it has signed `{name}` with another key (serial number {}); a CA with a new key needs a new name, or \
             the old certificate must be revoked first{}",
            other.certificate.serial(),
            if other.revocation.is_some() { ", for good: it is on hold, which can be released" } else { "" }
        );
        Err(self.bad(reason))
    }

    fn check_path_length(&self, wanted: Option<u8>) -> Result<(), Error> {
        match (self.certificate.path_length(), wanted) {
            (Some(0), _) => Err(self.bad(
                "its path length is 0: it signs the certificates of devices and modules, not those of CAs; sign \
                 with its root, or with a CA that was made with `--path-length`"
                    .to_owned(),
            )),
            (Some(allowed), Some(wanted)) if u32::from(wanted) >= allowed => Err(self.bad(format!(
                "its path length is {allowed}, so that of a CA below it is at most {}, not {wanted}",
                allowed - 1
            ))),
            _ => Ok(()),
        }
    }

    /// The rules of Microsoft's how-to for an external root.
    fn check_azure_device_registry(
        &self,
        key: &SubjectKey<'_>,
        terms: &CaTerms,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<(), Error> {
        let parsed = self.certificate.parsed();
        let usage = parsed.key_usage().ok().flatten();
        let has_usages = usage.is_some_and(|usage| {
            usage.value.digital_signature() && usage.value.key_cert_sign() && usage.value.crl_sign()
        });
        let extended = parsed.extended_key_usage().ok().flatten();
        let fault = if self.tier != Tier::Root {
            Some("it is not a root")
        } else if self.signer.key().key_type().is_rsa() {
            Some("its key is RSA, not on a curve")
        } else if self.certificate.path_length() != Some(1) {
            Some("its path length is not 1")
        } else if !has_usages {
            Some("its key usage is not digitalSignature, keyCertSign and cRLSign")
        } else if extended.is_some_and(|usage| !usage.value.client_auth) {
            Some("its extended key usage lacks clientAuth")
        } else if key.key_type().is_none_or(crate::keys::private::KeyType::is_rsa) {
            Some("the key of the request is not on P-256 or P-384")
        } else if terms.path_length != Some(0) {
            Some("the CA below it must have path length 0")
        } else if days < AZURE_DEVICE_REGISTRY_DAYS {
            Some("fewer than 365 days are asked for")
        } else if self.certificate.not_after() < now + time::Duration::days(AZURE_DEVICE_REGISTRY_DAYS.into())
        {
            Some("it ends in less than 365 days")
        } else {
            None
        };
        match fault {
            None => Ok(()),
            Some(fault) => Err(self.bad(format!("Azure Device Registry does not take it: {fault}"))),
        }
    }

    fn bad(&self, reason: String) -> Error {
        Error::BadCa { path: self.folder.clone(), reason }
    }
}

impl fmt::Debug for ParentCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParentCa({})", self.certificate.subject())
    }
}

/// The attempts to enter a certificate while other processes revoke those with the same name.
const ATTEMPTS_TO_ENTER: usize = 3;
/// The days for which a CA of Azure Device Registry must be good.
pub(super) const AZURE_DEVICE_REGISTRY_DAYS: u32 = 365;

//! [`RootCa`]: the CA that signs issuing CAs. Its folder may be on a machine that has no network.

use std::fmt;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::folder::{self, ROOT_CERTIFICATE, ROOT_FILES, ROOT_KEY};
use super::init::{CaOptions, check_name};
use super::{EarlierEnd, prove, validity, validity_below};
use crate::certificate::{Certificate, read_certificate};
use crate::csr::CaRequest;
use crate::error::Error;
use crate::fs;
use crate::secret::AskSecret;
use crate::signer::{KeyHandle, Signer};
use crate::token::TokenUri;
use crate::x509::{Profile, Serial, SubjectKey, self_sign_root};

/// A root CA with its key at hand.
pub struct RootCa {
    folder: PathBuf,
    certificate: Certificate,
    signer: Signer,
}

impl RootCa {
    /// Makes a root CA, and no issuing CA, in a folder; nothing in it is overwritten.
    pub fn init(
        folder: &Path,
        options: &CaOptions,
        now: OffsetDateTime,
        ask: &mut AskSecret<'_>,
    ) -> Result<Self, Error> {
        check_name(folder, &options.name)?;
        folder::prepare(folder, &ROOT_FILES)?;
        Self::create(folder, options, options.token.as_ref(), now, ask)
    }

    /// Makes a root CA in a folder that is ready for it.
    pub(super) fn create(
        folder: &Path,
        options: &CaOptions,
        token: Option<&TokenUri>,
        now: OffsetDateTime,
        ask: &mut AskSecret<'_>,
    ) -> Result<Self, Error> {
        let key = ROOT_KEY.create(folder, options, token, ask)?;
        let name = format!("{} Root CA", options.name);
        let der = self_sign_root(&name, key.as_ref(), Serial::random()?, validity(options.root_days, now))?;
        let certificate = Certificate::from_der(&der).ok_or(Error::Crypto("encoding a certificate"))?;
        folder::write_certificates(&folder.join(ROOT_CERTIFICATE), [&certificate])?;
        let signer = Signer::new(&der, key)?;
        Ok(Self { folder: folder.to_owned(), certificate, signer })
    }

    /// Opens the root CA in a folder, and asks for what its key is locked with.
    pub fn open_with(folder: &Path, ask: &mut AskSecret<'_>) -> Result<Self, Error> {
        fs::check_is_private(folder)?;
        let certificate = read_certificate(&folder.join(ROOT_CERTIFICATE))?;
        let key = ROOT_KEY.open(folder, ask)?;
        folder::check_is_ca_for(&certificate, key.as_ref())
            .map_err(|reason| Error::BadCa { path: folder.to_owned(), reason: reason.to_owned() })?;
        let signer = Signer::new(certificate.der(), key)?;
        Ok(Self { folder: folder.to_owned(), certificate, signer })
    }

    /// Its certificate, which a hub is to trust.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs the request of an issuing CA, PEM or DER, that [`request_ca`](crate::request_ca) or another
    /// tool made. Its subject must be one common name; all else in the certificate is ours: it is good for
    /// `days`, but never longer than the root, and its CA can't sign CAs (path length 0).
    pub fn sign_request(
        &self,
        request: impl AsRef<[u8]>,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let request = CaRequest::parse(request.as_ref())?;
        self.sign(request.common_name(), request.key(), days, now)
    }

    /// As [`CertificateAuthority::earlier_end`](crate::CertificateAuthority::earlier_end).
    pub fn earlier_end(&self, days: u32, now: OffsetDateTime) -> Option<EarlierEnd> {
        EarlierEnd::below(&self.certificate, days, now)
    }

    /// As [`CertificateAuthority::prove`](crate::CertificateAuthority::prove).
    pub fn prove(&self, code: &str, now: OffsetDateTime) -> Result<Certificate, Error> {
        prove(&self.signer, &self.certificate, &self.folder, code, now)
    }

    pub(super) fn sign_issuing(
        &self,
        common_name: &str,
        key: &dyn KeyHandle,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        self.sign(common_name, &SubjectKey::Own(key), days, now)
    }

    fn sign(
        &self,
        common_name: &str,
        key: &SubjectKey<'_>,
        days: u32,
        now: OffsetDateTime,
    ) -> Result<Certificate, Error> {
        let validity = validity_below(&self.certificate, &self.folder, days, now)?;
        let serial = Serial::random()?;
        let der = self.signer.sign_certificate(Profile::IssuingCa, common_name, key, serial, validity)?;
        Certificate::from_der(&der).ok_or(Error::Crypto("encoding a certificate"))
    }
}

impl fmt::Debug for RootCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootCa({})", self.certificate.subject())
    }
}

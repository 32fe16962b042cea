//! [`CaDescription`] and [`CaCertificates`]: what is in a CA's folder, for which no key has to be opened.

use std::path::Path;

use super::folder::{self, CHAIN, ISSUING_CERTIFICATE, ISSUING_KEY, KeyFiles, ROOT_CERTIFICATE, ROOT_KEY};
use crate::error::Error;
use crate::keys::pkcs11::TokenUri;
use crate::platform::fs;
use crate::policy::Policy;
use crate::profile::Profiles;
use crate::x509::certificate::{Certificate, read_certificate, read_certificates};

/// The certificates of a CA's folder. Neither its policy nor its profiles are read for them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaCertificates {
    /// The root, where its certificate is kept there.
    pub root: Option<Certificate>,
    /// The CAs between the root and the issuing one, from below.
    pub between: Vec<Certificate>,
    /// The CA that issues; none where there is only a root, or a request that waits for an answer.
    pub issuing: Option<Certificate>,
}

impl CaCertificates {
    /// Reads the certificates in a folder.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        folder::recover(folder)?;
        let optional = |file: &str| {
            let path = folder.join(file);
            fs::is_present(&path)?.then(|| read_certificate(&path)).transpose()
        };
        let (root, issuing) = (optional(ROOT_CERTIFICATE)?, optional(ISSUING_CERTIFICATE)?);
        if root.is_none() && issuing.is_none() && !folder.join(folder::ISSUING_REQUEST).exists() {
            let reason = "there is no certificate and no request in it".to_owned();
            return Err(Error::BadCa { path: folder.to_owned(), reason });
        }
        let chain = folder.join(CHAIN);
        let between = if fs::is_present(&chain)? { read_certificates(&chain)? } else { Vec::new() };
        Ok(Self { root, between, issuing })
    }
}

/// The contents of a CA's folder.
#[derive(Debug)]
#[non_exhaustive]
pub struct CaDescription {
    /// The root, where its certificate is kept there.
    pub root: Option<Certificate>,
    /// The CAs between the root and the issuing one, from below.
    pub between: Vec<Certificate>,
    /// The CA that issues; none where there is only a root, or a request that waits for an answer.
    pub issuing: Option<Certificate>,
    /// The place of the root's key.
    pub root_key: KeyPlace,
    /// The place of the issuing CA's key.
    pub issuing_key: KeyPlace,
    /// The policy of the issuing CA.
    pub policy: Policy,
    /// The profiles of its certificates: their names, their places, and what they add.
    pub profiles: Vec<ProfileSummary>,
    /// The reason why the profiles can't be used, if they can't: nothing is issued then.
    pub profile_fault: Option<Error>,
}

/// A profile of a CA.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileSummary {
    /// Its name.
    pub name: String,
    /// The file, and the line on which it begins.
    pub place: String,
    /// A short description of what the profile adds to a certificate.
    pub summary: String,
}

/// The place of a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPlace {
    /// Not here.
    Elsewhere,
    /// In a file, encrypted.
    EncryptedFile,
    /// In a file, protected by its mode only.
    PlainFile,
    /// In a PKCS#11 token.
    Token(Box<TokenUri>),
}

impl CaDescription {
    /// Returns true for a certificate of the root's name, as an older root gives the root of a new key.
    pub fn is_of_root(&self, between: &Certificate) -> bool {
        self.root.as_ref().is_some_and(|root| root.subject() == between.subject())
    }

    /// Looks into a folder.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use cert_tool::{CaDescription, CaOptions, CertificateAuthority, KeyPlace};
    /// # let temporary = tempfile::tempdir()?;
    /// # let folder = temporary.path().join("ca");
    /// CertificateAuthority::init(&folder, &CaOptions::default(), time::OffsetDateTime::now_utc())?;
    /// let ca = CaDescription::read(&folder)?;
    /// assert_eq!(ca.root_key, KeyPlace::PlainFile);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let CaCertificates { root, between, issuing } = CaCertificates::read(folder)?;
        let policy = Policy::read(folder)?;
        let (profiles, profile_fault) = match Profiles::read(folder, &policy) {
            Ok(profiles) => (profiles, None),
            Err(error) => (Profiles::default(), Some(error)),
        };
        let profiles = profiles.iter().map(|profile| ProfileSummary {
            name: profile.name().to_owned(),
            place: profile.place(),
            summary: profile.summary(),
        });
        Ok(Self {
            root,
            between,
            issuing,
            root_key: KeyPlace::find(folder, ROOT_KEY)?,
            issuing_key: KeyPlace::find(folder, ISSUING_KEY)?,
            policy,
            profiles: profiles.collect(),
            profile_fault,
        })
    }
}

impl KeyPlace {
    fn find(folder: &Path, files: KeyFiles) -> Result<Self, Error> {
        if let Some(uri) = files.token_uri(folder)? {
            return Ok(Self::Token(Box::new(uri)));
        }
        let path = folder.join(files.key);
        if !fs::is_present(&path)? {
            return Ok(Self::Elsewhere);
        }
        let text = zeroize::Zeroizing::new(fs::read_bounded(&path, MAX_KEY_BYTES)?);
        let is_encrypted =
            crate::encoding::pem::find(&text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----").is_some();
        Ok(if is_encrypted { Self::EncryptedFile } else { Self::PlainFile })
    }
}

const MAX_KEY_BYTES: u64 = 64 * 1024;

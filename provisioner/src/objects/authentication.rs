//! The authentication of a single identity, from given thumbprints, certificates and keys.

use hub_types::shown::ShownPath;
use std::io;
use std::path::{Path, PathBuf};

use hub_types::symmetric_key::{KeyError, SymmetricKey, SymmetricKeys};
use hub_types::{Authentication, IdentityId, Thumbprint};

/// The choice of an authentication.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuthChoice {
    /// The method; `None` for the one that the other members imply.
    pub(crate) method: Option<AuthMethod>,
    /// The primary thumbprint.
    pub(crate) primary: Option<Thumbprint>,
    /// The secondary thumbprint.
    pub(crate) secondary: Option<Thumbprint>,
    /// A certificate file: its SHA-256 is the primary thumbprint.
    pub(crate) certificate: Option<PathBuf>,
    /// The files with the primary and the secondary symmetric key.
    pub(crate) keys: Option<(PathBuf, PathBuf)>,
}

/// A method of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    /// With a symmetric key.
    Sas,
    /// With a certificate of a CA that the hub trusts.
    X509Ca,
    /// With a certificate whose thumbprint the hub has.
    X509Thumbprint,
}

/// The reason why an authentication can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AuthChoiceError {
    /// The certificate can't be read.
    #[error(transparent)]
    Certificate(#[from] cert_tool::Error),
    /// The certificate is for a different identity.
    #[error("the certificate in `{}` is for `{found}`, not for `{identity}`", ShownPath(path))]
    CertificateOfOther {
        /// The file.
        path: PathBuf,
        /// The name in the certificate.
        found: String,
        /// The identity.
        identity: IdentityId,
    },
    /// A key can't be used.
    #[error("the key in `{}` can't be used", ShownPath(path))]
    Key {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: KeyError,
    },
    /// A key file can't be read.
    #[error("can't read the key file `{}`", ShownPath(path))]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The method and the other members do not fit together.
    #[error("thumbprints go with x509_thumbprint only, keys with sas only")]
    Mixed,
    /// The method needs a thumbprint.
    #[error("x509_thumbprint needs --primary-thumbprint, --secondary-thumbprint or --certificate")]
    NoThumbprint,
}

impl AuthChoice {
    /// Returns the chosen authentication, if there is a choice. `current` is the authentication of an
    /// existing identity.
    pub(super) fn resolve(
        &self,
        identity: &IdentityId,
        current: Option<&Authentication>,
    ) -> Result<Option<Authentication>, AuthChoiceError> {
        let certificate =
            self.certificate.as_deref().map(|path| thumbprint_of(path, identity)).transpose()?;
        let (primary, secondary) = (certificate.or(self.primary), self.secondary);
        let has_thumbprint = primary.is_some() || secondary.is_some();
        let keys = self.read_keys()?;
        let method = match self.method {
            Some(method) => method,
            None if has_thumbprint => AuthMethod::X509Thumbprint,
            None if keys.is_some() => AuthMethod::Sas,
            None => return Ok(None),
        };
        match method {
            AuthMethod::X509Thumbprint if keys.is_none() => {
                let current = current.map(Authentication::thumbprints).unwrap_or_default();
                let primary = primary.or(current.primary_thumbprint);
                let secondary = secondary.or(current.secondary_thumbprint);
                if primary.is_none() && secondary.is_none() {
                    return Err(AuthChoiceError::NoThumbprint);
                }
                Ok(Some(Authentication::SelfSigned { primary, secondary }))
            }
            AuthMethod::Sas if !has_thumbprint => Ok(Some(Authentication::Sas(keys))),
            AuthMethod::X509Ca if !has_thumbprint && keys.is_none() => {
                Ok(Some(Authentication::CertificateAuthority))
            }
            _ => Err(AuthChoiceError::Mixed),
        }
    }

    fn read_keys(&self) -> Result<Option<SymmetricKeys>, AuthChoiceError> {
        match &self.keys {
            Some((primary, secondary)) => {
                Ok(Some(SymmetricKeys { primary: read_key(primary)?, secondary: read_key(secondary)? }))
            }
            None => Ok(None),
        }
    }
}

fn thumbprint_of(path: &Path, identity: &IdentityId) -> Result<Thumbprint, AuthChoiceError> {
    let certificate = cert_tool::read_certificate(path)?;
    match certificate.common_name() {
        Some(name) if name == identity.common_name() => Ok(certificate.sha256().into()),
        name => Err(AuthChoiceError::CertificateOfOther {
            path: path.to_owned(),
            found: name.unwrap_or("nobody").to_owned(),
            identity: identity.clone(),
        }),
    }
}

fn read_key(path: &Path) -> Result<SymmetricKey, AuthChoiceError> {
    let text = cli_support::text::read(path)
        .map_err(|source| AuthChoiceError::KeyFile { path: path.to_owned(), source })?;
    SymmetricKey::try_from(text.trim().to_owned())
        .map_err(|source| AuthChoiceError::Key { path: path.to_owned(), source })
}

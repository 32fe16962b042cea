//! The credentials of devices and modules, and their sources.

use hub_types::shown::ShownPath;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cert_tool::{Certificate, IssuedList, PublicKey};
use hub_types::{IdentityId, SymmetricKey};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::given_files::GivenFiles;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec};

/// The credentials of a device or a module. Keys are wiped when dropped and never shown.
#[derive(Clone)]
pub(crate) enum DeviceCredentials {
    /// A certificate with those of the CAs above it, and its private key.
    Certificate(Arc<CertifiedKey>),
    /// A symmetric key.
    Key(SymmetricKey),
}

/// The reason why existing credentials can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CredentialError {
    /// A file can't be read, or holds something else.
    #[error(transparent)]
    File(#[from] cert_tool::Error),
    /// The files that rows name can't be looked up.
    #[error("the files that rows name can't be looked up")]
    Lookup(#[source] rusqlite::Error),
    /// The key is another certificate's.
    #[error("`{}` is not the key of the certificate `{}`", ShownPath(private_key), ShownPath(certificate))]
    OtherKey {
        /// The key.
        private_key: PathBuf,
        /// The certificate.
        certificate: PathBuf,
    },
    /// The key is of a kind that TLS has no use for.
    #[error("the key `{}` can't be used for TLS", ShownPath(private_key))]
    Unsupported {
        /// The key.
        private_key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl CredentialError {
    /// The remedy, for people.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::File(error) => error.hint(),
            Self::OtherKey { .. } => {
                Some("put the right key beside the certificate, or issue both anew".into())
            }
            Self::Unsupported { .. } => Some("use a key on P-256 or P-384, or RSA".into()),
            Self::Lookup(_) => None,
        }
    }
}

impl DeviceCredentials {
    /// Reads a certificate, those of the CAs above it, and its private key: files, or `path#offset`
    /// in a bundle.
    pub(crate) fn read(certificate: &Path, private_key: &Path) -> Result<Self, CredentialError> {
        let certificates = cert_tool::read_chain(certificate)?;
        let chain = certificates
            .iter()
            .map(|certificate| CertificateDer::from(Certificate::der(certificate).to_vec()))
            .collect();
        let unsupported =
            |source| CredentialError::Unsupported { private_key: private_key.to_owned(), source };
        let der = cert_tool::read_private_key(private_key)?;
        let key = PrivateKeyDer::try_from(der.as_slice())
            .map_err(|error| unsupported(rustls::Error::General(error.to_owned())))?;
        let certified = CertifiedKey::new(chain, any_supported_type(&key).map_err(unsupported)?);
        // rustls would compare them too, but reads fewer certificates than hubs take: none of version 1, none with an
        // extension that is critical and unknown, none whose curve is written out. To show them it need not read them.
        let key = certified.key.public_key().and_then(|info| PublicKey::from_der(&info));
        let fits = |key: PublicKey| certificates.first().is_some_and(|one| key.is_of(one.public_key_info()));
        if !key.is_none_or(fits) {
            return Err(CredentialError::OtherKey {
                private_key: private_key.to_owned(),
                certificate: certificate.to_owned(),
            });
        }
        Ok(Self::Certificate(Arc::new(certified)))
    }
}

impl fmt::Debug for DeviceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate(_) => "DeviceCredentials(certificate)",
            Self::Key(_) => "DeviceCredentials(key)",
        })
    }
}

/// The sources of credentials: the files that a batch's rows name, the certificates that a CA has
/// issued, and the symmetric keys that the batch gives.
#[derive(Default)]
pub(crate) struct CredentialSource {
    /// The files that rows name.
    pub(crate) files: Option<GivenFiles>,
    /// The certificates that a CA has issued.
    pub(crate) issued: Option<IssuedList>,
    /// The keys that the batch gives.
    pub(crate) keys: Arc<GivenKeys>,
}

impl CredentialSource {
    /// The credentials of an identity; `None` where no key is at hand.
    pub(crate) fn find(&self, spec: &IdentitySpec) -> Result<Option<DeviceCredentials>, CredentialError> {
        if let AuthSpec::Sas { .. } = spec.state.auth {
            return Ok(self
                .keys
                .get(&spec.identity)
                .map(|keys| DeviceCredentials::Key(keys.primary.clone())));
        }
        match self.paths(&spec.identity)? {
            (Some(certificate), Some(private_key)) => {
                DeviceCredentials::read(&certificate, &private_key).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The certificate of an identity, where one is at hand.
    pub(crate) fn certificate(&self, identity: &IdentityId) -> Result<Option<PathBuf>, CredentialError> {
        Ok(self.paths(identity)?.0)
    }

    /// A row's own certificate comes first. Its key need not stand in the row.
    fn paths(&self, identity: &IdentityId) -> Result<(Option<PathBuf>, Option<PathBuf>), CredentialError> {
        let given = match &self.files {
            Some(files) => files.find(identity).map_err(CredentialError::Lookup)?,
            None => None,
        };
        let (certificate, private_key) =
            given.map(|given| (given.certificate, given.private_key)).unwrap_or_default();
        if certificate.is_some() && private_key.is_some() {
            return Ok((certificate, private_key));
        }
        let issued = match &self.issued {
            Some(list) => list.find(identity)?,
            None => None,
        };
        let (issued_certificate, issued_key) =
            issued.map(|facts| (Some(facts.certificate), facts.private_key)).unwrap_or_default();
        Ok((certificate.or(issued_certificate), private_key.or(issued_key)))
    }
}

//! [`NewCertificate`]: a certificate that is signed, with everything that the index and the output take of it.

use std::path::PathBuf;

use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint};
use zeroize::Zeroizing;

use crate::issued::record::IssuedAuth;
use crate::keys::fingerprint::Fingerprint;
use crate::x509::encoder::{Serial, Validity};

/// A certificate that is not written yet.
pub(crate) struct NewCertificate {
    pub(crate) identity: IdentityId,
    pub(crate) common_name: String,
    pub(crate) auth: IssuedAuth,
    pub(crate) certificate_pem: Vec<u8>,
    pub(crate) key_pem: Option<Zeroizing<Vec<u8>>>,
    /// Stands for the public key.
    pub(crate) key: Fingerprint,
    pub(crate) sha256: Sha256Thumbprint,
    pub(crate) sha1: Sha1Thumbprint,
    pub(crate) serial: Serial,
    pub(crate) validity: Validity,
    pub(crate) replaced: Option<Sha256Thumbprint>,
    pub(crate) key_elsewhere: Option<PathBuf>,
    /// The parts of its request beside the name and the key.
    pub(crate) not_copied: Vec<String>,
}

impl NewCertificate {
    /// Returns whether its key came with a request and was not made here.
    pub(crate) fn is_requested(&self) -> bool {
        self.key_pem.is_none()
    }

    /// Returns the length of the private key's PEM in bytes.
    pub(crate) fn key_len(&self) -> usize {
        self.key_pem.as_ref().map_or(0, |pem| pem.len())
    }
}

//! [`KeySource`]: the origin of the key of a certificate.

use hub_types::IdentityId;

use crate::error::refusal::Refusal;
use crate::keys::fingerprint::Fingerprint;
use crate::keys::public::PublicKeyInput;
use crate::x509::csr::{self, CsrInput};
use crate::x509::encoder::SubjectKey;

/// The source of a certificate's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// From the device, which keeps the private key and sends a request.
    Csr(CsrInput),
    /// From here.
    Generate,
    /// From somebody who vouches for it. Nothing proves that its owner has the private key.
    PublicKey(PublicKeyInput),
}

impl KeySource {
    /// The public key to be certified, as a DER `SubjectPublicKeyInfo` (RFC 5280 §4.1.2.7); `None` where a key is
    /// to be made. A request must be this identity's, and signed with its key; a key must be strong enough.
    pub fn read(self, identity: &IdentityId) -> Result<Option<Vec<u8>>, Refusal> {
        match self {
            Self::Generate => Ok(None),
            given => given_key(identity, given).map(|key| Some(key.to_info())),
        }
    }
}

/// Stands for the public key that a request brings, if it brings one.
pub(super) fn key_in(identity: &IdentityId, source: KeySource) -> Option<Result<Fingerprint, Refusal>> {
    match source {
        KeySource::Generate => None,
        source => Some(given_key(identity, source).map(|key| Fingerprint::of(&key.to_info()))),
    }
}

/// Reads the key that a request brings.
fn given_key(identity: &IdentityId, source: KeySource) -> Result<SubjectKey<'static>, Refusal> {
    given(identity, source).map(|given| given.key)
}

/// The key that a request brings, and the parts that are not copied.
pub(super) struct RequestedKey {
    pub(super) key: SubjectKey<'static>,
    /// The parts of the request beside the name and the key.
    pub(super) not_copied: Vec<String>,
}

/// Reads the key that a request brings, with the parts of the request that are not copied.
pub(super) fn given(identity: &IdentityId, source: KeySource) -> Result<RequestedKey, Refusal> {
    let (info, not_copied) = match source {
        KeySource::Csr(input) => requested_key(identity, input)?,
        KeySource::PublicKey(input) => (csr::unproven_key(&input.read()?)?, Vec::new()),
        KeySource::Generate => return Err(Refusal::Repeated),
    };
    let key = SubjectKey::given(&info);
    let key = key.ok_or_else(|| Refusal::WeakKey { reason: "its algorithm is not supported".to_owned() })?;
    Ok(RequestedKey { key, not_copied })
}

fn requested_key(identity: &IdentityId, input: CsrInput) -> Result<(Vec<u8>, Vec<String>), Refusal> {
    let csr = input.read()?;
    if csr.identity() != identity {
        return Err(Refusal::OtherIdentity { found: csr.identity().clone() });
    }
    Ok(csr.into_parts())
}

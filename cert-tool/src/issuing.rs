//! One certificate from one order: the part that many threads do at once.

use std::path::PathBuf;

use hub_types::limits::MAX_COMMON_NAME_CHARS;
use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint};
use zeroize::Zeroizing;

use crate::ca::CertificateAuthority;
use crate::csr::{self, CsrInput};
use crate::error::Error;
use crate::facts::IssuedAuth;
use crate::fingerprint::Fingerprint;
use crate::issue::{IssueRequest, KeySource, LongNames};
use crate::key::{KeyType, PrivateKey};
use crate::leaf::LeafTemplates;
use crate::pem;
use crate::refusal::Refusal;
use crate::x509::{Serial, SubjectKey, Validity};

/// A request that may be fulfilled, as far as the index knows.
pub(crate) struct Order {
    pub(crate) request: IssueRequest,
    /// The thumbprint that stays registered beside the new one.
    pub(crate) replaced: Option<Sha256Thumbprint>,
    /// Where the private key is when it stays the same.
    pub(crate) key_elsewhere: Option<PathBuf>,
}

/// A certificate that is not written yet.
pub(crate) struct Made {
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
}

impl Made {
    /// How many bytes its private key's PEM has.
    pub(crate) fn key_len(&self) -> usize {
        self.key_pem.as_ref().map_or(0, |pem| pem.len())
    }
}

/// What all certificates of one call have in common.
#[derive(Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) ca: &'a CertificateAuthority,
    pub(crate) leaves: &'a LeafTemplates<'a>,
    pub(crate) validity: Validity,
    pub(crate) key_type: KeyType,
    pub(crate) long_names: LongNames,
}

impl Maker<'_> {
    pub(crate) fn make(&self, order: Order, serial: Serial) -> Result<Result<Made, Refusal>, Error> {
        let Order { request: IssueRequest { identity, key, auth }, replaced, key_elsewhere } = order;
        let common_name = identity.common_name();
        let length = common_name.len();
        if self.long_names == LongNames::Refuse && length > MAX_COMMON_NAME_CHARS {
            return Ok(Err(Refusal::CommonNameTooLong { length }));
        }
        let own;
        let (key, key_pem) = match key {
            KeySource::Generate => {
                if let Some(refusal) = self.ca.policy().refusal(&identity, Some(self.key_type)) {
                    return Ok(Err(refusal));
                }
                own = PrivateKey::generate(self.key_type)?;
                (SubjectKey::Own(&own), Some(own.to_pem()?))
            }
            source => match given_key(&identity, source) {
                Ok(key) => match self.ca.policy().refusal(&identity, key.key_type()) {
                    Some(refusal) => return Ok(Err(refusal)),
                    None => (key, None),
                },
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        let info = key.to_info();
        let der = self.leaves.sign(&common_name, &key, &info, serial)?;
        Ok(Ok(Made {
            identity,
            common_name,
            auth,
            certificate_pem: pem::encode_public(pem::CERTIFICATE, &der),
            key_pem,
            key: Fingerprint::of(&info),
            sha256: Sha256Thumbprint::of_der(&der),
            sha1: Sha1Thumbprint::of_der(&der),
            serial,
            validity: self.validity,
            replaced,
            key_elsewhere,
        }))
    }
}

/// Stands for the public key that a request brings, if it brings one.
pub(crate) fn key_in(identity: &IdentityId, source: KeySource) -> Option<Result<Fingerprint, Refusal>> {
    match source {
        KeySource::Generate => None,
        source => Some(given_key(identity, source).map(|key| Fingerprint::of(&key.to_info()))),
    }
}

fn given_key(identity: &IdentityId, source: KeySource) -> Result<SubjectKey<'static>, Refusal> {
    let info = match source {
        KeySource::Csr(input) => requested_key(identity, input)?,
        KeySource::PublicKey(input) => {
            let info = input.read()?;
            csr::check_public_key(&info)?;
            info
        }
        KeySource::Generate => return Err(Refusal::Repeated),
    };
    SubjectKey::given(&info)
        .ok_or_else(|| Refusal::WeakKey { reason: "its algorithm is not supported".to_owned() })
}

fn requested_key(identity: &IdentityId, input: CsrInput) -> Result<Vec<u8>, Refusal> {
    let csr = input.read()?;
    if csr.identity() != identity {
        return Err(Refusal::OtherIdentity { found: csr.identity().clone() });
    }
    Ok(csr.into_public_key_info())
}

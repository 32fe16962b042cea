//! One certificate from one request: the part that many threads do at once.

use std::path::PathBuf;

use hub_types::limits::MAX_COMMON_NAME_CHARS;
use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint};
use zeroize::Zeroizing;

use crate::ca::CertificateAuthority;
use crate::certificate::upper_hex;
use crate::csr::CsrInput;
use crate::error::Error;
use crate::facts::{IssuedAuth, IssuedFacts, Row};
use crate::issue::{IssueRequest, KeySource, LongNames};
use crate::journal::Key;
use crate::key::{KeyType, PrivateKey};
use crate::pem;
use crate::refusal::Refusal;
use crate::x509::{Serial, SubjectKey, Validity};

/// A certificate that is not written yet.
pub(crate) struct Made {
    pub(crate) identity: IdentityId,
    auth: IssuedAuth,
    pub(crate) certificate_pem: Vec<u8>,
    pub(crate) key_pem: Option<Zeroizing<Vec<u8>>>,
    /// Stands for the public key.
    pub(crate) key: Key,
    sha256: Sha256Thumbprint,
    sha1: Sha1Thumbprint,
    serial: Serial,
    validity: Validity,
}

impl Made {
    pub(crate) fn row(&self, (certificate, private_key): (PathBuf, Option<PathBuf>)) -> Row {
        let facts = IssuedFacts {
            auth: self.auth,
            sha256: self.sha256,
            sha1: self.sha1,
            serial: upper_hex(self.serial.as_bytes()),
            not_before: self.validity.not_before,
            not_after: self.validity.not_after,
            certificate,
            private_key,
        };
        Row { identity: self.identity.clone(), facts }
    }
}

/// What all certificates of one call have in common.
#[derive(Clone, Copy)]
pub(crate) struct Maker<'a> {
    pub(crate) ca: &'a CertificateAuthority,
    pub(crate) validity: Validity,
    pub(crate) key_type: KeyType,
    pub(crate) long_names: LongNames,
}

impl Maker<'_> {
    pub(crate) fn make(&self, request: IssueRequest) -> Result<Result<Made, Refusal>, Error> {
        let length = request.identity.common_name().len();
        if self.long_names == LongNames::Refuse && length > MAX_COMMON_NAME_CHARS {
            return Ok(Err(Refusal::CommonNameTooLong { length }));
        }
        let IssueRequest { identity, key, auth } = request;
        match key {
            KeySource::Generate => {
                if let Some(refusal) = self.ca.policy().refusal(&identity, Some(self.key_type)) {
                    return Ok(Err(refusal));
                }
                let key = PrivateKey::generate(self.key_type)?;
                let key_pem = key.to_pem()?;
                self.sign(identity, auth, &SubjectKey::Own(&key), Some(key_pem)).map(Ok)
            }
            KeySource::Csr(input) => match requested_key(&identity, input) {
                Ok(key) => match self.ca.policy().refusal(&identity, key.key_type()) {
                    Some(refusal) => Ok(Err(refusal)),
                    None => self.sign(identity, auth, &key, None).map(Ok),
                },
                Err(refusal) => Ok(Err(refusal)),
            },
        }
    }

    fn sign(
        &self,
        identity: IdentityId,
        auth: IssuedAuth,
        key: &SubjectKey<'_>,
        key_pem: Option<Zeroizing<Vec<u8>>>,
    ) -> Result<Made, Error> {
        let serial = Serial::random()?;
        let der = self.ca.sign_leaf(&identity.common_name(), key, serial, self.validity)?;
        Ok(Made {
            identity,
            auth,
            certificate_pem: pem::encode(pem::CERTIFICATE, &der).to_vec(),
            key_pem,
            key: Key::of_bytes(&key.to_info()),
            sha256: Sha256Thumbprint::of_der(&der),
            sha1: Sha1Thumbprint::of_der(&der),
            serial,
            validity: self.validity,
        })
    }
}

/// Stands for the public key in a request.
pub(crate) fn key_in(identity: &IdentityId, input: CsrInput) -> Result<Key, Refusal> {
    Ok(Key::of_bytes(&requested_key(identity, input)?.to_info()))
}

fn requested_key(identity: &IdentityId, input: CsrInput) -> Result<SubjectKey<'static>, Refusal> {
    let csr = input.read()?;
    if csr.identity() != identity {
        return Err(Refusal::OtherIdentity { found: csr.identity().clone() });
    }
    SubjectKey::requested(csr.public_key_info())
        .ok_or_else(|| Refusal::WeakKey { reason: "its algorithm is not supported".to_owned() })
}

//! [`Worker`]: certificates from jobs, made by many threads at once.

use std::path::{Path, PathBuf};

use hub_types::limits::MAX_COMMON_NAME_CHARS;
use hub_types::{IdentityId, Sha1Thumbprint, Sha256Thumbprint};
use zeroize::Zeroizing;

use crate::ca::CertificateAuthority;
use crate::encoding::pem;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issue::key_source::{KeySource, RequestedKey, given};
use crate::issue::prepared_profiles::{PreparedProfile, PreparedProfiles};
use crate::issue::request::{IssueRequest, LongNames};
use crate::issued::new_certificate::NewCertificate;
use crate::issued::record::IssuedAuth;
use crate::keys::fingerprint::Fingerprint;
use crate::keys::private::{KeyType, PrivateKey};
use crate::profile::{ProfileRow, parts_of_a_profile};
use crate::verify::name_constraints::PathConstraints;
use crate::x509::certificate::read_certificate;
use crate::x509::encoder::{Serial, SubjectKey};
use crate::x509::leaf_template::{LeafParts, ProfileParts};

/// One certificate to issue: a request that the index permits.
pub(crate) struct IssueJob {
    pub(crate) request: IssueRequest,
    /// The thumbprint that stays registered beside the new one.
    pub(crate) replaced: Option<Sha256Thumbprint>,
    /// The place of the private key, if the key stays the same.
    pub(crate) key_elsewhere: Option<PathBuf>,
    /// The place of the certificate that a renewal replaces.
    pub(crate) previous: Option<PathBuf>,
}

/// A certificate that is not signed yet.
pub(crate) struct UnsignedCertificate<'a> {
    prepared: &'a PreparedProfile<'a>,
    identity: IdentityId,
    common_name: String,
    auth: IssuedAuth,
    /// The bytes to sign.
    tbs: Vec<u8>,
    key_pem: Option<Zeroizing<Vec<u8>>>,
    key: Fingerprint,
    serial: Serial,
    replaced: Option<Sha256Thumbprint>,
    key_elsewhere: Option<PathBuf>,
    not_copied: Vec<String>,
}

/// The key that a certificate certifies.
struct CertifiedKey<'a> {
    key: SubjectKey<'a>,
    /// The private key, if it was made here.
    key_pem: Option<Zeroizing<Vec<u8>>>,
    /// The parts of a request that are not copied.
    not_copied: Vec<String>,
}

/// The values that all certificates of one call share.
#[derive(Clone, Copy)]
pub(crate) struct Worker<'a> {
    pub(crate) ca: &'a CertificateAuthority,
    pub(crate) prepared_profiles: &'a PreparedProfiles<'a>,
    pub(crate) key_type: KeyType,
    pub(crate) long_names: LongNames,
    /// The keys of the CA and of those above it, which nobody else may have.
    pub(crate) keys_of_cas: &'a [Fingerprint],
    /// The limits on names that the CA and those above it have.
    pub(crate) constraints: &'a PathConstraints,
}

impl<'a> Worker<'a> {
    /// Builds the unsigned certificate of a job, or returns the reason for a refusal.
    pub(crate) fn encode_tbs(
        &self,
        job: IssueJob,
        serial: Serial,
    ) -> Result<Result<UnsignedCertificate<'a>, Refusal>, Error> {
        let IssueJob {
            request: IssueRequest { identity, key, auth, row },
            replaced,
            key_elsewhere,
            previous,
        } = job;
        let common_name = identity.common_name();
        let (prepared, profile) = match self.profile_of(&identity, &common_name, &row, previous) {
            Ok(profiled) => profiled,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut own = None;
        let CertifiedKey { key, key_pem, not_copied } = match self.key_of(&identity, key, &mut own)? {
            Ok(key) => key,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let info = key.to_info();
        if key_pem.is_none() && self.keys_of_cas.contains(&Fingerprint::of(&info)) {
            return Ok(Err(Refusal::KeyOfCa));
        }
        let parts = LeafParts { common_name: &common_name, serial, profile: &profile };
        let tbs = prepared.templates.encode_tbs(&parts, &key, &info)?;
        if let Some(reason) = self.constraints.fault(&tbs) {
            return Ok(Err(Refusal::NameConstraints { reason }));
        }
        let key = Fingerprint::of(&info);
        Ok(Ok(UnsignedCertificate {
            prepared,
            identity,
            common_name,
            auth,
            tbs,
            key_pem,
            key,
            serial,
            replaced,
            key_elsewhere,
            not_copied,
        }))
    }

    /// Returns the profile of a row and the parts that it adds to the certificate.
    fn profile_of(
        &self,
        identity: &IdentityId,
        common_name: &str,
        row: &ProfileRow,
        previous: Option<PathBuf>,
    ) -> Result<(&'a PreparedProfile<'a>, ProfileParts), Refusal> {
        let length = common_name.len();
        if self.long_names == LongNames::Refuse && length > MAX_COMMON_NAME_CHARS {
            return Err(Refusal::CommonNameTooLong { length });
        }
        let prepared = self.prepared_profiles.of(row)?;
        let profile = prepared.render(identity, row)?;
        match previous.filter(|_| prepared.is_plain()).and_then(|previous| loss(&previous)) {
            Some(refusal) => Err(refusal),
            None => Ok((prepared, profile)),
        }
    }

    /// Reads the key that a request brings, or makes one, which `own` then holds.
    fn key_of<'k>(
        &self,
        identity: &IdentityId,
        source: KeySource,
        own: &'k mut Option<PrivateKey>,
    ) -> Result<Result<CertifiedKey<'k>, Refusal>, Error> {
        if source == KeySource::Generate {
            if let Some(refusal) = self.ca.policy().refusal(identity, Some(self.key_type)) {
                return Ok(Err(refusal));
            }
            let own = own.insert(PrivateKey::generate(self.key_type)?);
            let key_pem = Some(own.to_pem()?);
            return Ok(Ok(CertifiedKey { key: SubjectKey::Own(own), key_pem, not_copied: Vec::new() }));
        }
        Ok(given(identity, source).and_then(|RequestedKey { key, not_copied }| {
            match self.ca.policy().refusal(identity, key.key_type()) {
                Some(refusal) => Err(refusal),
                None => Ok(CertifiedKey { key, key_pem: None, not_copied }),
            }
        }))
    }

    /// The certificate in DER.
    pub(crate) fn sign(&self, unsigned: &UnsignedCertificate<'_>) -> Result<Vec<u8>, Error> {
        unsigned.prepared.templates.sign(&unsigned.tbs)
    }

    /// All that is written of a certificate.
    pub(crate) fn finish(&self, unsigned: UnsignedCertificate<'_>, der: &[u8]) -> NewCertificate {
        let UnsignedCertificate {
            prepared,
            identity,
            common_name,
            auth,
            key_pem,
            key,
            serial,
            replaced,
            key_elsewhere,
            not_copied,
            ..
        } = unsigned;
        NewCertificate {
            identity,
            common_name,
            auth,
            certificate_pem: pem::encode_public(pem::CERTIFICATE, der),
            key_pem,
            key,
            sha256: Sha256Thumbprint::of_der(der),
            sha1: Sha1Thumbprint::of_der(der),
            serial,
            validity: prepared.validity,
            replaced,
            key_elsewhere,
            not_copied,
        }
    }
}

/// Returns the reason why a certificate can't be renewed without a profile. A certificate that is
/// gone or unreadable prevents nothing.
fn loss(previous: &Path) -> Option<Refusal> {
    let parts = parts_of_a_profile(&read_certificate(previous).ok()?);
    (!parts.is_empty()).then(|| Refusal::ProfileNeeded { parts: parts.join(", ") })
}

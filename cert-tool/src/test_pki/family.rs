//! [`Family`]: the CAs of the test PKI, valid and invalid, and the template of a good certificate.

use time::{Duration, OffsetDateTime};

use super::encode::{
    CLIENT_AUTH, Extension, Hash, ORGANIZATION, Permitted, Spec, authority_key_id, basic_constraints,
    common_name, extended_key_usage, key_usage, name, name_constraints, revocation_list, subject_key_id,
};
use super::keys::{self, Key};
use crate::error::Error;

/// A CA, with the certificates of the CAs above it.
#[derive(Debug, Clone)]
pub(super) struct Ca {
    pub(super) name: Vec<u8>,
    pub(super) key: Key,
    pub(super) der: Vec<u8>,
}

/// The CAs, all from one seed.
pub(super) struct Family {
    pub(super) seed: u64,
    pub(super) at: OffsetDateTime,
    /// The only trusted CA.
    pub(super) root: Ca,
    /// The CA that issues the good certificates.
    pub(super) issuing: Ca,
    /// An unknown CA.
    pub(super) other: Ca,
    /// A CA with the issuing CA's name, but a different key.
    pub(super) impostor: Ca,
}

impl Family {
    pub(super) fn new(seed: u64, at: OffsetDateTime) -> Result<Self, Error> {
        let root = self_signed(seed, at, "root", "Test Root CA, keys are public")?;
        let other = self_signed(seed, at, "other", "Other Test Root CA, keys are public")?;
        let mut family = Self { seed, at, issuing: root.clone(), impostor: root.clone(), other, root };
        family.issuing = family.ca_below(&family.root, "issuing", ISSUING, |_| {})?;
        family.impostor = family.ca_below(&family.root, "impostor", ISSUING, |_| {})?;
        Ok(family)
    }

    /// The certificate of a CA that issues to devices only, changed by the caller before it is
    /// signed.
    pub(super) fn ca_below(
        &self,
        issuer: &Ca,
        label: &str,
        subject: &str,
        change: impl FnOnce(&mut Spec),
    ) -> Result<Ca, Error> {
        let key = Key::p256(self.seed, label)?;
        let name = common_name(subject);
        let mut spec = ca_spec(self.seed, self.at, label, &name, &key);
        spec.issuer.clone_from(&issuer.name);
        replace(&mut spec, basic_constraints(true, Some(0)));
        spec.extensions.push(authority_key_id(&issuer.key));
        change(&mut spec);
        Ok(Ca { der: spec.sign(&issuer.key), name, key })
    }

    /// A good certificate for a device or module, not yet signed.
    pub(super) fn leaf(&self, label: &str, subject: &str, issuer: &Ca, key: &Key) -> Spec {
        Spec {
            version: 2,
            serial: keys::serial(self.seed, label),
            hash: Hash::Sha256,
            issuer: issuer.name.clone(),
            subject: common_name(subject),
            not_before: self.at - DAY,
            not_after: self.at + YEARS_10,
            key_info: key.info().to_vec(),
            extensions: vec![
                authority_key_id(&issuer.key),
                subject_key_id(key.id()),
                key_usage(0x80, 1),
                extended_key_usage(CLIENT_AUTH),
                basic_constraints(false, None),
            ],
        }
    }

    /// The revocation lists by file name.
    pub(super) fn lists(&self) -> [(&'static str, Vec<u8>); 3] {
        let issuing = (self.issuing.name.as_slice(), &self.issuing.key);
        let forged = (self.issuing.name.as_slice(), &self.impostor.key);
        let revoked = keys::serial(self.seed, REVOKED);
        let now = (self.at - DAY, self.at + YEARS_10);
        [
            (LIST, revocation_list(issuing, now, &[&revoked])),
            (STALE_LIST, revocation_list(issuing, (self.at - DAY * 9, self.at - DAY), &[&revoked])),
            (FORGED_LIST, revocation_list(forged, now, &[])),
        ]
    }

    /// A CA that may issue only below the organization `Plant 7`.
    pub(super) fn plant_ca(&self) -> Result<Ca, Error> {
        let plant = name(&[(ORGANIZATION, b"Plant 7")]);
        self.ca_below(&self.root, "plant", "Test CA of Plant 7", |spec| {
            spec.extensions.push(name_constraints(&Permitted::Directory(&plant)));
        })
    }

    /// A CA that may issue only names below `factory.example`.
    pub(super) fn domain_ca(&self) -> Result<Ca, Error> {
        self.ca_below(&self.root, "domain", "Test CA of factory.example", |spec| {
            spec.extensions.push(name_constraints(&Permitted::Dns("factory.example")));
        })
    }
}

/// Replaces the extension with the same OID.
pub(super) fn replace(spec: &mut Spec, extension: Extension) {
    match spec.extensions.iter_mut().find(|other| other.oid == extension.oid) {
        Some(there) => *there = extension,
        None => spec.extensions.push(extension),
    }
}

fn self_signed(seed: u64, at: OffsetDateTime, label: &str, subject: &str) -> Result<Ca, Error> {
    let key = Key::p256(seed, label)?;
    let name = common_name(subject);
    let spec = ca_spec(seed, at, label, &name, &key);
    Ok(Ca { der: spec.sign(&key), name, key })
}

fn ca_spec(seed: u64, at: OffsetDateTime, label: &str, name: &[u8], key: &Key) -> Spec {
    Spec {
        version: 2,
        serial: keys::serial(seed, label),
        hash: Hash::Sha256,
        issuer: name.to_vec(),
        subject: name.to_vec(),
        not_before: at - YEARS_10,
        not_after: at + YEARS_10 * 2,
        key_info: key.info().to_vec(),
        extensions: vec![basic_constraints(true, None), key_usage(0x06, 7), subject_key_id(key.id())],
    }
}

pub(super) const LIST: &str = "issuing.crl.pem";
pub(super) const STALE_LIST: &str = "stale.crl.pem";
pub(super) const FORGED_LIST: &str = "forged.crl.pem";
/// The label of the certificate that the lists name.
pub(super) const REVOKED: &str = "revoked";
pub(super) const DAY: Duration = Duration::days(1);
pub(super) const YEARS_10: Duration = Duration::days(3653);
const ISSUING: &str = "Test Issuing CA, keys are public";

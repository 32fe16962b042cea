//! Requests for certificates, the options of issuing, and outcomes.

use std::num::NonZeroUsize;

use hub_types::IdentityId;
use time::OffsetDateTime;

use crate::error::refusal::Refusal;
use crate::issue::key_source::KeySource;
use crate::issued::record::{IssuedAuth, IssuedCertificate};
use crate::keys::private::KeyType;
use crate::profile::ProfileRow;

/// The options of issuing.
#[derive(Debug, Clone)]
pub struct IssueOptions {
    /// The lifetime of the certificates in days, unless the CA expires first; `None` is a year. A profile
    /// chosen for all requests that has dates of its own takes no days.
    pub days: Option<u32>,
    /// The number of threads; `None` is one for each core.
    pub threads: Option<NonZeroUsize>,
    /// The time.
    pub now: OffsetDateTime,
    /// The kind of the keys made here.
    pub key_type: KeyType,
    /// The treatment of common names that are too long for X.509.
    pub long_names: LongNames,
    /// The treatment of identities that have a certificate elsewhere.
    pub existing: Existing,
    /// The name of the profile of requests that name none.
    pub profile: Option<String>,
    /// The subject beside the common name, as RFC 4514 writes it, where the profile has none.
    pub subject: Option<String>,
}

/// The treatment of an identity that has a certificate of this CA in another place. A certificate
/// in the same place is kept, so that a command can be repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse it.
    #[default]
    Refuse,
    /// Give it another one, which shall be the only one to be registered.
    Replace,
    /// Give it another one with a new key, and keep the old thumbprint as the secondary one.
    Renew,
    /// The same, for the key that it has.
    RenewSameKey,
}

impl IssueOptions {
    /// A year, P-256, all cores, and nothing that X.509 does not allow.
    pub fn new(now: OffsetDateTime) -> Self {
        Self {
            days: None,
            threads: None,
            now,
            key_type: KeyType::default(),
            long_names: LongNames::Refuse,
            existing: Existing::Refuse,
            profile: None,
            subject: None,
        }
    }

    /// The lifetime in days, where a profile has no dates.
    pub fn lifetime(&self) -> u32 {
        self.days.unwrap_or(DEFAULT_DAYS)
    }
}

/// The treatment of common names with more than 64 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongNames {
    /// Write them, though some TLS stacks refuse such certificates.
    Allow,
    /// Refuse the identity.
    Refuse,
}

/// A certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueRequest {
    /// The identity that the certificate is for.
    pub identity: IdentityId,
    /// The source of its key.
    pub key: KeySource,
    /// The way in which a hub is to trust the certificate.
    pub auth: IssuedAuth,
    /// The profile of the certificate, and what its templates use.
    pub row: ProfileRow,
}

impl IssueRequest {
    /// A request for an identity, all else being as it is by default.
    pub fn new(identity: IdentityId, key: KeySource) -> Self {
        Self { identity, key, auth: IssuedAuth::default(), row: ProfileRow::default() }
    }
}

/// The result of one request.
#[derive(Debug)]
pub struct Issued {
    /// The identity that the certificate is for.
    pub identity: IdentityId,
    /// The outcome.
    pub outcome: Outcome,
    /// The parts of its request that were not copied into the certificate, if one was made:
    /// extensions by name or object identifier, and parts of its subject, as in `subject:O`.
    pub not_copied: Vec<String>,
}

/// The outcome of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It was in the store already, and stays as it was.
    AlreadyThere(IssuedCertificate),
    /// It was made now, and is on the disk.
    Issued(IssuedCertificate),
    /// It can't be.
    Refused(Refusal),
}

/// The number of requests with each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IssueSummary {
    /// Issued by this call.
    pub issued: u64,
    /// In the store already.
    pub already_there: u64,
    /// Refused.
    pub refused: u64,
}

impl IssueSummary {
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::AlreadyThere(_) => self.already_there += 1,
            Outcome::Issued(_) => self.issued += 1,
            Outcome::Refused(_) => self.refused += 1,
        }
    }
}

const DEFAULT_DAYS: u32 = 365;

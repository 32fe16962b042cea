//! The two kinds of entries, individual enrolments and groups: their rules in common, and what
//! differs.

use std::collections::BTreeMap;
use std::fmt;

use hub_types::dps::bulk::{
    EnrollmentBulk, EnrollmentBulkError, EnrollmentGroupBulk, EnrollmentGroupReference, EnrollmentReference,
};
use hub_types::dps::certificate::{CertificatePair, EnrollmentCertificate};
use hub_types::dps::enrollment::{AllocationPolicy, EnrollmentError, EnrollmentSettings};
use hub_types::dps::limits::{MAX_ENROLLMENTS, MAX_SYMMETRIC_KEY_GROUPS, MAX_X509_GROUPS};
use hub_types::dps::registration::RegistrationStatus;
use hub_types::dps::{
    Attestation, DpsErrorCode, EnrollmentGroup, EnrollmentGroupId, IndividualEnrollment, RegistrationId,
    RegistrationState, X509Attestation,
};
use hub_types::{Etag, IfMatch};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::certificate_info;
use super::journal::DpsSubject;
use super::kept::Kept;
use super::registry::DpsRegistry;
use crate::api_error::{ApiError, ApiResult};
use crate::ids::random;

/// An entry of the enrolment list.
pub(crate) trait Entry:
    Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + Send + 'static
{
    /// The id of an entry.
    type Id: Clone + Ord + fmt::Display + Send + Sync;
    /// A bulk operation that creates or updates.
    type Bulk: DeserializeOwned;
    /// A bulk operation that deletes.
    type BulkDeletion: DeserializeOwned;

    /// The words and codes of the kind.
    const KIND: EntryKind;
    /// True if the certificates of the attestation are kept, because devices do not present them.
    const KEEPS_CERTIFICATES: bool;

    /// Parses an id in a path.
    fn parse_id(text: &str) -> ApiResult<Self::Id>;
    fn id(&self) -> &Self::Id;
    fn attestation(&self) -> &Attestation;
    fn settings(&self) -> &EnrollmentSettings;
    fn parts_mut(&mut self) -> (&mut Attestation, &mut EnrollmentSettings);
    /// Checks the rules that concern more than one member.
    fn check(&self) -> Result<(), EnrollmentError>;

    /// All entries of the kind.
    fn table(registry: &DpsRegistry) -> &BTreeMap<Self::Id, Box<Kept<Self>>>;
    fn table_mut(registry: &mut DpsRegistry) -> &mut BTreeMap<Self::Id, Box<Kept<Self>>>;
    fn subject(id: &Self::Id) -> DpsSubject;
    /// The number of entries that share a bound with this one, and the bound.
    fn room(&self, registry: &DpsRegistry) -> (usize, usize);

    fn bulk_items(bulk: Self::Bulk) -> Vec<Self>;
    fn bulk_deletions(bulk: Self::BulkDeletion) -> Vec<(Self::Id, Option<Etag>)>;
    fn bulk_error(id: &Self::Id, error: ApiError) -> EnrollmentBulkError;

    /// Removes members of a request that only DPS writes.
    fn drop_read_only(&mut self) {}

    /// Adds the members of an answer about a single entry.
    fn with_registration(self, _registry: &DpsRegistry) -> Self {
        self
    }
}

/// The words and codes of a kind of entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryKind {
    /// The word in errors, as a live DPS writes it.
    pub(crate) noun: &'static str,
    /// The value of `x-ms-item-type`.
    pub(crate) item_type: &'static str,
    exists: DpsErrorCode,
    missing: DpsErrorCode,
    mismatch: DpsErrorCode,
}

impl EntryKind {
    pub(super) fn exists(&self) -> ApiError {
        ApiError::dps(self.exists, format!("{} already exists.", self.noun))
    }

    pub(super) fn missing(&self) -> ApiError {
        ApiError::dps(self.missing, format!("{} not found.", self.noun))
    }

    fn mismatch(&self) -> ApiError {
        let text = format!("the ETag is not that of the {}; read it again", self.noun);
        ApiError::dps(self.mismatch, text)
    }

    /// Refuses an ETag that is not the current one.
    pub(super) fn check_etag(&self, settings: &EnrollmentSettings, demand: &IfMatch) -> ApiResult<()> {
        let allows = settings.etag.as_ref().is_some_and(|etag| demand.allows(etag));
        if allows { Ok(()) } else { Err(self.mismatch()) }
    }
}

impl Entry for IndividualEnrollment {
    type Id = RegistrationId;
    type Bulk = EnrollmentBulk;
    type BulkDeletion = EnrollmentBulk<EnrollmentReference>;

    const KIND: EntryKind = EntryKind {
        noun: "Enrollment",
        item_type: "Enrollment",
        exists: DpsErrorCode::EnrollmentAlreadyExists,
        missing: DpsErrorCode::EnrollmentNotFound,
        mismatch: DpsErrorCode::EnrollmentEtagMismatch,
    };
    // A device presents its certificate, so the thumbprint is enough.
    const KEEPS_CERTIFICATES: bool = false;

    fn parse_id(text: &str) -> ApiResult<RegistrationId> {
        RegistrationId::new(text).map_err(|error| ApiError::dps_request(error.to_string()))
    }

    fn id(&self) -> &RegistrationId {
        &self.registration_id
    }

    fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    fn settings(&self) -> &EnrollmentSettings {
        &self.settings
    }

    fn parts_mut(&mut self) -> (&mut Attestation, &mut EnrollmentSettings) {
        (&mut self.attestation, &mut self.settings)
    }

    fn check(&self) -> Result<(), EnrollmentError> {
        self.check()
    }

    fn table(registry: &DpsRegistry) -> &BTreeMap<RegistrationId, Box<Kept<Self>>> {
        &registry.enrollments
    }

    fn table_mut(registry: &mut DpsRegistry) -> &mut BTreeMap<RegistrationId, Box<Kept<Self>>> {
        &mut registry.enrollments
    }

    fn subject(id: &RegistrationId) -> DpsSubject {
        DpsSubject::Enrollment(id.clone())
    }

    fn room(&self, registry: &DpsRegistry) -> (usize, usize) {
        (registry.enrollments.len(), MAX_ENROLLMENTS)
    }

    fn bulk_items(bulk: EnrollmentBulk) -> Vec<Self> {
        bulk.enrollments
    }

    fn bulk_deletions(bulk: EnrollmentBulk<EnrollmentReference>) -> Vec<(RegistrationId, Option<Etag>)> {
        bulk.enrollments.into_iter().map(|item| (item.registration_id, item.etag)).collect()
    }

    fn bulk_error(id: &RegistrationId, error: ApiError) -> EnrollmentBulkError {
        EnrollmentBulkError {
            registration_id: Some(id.to_string()),
            enrollment_group_id: None,
            error_code: error.number,
            error_status: error.text,
        }
    }

    fn drop_read_only(&mut self) {
        self.registration_state = None;
    }

    fn with_registration(mut self, registry: &DpsRegistry) -> Self {
        let registered = registry.registration(&self.registration_id).cloned();
        let state = registered.unwrap_or_else(|| {
            RegistrationState::new(self.registration_id.clone(), RegistrationStatus::Unassigned)
        });
        self.registration_state = Some(Box::new(state));
        self
    }
}

impl Entry for EnrollmentGroup {
    type Id = EnrollmentGroupId;
    type Bulk = EnrollmentGroupBulk;
    type BulkDeletion = EnrollmentGroupBulk<EnrollmentGroupReference>;

    const KIND: EntryKind = EntryKind {
        noun: "EnrollmentGroup",
        item_type: "EnrollmentGroup",
        exists: DpsErrorCode::EnrollmentGroupAlreadyExists,
        missing: DpsErrorCode::EnrollmentGroupNotFound,
        mismatch: DpsErrorCode::EnrollmentGroupEtagMismatch,
    };
    // A device need not present the CA that has signed its certificate.
    const KEEPS_CERTIFICATES: bool = true;

    fn parse_id(text: &str) -> ApiResult<EnrollmentGroupId> {
        EnrollmentGroupId::new(text).map_err(|error| ApiError::dps_request(error.to_string()))
    }

    fn id(&self) -> &EnrollmentGroupId {
        &self.enrollment_group_id
    }

    fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    fn settings(&self) -> &EnrollmentSettings {
        &self.settings
    }

    fn parts_mut(&mut self) -> (&mut Attestation, &mut EnrollmentSettings) {
        (&mut self.attestation, &mut self.settings)
    }

    fn check(&self) -> Result<(), EnrollmentError> {
        self.check()
    }

    fn table(registry: &DpsRegistry) -> &BTreeMap<EnrollmentGroupId, Box<Kept<Self>>> {
        &registry.groups
    }

    fn table_mut(registry: &mut DpsRegistry) -> &mut BTreeMap<EnrollmentGroupId, Box<Kept<Self>>> {
        &mut registry.groups
    }

    fn subject(id: &EnrollmentGroupId) -> DpsSubject {
        DpsSubject::Group(id.clone())
    }

    fn room(&self, registry: &DpsRegistry) -> (usize, usize) {
        let is_x509 = |attestation: &Attestation| matches!(attestation, Attestation::X509(_));
        let own = is_x509(&self.attestation);
        let like = registry.groups.values().filter(|group| is_x509(group.attestation()) == own).count();
        (like, if own { MAX_X509_GROUPS } else { MAX_SYMMETRIC_KEY_GROUPS })
    }

    fn bulk_items(bulk: EnrollmentGroupBulk) -> Vec<Self> {
        bulk.enrollment_groups
    }

    fn bulk_deletions(
        bulk: EnrollmentGroupBulk<EnrollmentGroupReference>,
    ) -> Vec<(EnrollmentGroupId, Option<Etag>)> {
        bulk.enrollment_groups.into_iter().map(|item| (item.enrollment_group_id, item.etag)).collect()
    }

    fn bulk_error(id: &EnrollmentGroupId, error: ApiError) -> EnrollmentBulkError {
        EnrollmentBulkError {
            registration_id: None,
            enrollment_group_id: Some(id.to_string()),
            error_code: error.number,
            error_status: error.text,
        }
    }
}

/// Completes a request: generates missing keys, computes the facts of certificates, and removes
/// what only DPS writes. `current` is the entry that it replaces.
pub(super) fn complete<E: Entry>(entry: &mut E, current: Option<&Kept<E>>) -> ApiResult<()> {
    entry.check().map_err(|error| ApiError::dps_request(error.to_string()))?;
    entry.drop_read_only();
    let (attestation, settings) = entry.parts_mut();
    settings.allocation_policy.get_or_insert(AllocationPolicy::Hashed);
    let current = current.map(Kept::attestation);
    match attestation {
        Attestation::SymmetricKey(keys) if keys.is_none() => {
            *keys = Some(match current {
                Some(Attestation::SymmetricKey(Some(keys))) => keys.clone(),
                _ => random::symmetric_keys(),
            });
        }
        Attestation::X509(x509) => {
            if let Some(pair) = certificates_mut(x509) {
                complete_pair::<E>(pair, current.and_then(certificates))?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn complete_pair<E: Entry>(pair: &mut CertificatePair, known: Option<&CertificatePair>) -> ApiResult<()> {
    for certificate in std::iter::once(&mut pair.primary).chain(&mut pair.secondary) {
        complete_certificate(certificate, known)?;
        if !E::KEEPS_CERTIFICATES {
            certificate.certificate = None;
        }
    }
    // A client that sends an answer back sends the primary one twice.
    if pair.secondary.as_ref() == Some(&pair.primary) {
        pair.secondary = None;
    }
    Ok(())
}

/// Computes the facts of a certificate. A client that changes an entry sends the facts back, without
/// the certificate, which it never gets: then the entry has it already.
fn complete_certificate(
    certificate: &mut EnrollmentCertificate,
    known: Option<&CertificatePair>,
) -> ApiResult<()> {
    if let Some(der) = &certificate.certificate {
        certificate.info = Some(Box::new(certificate_info::info(der)?));
        return Ok(());
    }
    let thumbprint = certificate.info.as_ref().map(|info| info.sha256_thumbprint);
    let has_thumbprint =
        |known: &&EnrollmentCertificate| known.info.as_ref().map(|info| info.sha256_thumbprint) == thumbprint;
    let known = known.into_iter().flat_map(CertificatePair::iter).find(has_thumbprint);
    let known = known.filter(|_| thumbprint.is_some()).ok_or_else(|| {
        ApiError::dps_request(
            "an x509 attestation needs `certificate`; `info` alone does for one that the entry has",
        )
    })?;
    *certificate = known.clone();
    Ok(())
}

/// The entry as DPS returns it: without certificates, and without symmetric keys unless `keys` shows
/// them. The facts of a single certificate stand under both members.
pub(super) fn shown<E: Entry>(mut entry: E, keys: KeysShown) -> E {
    let (attestation, _) = entry.parts_mut();
    *attestation = shown_attestation(attestation, keys);
    entry
}

/// True or false for symmetric keys in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeysShown {
    Yes,
    No,
}

pub(super) fn shown_attestation(attestation: &Attestation, keys: KeysShown) -> Attestation {
    let mut shown = match keys {
        KeysShown::Yes => attestation.clone(),
        KeysShown::No => attestation.without_keys(),
    };
    if let Attestation::X509(x509) = &mut shown
        && let Some(pair) = certificates_mut(x509)
    {
        pair.secondary.get_or_insert_with(|| pair.primary.clone());
        std::iter::once(&mut pair.primary)
            .chain(&mut pair.secondary)
            .for_each(|shown| shown.certificate = None);
    }
    shown
}

fn certificates(attestation: &Attestation) -> Option<&CertificatePair> {
    match attestation {
        Attestation::X509(
            X509Attestation::ClientCertificates(pair) | X509Attestation::SigningCertificates(pair),
        ) => Some(pair),
        _ => None,
    }
}

fn certificates_mut(x509: &mut X509Attestation) -> Option<&mut CertificatePair> {
    match x509 {
        X509Attestation::ClientCertificates(pair) | X509Attestation::SigningCertificates(pair) => Some(pair),
        X509Attestation::CaReferences(_) => None,
    }
}

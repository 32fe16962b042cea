//! The enrolment group of a run: made from its specification and the certificate of its CA, written, deleted.

use hub_types::Etag;
use hub_types::dps::attestation::{Attestation, X509Attestation};
use hub_types::dps::bulk::{BulkMode, EnrollmentBulkResult};
use hub_types::dps::certificate::{CertificateDer, CertificatePair, EnrollmentCertificate};
use hub_types::dps::{DpsErrorCode, EnrollmentGroup, EnrollmentGroupId};
use hub_types::identity::Capabilities;

use super::Dps;
use super::writer::item_error;
use crate::driver::{BulkCall, Event, outdated, refused_or_fatal, send, send_new};
use crate::hub::{ErrorClass, HubError, is_missing};
use crate::model::entry_settings::EntrySettings;
use crate::model::spec::IdentitySpec;

/// The group that a specification asks for, or the existing group `found` with its values.
pub(crate) fn group_to_write(
    id: &EnrollmentGroupId,
    spec: &IdentitySpec,
    certificate: &CertificateDer,
    settings: &EntrySettings,
    found: Option<&EnrollmentGroup>,
) -> EnrollmentGroup {
    let primary = EnrollmentCertificate { certificate: Some(certificate.clone()), info: None };
    let pair = CertificatePair { primary, secondary: None };
    let attestation = Attestation::X509(X509Attestation::SigningCertificates(pair));
    let mut group = match found {
        Some(found) => EnrollmentGroup { attestation, ..found.clone() },
        None => EnrollmentGroup::new(id.clone(), attestation),
    };
    group.settings.capabilities = Some(Capabilities { iot_edge: spec.state.edge });
    settings.apply(&mut group.settings);
    group
}

/// Writes one group, and returns what became of it.
pub(crate) async fn write_group(
    dps: &impl Dps,
    mode: BulkMode,
    group: EnrollmentGroup,
) -> Result<Event, HubError> {
    let call = GroupCall { dps, mode };
    let items = [group];
    let events = match mode {
        BulkMode::Create => send_new(&call, &items).await?,
        _ => send(&call, &items).await?,
    };
    Ok(events.into_iter().next().unwrap_or(Event::Lost(HubError::NoAnswer)))
}

/// Deletes a group in one version, and returns what became of it.
pub(crate) async fn delete_group(
    dps: &impl Dps,
    id: &EnrollmentGroupId,
    etag: Option<&Etag>,
) -> Result<Event, HubError> {
    match dps.delete_group(id, etag).await {
        Ok(()) => Ok(Event::IdentityUpdated),
        Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
        Err(error) => refused_or_fatal(error, Some(Event::Lost)),
    }
}

/// A bulk call about one group.
struct GroupCall<'d, D> {
    dps: &'d D,
    mode: BulkMode,
}

impl<D: Dps> BulkCall for GroupCall<'_, D> {
    type Item = EnrollmentGroup;
    type Service = D;

    fn service(&self) -> &D {
        self.dps
    }

    async fn call(&self, items: &[EnrollmentGroup]) -> Result<Vec<Event>, HubError> {
        let EnrollmentBulkResult { errors, is_successful } = self.dps.bulk_groups(self.mode, items).await?;
        let event = match errors.first() {
            None if is_successful && self.mode == BulkMode::Create => Event::Created,
            None if is_successful => Event::IdentityUpdated,
            None => Event::Lost(HubError::Unclear),
            Some(error)
                if self.mode == BulkMode::Create
                    && error.code() == Some(DpsErrorCode::EnrollmentGroupAlreadyExists) =>
            {
                Event::AlreadyExists
            }
            Some(error) => {
                let error = HubError::from(error);
                if error.class() == ErrorClass::Permanent {
                    return Err(error);
                }
                item_error(error)
            }
        };
        Ok(vec![event])
    }
}

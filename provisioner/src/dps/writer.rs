//! The creation, change and deletion of enrolments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::join_all;
use hub_types::dps::attestation::Attestation;
use hub_types::dps::bulk::{BulkMode, EnrollmentBulkResult};
use hub_types::dps::limits::MAX_BULK_ITEMS;
use hub_types::dps::{DpsErrorCode, IndividualEnrollment, RegistrationId};
use hub_types::{Etag, IdentityId};

use super::Dps;
use super::enrollment::{DeviceCertificates, EnrollmentSource, registration_id};
use crate::driver::{BulkCall, Event, outdated, refused_or_fatal, send, send_new};
use crate::hub::{ErrorClass, HubError, is_missing};
use crate::model::options::TwinPolicy;
use crate::model::spec::{AuthSpec, IdentitySpec};

/// Writes enrolments of devices on one DPS.
pub(crate) struct EnrollmentWriter<D, C> {
    /// The DPS.
    pub(crate) dps: Arc<D>,
    /// The credentials that enrolments are made with.
    pub(crate) source: EnrollmentSource<C>,
}

/// An enrolment to change.
pub(crate) struct EnrollmentUpdate<'a> {
    /// The requested state of its device.
    pub(crate) spec: &'a IdentitySpec,
    /// The enrolment of the last read.
    pub(crate) found: &'a IndividualEnrollment,
}

impl<D: Dps, C: DeviceCertificates> EnrollmentWriter<D, C> {
    /// Creates enrolments, and returns an event for each.
    pub(crate) async fn create(&self, specs: &[&IdentitySpec]) -> Result<Vec<Event>, HubError> {
        let made = specs.iter().map(|spec| self.source.new_enrollment(spec)).collect();
        self.write(BulkMode::Create, made).await
    }

    /// Changes enrolments to the values of the batch, each in the version of its last read, and returns an
    /// event for each.
    pub(crate) async fn update(
        &self,
        changes: &[EnrollmentUpdate<'_>],
        policy: TwinPolicy,
    ) -> Result<Vec<Event>, HubError> {
        let mut made = Vec::with_capacity(changes.len());
        for change in changes {
            made.push(self.changed(change, policy).await?);
        }
        self.write(BulkMode::UpdateIfMatchEtag, made).await
    }

    /// The enrolment with its changes. Keys that the DPS made are read and sent along, because it would make
    /// others.
    async fn changed(
        &self,
        change: &EnrollmentUpdate<'_>,
        policy: TwinPolicy,
    ) -> Result<Result<IndividualEnrollment, String>, HubError> {
        let mut changed = match self.source.changed_enrollment(change.spec, change.found, policy) {
            Ok(changed) => changed,
            Err(reason) => return Ok(Err(reason)),
        };
        if let AuthSpec::Sas { given: false } = change.spec.state.auth {
            changed.attestation = Attestation::SymmetricKey(self.dps.keys(&changed.registration_id).await?);
        }
        Ok(Ok(changed))
    }

    async fn write(
        &self,
        mode: BulkMode,
        made: Vec<Result<IndividualEnrollment, String>>,
    ) -> Result<Vec<Event>, HubError> {
        write_enrollments(&*self.dps, mode, made).await
    }
}

/// Writes enrolments in bulk, and returns an event for each, in their order. Texts are the reasons why there
/// is no enrolment.
pub(crate) async fn write_enrollments(
    dps: &impl Dps,
    mode: BulkMode,
    made: Vec<Result<IndividualEnrollment, String>>,
) -> Result<Vec<Event>, HubError> {
    let mut events: Vec<Option<Event>> = Vec::with_capacity(made.len());
    let mut items = Vec::with_capacity(made.len());
    for made in made {
        match made {
            Ok(item) => {
                items.push(item);
                events.push(None);
            }
            Err(reason) => events.push(Some(Event::Refused(HubError::NotEnrollable(reason)))),
        }
    }
    let call = EnrollmentCall { dps, mode };
    let chunks = items.chunks(MAX_BULK_ITEMS).map(|chunk| async {
        match mode {
            BulkMode::Create => send_new(&call, chunk).await,
            _ => send(&call, chunk).await,
        }
    });
    let mut answers = Vec::with_capacity(items.len());
    for answered in join_all(chunks).await {
        answers.extend(answered?);
    }
    let mut answers = answers.into_iter();
    Ok(events.into_iter().filter_map(|event| event.or_else(|| answers.next())).collect())
}

/// Deletes the record of a registration in one version, and returns what became of it.
pub(crate) async fn delete_registration(
    dps: &impl Dps,
    id: &RegistrationId,
    etag: Option<&Etag>,
) -> Result<Event, HubError> {
    match dps.delete_registration(id, etag).await {
        Ok(()) => Ok(Event::IdentityUpdated),
        Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
        Err(error) => refused_or_fatal(error, Some(Event::Lost)),
    }
}

/// Deletes an enrolment in one version, and returns what became of it.
pub(crate) async fn delete(
    dps: &impl Dps,
    device: &IdentityId,
    etag: Option<&Etag>,
) -> Result<Event, HubError> {
    let id = match registration_id(device) {
        Ok(id) => id,
        Err(reason) => return Ok(Event::Refused(HubError::NotEnrollable(reason))),
    };
    match dps.delete(&id, etag).await {
        Ok(()) => Ok(Event::IdentityUpdated),
        Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
        Err(error) => refused_or_fatal(error, Some(Event::Lost)),
    }
}

/// A bulk call about enrolments.
struct EnrollmentCall<'d, D> {
    dps: &'d D,
    mode: BulkMode,
}

impl<D: Dps> BulkCall for EnrollmentCall<'_, D> {
    type Item = IndividualEnrollment;
    type Service = D;

    fn service(&self) -> &D {
        self.dps
    }

    async fn call(&self, items: &[IndividualEnrollment]) -> Result<Vec<Event>, HubError> {
        let result = self.dps.bulk(self.mode, items).await?;
        let errors = result.errors.iter().map(HubError::from);
        match errors.into_iter().find(|error| error.class() == ErrorClass::Permanent) {
            Some(error) => Err(error),
            None => Ok(item_events(self.mode, items, &result)),
        }
    }
}

/// The result of each item in the response to a bulk call. An item that the response does not name has
/// succeeded only if the call did, or if all failed items are named; a response that contradicts itself is
/// not trusted.
fn item_events(mode: BulkMode, items: &[IndividualEnrollment], result: &EnrollmentBulkResult) -> Vec<Event> {
    let named = |id: &Option<String>| id.as_ref().and_then(|id| id.parse::<RegistrationId>().ok());
    let failed: HashMap<_, _> =
        result.errors.iter().filter_map(|error| Some((named(&error.registration_id)?, error))).collect();
    let own: HashSet<&RegistrationId> = items.iter().map(|item| &item.registration_id).collect();
    let is_told_apart = match result.is_successful {
        true => result.errors.is_empty(),
        false => {
            !failed.is_empty()
                && failed.len() == result.errors.len()
                && failed.keys().all(|id| own.contains(id))
        }
    };
    let event = |item: &IndividualEnrollment| match failed.get(&item.registration_id) {
        Some(error) if !result.is_successful => match error.code() {
            // A change in a version that is not there any more is answered so, too.
            Some(DpsErrorCode::EnrollmentAlreadyExists) if mode == BulkMode::Create => Event::AlreadyExists,
            _ => item_error((*error).into()),
        },
        _ if !is_told_apart => Event::Lost(HubError::Unclear),
        _ if mode == BulkMode::Create => Event::Created,
        _ => Event::IdentityUpdated,
    };
    items.iter().map(event).collect()
}

pub(super) fn item_error(error: HubError) -> Event {
    match error.class() {
        _ if outdated(&error) || is_missing(&error) || error.status() == Some(409) => Event::Outdated(error),
        ErrorClass::Auth | ErrorClass::Input | ErrorClass::Throttled => Event::Refused(error),
        // Failed in the middle of the call: what became of it has to be read.
        ErrorClass::Foreign | ErrorClass::Permanent | ErrorClass::Transient => Event::Lost(error),
    }
}

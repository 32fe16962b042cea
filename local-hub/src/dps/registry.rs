//! The registry of a DPS: individual enrolments, groups and registrations, in memory.
//!
//! It is a plain structure without locks, I/O or a clock. A write takes the time and a
//! [`DpsJournal`], in which it records the touched objects. Every write is atomic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use hub_types::dps::bulk::{BulkMode, EnrollmentBulkError};
use hub_types::dps::limits::MAX_REGISTRATIONS;
use hub_types::dps::{
    Attestation, DpsErrorCode, EnrollmentGroup, EnrollmentGroupId, IndividualEnrollment, RegistrationId,
    RegistrationState,
};
use hub_types::{Etag, IfMatch, Timestamp};

use super::entry::{Entry, KeysShown, complete, shown, shown_attestation};
use super::etag::EtagSequence;
use super::journal::{DpsJournal, DpsSubject};
use super::kept::Kept;
use crate::api_error::{ApiError, ApiResult};

#[cfg(test)]
mod tests;

/// All entries and registrations of a DPS.
#[derive(Debug, Clone, Default)]
pub(crate) struct DpsRegistry {
    pub(super) enrollments: BTreeMap<RegistrationId, Box<Kept<IndividualEnrollment>>>,
    pub(super) groups: BTreeMap<EnrollmentGroupId, Box<Kept<EnrollmentGroup>>>,
    registrations: BTreeMap<RegistrationId, Box<RegistrationState>>,
    /// The registrations of each group.
    registrations_by_group: BTreeMap<EnrollmentGroupId, BTreeSet<RegistrationId>>,
    etags: EtagSequence,
    /// True if the limits of the service apply.
    is_limited: bool,
}

impl DpsRegistry {
    /// Applies the limits of the service to new entries and registrations; existing ones stay.
    pub(crate) fn limit(&mut self) {
        self.is_limited = true;
    }

    /// The entry, with its keys and certificates.
    pub(crate) fn entry<E: Entry>(&self, id: &E::Id) -> ApiResult<&Kept<E>> {
        E::table(self).get(id).map(AsRef::as_ref).ok_or_else(|| E::KIND.missing())
    }

    /// The entry as DPS returns it for reading.
    pub(crate) fn shown_entry<E: Entry>(&self, id: &E::Id) -> ApiResult<E> {
        Ok(shown(self.entry::<E>(id)?.entry(), KeysShown::No).with_registration(self))
    }

    /// The attestation of an entry, with its keys.
    pub(crate) fn shown_attestation<E: Entry>(&self, id: &E::Id) -> ApiResult<Attestation> {
        Ok(shown_attestation(self.entry::<E>(id)?.attestation(), KeysShown::Yes))
    }

    /// The entries behind an id, in order, as DPS returns them for reading.
    pub(crate) fn shown_entries<E: Entry>(&self, after: Option<&E::Id>) -> impl Iterator<Item = E> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = E::table(self).range((start, Bound::Unbounded));
        entries.map(|(_, kept)| shown(kept.entry(), KeysShown::No))
    }

    /// Creates an entry or, with a condition, replaces it. Returns it as DPS does, with its keys.
    pub(crate) fn put<E: Entry>(
        &mut self,
        mut entry: E,
        demand: Option<&IfMatch>,
        now: Timestamp,
        journal: &mut DpsJournal,
    ) -> ApiResult<E> {
        let id = entry.id().clone();
        let current = E::table(self).get(&id);
        match (current, demand) {
            (None, None) => self.check_room(&entry)?,
            (None, Some(_)) => return Err(E::KIND.missing()),
            (Some(_), None) => return Err(E::KIND.exists()),
            (Some(current), Some(demand)) => E::KIND.check_etag(current.settings(), demand)?,
        }
        let created = current.and_then(|current| current.settings().created_date_time_utc);
        complete(&mut entry, current.map(AsRef::as_ref))?;
        let (_, settings) = entry.parts_mut();
        settings.etag = Some(self.etags.next(now));
        settings.created_date_time_utc = Some(created.unwrap_or(now));
        settings.last_updated_date_time_utc = Some(now);
        let kept = Kept::new(entry.clone());
        match E::table_mut(self).insert(id.clone(), Box::new(kept)) {
            None => journal.created(E::subject(&id)),
            Some(_) => journal.updated(E::subject(&id)),
        }
        Ok(shown(entry, KeysShown::Yes))
    }

    /// Deletes an entry. Its registrations stay.
    pub(crate) fn delete<E: Entry>(
        &mut self,
        id: &E::Id,
        demand: Option<&IfMatch>,
        journal: &mut DpsJournal,
    ) -> ApiResult<()> {
        let current = self.entry::<E>(id)?;
        demand.map_or(Ok(()), |demand| E::KIND.check_etag(current.settings(), demand))?;
        E::table_mut(self).remove(id);
        journal.deleted(E::subject(id));
        Ok(())
    }

    /// Creates or updates the items of a bulk operation in order. Successful items persist,
    /// regardless of the others. Returns the errors.
    pub(crate) fn put_all<E: Entry>(
        &mut self,
        items: Vec<E>,
        mode: BulkMode,
        now: Timestamp,
        journal: &mut DpsJournal,
    ) -> Vec<EnrollmentBulkError> {
        let mut errors = Vec::new();
        for item in items {
            let (id, etag) = (item.id().clone(), item.settings().etag.clone());
            let done = match (mode, etag) {
                (BulkMode::Create, _) => self.put(item, None, now, journal),
                (_, Some(etag)) => self.put(item, Some(&IfMatch::Exactly(etag)), now, journal),
                // A live DPS answers an update without an ETag as it answers a creation.
                (_, None) => self.entry::<E>(&id).and_then(|_| Err(E::KIND.exists())),
            };
            errors.extend(done.err().map(|error| E::bulk_error(&id, error)));
        }
        journal.counts.failed += u32::try_from(errors.len()).unwrap_or(u32::MAX);
        errors
    }

    /// Deletes the items of a bulk operation, as [`DpsRegistry::put_all`] writes them.
    pub(crate) fn delete_all<E: Entry>(
        &mut self,
        items: Vec<(E::Id, Option<Etag>)>,
        journal: &mut DpsJournal,
    ) -> Vec<EnrollmentBulkError> {
        let mut errors = Vec::new();
        for (id, etag) in items {
            let done = self.delete::<E>(&id, etag.map(IfMatch::Exactly).as_ref(), journal);
            errors.extend(done.err().map(|error| E::bulk_error(&id, error)));
        }
        journal.counts.failed += u32::try_from(errors.len()).unwrap_or(u32::MAX);
        errors
    }

    /// The enrolment of a device, with its keys.
    pub(crate) fn enrollment(&self, id: &RegistrationId) -> Option<IndividualEnrollment> {
        self.enrollments.get(id).map(|kept| kept.entry())
    }

    /// All groups, with their keys and certificates, in the order of their ids.
    pub(crate) fn groups(&self) -> impl Iterator<Item = EnrollmentGroup> {
        self.groups.values().map(|kept| kept.entry())
    }

    /// The registration of a device.
    pub(crate) fn registration(&self, id: &RegistrationId) -> Option<&RegistrationState> {
        self.registrations.get(id).map(AsRef::as_ref)
    }

    /// The registrations of a group behind an id, in order.
    pub(crate) fn registrations_of(
        &self,
        group: &EnrollmentGroupId,
        after: Option<&RegistrationId>,
    ) -> impl Iterator<Item = &RegistrationState> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.registrations_by_group.get(group).into_iter();
        let ids = ids.flat_map(move |ids| ids.range((start, Bound::Unbounded)));
        ids.filter_map(|id| self.registration(id))
    }

    /// Writes the registration of a device, with a new ETag and the times of the write. Returns it.
    pub(crate) fn put_registration(
        &mut self,
        mut registration: RegistrationState,
        now: Timestamp,
        journal: &mut DpsJournal,
    ) -> ApiResult<RegistrationState> {
        let id = registration.registration_id.clone();
        let current = self.registrations.get(&id);
        if self.is_limited && current.is_none() && self.registrations.len() >= MAX_REGISTRATIONS {
            let text = format!("the DPS is full: it has {MAX_REGISTRATIONS} registrations");
            return Err(ApiError::dps(DpsErrorCode::QuotaExceeded, text));
        }
        let created = current.and_then(|current| current.created_date_time_utc);
        registration.etag = Some(self.etags.next(now));
        registration.created_date_time_utc = Some(created.unwrap_or(now));
        registration.last_updated_date_time_utc = Some(now);
        self.insert_registration(registration.clone());
        journal.touch(DpsSubject::Registration(id));
        Ok(registration)
    }

    /// Deletes the registration of a device.
    pub(crate) fn delete_registration(
        &mut self,
        id: &RegistrationId,
        demand: Option<&IfMatch>,
        journal: &mut DpsJournal,
    ) -> ApiResult<()> {
        let current = self.registration(id).ok_or_else(no_registration)?;
        let is_current = |demand: &IfMatch| current.etag.as_ref().is_some_and(|etag| demand.allows(etag));
        if !demand.is_none_or(is_current) {
            let text = "the ETag is not that of the registration; read it again";
            return Err(ApiError::dps(DpsErrorCode::RegistrationEtagMismatch, text));
        }
        self.remove_registration(id);
        journal.deleted(DpsSubject::Registration(id.clone()));
        Ok(())
    }

    /// Takes over the content of a snapshot.
    pub(crate) fn replace_with(&mut self, next: Self, journal: &mut DpsJournal) {
        for registry in [&*self, &next] {
            let enrollments = registry.enrollments.keys().cloned().map(DpsSubject::Enrollment);
            let groups = registry.groups.keys().cloned().map(DpsSubject::Group);
            let registrations = registry.registrations.keys().cloned().map(DpsSubject::Registration);
            enrollments.chain(groups).chain(registrations).for_each(|subject| journal.touch(subject));
        }
        let is_limited = self.is_limited;
        *self = Self { is_limited, ..next };
    }

    /// A registry of stored objects.
    pub(super) fn restored(
        enrollments: Vec<(RegistrationId, Box<Kept<IndividualEnrollment>>)>,
        groups: Vec<(EnrollmentGroupId, Box<Kept<EnrollmentGroup>>)>,
        registrations: Vec<RegistrationState>,
    ) -> Self {
        // In order, as the database has them, they are built into a tree in one pass.
        let (enrollments, groups) = (enrollments.into_iter().collect(), groups.into_iter().collect());
        let mut registry = Self { enrollments, groups, ..Self::default() };
        registrations.into_iter().for_each(|registration| registry.insert_registration(registration));
        registry
    }

    fn insert_registration(&mut self, registration: RegistrationState) {
        let id = registration.registration_id.clone();
        self.remove_registration(&id);
        if let Some(group) = registration.enrollment_group_id() {
            self.registrations_by_group.entry(group.clone()).or_default().insert(id.clone());
        }
        self.registrations.insert(id, Box::new(registration));
    }

    fn remove_registration(&mut self, id: &RegistrationId) {
        let removed = self.registrations.remove(id);
        let group = removed.as_ref().and_then(|removed| removed.enrollment_group_id());
        if let Some(ids) = group.and_then(|group| self.registrations_by_group.get_mut(group)) {
            ids.remove(id);
        }
    }

    /// Refuses a new entry if there is no room for it.
    fn check_room<E: Entry>(&self, entry: &E) -> ApiResult<()> {
        if !self.is_limited {
            return Ok(());
        }
        match entry.room(self) {
            (count, bound) if count >= bound => {
                let text = format!("the DPS is full: it has {bound} entries of this kind");
                Err(ApiError::dps(DpsErrorCode::QuotaExceeded, text))
            }
            _ => Ok(()),
        }
    }
}

/// The error for a device that has not registered.
pub(super) fn no_registration() -> ApiError {
    ApiError::dps(DpsErrorCode::RegistrationNotFound, "Registration not found.")
}

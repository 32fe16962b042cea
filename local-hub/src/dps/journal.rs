//! The record of one request's writes to a DPS: for the store, and for the request log.

use hub_types::dps::{EnrollmentGroupId, RegistrationId};

use crate::registry::Counts;

/// The object of a row of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DpsSubject {
    Enrollment(RegistrationId),
    Group(EnrollmentGroupId),
    Registration(RegistrationId),
}

/// Collects what a request writes, in order.
#[derive(Debug, Default)]
pub(crate) struct DpsJournal {
    touched: Vec<DpsSubject>,
    pub(crate) counts: Counts,
}

impl DpsJournal {
    pub(super) fn created(&mut self, subject: DpsSubject) {
        self.counts.created += 1;
        self.touched.push(subject);
    }

    pub(super) fn updated(&mut self, subject: DpsSubject) {
        self.counts.updated += 1;
        self.touched.push(subject);
    }

    pub(super) fn deleted(&mut self, subject: DpsSubject) {
        self.counts.deleted += 1;
        self.touched.push(subject);
    }

    /// Records a write that the request log does not count.
    pub(super) fn touch(&mut self, subject: DpsSubject) {
        self.touched.push(subject);
    }

    /// The changed objects: one that is not in the registry any more was deleted.
    pub(super) fn touched(&self) -> &[DpsSubject] {
        &self.touched
    }
}

//! The client's side of the service REST API of a Device Provisioning Service (DPS): its enrolments.
//!
//! The way of a call is that of the hub's client: tokens, transport, retries, rate and error classes are
//! in [`hub`](crate::hub).

use std::sync::Arc;

use hub_types::Etag;
use hub_types::dps::bulk::{BulkMode, EnrollmentBulkResult};
use hub_types::dps::{
    EnrollmentGroup, EnrollmentGroupId, IndividualEnrollment, RegistrationId, RegistrationState,
};
use hub_types::symmetric_key::SymmetricKeys;

use crate::hub::{Hub, HubError, Patient};
pub(crate) use client::DpsClient;
#[cfg(test)]
pub(crate) use enrollment::CertificateError;
pub(crate) use enrollment::{DeviceCertificates, EnrollmentSource, registration_id};
pub(crate) use entry_files::{EntryError, GroupCa, read_settings};
pub(crate) use group::{delete_group, group_to_write, write_group};
pub(crate) use reader::EnrollmentReader;
pub(crate) use writer::{EnrollmentUpdate, EnrollmentWriter, delete, delete_registration, write_enrollments};

mod client;
mod enrollment;
mod entry_files;
mod group;
mod groups;
mod reader;
mod writer;

/// The hubs that a DPS assigns devices to.
pub(crate) trait AssignedHubs: Send + Sync + 'static {
    /// A hub.
    type Hub: Hub;

    /// Finds the hub of a name that the DPS has assigned; in words, why it can't be called from here.
    fn find(&self, name: &str) -> Result<Arc<Self::Hub>, String>;
}

/// A DPS, as provisioning sees it. [`DpsClient`] is the real one; tests have one that loses answers.
pub(crate) trait Dps: Patient {
    /// Sends up to 10 enrolments and returns the result of each. Only what had no effect for certain is
    /// sent again.
    fn bulk(
        &self,
        mode: BulkMode,
        enrollments: &[IndividualEnrollment],
    ) -> impl Future<Output = Result<EnrollmentBulkResult, HubError>> + Send;

    /// Reads an enrolment; `None` when there is none.
    fn enrollment(
        &self,
        id: &RegistrationId,
    ) -> impl Future<Output = Result<Option<IndividualEnrollment>, HubError>> + Send;

    /// Reads the keys of an enrolment, which the enrolment itself does not show; `None` when there is no
    /// such enrolment or it has no keys.
    fn keys(
        &self,
        id: &RegistrationId,
    ) -> impl Future<Output = Result<Option<SymmetricKeys>, HubError>> + Send;

    /// Deletes an enrolment: the one that has this etag, or whichever there is.
    fn delete(
        &self,
        id: &RegistrationId,
        etag: Option<&Etag>,
    ) -> impl Future<Output = Result<(), HubError>> + Send;

    /// Reads the record of the registration of a device; `None` when it has never registered.
    fn registration(
        &self,
        id: &RegistrationId,
    ) -> impl Future<Output = Result<Option<RegistrationState>, HubError>> + Send;

    /// Deletes the record of the registration of a device: the one that has this etag, or whichever there
    /// is. The device stays on its hub.
    fn delete_registration(
        &self,
        id: &RegistrationId,
        etag: Option<&Etag>,
    ) -> impl Future<Output = Result<(), HubError>> + Send;

    /// Sends up to 10 groups and returns the result of each. Only what had no effect for certain is sent
    /// again.
    fn bulk_groups(
        &self,
        mode: BulkMode,
        groups: &[EnrollmentGroup],
    ) -> impl Future<Output = Result<EnrollmentBulkResult, HubError>> + Send;

    /// Reads an enrolment group; `None` when there is none.
    fn group(
        &self,
        id: &EnrollmentGroupId,
    ) -> impl Future<Output = Result<Option<EnrollmentGroup>, HubError>> + Send;

    /// Deletes an enrolment group: the one that has this etag, or whichever there is.
    fn delete_group(
        &self,
        id: &EnrollmentGroupId,
        etag: Option<&Etag>,
    ) -> impl Future<Output = Result<(), HubError>> + Send;

    /// Returns true if a device has registered by a group, which exists.
    fn has_registrations(
        &self,
        group: &EnrollmentGroupId,
    ) -> impl Future<Output = Result<bool, HubError>> + Send;

    /// Returns true if there are enrolment groups, by which devices register without an entry of their own.
    fn has_groups(&self) -> impl Future<Output = Result<bool, HubError>> + Send;
}

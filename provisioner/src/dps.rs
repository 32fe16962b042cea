//! The client's side of the service REST API of a Device Provisioning Service (DPS): its enrolments.
//!
//! The way of a call is that of the hub's client: tokens, transport, retries, rate and error classes are
//! in [`hub`](crate::hub).

use hub_types::Etag;
use hub_types::dps::bulk::{BulkMode, EnrollmentBulkResult};
use hub_types::dps::{IndividualEnrollment, RegistrationId};
use hub_types::symmetric_key::SymmetricKeys;

use crate::hub::{HubError, Patient};
pub(crate) use client::DpsClient;
#[cfg(test)]
pub(crate) use enrollment::CertificateError;
pub(crate) use enrollment::{DeviceCertificates, EnrollmentSource};
pub(crate) use reader::EnrollmentReader;
pub(crate) use writer::{EnrollmentUpdate, EnrollmentWriter, delete};

mod client;
mod enrollment;
mod reader;
mod writer;

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
}

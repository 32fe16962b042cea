//! The types of the Device Provisioning Service (DPS): enrolments, registrations, errors, limits.
//!
//! A service writes individual enrolments and enrolment groups. A device registers by one of them
//! and is assigned to a hub. Sources: the definitions of the DPS device and service APIs
//! (`azure-rest-api-specs`), the service's documentation, and recorded answers of a live DPS of
//! 2023-05.
//!
//! | noun | module |
//! |---|---|
//! | ids of registrations and groups, id scopes | [`id`] |
//! | the ways in which a device proves itself | [`attestation`], [`certificate`] |
//! | entries of the enrolment list | [`enrollment`] |
//! | the state of a device's registration | [`registration`] |
//! | bulk operations | [`bulk`] |
//! | keys and tokens of devices | [`device_token`] |
//! | the entry by which a device registers | [`selection`] |
//! | error codes and limits of the service | [`error_code`], [`limits`] |
//!
//! A service connects with a [`crate::connection_string::ServiceConnectionString`], as to a hub.

pub mod attestation;
pub mod bulk;
pub mod certificate;
pub mod device_token;
pub mod enrollment;
pub mod error_code;
pub mod id;
pub mod limits;
pub mod registration;
pub mod selection;
mod words;

pub use attestation::{Attestation, X509Attestation};
pub use enrollment::{EnrollmentGroup, IndividualEnrollment};
pub use error_code::DpsErrorCode;
pub use id::{EnrollmentGroupId, IdScope, RegistrationId};
pub use registration::{RegistrationOperation, RegistrationState};

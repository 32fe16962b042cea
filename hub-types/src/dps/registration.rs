//! Registrations: the request of a device, the running operation, and the state of a device.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dps::attestation::TpmAttestation;
use crate::dps::id::{EnrollmentGroupId, RegistrationId};
use crate::dps::words::wire_words;
use crate::etag::Etag;
use crate::id::DeviceId;
use crate::timestamp::Timestamp;

wire_words! {
    /// The state of a registration.
    RegistrationStatus, "status of a registration" {
        /// The device is assigned to a hub.
        Assigned = "assigned",
        /// The assignment is under way.
        Assigning = "assigning",
        /// The entry of the device is disabled.
        Disabled = "disabled",
        /// The assignment has failed.
        Failed = "failed",
        /// The device has never registered.
        Unassigned = "unassigned",
    }
}

wire_words! {
    /// The way in which a device has come to its hub.
    RegistrationSubstatus, "substatus of a registration" {
        /// From another hub, with its twin.
        DeviceDataMigrated = "deviceDataMigrated",
        /// From another hub, with the initial twin.
        DeviceDataReset = "deviceDataReset",
        /// By its first registration.
        InitialAssignment = "initialAssignment",
        /// Back to the hub of its first registration.
        ReprovisionedToInitialAssignment = "reprovisionedToInitialAssignment",
    }
}

/// The registration of a device, as DPS shows it to services and to the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationState {
    /// The id by which the device registers.
    pub registration_id: RegistrationId,
    /// The time of its first registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<Timestamp>,
    /// The hub, by host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_hub: Option<String>,
    /// The id of the device on the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The state.
    pub status: RegistrationStatus,
    /// The way in which the device has come to its hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub substatus: Option<RegistrationSubstatus>,
    /// The code of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// The time of the last change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<Timestamp>,
    /// The version of the registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
    /// Data of a custom allocation for the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The group of a device that proves itself with a symmetric key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symmetric_key: Option<RegistrationGroup>,
    /// The group of a device that proves itself with a certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x509: Option<RegistrationGroup>,
    /// Certificates that DPS has issued for the device, in base64 of their DER, the device's first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_certificate_chain: Option<Vec<String>>,
}

impl RegistrationState {
    /// The group by which the device has registered; `None` for an individual enrolment.
    pub fn enrollment_group_id(&self) -> Option<&EnrollmentGroupId> {
        let group = self.symmetric_key.as_ref().or(self.x509.as_ref())?;
        group.enrollment_group_id.as_ref()
    }

    /// The state of a device that has never registered, or of one whose assignment has just begun.
    pub fn new(registration_id: RegistrationId, status: RegistrationStatus) -> Self {
        Self {
            registration_id,
            created_date_time_utc: None,
            assigned_hub: None,
            device_id: None,
            status,
            substatus: None,
            error_code: None,
            error_message: None,
            last_updated_date_time_utc: None,
            etag: None,
            payload: None,
            symmetric_key: None,
            x509: None,
            issued_certificate_chain: None,
        }
    }
}

/// The enrolment group by which a device has registered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationGroup {
    /// The group's id; absent for an individual enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<EnrollmentGroupId>,
}

/// The answer to a device that registers or asks for the outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationOperation {
    /// The id of the operation, to ask for its outcome.
    pub operation_id: String,
    /// The state of the registration.
    pub status: RegistrationStatus,
    /// The registration, when the operation has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<Box<RegistrationState>>,
}

/// The request of a device that registers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRegistration {
    /// The id, which is also in the path or the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<RegistrationId>,
    /// Data of the device for a custom allocation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// A certificate signing request: PKCS#10 DER in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csr: Option<String>,
    /// The keys of a Trusted Platform Module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<TpmAttestation>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_device_that_never_registered_has_two_members() {
        let state = RegistrationState::new("pump-0001".parse().unwrap(), RegistrationStatus::Unassigned);
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(text, r#"{"registrationId":"pump-0001","status":"unassigned"}"#);
        assert_eq!(serde_json::from_str::<RegistrationState>(&text).unwrap(), state);
    }

    #[test]
    fn the_answer_to_a_device_is_read_and_written() {
        let text = r#"{"operationId":"4.0c5c5a5fd6a9e7d2.5d0a4b9e-61f0-4b3c-a65e-8a2d2b9e1c11","status":"assigned","registrationState":{"registrationId":"pump-0001","createdDateTimeUtc":"2026-11-22T10:00:00.1234567Z","assignedHub":"hub.example","deviceId":"pump-0001","status":"assigned","substatus":"initialAssignment","lastUpdatedDateTimeUtc":"2026-11-22T10:00:00.2234567Z","etag":"IjAi","x509":{"enrollmentGroupId":"factory"}}}"#;
        let operation: RegistrationOperation = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&operation).unwrap(), text);
    }

    #[test]
    fn words_are_read_in_any_case_and_others_are_named() {
        assert_eq!(RegistrationStatus::parse("Assigned"), Some(RegistrationStatus::Assigned));
        let error = serde_json::from_str::<RegistrationSubstatus>("\"moved\"").unwrap_err().to_string();
        assert!(error.contains("`moved` is no substatus") && error.contains("initialAssignment"), "{error}");
        let escaped: RegistrationStatus = serde_json::from_str(r#""f\u0061iled""#).unwrap();
        assert_eq!(escaped, RegistrationStatus::Failed);
    }

    #[test]
    fn a_device_may_send_nothing_but_an_empty_object() {
        assert_eq!(serde_json::from_str::<DeviceRegistration>("{}").unwrap(), DeviceRegistration::default());
    }
}

//! The entries of the enrolment list: of one device, and of all devices that share a CA or a key.
//!
//! The same document serves for writing and for reading. Members that only DPS writes are ignored
//! in requests: clients send whole documents back. Every value is well-formed; `check` decides on
//! the rules that concern several members of a request.

use serde::{Deserialize, Serialize};

use crate::dps::attestation::{Attestation, X509Attestation};
use crate::dps::id::{EnrollmentGroupId, RegistrationId};
use crate::dps::registration::RegistrationState;
use crate::dps::words::wire_words;
use crate::etag::Etag;
use crate::id::{DeviceId, IdError};
use crate::identity::Capabilities;
use crate::limits::MAX_COMMON_NAME_CHARS;
use crate::timestamp::Timestamp;
use crate::twin::{JsonObject, Nulls, Section, TwinRuleError, check_section};

wire_words! {
    /// The permission to register by an entry.
    ProvisioningStatus, "provisioningStatus" {
        /// Devices may not register: the entry blocks them.
        Disabled = "disabled",
        /// Devices may register.
        Enabled = "enabled",
    }
}

wire_words! {
    /// The choice of a hub for a device.
    AllocationPolicy, "allocationPolicy" {
        /// By a function of the user's own.
        Custom = "custom",
        /// The hub with the lowest latency.
        GeoLatency = "geoLatency",
        /// By a hash over the registration id, weighted by hub.
        Hashed = "hashed",
        /// The only hub that the entry names.
        Static = "static",
    }
}

/// The effect of one more registration of a device that has been assigned to a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReprovisionPolicy {
    /// The hub is chosen again.
    #[serde(default = "yes")]
    pub update_hub_assignment: bool,
    /// On a change of the hub, the twin of the old one is taken along. If not, the device starts
    /// with the initial twin.
    #[serde(default = "yes")]
    pub migrate_device_data: bool,
}

impl ReprovisionPolicy {
    /// Returns true if a device that registers again starts with the initial twin, also on the hub
    /// that it has: the policy for a factory reset.
    pub fn resets(self) -> bool {
        self.update_hub_assignment && !self.migrate_device_data
    }
}

impl Default for ReprovisionPolicy {
    /// The policy of entries without one. Source: "IoT Hub Device reprovisioning concepts".
    fn default() -> Self {
        Self { update_hub_assignment: true, migrate_device_data: true }
    }
}

/// The function that chooses the hub of an entry with custom allocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomAllocationDefinition {
    /// The address that gets a POST for each registration.
    pub webhook_url: String,
    /// The version of the request's form.
    pub api_version: String,
}

/// The twin that a device gets with its first assignment. DPS writes no twins of modules.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InitialTwin {
    /// Tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<JsonObject>,
    /// Properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<InitialProperties>,
}

/// The properties of an initial twin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InitialProperties {
    /// Desired properties.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<JsonObject>,
}

impl InitialTwin {
    /// The desired properties.
    pub fn desired(&self) -> Option<&JsonObject> {
        self.properties.as_ref()?.desired.as_ref()
    }

    /// Checks both sections against the rules of twins.
    pub fn check(&self) -> Result<(), TwinRuleError> {
        for (section, content) in [(Section::Tags, self.tags.as_ref()), (Section::Desired, self.desired())] {
            content.map_or(Ok(()), |content| check_section(section, content, Nulls::Refuse))?;
        }
        Ok(())
    }
}

/// The members that individual enrolments and groups share.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentSettings {
    /// The abilities of the devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// The twin of the devices at first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_twin: Option<Box<InitialTwin>>,
    /// The version of the entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
    /// The permission to register. Absent means enabled; a null is kept, and means enabled too.
    pub provisioning_status: Option<ProvisioningStatus>,
    /// The effect of one more registration; absent means [`ReprovisionPolicy::default`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reprovision_policy: Option<ReprovisionPolicy>,
    /// The time of its creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_date_time_utc: Option<Timestamp>,
    /// The time of its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated_date_time_utc: Option<Timestamp>,
    /// The choice of the hub; absent means that of the DPS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocation_policy: Option<AllocationPolicy>,
    /// The hubs to choose from, by host name; absent or empty means all that are linked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iot_hubs: Option<Vec<String>>,
    /// The only hub, as versions before 2018-11-01 have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iot_hub_host_name: Option<Box<str>>,
    /// The function of a custom allocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_allocation_definition: Option<Box<CustomAllocationDefinition>>,
}

impl Default for EnrollmentSettings {
    fn default() -> Self {
        Self {
            capabilities: None,
            initial_twin: None,
            etag: None,
            provisioning_status: enabled(),
            reprovision_policy: None,
            created_date_time_utc: None,
            last_updated_date_time_utc: None,
            allocation_policy: None,
            iot_hubs: None,
            iot_hub_host_name: None,
            custom_allocation_definition: None,
        }
    }
}

impl EnrollmentSettings {
    /// Returns true if devices may register by the entry.
    pub fn is_enabled(&self) -> bool {
        self.provisioning_status != Some(ProvisioningStatus::Disabled)
    }

    fn check(&self) -> Result<(), EnrollmentError> {
        let is_custom = self.allocation_policy == Some(AllocationPolicy::Custom);
        if is_custom && self.custom_allocation_definition.is_none() {
            return Err(EnrollmentError::NoFunction);
        }
        self.initial_twin.as_ref().map_or(Ok(()), |twin| twin.check()).map_err(EnrollmentError::InitialTwin)
    }
}

/// The entry of one device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "EnrollmentDocument")]
pub struct IndividualEnrollment {
    /// The id by which the device registers.
    pub registration_id: RegistrationId,
    /// The id that the device gets; absent means the registration id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_id: Option<DeviceId>,
    /// The state of the device's registration. Only DPS writes it, and only for reading one entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_state: Option<Box<RegistrationState>>,
    /// Information that DPS stores without a use of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optional_device_information: Option<Box<JsonObject>>,
    /// The proof that the device gives.
    pub attestation: Attestation,
    /// Further settings.
    #[serde(flatten)]
    pub settings: EnrollmentSettings,
}

impl IndividualEnrollment {
    /// An enabled entry, with all optional members absent.
    pub fn new(registration_id: RegistrationId, attestation: Attestation) -> Self {
        Self {
            registration_id,
            device_id: None,
            registration_state: None,
            optional_device_information: None,
            attestation,
            settings: EnrollmentSettings::default(),
        }
    }

    /// The id that the device gets.
    pub fn device_id(&self) -> DeviceId {
        self.device_id.clone().unwrap_or_else(|| self.registration_id.device_id())
    }

    /// Checks the rules that concern more than one member.
    pub fn check(&self) -> Result<(), EnrollmentError> {
        match &self.attestation {
            Attestation::X509(X509Attestation::SigningCertificates(_)) => {
                return Err(EnrollmentError::SigningCertificates);
            }
            Attestation::X509(_) if !self.registration_id.fits_common_name() => {
                return Err(EnrollmentError::TooLongForX509 { length: self.registration_id.as_str().len() });
            }
            _ => {}
        }
        self.settings.check()
    }
}

/// The entry of all devices whose certificates one CA has signed, or whose keys follow from one key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "EnrollmentDocument")]
pub struct EnrollmentGroup {
    /// The id of the group.
    pub enrollment_group_id: EnrollmentGroupId,
    /// The proof that the devices give.
    pub attestation: Attestation,
    /// Further settings.
    #[serde(flatten)]
    pub settings: EnrollmentSettings,
}

impl EnrollmentGroup {
    /// An enabled group, with all optional members absent.
    pub fn new(enrollment_group_id: EnrollmentGroupId, attestation: Attestation) -> Self {
        Self { enrollment_group_id, attestation, settings: EnrollmentSettings::default() }
    }

    /// Checks the rules that concern more than one member.
    pub fn check(&self) -> Result<(), EnrollmentError> {
        match &self.attestation {
            Attestation::X509(X509Attestation::ClientCertificates(_)) => {
                Err(EnrollmentError::ClientCertificates)
            }
            Attestation::Tpm(_) => Err(EnrollmentError::TpmGroup),
            _ => self.settings.check(),
        }
    }
}

/// The rule that an enrolment breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollmentError {
    /// A group with the certificate of one device.
    #[error("a group takes signingCertificates or caReferences, not clientCertificates of one device")]
    ClientCertificates,
    /// A text that is not a device id.
    #[error("deviceId: {0}")]
    DeviceId(IdError),
    /// An initial twin that no hub would take.
    #[error("initialTwin: {0}")]
    InitialTwin(TwinRuleError),
    /// A required member is missing.
    #[error("the member `{0}` is missing")]
    Missing(&'static str),
    /// Custom allocation without a function.
    #[error(
        "the allocation policy `custom` needs a customAllocationDefinition with webhookUrl and apiVersion"
    )]
    NoFunction,
    /// An individual enrolment with a CA.
    #[error(
        "an individual enrolment takes clientCertificates or caReferences; signingCertificates belong to a group"
    )]
    SigningCertificates,
    /// A registration id that no certificate can have as its common name.
    #[error(
        "a device with a certificate registers by its common name, which has at most {MAX_COMMON_NAME_CHARS} \
         characters; this registration id has {length}"
    )]
    TooLongForX509 {
        /// The number of characters of the id.
        length: usize,
    },
    /// A group of Trusted Platform Modules.
    #[error("a group takes X.509 certificates or symmetric keys; a TPM belongs to an individual enrolment")]
    TpmGroup,
}

/// The members of both kinds of entries, as clients write them: any may be absent or null.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnrollmentDocument {
    registration_id: Option<RegistrationId>,
    enrollment_group_id: Option<EnrollmentGroupId>,
    device_id: Option<String>,
    registration_state: Option<Box<RegistrationState>>,
    optional_device_information: Option<Box<JsonObject>>,
    attestation: Option<Attestation>,
    capabilities: Option<Capabilities>,
    initial_twin: Option<Box<InitialTwin>>,
    etag: Option<Etag>,
    #[serde(default = "enabled")]
    provisioning_status: Option<ProvisioningStatus>,
    reprovision_policy: Option<ReprovisionPolicy>,
    created_date_time_utc: Option<Timestamp>,
    last_updated_date_time_utc: Option<Timestamp>,
    allocation_policy: Option<AllocationPolicy>,
    iot_hubs: Option<Vec<String>>,
    iot_hub_host_name: Option<Box<str>>,
    custom_allocation_definition: Option<Box<CustomAllocationDefinition>>,
}

impl EnrollmentDocument {
    fn settings(self) -> EnrollmentSettings {
        EnrollmentSettings {
            capabilities: self.capabilities,
            initial_twin: self.initial_twin,
            etag: self.etag,
            provisioning_status: self.provisioning_status,
            reprovision_policy: self.reprovision_policy,
            created_date_time_utc: self.created_date_time_utc,
            last_updated_date_time_utc: self.last_updated_date_time_utc,
            allocation_policy: self.allocation_policy,
            iot_hubs: self.iot_hubs,
            iot_hub_host_name: self.iot_hub_host_name,
            custom_allocation_definition: self.custom_allocation_definition,
        }
    }
}

impl TryFrom<EnrollmentDocument> for IndividualEnrollment {
    type Error = EnrollmentError;

    fn try_from(mut document: EnrollmentDocument) -> Result<Self, EnrollmentError> {
        // Clients send an empty text for a device id that they leave to DPS.
        let device_id = document.device_id.take().filter(|text| !text.is_empty());
        Ok(Self {
            registration_id: document
                .registration_id
                .take()
                .ok_or(EnrollmentError::Missing("registrationId"))?,
            device_id: device_id.map(|text| text.parse()).transpose().map_err(EnrollmentError::DeviceId)?,
            registration_state: document.registration_state.take(),
            optional_device_information: document.optional_device_information.take(),
            attestation: document.attestation.take().ok_or(EnrollmentError::Missing("attestation"))?,
            settings: document.settings(),
        })
    }
}

impl TryFrom<EnrollmentDocument> for EnrollmentGroup {
    type Error = EnrollmentError;

    fn try_from(mut document: EnrollmentDocument) -> Result<Self, EnrollmentError> {
        let id = document.enrollment_group_id.take();
        Ok(Self {
            enrollment_group_id: id.ok_or(EnrollmentError::Missing("enrollmentGroupId"))?,
            attestation: document.attestation.take().ok_or(EnrollmentError::Missing("attestation"))?,
            settings: document.settings(),
        })
    }
}

fn enabled() -> Option<ProvisioningStatus> {
    Some(ProvisioningStatus::Enabled)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, from_value, json, to_value};

    /// The request of Microsoft's Python client, which sends a null for every member without a value.
    fn with_nulls(attestation: &Value) -> Value {
        json!({
            "registrationId": "pump-0001", "attestation": attestation, "allocationPolicy": "geoLatency",
            "capabilities": null, "reprovisionPolicy": null, "customAllocationDefinition": null,
            "provisioningStatus": null, "deviceId": "", "optionalDeviceInformation": null, "iotHubs": null,
            "iotHubHostName": null, "initialTwin": {"properties": {"desired": {"key": "value"}}},
        })
    }

    #[test]
    fn nulls_are_absent_but_for_the_provisioning_status() {
        let enrollment: IndividualEnrollment =
            from_value(with_nulls(&json!({"type": "symmetricKey"}))).unwrap();
        assert!(enrollment.settings.is_enabled());
        assert_eq!(enrollment.device_id().as_str(), "pump-0001");
        assert_eq!(
            serde_json::to_string(&enrollment).unwrap(),
            r#"{"registrationId":"pump-0001","attestation":{"type":"symmetricKey"},"initialTwin":{"properties":{"desired":{"key":"value"}}},"provisioningStatus":null,"allocationPolicy":"geoLatency"}"#
        );
    }

    #[test]
    fn an_absent_provisioning_status_means_enabled_and_disabled_blocks() {
        let parse = |status: Option<&str>| {
            let mut document = json!({"enrollmentGroupId": "g", "attestation": {"type": "symmetricKey"}});
            if let Some(status) = status {
                document["provisioningStatus"] = json!(status);
            }
            from_value::<EnrollmentGroup>(document).unwrap().settings
        };
        assert_eq!(parse(None).provisioning_status, Some(ProvisioningStatus::Enabled));
        assert!(parse(Some("enabled")).is_enabled());
        assert!(!parse(Some("Disabled")).is_enabled());
    }

    #[test]
    fn a_missing_member_is_named() {
        for (document, member) in [
            (json!({"attestation": {"type": "symmetricKey"}}), "registrationId"),
            (json!({"registrationId": "a"}), "attestation"),
        ] {
            let error = from_value::<IndividualEnrollment>(document).unwrap_err().to_string();
            assert!(error.contains(&format!("`{member}` is missing")), "{error}");
        }
    }

    #[test]
    fn entries_take_the_attestations_of_their_kind() {
        let certificates = |kind: &str| json!({"x509": {kind: {"primary": {"certificate": "MAECAw=="}}}});
        let references = json!({"x509": {"caReferences": {"primary": "factory-ca"}}});
        let tpm = json!({"tpm": {"endorsementKey": "AToAAQ=="}});
        let individual = |attestation: &Value, id: &str| {
            from_value::<IndividualEnrollment>(json!({"registrationId": id, "attestation": attestation}))
                .unwrap()
                .check()
        };
        let group = |attestation: &Value| {
            from_value::<EnrollmentGroup>(json!({"enrollmentGroupId": "g", "attestation": attestation}))
                .unwrap()
                .check()
        };
        assert_eq!(individual(&certificates("clientCertificates"), "a"), Ok(()));
        assert_eq!(individual(&references, "a"), Ok(()));
        assert_eq!(individual(&tpm, "a"), Ok(()));
        assert_eq!(group(&certificates("signingCertificates")), Ok(()));
        assert_eq!(group(&references), Ok(()));
        assert_eq!(
            individual(&certificates("signingCertificates"), "a"),
            Err(EnrollmentError::SigningCertificates)
        );
        assert_eq!(group(&certificates("clientCertificates")), Err(EnrollmentError::ClientCertificates));
        assert_eq!(group(&tpm), Err(EnrollmentError::TpmGroup));
        let long = "a".repeat(65);
        assert_eq!(
            individual(&certificates("clientCertificates"), &long),
            Err(EnrollmentError::TooLongForX509 { length: 65 })
        );
        assert_eq!(individual(&json!({"type": "symmetricKey"}), &long), Ok(()));
    }

    #[test]
    fn a_custom_allocation_needs_its_function_and_an_initial_twin_keeps_the_rules() {
        let mut enrollment: IndividualEnrollment =
            from_value(with_nulls(&json!({"type": "symmetricKey"}))).unwrap();
        enrollment.settings.allocation_policy = Some(AllocationPolicy::Custom);
        assert_eq!(enrollment.check(), Err(EnrollmentError::NoFunction));
        enrollment.settings.allocation_policy = Some(AllocationPolicy::Static);
        let twin = from_value(json!({"tags": {"a.b": 1}})).unwrap();
        enrollment.settings.initial_twin = Some(Box::new(twin));
        let error = enrollment.check().unwrap_err().to_string();
        assert!(error.starts_with("initialTwin: tags"), "{error}");
    }

    #[test]
    fn an_absent_part_of_a_reprovision_policy_means_true() {
        let policy: ReprovisionPolicy = from_value(json!({"migrateDeviceData": false})).unwrap();
        assert_eq!(policy, ReprovisionPolicy { update_hub_assignment: true, migrate_device_data: false });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id in "[a-zA-Z0-9._:-]{0,20}[a-zA-Z0-9-]",
            device in proptest::option::of("[a-zA-Z0-9+%#()-]{1,20}"),
            status in proptest::option::of(proptest::sample::select(ProvisioningStatus::ALL)),
            policy in proptest::option::of(proptest::sample::select(AllocationPolicy::ALL)),
            reprovision in proptest::option::of((any::<bool>(), any::<bool>())),
            iot_edge in proptest::option::of(any::<bool>()),
            hubs in proptest::option::of(proptest::collection::vec("[a-z.]{1,9}", 0..3)),
            tag in proptest::option::of("[a-zA-Z0-9 ]{0,9}"),
        ) {
            let mut enrollment = IndividualEnrollment::new(id.parse().unwrap(), Attestation::SymmetricKey(None));
            enrollment.device_id = device.map(|device| device.parse().unwrap());
            let settings = &mut enrollment.settings;
            settings.provisioning_status = status;
            settings.allocation_policy = policy;
            settings.reprovision_policy = reprovision.map(|(update_hub_assignment, migrate_device_data)| {
                ReprovisionPolicy { update_hub_assignment, migrate_device_data }
            });
            settings.capabilities = iot_edge.map(|iot_edge| Capabilities { iot_edge });
            settings.iot_hubs = hubs;
            settings.initial_twin = tag.map(|tag| {
                Box::new(InitialTwin { tags: Some(JsonObject::from_iter([("a".to_owned(), json!(tag))])), properties: None })
            });
            let read: IndividualEnrollment = from_value(to_value(&enrollment).unwrap()).unwrap();
            prop_assert_eq!(read, enrollment);
        }

        #[test]
        fn no_document_is_a_panic(text in ".{0,40}", member in "(registrationId|deviceId|attestation|iotHubs|etag)") {
            let _ = from_value::<IndividualEnrollment>(json!({"registrationId": "a", member: text}));
        }
    }
}

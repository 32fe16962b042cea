//! The choice of a hub for a device. Source: "Understand DPS allocation policies".

use std::time::Duration;

use cli_support::wrong_form::JsonMistake;
use hub_types::dps::certificate::EnrollmentCertificate;
use hub_types::dps::enrollment::{
    AllocationPolicy, CustomAllocationDefinition, EnrollmentSettings, InitialTwin,
};
use hub_types::dps::selection::Entry;
use hub_types::dps::{DpsErrorCode, RegistrationId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::linked_hubs::{LinkedHub, LinkedHubs};
use crate::api_error::{ApiError, ApiResult};
use crate::http_client;

/// The hub of a device, and the parts of its assignment that a function may decide.
#[derive(Debug)]
pub(crate) struct Allocation<'h> {
    pub(crate) hub: &'h LinkedHub,
    pub(crate) initial: InitialTwin,
    /// Data for the device.
    pub(crate) payload: Option<Value>,
}

/// The device that a hub is chosen for.
#[derive(Debug, Clone)]
pub(crate) struct Applicant<'a> {
    pub(crate) id: &'a RegistrationId,
    pub(crate) entry: Entry<'a>,
    /// The facts of its certificate, if it presents one.
    pub(crate) certificate: Option<EnrollmentCertificate>,
    /// Data of the device.
    pub(crate) payload: Option<&'a Value>,
}

/// Chooses the hub by the policy of the device's entry.
pub(crate) async fn allocate<'h>(
    applicant: Applicant<'_>,
    hubs: &'h LinkedHubs,
    webhooks: &reqwest::Client,
) -> ApiResult<Allocation<'h>> {
    let settings = applicant.entry.settings();
    let initial = || settings.initial_twin.as_deref().cloned().unwrap_or_default();
    let candidates = candidates(settings, hubs)?;
    let hub = match (settings.allocation_policy, candidates.as_slice()) {
        (Some(AllocationPolicy::Custom), _) => {
            let chosen = ask(applicant, &candidates, webhooks).await?;
            let host = &chosen.iot_hub_host_name;
            let hub = candidates.iter().find(|hub| hub.is_called(host)).copied().ok_or_else(|| {
                custom_failed(format!(
                    "the function chose the hub `{host}`, which is not one of the entry's linked hubs"
                ))
            })?;
            let initial = chosen.initial_twin.unwrap_or_else(initial);
            initial
                .check()
                .map_err(|error| custom_failed(format!("the initial twin of the function: {error}")))?;
            return Ok(Allocation { hub, initial, payload: chosen.payload });
        }
        // The first one has the lowest latency: it is in this process.
        (Some(AllocationPolicy::GeoLatency | AllocationPolicy::Static), [first, ..]) => first,
        (_, several) => by_hash(applicant.id, several)?,
    };
    Ok(Allocation { hub, initial: initial(), payload: None })
}

/// The linked hubs that an entry names, or all if it names no hub.
fn candidates<'h>(settings: &EnrollmentSettings, hubs: &'h LinkedHubs) -> ApiResult<Vec<&'h LinkedHub>> {
    let named =
        settings.iot_hubs.iter().flatten().map(String::as_str).chain(settings.iot_hub_host_name.as_deref());
    let named: Vec<&str> = named.collect();
    if named.is_empty() {
        return Ok(hubs.iter().collect());
    }
    let linked = named.iter().map(|name| {
        hubs.find(name).ok_or_else(|| {
            ApiError::dps(
                DpsErrorCode::InvalidRequest,
                format!("the entry names the hub `{name}`, which is not linked"),
            )
        })
    });
    linked.collect()
}

/// Distributes devices evenly over the hubs: the same device gets the same hub as long as the hubs
/// stay the same.
fn by_hash<'h>(id: &RegistrationId, hubs: &[&'h LinkedHub]) -> ApiResult<&'h LinkedHub> {
    let digest: [u8; 32] = Sha256::digest(id.as_str().to_ascii_lowercase()).into();
    let [a, b, c, d, ..] = digest;
    let number = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0);
    let place = number.checked_rem(hubs.len()).unwrap_or(0);
    hubs.get(place).copied().ok_or_else(|| ApiError::server("no hub is linked"))
}

/// The request to the function of a custom allocation. Source: "Understand custom allocation
/// policies".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AllocationRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment_group: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    individual_enrollment: Option<Value>,
    device_runtime_context: RuntimeContext<'a>,
    linked_hubs: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeContext<'a> {
    registration_id: &'a RegistrationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    symmetric_key: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x509: Option<ContextCertificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContextCertificate {
    client_certificate: EnrollmentCertificate,
}

/// The answer of the function.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AllocationAnswer {
    iot_hub_host_name: String,
    #[serde(default)]
    initial_twin: Option<InitialTwin>,
    #[serde(default)]
    payload: Option<Value>,
}

async fn ask(
    applicant: Applicant<'_>,
    hubs: &[&LinkedHub],
    webhooks: &reqwest::Client,
) -> ApiResult<AllocationAnswer> {
    let Applicant { id, entry, certificate, payload } = applicant;
    let definition = entry.settings().custom_allocation_definition.as_deref();
    let CustomAllocationDefinition { webhook_url, .. } =
        definition.ok_or_else(|| custom_failed("the entry has no function".to_owned()))?;
    let (enrollment_group, individual_enrollment) = match entry {
        Entry::Group(group, _) => (Some(document(group)), None),
        Entry::Individual(entry) => (None, Some(document(entry))),
    };
    let request = AllocationRequest {
        enrollment_group,
        individual_enrollment,
        device_runtime_context: RuntimeContext {
            registration_id: id,
            symmetric_key: certificate.is_none().then(|| Value::Object(serde_json::Map::new())),
            x509: certificate.map(|client_certificate| ContextCertificate { client_certificate }),
            payload,
        },
        linked_hubs: hubs.iter().map(|hub| hub.name()).collect(),
    };
    let sent = webhooks.post(webhook_url).json(&request).send().await;
    // The address may have a key of the function in it.
    let answer = sent
        .map_err(|error| custom_failed(format!("the function can't be called: {}", error.without_url())))?;
    let status = answer.status();
    if !status.is_success() {
        return Err(custom_failed(format!("the function answers {status}")));
    }
    let content = answer.bytes().await.map_err(|error| custom_failed(error.without_url().to_string()))?;
    serde_json::from_slice(&content).map_err(|error| {
        custom_failed(format!("the answer of the function can't be read: {}", JsonMistake::new(&error)))
    })
}

/// An entry as a function gets it: without keys.
fn document(entry: &impl Serialize) -> Value {
    let mut document = serde_json::to_value(entry).unwrap_or_default();
    if let Some(attestation) = document.get_mut("attestation").and_then(Value::as_object_mut) {
        attestation.remove("symmetricKey");
    }
    document
}

fn custom_failed(text: String) -> ApiError {
    ApiError::dps(DpsErrorCode::CustomAllocationFailed, format!("Custom allocation failed: {text}."))
}

/// A client for functions of custom allocations, which have five seconds, as those of the service.
pub(crate) fn webhook_client() -> reqwest::Client {
    http_client::build(http_client::builder().timeout(WEBHOOK_TIMEOUT))
}

const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(5);

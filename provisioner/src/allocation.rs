//! Custom allocation: the function that a DPS calls for each device that registers by an entry with the
//! allocation policy `custom`. It answers with the hub of the run and the twin of the device's row, so that each
//! device of a group gets a twin of its own.
//!
//! Source: "Understand custom allocation policies" and "Use custom allocation policies". The DPS proves itself by
//! the key in the address of the function (`?code=…`), as to an Azure Function.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::IdentityId;
use hub_types::dps::RegistrationId;
use hub_types::dps::enrollment::{InitialProperties, InitialTwin};
use hub_types::twin::JsonObject;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ledger::{LedgerError, LedgerRow, SharedLedger};
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec};
pub(crate) use key::{AllocationKey, AllocationKeyError};
pub(crate) use server::{AllocationServer, ListenError, ListenSettings};

mod key;
mod server;
#[cfg(test)]
mod tests;

/// The request of a DPS. Members that decide nothing are left out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AllocationRequest {
    device_runtime_context: RuntimeContext,
    #[serde(default)]
    linked_hubs: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeContext {
    registration_id: RegistrationId,
    #[serde(default)]
    x509: Option<ContextX509>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextX509 {
    /// The certificate in base64, or an object with it or with facts about it.
    #[serde(default)]
    client_certificate: Value,
}

/// The answer to a DPS.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct AllocationAnswer {
    iot_hub_host_name: String,
    initial_twin: InitialTwin,
}

/// The reason why a device is not assigned. The DPS fails its registration.
#[derive(Debug, thiserror::Error)]
enum AllocationRefusal {
    #[error("the ledger can't be read")]
    Ledger(#[from] LedgerError),
    #[error("the device presents a different certificate than that of its row")]
    DifferentCertificate,
    #[error("no row of the run is about this device")]
    NoRow,
    #[error("the DPS is not linked with the hub `{hub}`: it names {}", linked.join(", "))]
    NotLinked { hub: String, linked: Vec<String> },
    #[error("the request can't be read: {0}")]
    Request(String),
}

/// The allocation of the devices of a run.
#[derive(Clone)]
pub(crate) struct Allocation {
    ledger: SharedLedger,
    run: RunId,
    /// The host of the hub.
    hub: String,
}

impl Allocation {
    /// Assigns the devices of a run to a hub.
    pub(crate) fn new(ledger: SharedLedger, run: RunId, hub: &str) -> Self {
        Self { ledger, run, hub: hub.to_owned() }
    }

    /// Answers a request.
    async fn answer(&self, request: &[u8]) -> Result<AllocationAnswer, AllocationRefusal> {
        let request: AllocationRequest = serde_json::from_slice(request).map_err(|error| {
            AllocationRefusal::Request(cli_support::wrong_form::JsonMistake::new(&error).to_string())
        })?;
        let identity = IdentityId::from(request.device_runtime_context.registration_id.device_id());
        let run = self.run;
        let row = self.ledger.call(move |ledger| ledger.row(run, &identity)).await?;
        decide(&request, row.as_ref(), &self.hub)
    }
}

/// Decides about a device by its row.
fn decide(
    request: &AllocationRequest,
    row: Option<&LedgerRow>,
    hub: &str,
) -> Result<AllocationAnswer, AllocationRefusal> {
    let spec = &row.ok_or(AllocationRefusal::NoRow)?.spec;
    if let Some(x509) = &request.device_runtime_context.x509
        && !is_of_row(&x509.client_certificate, spec)
    {
        return Err(AllocationRefusal::DifferentCertificate);
    }
    let linked = request.linked_hubs.iter().find(|linked| name_of(linked).eq_ignore_ascii_case(name_of(hub)));
    let linked = linked.ok_or_else(|| AllocationRefusal::NotLinked {
        hub: hub.to_owned(),
        linked: request.linked_hubs.clone(),
    })?;
    Ok(AllocationAnswer { iot_hub_host_name: linked.clone(), initial_twin: initial_twin(spec) })
}

/// The twin of a row.
fn initial_twin(spec: &IdentitySpec) -> InitialTwin {
    let given = |section: &JsonObject| (!section.is_empty()).then(|| section.clone());
    let desired = given(&spec.state.desired);
    let properties = desired.map(|desired| InitialProperties { desired: Some(desired) });
    InitialTwin { tags: given(&spec.state.tags), properties }
}

/// Returns false if the certificate is known and is not that of the row. A row without a thumbprint takes any
/// certificate of the group's CA.
fn is_of_row(certificate: &Value, spec: &IdentitySpec) -> bool {
    let AuthSpec::Thumbprint { primary, secondary } = &spec.state.auth else { return true };
    let mut given = primary.iter().chain(secondary).peekable();
    if given.peek().is_none() {
        return true;
    }
    let text = certificate.as_str().or_else(|| certificate.get("certificate")?.as_str());
    if let Some(der) = text.and_then(|text| STANDARD.decode(text.trim()).ok()) {
        return given.any(|thumbprint| thumbprint.matches_der(&der));
    }
    let info = certificate.get("info");
    let shown: Vec<&str> =
        ["sha256Thumbprint", "sha1Thumbprint"].iter().filter_map(|name| info?.get(name)?.as_str()).collect();
    shown.is_empty() || given.any(|known| shown.iter().any(|shown| shown.parse().as_ref() == Ok(known)))
}

/// The name of a hub without its port.
fn name_of(host: &str) -> &str {
    host.split_once(':').map_or(host, |(name, _)| name)
}

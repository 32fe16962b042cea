//! Coming to a hub through a DPS, as a device does: it registers over MQTT with its own certificate or key, is
//! assigned to a hub, and connects there.
//!
//! Source: "Communicate with DPS using the MQTT protocol".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hub_types::IdentityId;
use hub_types::dps::registration::{RegistrationOperation, RegistrationStatus};
use hub_types::dps::{IdScope, RegistrationId, device_token};
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Connect, Publish};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::session::{DeviceSession, token_expiry};
use super::{ConnectError, DeviceCredentials, DeviceHub, DeviceHubAddress, DeviceTwin, Visit, with_retry};
use crate::hub::HubClientOptions;

/// A DPS, as devices see it, and the hubs that it assigns.
#[derive(Debug)]
pub(crate) struct DeviceProvisioning {
    /// The address that devices register at.
    dps: DeviceHub,
    /// The id scope of the DPS.
    scope: IdScope,
    /// The trust settings for hubs.
    trust: HubClientOptions,
    /// The hubs by their names.
    hubs: Mutex<HashMap<String, Arc<DeviceHub>>>,
}

/// The hub that a device is assigned to, and its id there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    hub: String,
    device: IdentityId,
}

impl DeviceProvisioning {
    /// The DPS at an address, with this id scope.
    pub(crate) fn new(dps: DeviceHub, scope: IdScope, trust: HubClientOptions) -> Self {
        Self { dps, scope, trust, hubs: Mutex::default() }
    }

    /// Registers, and waits for the assignment. What may pass is tried again, for minutes.
    async fn register(
        &self,
        device: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<Assignment, ConnectError> {
        with_retry(|| self.dps.permitted_registration(|| self.register_once(device, credentials))).await
    }

    async fn register_once(
        &self,
        device: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<Assignment, ConnectError> {
        let id: RegistrationId = device.device().as_str().parse().map_err(ConnectError::RegistrationId)?;
        let stream = self.dps.open(Some(credentials)).await?;
        let mut session = DeviceSession::new(stream, self.dps.deadline());
        session.log_in_to_dps(&self.scope, &id, credentials).await?;
        let assigned = session.register(&id).await?;
        session.close().await;
        Ok(assigned)
    }

    fn hub(&self, name: &str) -> Result<Arc<DeviceHub>, ConnectError> {
        let mut hubs = self.hubs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hub) = hubs.get(name) {
            return Ok(hub.clone());
        }
        let hub = Arc::new(DeviceHub::new(DeviceHubAddress::of(name), &self.trust, None)?);
        hubs.insert(name.to_owned(), hub.clone());
        Ok(hub)
    }
}

impl Visit for DeviceProvisioning {
    async fn knock(&self) -> Result<(), ConnectError> {
        self.dps.knock().await.map(drop)
    }

    async fn twin(
        &self,
        identity: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<DeviceTwin, ConnectError> {
        let assignment = self.register(identity, credentials).await?;
        match self.hub(&assignment.hub)?.twin(&assignment.device, credentials).await {
            Ok(twin) => Ok(twin),
            Err(error) => Err(ConnectError::OnAssignedHub { hub: assignment.hub, source: Box::new(error) }),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> DeviceSession<S> {
    /// Says who is there, to the DPS of an id scope.
    async fn log_in_to_dps(
        &mut self,
        scope: &IdScope,
        id: &RegistrationId,
        credentials: &DeviceCredentials,
    ) -> Result<(), ConnectError> {
        let connect = connect(scope, id, credentials);
        self.connect(connect.map_err(|error| ConnectError::Protocol { step: REGISTERING, error })?).await
    }

    /// Registers, and asks for the assignment until there is one.
    async fn register(&mut self, id: &RegistrationId) -> Result<Assignment, ConnectError> {
        self.subscribe_to(ANSWERS).await?;
        let begun = Instant::now();
        let body = json!({ "registrationId": id }).to_string();
        let mut topic = format!("{REGISTER}1");
        let mut payload = body.as_str();
        for number in 2.. {
            let answer = self.ask(&topic, payload, number - 1).await?;
            let operation = match answer.status {
                200 | 202 => answer.operation()?,
                status => return Err(answer.refusal(status)),
            };
            if answer.status == 200 {
                return assignment(operation, id);
            }
            if begun.elapsed() > ASSIGNMENT {
                return Err(ConnectError::TimedOut { step: "the assignment to a hub", after: ASSIGNMENT });
            }
            sleep(answer.retry_after.unwrap_or(POLL)).await;
            topic = format!("{STATUS}{number}&operationId={}", operation.operation_id);
            payload = " ";
        }
        Err(ConnectError::TimedOut { step: "the assignment to a hub", after: ASSIGNMENT })
    }

    async fn ask(&mut self, topic: &str, payload: &str, number: u32) -> Result<DpsAnswer, ConnectError> {
        let publish = self.request(topic, payload, REGISTERING, |publish| DpsAnswer::read(publish, number));
        publish.await
    }
}

/// The answer of a DPS to a device.
struct DpsAnswer {
    status: u16,
    retry_after: Option<Duration>,
    payload: Vec<u8>,
}

impl DpsAnswer {
    /// Reads the answer to the request of a number: its topic is
    /// `$dps/registrations/res/{status}/?$rid=1&retry-after=3`.
    fn read(publish: &Publish, number: u32) -> Option<Self> {
        let (status, query) = publish.topic_name().strip_prefix(ANSWER)?.split_once("/?")?;
        let parameter = |name: &str| {
            query.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
        };
        let is_ours = parameter("$rid").is_some_and(|found| found == number.to_string());
        let retry_after = parameter("retry-after").and_then(|seconds| seconds.parse().ok());
        let payload = publish.payload().as_slice().to_vec();
        let status = status.parse().ok().filter(|_| is_ours)?;
        Some(Self { status, retry_after: retry_after.map(Duration::from_secs), payload })
    }

    fn operation(&self) -> Result<RegistrationOperation, ConnectError> {
        serde_json::from_slice(&self.payload).map_err(|error| ConnectError::malformed(&error))
    }

    fn refusal(&self, status: u16) -> ConnectError {
        let document: Option<serde_json::Value> = serde_json::from_slice(&self.payload).ok();
        let code = document.as_ref().and_then(|document| document.get("errorCode")?.as_u64());
        let code = code.and_then(|code| u32::try_from(code).ok());
        ConnectError::RegistrationRefused { status, code }
    }
}

/// The hub of an operation that has ended.
fn assignment(operation: RegistrationOperation, id: &RegistrationId) -> Result<Assignment, ConnectError> {
    let state = operation.registration_state;
    let hub = state.as_ref().and_then(|state| state.assigned_hub.clone());
    match (operation.status, hub) {
        (RegistrationStatus::Assigned, Some(hub)) => {
            let device = state.and_then(|state| state.device_id).unwrap_or_else(|| id.device_id());
            Ok(Assignment { hub, device: device.into() })
        }
        (status, _) => {
            let code = state.as_ref().and_then(|state| state.error_code);
            let message = state.and_then(|state| state.error_message).unwrap_or_default();
            Err(ConnectError::NotAssigned { status, code, message })
        }
    }
}

fn connect(
    scope: &IdScope,
    id: &RegistrationId,
    credentials: &DeviceCredentials,
) -> Result<Connect, MqttError> {
    let user = format!("{scope}/registrations/{id}/api-version={API_VERSION}&ClientVersion={AGENT}");
    let connect = Connect::builder()
        .client_id(id.as_str())?
        .user_name(user)?
        .clean_session(true)
        .keep_alive(KEEP_ALIVE_SECONDS);
    match credentials {
        DeviceCredentials::Certificate(_) => connect.build(),
        DeviceCredentials::Key(key) => {
            let token = device_token::sign(scope, id, key, token_expiry());
            connect.password(token.expose_text().as_bytes().to_vec())?.build()
        }
    }
}

const AGENT: &str = concat!("provisioner%2F", env!("CARGO_PKG_VERSION"));
const ANSWER: &str = "$dps/registrations/res/";
const ANSWERS: &str = "$dps/registrations/res/#";
const API_VERSION: &str = "2019-03-31";
/// The longest wait for an assignment. Microsoft's SDKs give up earlier.
const ASSIGNMENT: Duration = Duration::from_secs(60);
const KEEP_ALIVE_SECONDS: u16 = 240;
/// The time between two polls, if the DPS does not say it.
const POLL: Duration = Duration::from_secs(2);
const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
const REGISTERING: &str = "the registration";
const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";

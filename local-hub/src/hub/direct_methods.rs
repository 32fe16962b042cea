//! Direct methods: a call of a connected device or module, and its response.

use cli_support::wrong_form::JsonMistake;
use std::time::Duration;

use hub_types::limits::{MAX_METHOD_BYTES, METHOD_PIECE_BYTES};
use hub_types::twin::check_numbers;
use hub_types::{ErrorCode, IdentityId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::api_error::{ApiError, ApiResult};
use crate::hub::Hub;
use crate::hub::connections::{Downlink, MethodAnswer, MethodCall};

/// A method call in the form of the service API.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodBody {
    method_name: String,
    #[serde(default)]
    payload: Value,
    response_timeout_in_seconds: Option<u64>,
    connect_timeout_in_seconds: Option<u64>,
}

/// A valid call.
#[derive(Debug, Clone)]
pub(crate) struct MethodRequest {
    name: String,
    payload: Vec<u8>,
    /// The time to wait for the device to connect.
    connect: Duration,
    /// The time to wait for its response.
    respond: Duration,
}

/// The response of the device or module.
#[derive(Debug, Serialize)]
pub(crate) struct MethodResponse {
    status: i32,
    payload: Value,
}

impl MethodRequest {
    /// Checks a client's request.
    pub(crate) fn new(document: Value) -> ApiResult<Self> {
        let body =
            MethodBody::deserialize(document).map_err(|error| ApiError::argument(error.to_string()))?;
        check_name(&body.method_name)?;
        Ok(Self {
            connect: seconds("connectTimeoutInSeconds", body.connect_timeout_in_seconds, 0, 0)?,
            respond: seconds("responseTimeoutInSeconds", body.response_timeout_in_seconds, 30, 5)?,
            payload: payload(&body.payload)?,
            name: body.method_name,
        })
    }

    /// The number of operations that it counts as in the throttle of direct methods.
    pub(crate) fn pieces(&self) -> u32 {
        u32::try_from(self.payload.len().div_ceil(METHOD_PIECE_BYTES)).unwrap_or(u32::MAX)
    }
}

/// Calls a method of a device or a module. Request and response are charged as messages of the day,
/// and so is the error that a device is not online.
pub(crate) async fn invoke(
    hub: &Hub,
    identity: &IdentityId,
    request: MethodRequest,
) -> ApiResult<MethodResponse> {
    hub.read(|registry| registry.twin(identity).map(drop))?;
    hub.throttle().charge(request.payload.len());
    let answered = call_device(hub, identity, request).await;
    hub.throttle().charge(answered.as_ref().map_or(0, |answer| answer.payload.len()));
    response(answered?)
}

async fn call_device(hub: &Hub, identity: &IdentityId, request: MethodRequest) -> ApiResult<MethodAnswer> {
    let MethodRequest { name, payload, connect, respond } = request;
    let receiver = receiver(hub, identity, connect).await?;
    let (answer, answered) = oneshot::channel();
    let message = Downlink::Method(MethodCall { name, payload, answer });
    let answer = timeout(respond, async {
        receiver.send(message).await.ok()?;
        answered.await.ok()
    });
    match answer.await {
        Ok(answer) => answer.ok_or_else(|| not_online("the device went away")),
        Err(_) => {
            Err(ApiError::new(ErrorCode::GatewayTimeout, "Timed out waiting for the response from device."))
        }
    }
}

/// The channel to the device; waits for it to connect as long as the caller allows.
async fn receiver(
    hub: &Hub,
    identity: &IdentityId,
    idle_timeout: Duration,
) -> ApiResult<mpsc::Sender<Downlink>> {
    let deadline = Instant::now() + idle_timeout;
    loop {
        // Listening begins before the look, so that nobody who comes in between is missed.
        let mut changed = std::pin::pin!(hub.methods_changed());
        changed.as_mut().enable();
        if let Some(receiver) = hub.method_receiver(identity) {
            return Ok(receiver);
        }
        if timeout_at(deadline, changed).await.is_err() {
            return Err(not_online("Timed out waiting for device to connect."));
        }
    }
}

fn response(answer: MethodAnswer) -> ApiResult<MethodResponse> {
    let payload = match &*answer.payload {
        b"" => Value::Null,
        text => serde_json::from_slice(text).map_err(|error| {
            ApiError::server(format!("the device's answer is not JSON: {}", JsonMistake::new(&error)))
        })?,
    };
    check_numbers(&answer.payload, &[]).map_err(|error| {
        ApiError::server(format!("the device's answer has a number that can't be passed on: {error}"))
    })?;
    Ok(MethodResponse { status: answer.status, payload })
}

fn payload(value: &Value) -> ApiResult<Vec<u8>> {
    let payload = value.to_string().into_bytes();
    if payload.len() > MAX_METHOD_BYTES {
        let text = format!("the payload of a direct method may have {MAX_METHOD_BYTES} bytes");
        return Err(ApiError::new(ErrorCode::MessageTooLarge, text));
    }
    Ok(payload)
}

/// Checks the name of a method. Source of the rule: "Understand and invoke direct methods from IoT
/// Hub".
fn check_name(name: &str) -> ApiResult<()> {
    let legal = |byte: u8| byte.is_ascii_graphic() && !FORBIDDEN.contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(legal) {
        let text = "methodName must be 1 to 100 printable ASCII characters, none of $()<>@,;:\\\"/[]?={}#+";
        return Err(ApiError::argument(text));
    }
    Ok(())
}

fn seconds(name: &str, given: Option<u64>, default: u64, least: u64) -> ApiResult<Duration> {
    match given.unwrap_or(default) {
        seconds if (least..=MAX_SECONDS).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(ApiError::argument(format!("{name} must be from {least} to {MAX_SECONDS}"))),
    }
}

fn not_online(text: &str) -> ApiError {
    ApiError::new(ErrorCode::DeviceNotOnline, text)
}

/// The documented forbidden characters, and the wildcards that topics can't contain.
const FORBIDDEN: &[u8] = b"$()<>@,;:\\\"/[]?={}#+";
const MAX_NAME_BYTES: usize = 100;
const MAX_SECONDS: u64 = 300;

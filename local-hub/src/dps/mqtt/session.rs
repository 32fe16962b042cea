//! One connection of a device that registers, from the response to CONNECT to its end.

use std::time::Duration;

use cli_support::wrong_form::JsonMistake;
use hub_types::dps::DpsErrorCode;
use hub_types::dps::limits::MAX_MESSAGE_BYTES;
use hub_types::dps::registration::{DeviceRegistration, RegistrationStatus};
use mqtt_protocol_core::mqtt::packet::Packet;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Puback, Publish, Suback, Subscribe, Unsuback, Unsubscribe};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, SubackReturnCode};
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::topic::{self, RESPONSES, RegistrationRequest};
use super::{ProvisioningOperation, Registrant, Registrations};
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::dps::registration::{self, RETRY_AFTER_SECONDS};
use crate::listener::resettable::Reset;
use crate::mqtt::ByteStream;
use crate::mqtt::attempt::{Attempt, log_end};
use crate::mqtt::wire::{SessionEnd, Wire, check_publish, grant, idle_timeout};
use crate::registry::Quality;

/// A connection of a device.
pub(super) struct RegistrationSession<'a, S> {
    service: &'a Registrations,
    client: &'a Registrant,
    /// The quality of the subscription to responses.
    responses: Option<Quality>,
    wire: Wire<S>,
    stop: &'a CancellationToken,
    opened_at: Instant,
    /// The longest time without a packet from the client.
    idle_timeout: Duration,
    idle_at: Instant,
}

/// A response: its status, and its payload.
struct RegistrationResponse {
    status: u16,
    retry_after: Option<u32>,
    payload: Vec<u8>,
}

impl<'a, S: ByteStream> RegistrationSession<'a, S> {
    pub(super) fn new(
        service: &'a Registrations,
        client: &'a Registrant,
        keep_alive: u16,
        wire: Wire<S>,
        stop: &'a CancellationToken,
    ) -> Self {
        let idle_timeout = idle_timeout(keep_alive);
        Self {
            service,
            client,
            responses: None,
            wire,
            stop,
            opened_at: Instant::now(),
            idle_timeout,
            idle_at: Instant::now() + idle_timeout,
        }
    }

    /// Responds to CONNECT, then serves until the end.
    pub(super) async fn serve(mut self, connect: &Attempt<'_, Registrations>) -> (SessionEnd, Self) {
        if let Err(ended) = self.accept(connect).await {
            return (ended, self);
        }
        loop {
            if let Err(ended) = self.serve_event().await {
                return (ended, self);
            }
        }
    }

    async fn accept(&mut self, connect: &Attempt<'_, Registrations>) -> Result<(), SessionEnd> {
        let before = self.wire.waiting();
        self.wire.connack(ConnectReturnCode::Accepted, false)?;
        self.apply_fault(connect, before).await
    }

    async fn serve_event(&mut self) -> Result<(), SessionEnd> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SessionEnd::Stopped),
            () = sleep_until(self.idle_at) => Err(SessionEnd::Idle),
            packet = self.wire.next() => {
                self.idle_at = Instant::now() + self.idle_timeout;
                self.receive(packet?).await
            }
        }
    }

    /// Ends the connection, for any reason.
    pub(super) async fn close(self, ended: SessionEnd, reset: &Reset) {
        tracing::debug!(registration = %self.client.id, "a connection ends: {ended}");
        log_end(self.service, self.client, self.opened_at, &ended);
        if matches!(ended, SessionEnd::Reset) {
            return reset.demand();
        }
        self.wire.finish().await;
    }

    async fn receive(&mut self, packet: Packet) -> Result<(), SessionEnd> {
        match packet {
            Packet::V3_1_1Publish(publish) => self.published(&publish).await,
            Packet::V3_1_1Subscribe(subscribe) => self.subscribe(&subscribe).await,
            Packet::V3_1_1Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe).await,
            Packet::V3_1_1Puback(_) | Packet::V3_1_1Pingreq(_) => Ok(()),
            Packet::V3_1_1Disconnect(_) => Err(SessionEnd::Disconnected),
            other => Err(SessionEnd::Violation(format!(
                "it expects no packet of type {} now",
                other.packet_type() as u8
            ))),
        }
    }

    async fn begin(
        &self,
        operation: ProvisioningOperation,
    ) -> Result<Attempt<'a, Registrations>, SessionEnd> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SessionEnd::Stopped),
            attempt = Attempt::begin(self.service, self.client, operation) => attempt,
        }
    }

    async fn apply_fault(
        &mut self,
        attempt: &Attempt<'_, Registrations>,
        before: usize,
    ) -> Result<(), SessionEnd> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(SessionEnd::Stopped),
            done = self.wire.apply_fault(attempt.effect(), before) => done,
        }
    }

    async fn published(&mut self, publish: &Publish) -> Result<(), SessionEnd> {
        check_publish(publish)?;
        let topic = publish.topic_name();
        let request = RegistrationRequest::parse(topic)
            .ok_or_else(|| SessionEnd::Violation(format!("it may not publish to `{topic}`")))?;
        let attempt = self.begin(operation_of(request)).await?;
        let done = match attempt.check() {
            Ok(()) => self.perform(request, publish.payload().as_slice()).await,
            Err(error) => Err(error),
        };
        attempt.ended(done.as_ref().map(|response| response.status));
        let response = done.unwrap_or_else(|error| self.refusal(request, &error));
        let before = self.wire.waiting();
        if let Some(id) = publish.packet_id() {
            let puback = Puback::builder().packet_id(id).build().map_err(SessionEnd::Malformed)?;
            self.wire.send(puback);
        }
        if let Some(quality) = self.responses {
            let topic = topic::response(response.status, request.rid(), response.retry_after);
            self.wire.publish(&topic, response.payload, quality)?;
        }
        self.apply_fault(&attempt, before).await
    }

    async fn perform(
        &self,
        request: RegistrationRequest<'_>,
        payload: &[u8],
    ) -> ApiResult<RegistrationResponse> {
        let (dps, Registrant { id, proof, .. }) = (&self.service.dps, self.client);
        let operation = match request {
            RegistrationRequest::Register { .. } => {
                registration::register(dps, id, proof, read(payload)?).await?
            }
            RegistrationRequest::GetOperationStatus { operation, .. } => {
                registration::operation_status(dps, id, operation)?
            }
        };
        let is_running = operation.status == RegistrationStatus::Assigning;
        Ok(RegistrationResponse {
            status: if is_running { 202 } else { 200 },
            retry_after: is_running.then_some(RETRY_AFTER_SECONDS),
            payload: serde_json::to_vec(&operation).map_err(|error| ApiError::server(error.to_string()))?,
        })
    }

    /// The response to a refused request.
    fn refusal(&self, request: RegistrationRequest<'_>, error: &ApiError) -> RegistrationResponse {
        let now = self.service.dps.timestamp().to_string();
        let payload = json!({
            "errorCode": error.number,
            "trackingId": format!("{}-{now}", request.rid()),
            "message": error.text,
            "timestampUtc": now,
        });
        let retry_after = (error.status == 429).then_some(RETRY_AFTER_SECONDS);
        RegistrationResponse { status: error.status, retry_after, payload: payload.to_string().into_bytes() }
    }

    async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), SessionEnd> {
        let attempt = self.begin(ProvisioningOperation::Subscribe).await?;
        let refused = attempt.check().err();
        let mut codes = Vec::new();
        for entry in subscribe.entries() {
            let (quality, code) = grant(entry.sub_opts().qos());
            let is_granted = refused.is_none() && entry.topic_filter() == RESPONSES;
            if is_granted {
                self.responses = Some(quality);
            }
            codes.push(if is_granted { code } else { SubackReturnCode::Failure });
        }
        let refused = refused.or_else(|| codes.contains(&SubackReturnCode::Failure).then(not_the_filter));
        attempt.ended(refused.as_ref().map_or(Ok(200), Err));
        let before = self.wire.waiting();
        let suback = Suback::builder().packet_id(subscribe.packet_id()).return_codes(codes);
        self.wire.send(suback.build().map_err(SessionEnd::Malformed)?);
        self.apply_fault(&attempt, before).await
    }

    async fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), SessionEnd> {
        let attempt = self.begin(ProvisioningOperation::Unsubscribe).await?;
        attempt.require_success(200)?;
        if unsubscribe.entries().iter().any(|filter| filter.as_str() == RESPONSES) {
            self.responses = None;
        }
        let before = self.wire.waiting();
        let unsuback = Unsuback::builder().packet_id(unsubscribe.packet_id());
        self.wire.send(unsuback.build().map_err(SessionEnd::Malformed)?);
        self.apply_fault(&attempt, before).await
    }
}

fn operation_of(request: RegistrationRequest<'_>) -> ProvisioningOperation {
    match request {
        RegistrationRequest::GetOperationStatus { .. } => ProvisioningOperation::GetOperationStatus,
        RegistrationRequest::Register { .. } => ProvisioningOperation::Register,
    }
}

/// Reads the payload of a registration, which may be empty or a blank.
fn read(payload: &[u8]) -> ApiResult<DeviceRegistration> {
    if payload.len() > MAX_MESSAGE_BYTES {
        let text = format!("the payload has more than {MAX_MESSAGE_BYTES} bytes");
        return Err(ApiError::dps(DpsErrorCode::MessageTooLarge, text));
    }
    if payload.trim_ascii().is_empty() {
        return Ok(DeviceRegistration::default());
    }
    serde_json::from_slice(payload).map_err(|error| {
        let text = format!("the payload can't be read: {}", JsonMistake::new(&error));
        ApiError::dps(DpsErrorCode::InvalidRequest, text)
    })
}

fn not_the_filter() -> ApiError {
    ApiError::dps(DpsErrorCode::Unauthorized, format!("a filter is not `{RESPONSES}`"))
}

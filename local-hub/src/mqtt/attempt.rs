//! One operation of a client, from its packet to its line in the request log, with the effects of
//! faults.

use std::time::Instant;

use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use tokio::time::sleep;

use super::wire::SessionEnd;
use super::{MqttClient, MqttOperation, MqttService};
use crate::api_error::ApiError;
use crate::backend::Backend;
use crate::faults::{Effect, InjectedFault};
use crate::request_log::{self, DeviceLine};

/// An operation in progress.
pub(crate) struct Attempt<'a, M: MqttService> {
    service: &'a M,
    client: &'a M::Client,
    operation: M::Operation,
    at: Instant,
    injected: InjectedFault,
}

impl<'a, M: MqttService> Attempt<'a, M> {
    /// Begins an operation, after the delay of a fault. The error is a fault that prevents both the
    /// operation and its response.
    pub(crate) async fn begin(
        service: &'a M,
        client: &'a M::Client,
        operation: M::Operation,
    ) -> Result<Self, SessionEnd> {
        let faults = service.backend().faults();
        let injected = faults.inject(operation.name());
        let attempt = Self { service, client, operation, at: Instant::now(), injected };
        if !attempt.injected.delay.is_zero() {
            sleep(attempt.injected.delay).await;
        }
        match attempt.effect() {
            Some(Effect::Reset) => {
                attempt.log(None, None);
                Err(SessionEnd::Reset)
            }
            Some(Effect::Hang(duration)) => {
                attempt.log(None, None);
                faults.hang(*duration).await;
                Err(SessionEnd::Fault)
            }
            _ => Ok(attempt),
        }
    }

    /// Returns an error if a fault, or a store that can't be written, prevents the operation.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        self.service.backend().check_durable()?;
        let error = self.effect().and_then(|effect| effect.error(self.operation.name()));
        error.map_or(Ok(()), Err)
    }

    /// Logs an operation as done. If a fault refuses it, ends the connection, because MQTT has no
    /// other way to report the failure.
    pub(crate) fn require_success(&self, status: u16) -> Result<(), SessionEnd> {
        let done = self.check();
        self.ended(done.as_ref().map(|()| status));
        done.map_err(|error| SessionEnd::Refused(error.text))
    }

    /// Logs the outcome of the operation: a status, or an error.
    pub(crate) fn ended(&self, outcome: Result<u16, &ApiError>) {
        match outcome {
            Ok(status) => self.log(Some(status), None),
            Err(error) => self.log(Some(error.status), Some(error)),
        }
    }

    /// The effect of a fault on the operation, except for delays.
    pub(crate) fn effect(&self) -> Option<&Effect> {
        self.injected.effect.as_ref()
    }

    fn log(&self, status: Option<u16>, error: Option<&ApiError>) {
        let Some(log) = self.service.request_log() else { return };
        log.write(&DeviceLine {
            time: self.service.backend().timestamp(),
            operation: self.operation.name(),
            identity: Some(self.client.identity()),
            agent: self.client.agent(),
            status,
            errorcode: error.map(|error| error.name),
            fault: self.injected.name(),
            // Other errors may repeat a part of what the client sent.
            reason: error.filter(|_| self.operation == M::Operation::CONNECT).map(|error| &*error.text),
            milliseconds: u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
}

/// Logs a CONNECT that was refused before it was read completely, by the identity that it claims.
pub(crate) fn log_refused<M: MqttService>(service: &M, connect: &Connect, error: &ApiError) {
    let Some(log) = service.request_log() else { return };
    let (identity, agent) = M::claimed(connect);
    log.write(&DeviceLine {
        time: service.backend().timestamp(),
        operation: M::Operation::CONNECT.name(),
        identity,
        agent: agent.as_ref().and_then(|agent| request_log::agent(agent.as_bytes())),
        status: Some(error.status),
        errorcode: Some(error.name),
        fault: None,
        reason: Some(&error.text),
        milliseconds: 0,
    });
}

/// Logs the end of a connection.
pub(crate) fn log_end<M: MqttService>(
    service: &M,
    client: &M::Client,
    opened_at: tokio::time::Instant,
    ended: &SessionEnd,
) {
    let Some(log) = service.request_log() else { return };
    log.write(&DeviceLine {
        time: service.backend().timestamp(),
        operation: M::Operation::DISCONNECT,
        identity: Some(client.identity()),
        agent: client.agent(),
        status: None,
        errorcode: None,
        fault: None,
        reason: Some(ended.name()),
        milliseconds: u64::try_from(opened_at.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
}

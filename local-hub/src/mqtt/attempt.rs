//! One operation of a device or module, from its packet to its line in the request log, with the
//! effects of faults.

use std::time::Instant;

use tokio::time::sleep;

use super::authenticator::{Authenticator, Client};
use super::operation::DeviceOperation;
use super::wire::SessionEnd;
use crate::api_error::ApiError;
use crate::faults::{Effect, InjectedFault};
use crate::request_log::DeviceLine;

/// An operation in progress.
pub(crate) struct Attempt<'a> {
    authenticator: &'a Authenticator,
    client: &'a Client,
    operation: DeviceOperation,
    at: Instant,
    injected: InjectedFault,
}

impl<'a> Attempt<'a> {
    /// Begins an operation, after the delay of a fault. The error is a fault that prevents both the
    /// operation and its response.
    pub(crate) async fn begin(
        authenticator: &'a Authenticator,
        client: &'a Client,
        operation: DeviceOperation,
    ) -> Result<Self, SessionEnd> {
        let faults = authenticator.hub.faults();
        let injected = faults.inject(operation.name());
        let attempt = Self { authenticator, client, operation, at: Instant::now(), injected };
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
        self.authenticator.hub.check_durable()?;
        let error = self.effect().and_then(|effect| effect.error(self.operation.name()));
        error.map_or(Ok(()), Err)
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
        self.authenticator.log(&DeviceLine {
            time: self.authenticator.hub.timestamp(),
            operation: self.operation.name(),
            identity: Some(self.client.info.identity.to_string()),
            agent: self.client.agent(),
            status,
            errorcode: error.map(|error| error.name),
            fault: self.injected.name(),
            // Other errors may repeat a part of what the client sent.
            reason: error.filter(|_| self.operation == DeviceOperation::Connect).map(|error| &*error.text),
            milliseconds: u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
}

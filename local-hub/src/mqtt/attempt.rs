//! One operation of a device or module, from its packet to its line in the request log, with the
//! effects of faults.

use std::time::Instant;

use tokio::time::sleep;

use super::gate::{Gate, Visitor};
use super::operation::Operation;
use super::wire::Ended;
use crate::faults::{Effect, Weather};
use crate::refusal::Refusal;
use crate::request_log::DeviceLine;

/// An operation in progress.
pub(crate) struct Attempt<'a> {
    gate: &'a Gate,
    visitor: &'a Visitor,
    operation: Operation,
    at: Instant,
    weather: Weather,
}

impl<'a> Attempt<'a> {
    /// Begins an operation, after the delay of a fault. The error is a fault that prevents both the
    /// operation and its response.
    pub(crate) async fn begin(
        gate: &'a Gate,
        visitor: &'a Visitor,
        operation: Operation,
    ) -> Result<Self, Ended> {
        let faults = gate.hub.faults();
        let weather = faults.weather(operation.name());
        let attempt = Self { gate, visitor, operation, at: Instant::now(), weather };
        if !attempt.weather.delay.is_zero() {
            sleep(attempt.weather.delay).await;
        }
        match attempt.effect() {
            Some(Effect::Reset) => {
                attempt.note(None, None);
                Err(Ended::Reset)
            }
            Some(Effect::Hang(duration)) => {
                attempt.note(None, None);
                faults.hang(*duration).await;
                Err(Ended::Fault)
            }
            _ => Ok(attempt),
        }
    }

    /// Returns an error if a fault, or a store that can't be written, prevents the operation.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.gate.hub.check_durable()?;
        let refusal = self.effect().and_then(|effect| effect.refusal(self.operation.name()));
        refusal.map_or(Ok(()), Err)
    }

    /// Logs the outcome of the operation: a status, or a refusal.
    pub(crate) fn ended(&self, outcome: Result<u16, &Refusal>) {
        match outcome {
            Ok(status) => self.note(Some(status), None),
            Err(refusal) => self.note(Some(refusal.status), Some(refusal)),
        }
    }

    /// The effect of a fault on the operation, except for delays.
    pub(crate) fn effect(&self) -> Option<&Effect> {
        self.weather.effect.as_ref()
    }

    fn note(&self, status: Option<u16>, refusal: Option<&Refusal>) {
        self.gate.note(&DeviceLine {
            time: self.gate.hub.timestamp(),
            operation: self.operation.name(),
            identity: Some(self.visitor.hello.identity.to_string()),
            agent: self.visitor.agent(),
            status,
            errorcode: refusal.map(|refusal| refusal.name),
            fault: self.weather.name(),
            // Other refusals may repeat a part of what the client sent.
            reason: refusal.filter(|_| self.operation == Operation::Connect).map(|refusal| &*refusal.text),
            milliseconds: u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }
}

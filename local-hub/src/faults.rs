//! Faults on demand: what is to go wrong, when, and how often.
//!
//! A [`Fault`] names an operation and an effect. Whether it hits the n-th request of its operation
//! depends on the seed, its place in the list, the operation and n, and on nothing else: the same
//! seed and the same requests give the same faults, in whatever order the requests of different
//! operations come.

pub use document::FaultsError;
pub(crate) use injector::{Injector, Weather};

mod dice;
mod document;
mod injector;

use std::time::Duration;

use hub_types::ErrorCode;

use crate::refusal::Refusal;

/// What is to go wrong. The default is nothing.
///
/// Made from a file by [`Faults::parse`]; the format is told there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// What the dice are thrown with.
    pub seed: u64,
    /// The faults. Where several hit one request, delays add up, and of the others the first counts.
    pub faults: Vec<Fault>,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The operation that it hits, by the name it has in the request log; none means every one.
    pub operation: Option<String>,
    /// What happens.
    pub effect: Effect,
    /// How likely it hits, from 0 to 1.
    pub probability: f64,
    /// How many requests of each operation it leaves alone first.
    pub skip: u64,
    /// How many requests of each operation it hits at most.
    pub count: Option<u64>,
    /// When it begins, from when the faults are set, on the hub's clock.
    pub from: Duration,
    /// When it ends, from when the faults are set, on the hub's clock.
    pub until: Option<Duration>,
}

impl Fault {
    /// A fault that hits every request, always.
    pub fn always(effect: Effect) -> Self {
        Self {
            operation: None,
            effect,
            probability: 1.0,
            skip: 0,
            count: None,
            from: Duration::ZERO,
            until: None,
        }
    }

    /// The same fault, of this operation only.
    #[must_use]
    pub fn of(self, operation: &str) -> Self {
        Self { operation: Some(operation.to_owned()), ..self }
    }

    /// The same fault, at most so many times for each operation.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self { count: Some(count), ..self }
    }

    /// The same fault, with this probability from 0 to 1.
    #[must_use]
    pub fn with_probability(self, probability: f64) -> Self {
        Self { probability, ..self }
    }
}

/// What happens to a request, or to an operation of a device over MQTT: there the answer is what the
/// hub sends on the connection for this operation, and what can't be answered with an error ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// It is answered with an error, and nothing is done.
    Status {
        /// 400 to 599. 502 and 504 come from gateways, without IoT Hub's envelope.
        status: u16,
        /// The code in IoT Hub's envelope.
        code: Option<ErrorCode>,
        /// What the `Retry-After` header says, in seconds; a live hub sends none with 429.
        retry_after: Option<u32>,
    },
    /// The connection is reset (TCP RST), and nothing is done.
    Reset,
    /// It is not answered, and nothing is done. The connection ends after this time, or when the
    /// faults are set anew.
    Hang(Option<Duration>),
    /// It is done later by this time.
    Delay(Duration),
    /// It is done, and answered at this pace in bytes per second.
    Drip(u32),
    /// It is done, and the connection ends without an answer.
    LoseAnswer,
    /// It is done, and the connection ends in the middle of the answer.
    HalfAnswer,
    /// A query is answered with what the hub held when the faults were set.
    StalePage,
}

impl Effect {
    /// The name in files and in the request log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Reset => "reset",
            Self::Hang(_) => "hang",
            Self::Delay(_) => "delay",
            Self::Drip(_) => "drip",
            Self::LoseAnswer => "lose-answer",
            Self::HalfAnswer => "half-answer",
            Self::StalePage => "stale-page",
        }
    }

    /// The refusal that it puts in the place of doing the operation, if it does.
    pub(crate) fn refusal(&self, operation: &str) -> Option<Refusal> {
        let Self::Status { status, code, .. } = self else {
            return None;
        };
        Some(match code {
            Some(ErrorCode::ThrottlingException) => Refusal::throttled(operation),
            Some(code) => Refusal::new(*code, FAULT_TEXT),
            None => Refusal { status: *status, name: "BadGateway", text: FAULT_TEXT.to_owned() },
        })
    }
}

const FAULT_TEXT: &str = "a fault of the local hub, as it was told to have";

#[cfg(test)]
mod tests;

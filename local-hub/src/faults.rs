//! Faults on demand: their effects, times and frequencies.
//!
//! A [`Fault`] names an operation and an effect. The decision whether it hits the n-th request of its
//! operation depends only on the seed, its index in the list, the operation and n: the same seed
//! and the same requests give the same faults, in any order of the requests of different
//! operations.

pub use document::FaultsError;
pub(crate) use injector::{InjectedFault, Injector};

mod document;
mod injector;
mod sampler;

use std::time::Duration;

use hub_types::ErrorCode;

use crate::api_error::ApiError;

/// The faults of a hub. The default has no faults.
///
/// [`Faults::parse`] reads them from a file and documents the format.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// The seed of the random decisions.
    pub seed: u64,
    /// The faults. If several hit one request, delays add up, and of the others the first counts.
    pub faults: Vec<Fault>,
}

/// One fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// The operation that it hits, by its name in the request log; `None` means every operation.
    pub operation: Option<String>,
    /// The effect on the request.
    pub effect: Effect,
    /// The probability that it hits, from 0 to 1.
    pub probability: f64,
    /// The number of requests of each operation that it skips first.
    pub skip: u64,
    /// The largest number of requests of each operation that it hits; `None` is no bound.
    pub count: Option<u64>,
    /// The time when it begins, measured on the hub's clock from when the faults are set.
    pub from: Duration,
    /// The time when it ends, measured on the hub's clock from when the faults are set.
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

/// The effect on a request, or on an operation of a device over MQTT. There the response is the
/// packet that the hub sends on the connection for this operation; the connection ends if MQTT has
/// no error response for it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// The response is an error, and the operation is not performed.
    Status {
        /// 400 to 599. 502 and 504 come from gateways, without IoT Hub's envelope.
        status: u16,
        /// The code in IoT Hub's envelope.
        code: Option<ErrorCode>,
        /// The value of the `Retry-After` header, in seconds; a live hub sends none with 429.
        retry_after: Option<u32>,
    },
    /// The connection is reset (TCP RST), and the operation is not performed.
    Reset,
    /// There is no response, and the operation is not performed. The connection ends after this
    /// time, or when the faults are set again.
    Hang(Option<Duration>),
    /// The operation is delayed by this time.
    Delay(Duration),
    /// The operation is performed, and the response is sent at this rate in bytes per second.
    Drip(u32),
    /// The operation is performed, and the connection ends without a response.
    LoseAnswer,
    /// The operation is performed, and the connection ends in the middle of the response.
    HalfAnswer,
    /// A query returns the data that the hub held when the faults were set.
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

    /// The error response that replaces the operation, if the effect is one.
    pub(crate) fn error(&self, operation: &str) -> Option<ApiError> {
        let Self::Status { status, code, .. } = self else {
            return None;
        };
        Some(match code {
            Some(ErrorCode::ThrottlingException) => ApiError::throttled(operation),
            Some(code) => ApiError::new(*code, FAULT_TEXT),
            None => ApiError { status: *status, number: 0, name: "BadGateway", text: FAULT_TEXT.to_owned() },
        })
    }
}

const FAULT_TEXT: &str = "a fault of the local hub, as it was told to have";

#[cfg(test)]
mod tests;

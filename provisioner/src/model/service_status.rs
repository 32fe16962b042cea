//! Outage notices for people, so that a waiting program does not seem to hang.

use std::sync::OnceLock;
use std::time::Duration;

use crate::hub::rate_limit::WaitReason;

/// A service that a program depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// The hub.
    Hub,
    /// The database that the ledger lies in.
    Ledger,
}

/// A notice about the availability of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceStatus {
    /// The service is available again after this time.
    Recovered(Service, Duration),
    /// The service does not answer; calls are repeated. Reported once for each outage.
    Unavailable(Service),
    /// The service is available again, but has lost the end of earlier writes. Reported once.
    Lagged(Service),
    /// A call has had no response for this time, and still waits.
    Unanswered(Duration),
    /// Calls to the hub wait for this time, for this reason.
    Waiting(WaitReason, Duration),
}

/// Calls `listener` with every later notice. Only the first listener counts, because a process has
/// one place for messages to people.
pub(crate) fn listen(listener: fn(ServiceStatus)) {
    let _ = LISTENER.set(listener);
}

/// Passes on a notice, if there is one and a listener is set.
pub(crate) fn tell(sign: Option<ServiceStatus>) {
    if let (Some(sign), Some(listener)) = (sign, LISTENER.get()) {
        listener(sign);
    }
}

static LISTENER: OnceLock<fn(ServiceStatus)> = OnceLock::new();

//! Outage notices for people, so that a waiting program does not seem to hang.

use std::sync::OnceLock;
use std::time::Duration;

use crate::hub::rate_limit::Reason;

/// A service that a program depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The hub.
    Hub,
    /// The database that the ledger lies in.
    Ledger,
}

/// That a service is gone, or there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// The service is available again after this time.
    Back(Service, Duration),
    /// It does not answer, and is tried again. Said once per outage.
    Down(Service),
    /// The service is available again, but has lost the end of earlier writes. Reported once.
    Lagged(Service),
    /// A call has had no response for this time, and still waits.
    Unanswered(Duration),
    /// Calls to the hub wait for this time, for this reason.
    Waiting(Reason, Duration),
}

/// Calls `listener` with every later notice. Only the first listener counts, because a process has
/// one place for messages to people.
pub fn listen(listener: fn(Sign)) {
    let _ = LISTENER.set(listener);
}

/// Passes on a notice, if there is one and a listener is set.
pub(crate) fn tell(sign: Option<Sign>) {
    if let (Some(sign), Some(listener)) = (sign, LISTENER.get()) {
        listener(sign);
    }
}

static LISTENER: OnceLock<fn(Sign)> = OnceLock::new();

//! Outage notices for people, so that a waiting program does not seem to hang.

use std::sync::OnceLock;
use std::time::Duration;

use crate::pace::Reason;

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
    /// It is back after so long.
    Back(Service, Duration),
    /// It does not answer, and is tried again. Said once per outage.
    Down(Service),
    /// It is there again and lacks the end of what was written to it. Said once.
    Lagged(Service),
    /// A call has had no answer for so long, and goes on waiting.
    Unanswered(Duration),
    /// Calls to the hub wait for so long, for this reason.
    Waiting(Reason, Duration),
}

/// Has `listener` told every sign from now on. Only the first one counts: a process has one place where
/// it speaks to people.
pub fn listen(listener: fn(Sign)) {
    let _ = LISTENER.set(listener);
}

/// Tells a sign, where there is one and somebody listens.
pub(crate) fn tell(sign: Option<Sign>) {
    if let (Some(sign), Some(listener)) = (sign, LISTENER.get()) {
        listener(sign);
    }
}

static LISTENER: OnceLock<fn(Sign)> = OnceLock::new();

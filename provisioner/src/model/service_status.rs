//! Outage notices for people, so that a waiting program does not seem to hang.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::service::ServiceKind;

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

/// The reason for a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitReason {
    /// The hub named the time (`Retry-After`).
    AskedByHub,
    /// Calls are kept to the rate that the hub takes.
    RateLimited,
    /// The hub answered with a failure of its own.
    HubFailed,
    /// No answer came.
    NoAnswer,
    /// No answer of a hub confirmed a change.
    NotConfirmed,
    /// No connection came about.
    NoConnection,
    /// The answer was not a hub's.
    NotUnderstood,
    /// There were too many calls.
    Throttled,
}

impl WaitReason {
    /// The reason in words, for calls to a service of this kind.
    pub(crate) fn told_of(self, service: ServiceKind) -> String {
        match self {
            Self::AskedByHub => format!("the {service} asks to wait"),
            Self::RateLimited => format!("calls are kept to the rate that the {service} takes"),
            Self::HubFailed => format!("the {service} has a failure of its own"),
            Self::NoAnswer => format!("no answer came from the {service}"),
            Self::NotConfirmed => format!(
                "no answer of the {service} confirms a change (a lost connection, a {service} that fails, or the login page \
                 of a proxy?)"
            ),
            Self::NoConnection => format!("no connection to the {service}"),
            Self::NotUnderstood => {
                format!("what answers is not the {service} (a login page?), or its answer was damaged")
            }
            Self::Throttled => format!("the {service} takes no more calls just now"),
        }
    }
}

/// The receiver of notices about services. The default one drops them.
#[derive(Clone, Default)]
pub(crate) struct StatusListener(Option<Arc<dyn Fn(ServiceStatus) + Send + Sync>>);

impl StatusListener {
    /// A listener that calls `tell` with each notice.
    pub(crate) fn new(tell: impl Fn(ServiceStatus) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Passes on a notice, if there is one.
    pub(crate) fn tell(&self, status: Option<ServiceStatus>) {
        if let (Some(tell), Some(status)) = (&self.0, status) {
            tell(status);
        }
    }
}

impl fmt::Debug for StatusListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusListener").finish_non_exhaustive()
    }
}

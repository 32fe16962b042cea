//! The observer of long work: a run, a plan or a verification.

use std::fmt::Display;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::service::ServiceKind;
use super::service_status::StatusListener;

/// The receiver of notes and progress, and the source of requests to stop.
pub(crate) trait RunObserver: Send + Sync {
    /// Takes the hub or DPS of the work before it is called. `is_for_tests` is true for one for tests.
    fn service(&self, kind: ServiceKind, service: &dyn Display, is_for_tests: bool);

    /// Takes a line for people.
    fn note(&self, note: &dyn Display);

    /// The receiver of notices about the availability of hub and ledger.
    fn status_listener(&self) -> StatusListener;

    /// Begins an activity on so many rows, and returns the receiver of its progress.
    fn begin(&self, activity: Activity, rows: u64) -> Arc<dyn ActivityProgress>;

    /// The token that the first request to stop cancels.
    fn stop(&self) -> CancellationToken;

    /// Takes whether the work watches [`Self::stop`] from now on. While it does, it ends by itself
    /// after a request to stop, with everything written that was done.
    fn set_watches_stop(&self, watches: bool);

    /// Takes the way to continue the work after a stop.
    fn advise(&self, advice: String);
}

/// The progress of one activity.
pub(crate) trait ActivityProgress: Send + Sync {
    /// Counts rows that are complete.
    fn add(&self, rows: usize);

    /// Takes a line for people.
    fn note(&self, note: &dyn Display);

    /// Ends the activity.
    fn finish(&self);
}

/// Returns a callback that counts rows.
pub(crate) fn row_counter(progress: &Arc<dyn ActivityProgress>) -> Arc<dyn Fn(usize) + Send + Sync> {
    let progress = progress.clone();
    Arc::new(move |rows| progress.add(rows))
}

/// An activity whose progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// The hub is compared with a batch.
    Comparing,
    /// Devices connect.
    Connecting,
    /// Certificates are issued.
    Issuing,
    /// Identities are read for a dry run.
    Looking,
    /// Existing identities are changed.
    Maintaining,
    /// Devices are waited for, and what depends on them is created.
    Following,
    /// Identities are created and updated.
    Provisioning,
    /// Identities are read back.
    Verifying,
}

impl Activity {
    /// The name of the activity.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Comparing => "comparing",
            Self::Following => "following",
            Self::Connecting => "connecting",
            Self::Issuing => "issuing",
            Self::Looking => "looking",
            Self::Maintaining => "altering",
            Self::Provisioning => "provisioning",
            Self::Verifying => "verifying",
        }
    }
}

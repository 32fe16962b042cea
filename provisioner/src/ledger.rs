//! The ledger: the requests to the hub, their results, and the remaining work.
//!
//! One row per run and one per identity in it. A row is written `sent` before the request leaves,
//! and gets its final state after the response; so after a crash, the effect of a `sent` row must
//! be read from the hub. The hub decides, the ledger explains. The ledger contains no secret.
//!
//! It is in an SQLite file, which only one process uses, or in a PostgreSQL database, where any
//! number of stations work on one run: each takes chunks on leases, and writes of a station with a
//! lost lease are refused.

use hub_types::shown::ShownPath;
use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use crate::model::run_id::RunId;
use crate::model::service_status::StatusListener;
pub(crate) use chunk::{Chunk, Claim, Lease, RowsLeft};
pub(crate) use credential::{Credential, CredentialConflict, CredentialKind};
pub(crate) use filter::RowFilter;
pub(crate) use holds::Holds;
pub(crate) use location::{LedgerLocation, LocationError};
pub(crate) use past_row::HeldDevices;
use postgres::Postgres;
pub(crate) use progress_sample::ProgressSample;
pub(crate) use reader::RunReader;
pub(crate) use record::{Record, RowState, unfinished_run};
pub(crate) use row::{Ended, LedgerRow, Sent, VerifiedRow};
pub(crate) use run::{
    Followed, IssueFolders, ListedRun, Run, RunFacts, RunOptions, RunState, Totals, Verification,
};
pub(crate) use session::{Operator, Session};
pub(crate) use shared::{LedgerGuard, SharedLedger};
use sqlite::Sqlite;
pub(crate) use store::{Loader, Store};
pub(crate) use stored::{NotStorable, NotUnderstood};
use table::VERSION;

mod chunk;
mod column;
mod credential;
mod filter;
mod holds;
mod location;
mod past_row;
mod postgres;
mod progress_sample;
mod reader;
mod record;
mod row;
mod rows;
mod run;
mod session;
mod shared;
mod sqlite;
mod store;
mod stored;
mod table;
#[cfg(test)]
mod tests;

/// An open ledger: a [`Store`] in any kind of database.
pub(crate) struct Ledger(Box<dyn Store>);

impl Ledger {
    /// Opens a ledger for writing, and creates it if it is missing. Only one process at a time may
    /// open a file for writing; a database is shared. `status` is told about outages.
    pub(crate) fn open(location: &LedgerLocation, status: StatusListener) -> Result<Self, LedgerError> {
        Ok(match location {
            LedgerLocation::File(path) => Self(Box::new(Sqlite::open(path)?)),
            LedgerLocation::Postgres(access) => Self(Box::new(Postgres::open(access, status)?)),
        })
    }

    /// Opens an existing ledger for reading, also while a run writes to it.
    pub(crate) fn open_to_read(
        location: &LedgerLocation,
        status: StatusListener,
    ) -> Result<Self, LedgerError> {
        Ok(match location {
            LedgerLocation::File(path) => Self(Box::new(Sqlite::open_to_read(path)?)),
            LedgerLocation::Postgres(access) => Self(Box::new(Postgres::open(access, status)?)),
        })
    }

    /// Opens a ledger in a temporary unnamed file, for a plan.
    pub(crate) fn open_temporary() -> Result<Self, LedgerError> {
        Ok(Self(Box::new(Sqlite::open_temporary()?)))
    }

    /// The first later run that has taken back a run, at least in part.
    pub(crate) fn undone_by(&mut self, run: &Run) -> Result<Option<RunId>, LedgerError> {
        let runs = self.runs()?;
        self.undone_by_one_of(run, &runs)
    }

    /// The first of these runs, the newest first, that has taken back a run, at least in part. Runs of newer
    /// versions, of which nothing is known, are passed over.
    pub(crate) fn undone_by_one_of(
        &mut self,
        run: &Run,
        runs: &[ListedRun],
    ) -> Result<Option<RunId>, LedgerError> {
        for listed in runs.iter().rev() {
            let ListedRun::Known(later) = listed else { continue };
            if !later.takes_back(run) {
                continue;
            }
            let totals = self.count_results(later.id)?;
            if totals.deleted + totals.updated > 0 {
                return Ok(Some(later.id));
            }
        }
        Ok(None)
    }

    /// Counts the rows of a run by their results. Devices that a later run has come to the end with are not
    /// still to be disabled by this one.
    pub(crate) fn totals(&mut self, run: RunId) -> Result<Totals, LedgerError> {
        let mut totals = self.count_results(run)?;
        if totals.to_disable == 0 {
            return Ok(totals);
        }
        let hub = self.run(Some(run))?.hub;
        let rows: Vec<LedgerRow> = self.rows(run, RowFilter::ToDisable).collect::<Result<_, _>>()?;
        totals.to_disable = 0;
        for row in rows {
            let is_open = match self.unfinished_hold(&hub, &row.spec.identity, None) {
                Ok(hold) => hold.is_some(),
                // A run of a newer version, of which nothing is known.
                Err(LedgerError::NotUnderstood { .. }) => true,
                Err(error) => return Err(error),
            };
            totals.to_disable += u64::from(is_open);
        }
        Ok(totals)
    }
}

impl Deref for Ledger {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl DerefMut for Ledger {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.0
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// The errors of a ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LedgerError {
    /// A different process is writing to it.
    #[error("{} is in use by {}", ShownPath(path), holder.as_deref().unwrap_or("another provisioner"))]
    Busy {
        /// The ledger.
        path: PathBuf,
        /// The process and its host, if they are known.
        holder: Option<String>,
    },
    /// The file is not a valid database any more.
    #[error("the ledger {} is damaged: {finding}", ShownPath(path))]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// The finding.
        finding: String,
    },
    /// The database can't be read or written.
    #[error("the ledger {ledger} can't be used")]
    Database {
        /// The ledger.
        ledger: String,
        /// True for a database that stations share, false for a file.
        is_shared: bool,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The disk has no room for it.
    #[error("there is no space left for the ledger {}", ShownPath(path))]
    DiskFull {
        /// The ledger.
        path: PathBuf,
    },
    /// The file is there and holds nothing.
    #[error("{} is empty: no run was ever written into it", ShownPath(path))]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The database has lost earlier writes: a standby that lagged behind took over.
    #[error(
        "the ledger {ledger} has lost run {run}, or its end: its database is not as this station left it, as when \
         a standby takes over that lagged behind"
    )]
    Forgotten {
        /// The ledger.
        ledger: String,
        /// The run.
        run: RunId,
    },
    /// This station sent no heartbeat for so long that a different one may have its chunk. Its
    /// write was discarded.
    #[error("this station's lease on a part of run {run} is over; nothing was written")]
    LeaseLost {
        /// The run.
        run: RunId,
    },
    /// A different station loads a run with credentials of this one's, or has committed it meanwhile; this one
    /// was discarded.
    #[error("a different station has begun a run with credentials of this batch in the ledger {ledger}")]
    Overtaken {
        /// The ledger.
        ledger: String,
    },
    /// The connection to the database broke while a run was loaded; the run was discarded.
    #[error("the ledger {ledger} was gone while a run was loaded into it")]
    LoadingBroken {
        /// The ledger.
        ledger: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The lock file beside it can't be made.
    #[error("{} can't be locked", ShownPath(path))]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A program that is no provisioner keeps it locked.
    #[error("{} is locked by another program", ShownPath(path))]
    Locked {
        /// The ledger.
        path: PathBuf,
    },
    /// The ledger does not exist.
    #[error("there is no ledger at {}", ShownPath(path))]
    Missing {
        /// The expected path.
        path: PathBuf,
    },
    /// The folder of the file does not exist.
    #[error("there is no folder for the ledger {}", ShownPath(path))]
    NoFolder {
        /// The expected path.
        path: PathBuf,
    },
    /// The path is not a ledger.
    #[error("{} is not a ledger: {what}", ShownPath(path))]
    NoLedger {
        /// The file.
        path: PathBuf,
        /// The difference.
        what: &'static str,
    },
    /// The ledger has no such run.
    #[error("there is no run {}in {ledger}", run.map(|run| format!("{run} ")).unwrap_or_default())]
    NoSuchRun {
        /// The ledger.
        ledger: String,
        /// The run; `None` if the newest was requested.
        run: Option<RunId>,
    },
    /// A value can't be written.
    #[error("a ledger can't hold one of the values")]
    NotStorable(#[source] Box<dyn Error + Send + Sync>),
    /// A stored value is none that this version knows.
    #[error(
        "the ledger {ledger} holds a value that provisioner {} does not understand{}: {value}",
        env!("CARGO_PKG_VERSION"),
        value.written_by.as_ref().map_or_else(String::new, |version| format!(" (provisioner {version} wrote it)"))
    )]
    NotUnderstood {
        /// The ledger.
        ledger: String,
        /// The value.
        #[source]
        value: Box<NotUnderstood>,
    },
    /// The file may not be written.
    #[error("{} can't be written: it is read-only for this user, or its folder or disk is", ShownPath(path))]
    ReadOnly {
        /// The ledger.
        path: PathBuf,
    },
    /// A newer version of this program wrote it.
    #[error("{ledger} has ledger version {found}, this program writes version {known}")]
    Version {
        /// The ledger.
        ledger: String,
        /// Its version.
        found: i64,
        /// The version that this program knows.
        known: i64,
    },
}

impl From<NotStorable> for LedgerError {
    fn from(error: NotStorable) -> Self {
        Self::NotStorable(error.into())
    }
}

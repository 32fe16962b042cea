//! Runs: one per `apply`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError};
use crate::lifecycle::Intent;

/// The number of a run in its ledger, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct RunId(pub(super) i64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Every row came to an end.
    Finished,
    /// It was stopped; the rows that are left can be done by another run of the same batch.
    Interrupted,
    /// It is at work, or was cut off without a chance to say so.
    Running,
}

impl RunState {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Finished, "finished"), (Self::Interrupted, "interrupted"), (Self::Running, "running")];

    fn as_str(self) -> &'static str {
        Self::ALL.into_iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    fn parse(text: &str) -> Self {
        Self::ALL.into_iter().find(|(_, name)| *name == text).map_or(Self::Interrupted, |(state, _)| state)
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// When it began (RFC 3339, UTC).
    pub started: String,
    /// When it ended, if it did.
    pub finished: Option<String>,
    /// Where it is.
    pub state: RunState,
    /// The hub: its host, or the folder of a local hub.
    pub hub: String,
    /// The batch file.
    pub input: String,
    /// The SHA-256 of the batch file, as upper-case hex.
    pub input_sha256: String,
    /// The version of this program.
    pub tool_version: String,
    /// Rows that were skipped because they are bad.
    pub rejected: u64,
    /// What it is to do, besides what its rows say.
    pub options: RunOptions,
}

/// What a run is to do, besides what its rows say: all that is needed to resume it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunOptions {
    /// What may become of identities that are there already.
    #[serde(flatten)]
    pub intent: Intent,
    /// The name of a tag that created identities get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by_tag: Option<String>,
    /// The CA that issues certificates, and the folder that they go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issue: Option<(PathBuf, PathBuf)>,
    /// Names of others for columns of the batch file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<(String, String)>,
}

/// The rows of a run by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// All rows of the batch.
    pub rows: u64,
    /// Identities that the run created.
    pub created: u64,
    /// Identities that were there and got their initial twin.
    pub updated: u64,
    /// Identities that were there as the batch wants them.
    pub unchanged: u64,
    /// Identities that were there and are others.
    pub conflict: u64,
    /// Rows that were skipped because they are bad.
    pub rejected: u64,
    /// Rows that could not be done.
    pub failed: u64,
    /// Rows that are still to be done, or whose answer never came.
    pub pending: u64,
}

impl Totals {
    /// Whether each row is in exactly one of the other counts.
    pub fn add_up(&self) -> bool {
        let parts = [
            self.created,
            self.updated,
            self.unchanged,
            self.conflict,
            self.rejected,
            self.failed,
            self.pending,
        ];
        self.rows == parts.iter().sum::<u64>()
    }

    /// Whether every row is as the batch wants it.
    pub fn all_well(&self) -> bool {
        self.rows == self.created + self.updated + self.unchanged
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} rows = {} created + {} updated + {} unchanged + {} conflict + {} rejected + {} failed + {} pending",
            self.rows,
            self.created,
            self.updated,
            self.unchanged,
            self.conflict,
            self.rejected,
            self.failed,
            self.pending
        )
    }
}

impl Ledger {
    /// Writes down how a run ended. A run that finished has no row left to do.
    pub fn end_run(&mut self, run: RunId, state: RunState, now: &str) -> Result<(), LedgerError> {
        self.connection
            .execute(
                "UPDATE run SET state = ?2, finished = ?3 WHERE id = ?1",
                params![run.0, state.as_str(), now],
            )
            .map(drop)
            .map_err(|source| self.error(source))
    }

    /// Whether an earlier run worked on the same hub.
    pub fn knows_hub(&self, hub: &str, but: RunId) -> Result<bool, LedgerError> {
        self.connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM run WHERE hub = ?1 AND id <> ?2)",
                params![hub, but.0],
                |row| row.get(0),
            )
            .map_err(|source| self.error(source))
    }

    /// All runs, the newest first.
    pub fn runs(&self) -> Result<Vec<Run>, LedgerError> {
        let query = || -> rusqlite::Result<Vec<Run>> {
            let mut statement = self.connection.prepare(&format!("{SELECT_RUN} ORDER BY id DESC"))?;
            statement.query_map([], read_run)?.collect()
        };
        query().map_err(|source| self.error(source))
    }

    /// One run; the newest when no number is given.
    pub fn run(&self, run: Option<RunId>) -> Result<Run, LedgerError> {
        let (condition, number) = match run {
            Some(run) => ("WHERE id = ?1", run.0),
            None => ("WHERE ?1 = 0 ORDER BY id DESC LIMIT 1", 0),
        };
        self.connection
            .query_row(&format!("{SELECT_RUN} {condition}"), [number], read_run)
            .optional()
            .map_err(|source| self.error(source))?
            .ok_or_else(|| LedgerError::NoSuchRun { path: self.path.clone(), run: RunId(number) })
    }

    /// Counts the rows of a run by what became of them.
    pub fn totals(&self, run: RunId) -> Result<Totals, LedgerError> {
        let query = || -> rusqlite::Result<Totals> {
            let mut totals = Totals {
                rejected: self.connection.query_row(
                    "SELECT rejected FROM run WHERE id = ?1",
                    [run.0],
                    |row| row.get(0),
                )?,
                ..Totals::default()
            };
            let mut statement = self.connection.prepare_cached(
                "SELECT state, effect, count(*) FROM row WHERE run = ?1 GROUP BY state, effect",
            )?;
            let mut groups = statement.query([run.0])?;
            while let Some(group) = groups.next()? {
                let (state, effect): (String, Option<String>) = (group.get(0)?, group.get(1)?);
                let count: u64 = group.get(2)?;
                match (state.as_str(), effect.as_deref()) {
                    ("done", Some("updated")) => totals.updated += count,
                    ("done", _) => totals.created += count,
                    ("unchanged", _) => totals.unchanged += count,
                    ("conflict", _) => totals.conflict += count,
                    ("failed", _) => totals.failed += count,
                    _ => totals.pending += count,
                }
            }
            let rows: u64 =
                self.connection
                    .query_row("SELECT count(*) FROM row WHERE run = ?1", [run.0], |row| row.get(0))?;
            totals.rows = rows + totals.rejected;
            Ok(totals)
        };
        query().map_err(|source| self.error(source))
    }
}

const SELECT_RUN: &str =
    "SELECT id, started, finished, state, hub, input, input_sha256, tool_version, rejected, options FROM run";

fn read_run(row: &Row<'_>) -> rusqlite::Result<Run> {
    Ok(Run {
        id: RunId(row.get(0)?),
        started: row.get(1)?,
        finished: row.get(2)?,
        state: RunState::parse(&row.get::<_, String>(3)?),
        hub: row.get(4)?,
        input: row.get(5)?,
        input_sha256: row.get(6)?,
        tool_version: row.get(7)?,
        rejected: row.get(8)?,
        // An option that this version does not know was not meant for it.
        options: serde_json::from_str(&row.get::<_, String>(9)?).unwrap_or_default(),
    })
}

//! Runs: one per `apply`, `retire`, `rotate` or `undo`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use batch_file::{ColumnPattern, IdPattern, ReadOptions};
use hub_types::ModuleId;
use hub_types::connection_string::HubHost;
use serde::{Deserialize, Serialize};

use super::column::{Cell, ResultRow};
use super::stored::NotStorable;
use super::table::table;
use super::{NotUnderstood, Operator, RowState};
use crate::clock::Timestamp;
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::entry_settings::EntryOptions;
use crate::model::maintenance::Maintenance;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::model::unknown_value::UnknownValue;

table! {
    RUN = "run", key None;
    ID = "id": RunId, generated;
    STARTED = "started": Timestamp;
    FINISHED = "finished": Option<Timestamp>;
    STATE = "state": RunState;
    HUB = "hub": String;
    INPUT = "input": String;
    INPUT_SHA256 = "input_sha256": Sha256Digest;
    TOOL_VERSION = "tool_version": String;
    OPTIONS = "options": RunOptions;
    REJECTED = "rejected": u64, with_default;
    OPERATOR = "operator": String, with_default, since(3);
    STATION = "station": String, with_default, since(3);
    VERIFICATION = "verification": Option<Verification>, since(3);
    TEST_HUB = "test_hub": bool, with_default, since(5);
}

/// The state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RunState {
    /// Every row came to an end.
    Finished,
    /// The run was stopped; a different run of the same batch can do the remaining rows.
    Interrupted,
    /// The run is active, or was interrupted without a record.
    Running,
}

impl RunState {
    const ALL: [Self; 3] = [Self::Finished, Self::Interrupted, Self::Running];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Interrupted => "interrupted",
            Self::Running => "running",
        }
    }
}

impl FromStr for RunState {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Self, UnknownValue> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownValue::new(text))
    }
}

impl fmt::Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Run {
    /// Its number.
    pub(crate) id: RunId,
    /// The start time.
    pub(crate) started: Timestamp,
    /// The end time, if the run has ended.
    pub(crate) finished: Option<Timestamp>,
    /// The operator and station that began it.
    #[serde(flatten)]
    pub(crate) by: Operator,
    /// The state.
    pub(crate) state: RunState,
    /// The hub or the DPS: its host, or the folder of a local hub.
    pub(crate) hub: String,
    /// True if the hub was found to be one for tests when the run began. Runs of older versions do not
    /// say so.
    #[serde(skip)]
    pub(crate) test_hub: bool,
    /// The batch file.
    pub(crate) input: String,
    /// The SHA-256 of the batch file.
    pub(crate) input_sha256: Sha256Digest,
    /// The version of this program.
    pub(crate) tool_version: String,
    /// Rows that were skipped because they are bad.
    pub(crate) rejected: u64,
    /// The options, in addition to the rows.
    pub(crate) options: RunOptions,
    /// The result of reading everything back, if that was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verification: Option<Verification>,
}

/// A run in the list of all runs: one that this version does not know is shown as such, and hides
/// no other.
#[derive(Debug)]
pub(crate) enum ListedRun {
    /// A run that can be read.
    Known(Box<Run>),
    /// A run of which something is not understood.
    Unknown(NotUnderstood),
}

impl Run {
    /// Returns true if it takes back what an earlier run did. A rotation is reverted by its batch, not by its number.
    pub(crate) fn takes_back(&self, earlier: &Self) -> bool {
        match (&self.options.maintenance, &earlier.options.maintenance) {
            (Some(Maintenance::Undo { run } | Maintenance::UndoRelease { run }), _) => *run == earlier.id,
            (Some(Maintenance::DropNewThumbprint), Some(Maintenance::AddThumbprint)) => {
                self.id > earlier.id && self.hub == earlier.hub && self.input_sha256 == earlier.input_sha256
            }
            _ => false,
        }
    }

    /// Reads a run that was selected with all columns of [`RUN`].
    pub(super) fn read<R: ResultRow>(row: &R) -> Result<Self, R::Error> {
        Ok(Self {
            id: row.get(ID)?,
            started: row.get(STARTED)?,
            finished: row.get(FINISHED)?,
            by: Operator { name: row.get(OPERATOR)?, station: row.get(STATION)? },
            state: row.get(STATE)?,
            hub: row.get(HUB)?,
            test_hub: row.get(TEST_HUB)?,
            input: row.get(INPUT)?,
            input_sha256: row.get(INPUT_SHA256)?,
            tool_version: row.get(TOOL_VERSION)?,
            rejected: row.get(REJECTED)?,
            options: row.get(OPTIONS)?,
            verification: row.get(VERIFICATION)?,
        })
    }

    /// Returns true if its hub is one for tests: an embedded one, which ledgers identify by its
    /// folder, or one on the machine that the run was carried out from.
    pub(crate) fn is_on_test_hub(&self) -> bool {
        self.test_hub || self.hub.parse::<HubHost>().map_or(true, |host| host.is_loopback())
    }

    /// Returns true if it is complete and the hub has not been read back.
    pub(crate) fn is_unread(&self) -> bool {
        self.state == RunState::Finished && self.verification.is_none()
    }
}

/// The result of reading a run's identities back from the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Verification {
    /// The end time.
    pub(crate) at: Timestamp,
    /// Identities that were read.
    pub(crate) checked: u64,
    /// Identities that are as the batch wants them.
    pub(crate) equal: u64,
    /// Identities whose twin was written since: they count as equal too.
    pub(crate) twin_written_since: u64,
    /// Devices that are kept disabled until they are released: they count as equal too.
    #[serde(default)]
    pub(crate) held: u64,
    /// Identities that are not on the hub.
    pub(crate) missing: u64,
    /// Identities that differ.
    pub(crate) different: u64,
}

impl Verification {
    /// Returns true if the hub holds all values of the batch.
    pub(crate) fn all_well(&self) -> bool {
        self.missing == 0 && self.different == 0
    }
}

/// The options of a run, in addition to its rows: all that is needed to resume it.
///
/// Older versions wrote fewer members, and each that is missing has its default. A member or a value that this
/// version does not know is an error: see `StoredOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredOptions")]
pub(crate) struct RunOptions {
    /// The operation on existing identities, if the run does not provision.
    #[serde(rename = "alteration", skip_serializing_if = "Option::is_none")]
    pub(crate) maintenance: Option<Maintenance>,
    /// The rules for existing identities.
    #[serde(flatten)]
    pub(crate) rules: ApplyRules,
    /// The name of a tag that created identities get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created_by_tag: Option<String>,
    /// The folders of the certificates that the run issues.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issue: Option<IssueFolders>,
    /// True to keep devices disabled until they are released.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) quarantine: bool,
    /// The options for reading the batch file, from the command line or the settings.
    #[serde(flatten)]
    pub(crate) read: ReadOptions,
    /// The profile of the certificates of rows that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<String>,
    /// The SHA-256 of the plan file that the run carries out, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<Sha256Digest>,
    /// The kind of the service that the run works on.
    #[serde(skip_serializing_if = "ServiceKind::is_hub")]
    pub(crate) service: ServiceKind,
    /// The settings of enrolments, and the group.
    #[serde(skip_serializing_if = "EntryOptions::is_empty")]
    pub(crate) entries: EntryOptions,
    /// The registrations that the run follows, if its devices come into being by registering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) follow: Option<Followed>,
}

/// The registrations that a run follows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Followed {
    /// The DPS that devices register with; `None` if only the hub is watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dps: Option<String>,
}

/// The folders of certificates that a run issues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(PathBuf, PathBuf)", into = "(PathBuf, PathBuf)")]
pub(crate) struct IssueFolders {
    /// The CA.
    pub(crate) ca: PathBuf,
    /// The output folder of the CA.
    pub(crate) out: PathBuf,
}

impl From<(PathBuf, PathBuf)> for IssueFolders {
    fn from((ca, out): (PathBuf, PathBuf)) -> Self {
        Self { ca, out }
    }
}

impl From<IssueFolders> for (PathBuf, PathBuf) {
    fn from(IssueFolders { ca, out }: IssueFolders) -> Self {
        (ca, out)
    }
}

/// [`RunOptions`] for reading. A flattened member would accept unknown members.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StoredOptions {
    #[serde(rename = "alteration")]
    maintenance: Option<Maintenance>,
    mode: ApplyMode,
    twin: TwinPolicy,
    created_by_tag: Option<String>,
    issue: Option<IssueFolders>,
    quarantine: bool,
    map: Vec<(String, String)>,
    id_pattern: Option<IdPattern>,
    modules: Vec<ModuleId>,
    ignore: Vec<ColumnPattern>,
    columns: Vec<String>,
    profile: Option<String>,
    plan: Option<Sha256Digest>,
    service: ServiceKind,
    entries: EntryOptions,
    follow: Option<Followed>,
}

impl From<StoredOptions> for RunOptions {
    fn from(stored: StoredOptions) -> Self {
        let StoredOptions { mode, twin, .. } = stored;
        let StoredOptions { maintenance, created_by_tag, issue, quarantine, .. } = stored;
        let StoredOptions { map, id_pattern, modules, ignore, columns, .. } = stored;
        let StoredOptions { profile, plan, service, entries, follow, .. } = stored;
        let read = ReadOptions { map, id_pattern, modules, ignore, columns };
        let rules = ApplyRules { mode, twin };
        Self {
            maintenance,
            rules,
            created_by_tag,
            issue,
            quarantine,
            read,
            profile,
            plan,
            service,
            entries,
            follow,
        }
    }
}

impl RunOptions {
    /// The command that continues the run.
    pub(crate) fn resume_command(&self, run: RunId) -> String {
        match &self.follow {
            Some(Followed { dps: Some(_) }) => format!("provisioner follow {run} --dps"),
            Some(Followed { dps: None }) => format!("provisioner follow {run}"),
            None => format!("provisioner resume {run}"),
        }
    }

    /// The words for what has the expected value of a difference that the run finds.
    pub(crate) fn expects(&self) -> String {
        self.maintenance.as_ref().map_or_else(|| "batch has".to_owned(), Maintenance::expects)
    }

    /// Returns true if the run requires a proof that devices can connect with their new
    /// certificates.
    pub(crate) fn needs_connect_check(&self) -> bool {
        self.maintenance.as_ref().is_some_and(Maintenance::needs_connect_check)
    }
}

/// The facts about a run that are known before its rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunFacts<'a> {
    /// The hub: its host, or the folder of a local hub.
    pub(crate) hub: &'a str,
    /// True for a hub for tests.
    pub(crate) test_hub: bool,
    /// The batch file.
    pub(crate) input: &'a str,
    /// The start time.
    pub(crate) started: &'a Timestamp,
    /// The operator and station that begin it.
    pub(crate) by: &'a Operator,
    /// The options, in addition to the rows.
    pub(crate) options: &'a RunOptions,
}

impl RunFacts<'_> {
    /// The columns of a run whose rows are being loaded.
    pub(super) fn cells(&self) -> Result<[Cell<'_>; 10], NotStorable> {
        Ok([
            STARTED.set(self.started)?,
            STATE.set(&RunState::Running)?,
            HUB.set(self.hub)?,
            TEST_HUB.set(&self.test_hub)?,
            INPUT.set(self.input)?,
            // The digest of the batch is known, and written, at the end of the transaction.
            INPUT_SHA256.set(Sha256Digest::of(b""))?,
            TOOL_VERSION.set(env!("CARGO_PKG_VERSION"))?,
            OPTIONS.set(self.options)?,
            OPERATOR.set(&self.by.name)?,
            STATION.set(&self.by.station)?,
        ])
    }
}

/// The rows of a run by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// All rows of the batch.
    pub(crate) rows: u64,
    /// Identities that the run created.
    pub(crate) created: u64,
    /// Existing identities that got their initial twin.
    pub(crate) updated: u64,
    /// Identities that the run deleted.
    pub(crate) deleted: u64,
    /// Identities that were already as the batch wants them.
    pub(crate) unchanged: u64,
    /// Existing identities that differ.
    pub(crate) conflict: u64,
    /// Rows that were skipped because they are bad.
    pub(crate) rejected: u64,
    /// Rows that failed.
    pub(crate) failed: u64,
    /// Modules that were skipped because their device is in conflict or failed.
    pub(crate) skipped: u64,
    /// Modules that can only be created after their device has registered through a DPS.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) waiting: u64,
    /// Unfinished rows, or rows whose response was lost.
    pub(crate) pending: u64,
    /// Devices among them that are disabled on purpose until they are released. Not part of the
    /// sum.
    pub(crate) held: u64,
    /// Pending devices that the run is to leave disabled and has sent a request for: they may be enabled.
    /// Not part of the sum.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) to_disable: u64,
    /// Failed devices that are enabled although the run was to leave them disabled. Not part of the sum.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) left_enabled: u64,
    /// Those among the created, updated and deleted for which the effect of this run is presumed,
    /// because a response was lost. Not part of the sum.
    #[serde(skip_serializing_if = "is_none")]
    pub(crate) presumed: u64,
}

/// Skips the member if it is 0, so that records of runs without such rows stay as older versions
/// wrote them.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Totals {
    /// The disjoint counts of rows, by their names.
    pub(crate) fn parts(&self) -> [(&'static str, u64); 10] {
        [
            ("created", self.created),
            ("updated", self.updated),
            ("deleted", self.deleted),
            ("unchanged", self.unchanged),
            ("conflict", self.conflict),
            ("rejected", self.rejected),
            ("failed", self.failed),
            ("skipped", self.skipped),
            ("waiting", self.waiting),
            ("pending", self.pending),
        ]
    }

    /// Returns true if each row is in exactly one of the other counts.
    pub(crate) fn add_up(&self) -> bool {
        self.rows == self.parts().iter().map(|(_, count)| count).sum::<u64>()
    }

    /// Returns true if every row is as requested by the batch, as far as the service of the run can hold it.
    pub(crate) fn all_well(&self) -> bool {
        self.rows == self.created + self.updated + self.deleted + self.unchanged + self.waiting
    }
}

impl Totals {
    /// Counts rows with these values of the columns `state`, `effect` and `presumed`. `held` of
    /// them are devices that a run keeps disabled or is to disable, and `left_enabled` devices that failed
    /// while they were enabled.
    pub(super) fn add(
        &mut self,
        state: RowState,
        effect: Option<Effect>,
        presumed: bool,
        count: u64,
        held: u64,
        left_enabled: u64,
    ) -> Result<(), UnknownValue> {
        let part = match (state, effect) {
            (RowState::Done, Some(Effect::Created)) => &mut self.created,
            (RowState::Done, Some(Effect::Deleted)) => &mut self.deleted,
            (RowState::Done, Some(Effect::Updated)) => &mut self.updated,
            (RowState::Done, None) => return Err(UnknownValue::new("done, without an effect")),
            (RowState::Unchanged, _) => &mut self.unchanged,
            (RowState::Conflict, _) => &mut self.conflict,
            (RowState::Failed, _) => &mut self.failed,
            (RowState::Skipped, _) => &mut self.skipped,
            (RowState::Waiting, _) => &mut self.waiting,
            (RowState::Claimed | RowState::Pending | RowState::Sent, _) => &mut self.pending,
        };
        *part += count;
        if presumed && state == RowState::Done {
            self.presumed += count;
        }
        self.rows += count;
        self.left_enabled += left_enabled;
        match state {
            RowState::Done | RowState::Unchanged => self.held += held,
            RowState::Sent => self.to_disable += held,
            _ => {}
        }
        Ok(())
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, created, updated, deleted, unchanged, conflict, rejected, failed, skipped, .. } =
            self;
        write!(f, "{rows} rows = {created} created + {updated} updated + ")?;
        // Most runs delete nothing, and need not say so.
        if *deleted > 0 {
            write!(f, "{deleted} deleted + ")?;
        }
        write!(f, "{unchanged} unchanged + {conflict} conflict + {rejected} rejected + {failed} failed + ")?;
        if *skipped > 0 {
            write!(f, "{skipped} skipped + ")?;
        }
        if self.waiting > 0 {
            write!(f, "{} waiting + ", self.waiting)?;
        }
        write!(f, "{} pending", self.pending)?;
        match self.presumed {
            0 => Ok(()),
            presumed => write!(
                f,
                " ({presumed} only presumably by this run: an answer was lost, or others made a change)"
            ),
        }
    }
}

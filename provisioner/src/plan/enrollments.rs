//! The plan of a batch for a DPS: its enrolments are read and compared with the rows.

use std::sync::Arc;

use hub_types::dps::limits::{MAX_BULK_ITEMS, OPERATIONS_PER_MINUTE};
use hub_types::limits::OperationClass;
use hub_types::{DeviceId, IdentityId};

use super::planner::first_action;
use super::{Action, Operations, Plan, PlannedRow};
use crate::dps::{Dps, EnrollmentReader};
use crate::ledger::{LedgerRow, RowFilter, RowState, SharedLedger};
use crate::model::compare::Observation;
use crate::model::options::ApplyRules;
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec};
use crate::workers::RunError;
use crate::workers::concurrent_reads::read_concurrently;

/// Compares the enrolments of a DPS with the rows of a run, and adds up the plan.
pub(crate) struct EnrollmentPlanReader<D> {
    /// The reads of the DPS.
    pub(crate) reader: Arc<EnrollmentReader<D>>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The specification of the enrolment group by which the devices register, if they get no enrolments.
    pub(crate) group: Option<IdentitySpec>,
    /// The rules for existing enrolments.
    pub(crate) rules: ApplyRules,
    /// The number of bad rows that are left out.
    pub(crate) rejected: u64,
    /// The number of enrolments that are read at once.
    pub(crate) concurrency: usize,
    /// Called with the number of rows read since the last call.
    pub(crate) progress: Arc<dyn Fn(usize) + Send + Sync>,
}

impl<D: Dps> EnrollmentPlanReader<D> {
    /// Reports the action for each row, in the order of the ids, and returns the plan.
    pub(crate) async fn each<E: From<RunError>>(
        &self,
        mut tell: impl FnMut(PlannedRow) -> Result<(), E>,
    ) -> Result<Plan, E> {
        let mut planner = EnrollmentPlanner::new(self.rules, self.rejected);
        if let Some(spec) = &self.group {
            let seen = self.reader.read_and_compare(spec).await.map_err(RunError::from)?;
            tell(planner.add_group(spec, seen))?;
        }
        let mut after = None;
        loop {
            let (run, last) = (self.run, after.take());
            let rows = self
                .ledger
                .call(move |ledger| ledger.page(run, RowFilter::All, last.as_ref(), PAGE))
                .await
                .map_err(RunError::from)?;
            let Some(row) = rows.last() else { return Ok(planner.finish()) };
            after = Some(row.spec.identity.clone());
            for (row, seen) in self.look(rows).await? {
                tell(planner.add(&row, seen))?;
            }
        }
    }

    /// Reads the enrolments of devices. Modules have none, and neither have devices that register by a group.
    async fn look(&self, rows: Vec<LedgerRow>) -> Result<Vec<(LedgerRow, Option<Observation>)>, RunError> {
        let (reader, progress) = (self.reader.clone(), self.progress.clone());
        let has_group = self.group.is_some();
        let look = move |row: LedgerRow| {
            let (reader, progress) = (reader.clone(), progress.clone());
            async move {
                let seen = match row.spec.identity.module() {
                    None if !has_group => Some(reader.read_and_compare(&row.spec).await?),
                    _ => None,
                };
                progress(1);
                Ok::<_, RunError>((row, seen))
            }
        };
        read_concurrently(rows, self.concurrency, look).await
    }
}

/// Adds up the plan of a batch for a DPS.
struct EnrollmentPlanner {
    rules: ApplyRules,
    plan: Plan,
    waiting: u64,
    /// The enrolments to read, and their keys.
    reads: u64,
    /// The device whose rows are at hand, and the action for it.
    device: Option<(DeviceId, Action)>,
    /// The enrolment group by which the devices register, and the action for it.
    group: Option<(IdentityId, Action)>,
}

impl EnrollmentPlanner {
    fn new(rules: ApplyRules, rejected: u64) -> Self {
        let plan = Plan { rejected, ..Plan::new(rules) };
        Self { rules, plan, waiting: 0, reads: 0, device: None, group: None }
    }

    /// Adds the enrolment group by which the devices register, and returns its action.
    fn add_group(&mut self, spec: &IdentitySpec, seen: Observation) -> PlannedRow {
        // No row of the file.
        let planned = self.add(&LedgerRow::new(0, spec.clone()), Some(seen));
        self.group = Some((spec.identity.clone(), planned.action));
        planned
    }

    /// Adds a row and returns its action. `seen` is the enrolment of a device.
    fn add(&mut self, row: &LedgerRow, seen: Option<Observation>) -> PlannedRow {
        let spec = &row.spec;
        let (action, reason) = match (&seen, &self.group) {
            (Some(seen), _) => self.of_device(row, seen),
            (None, Some((group, action))) => of_group(row, group, *action),
            (None, None) => self.of_module(spec),
        };
        if spec.identity.module().is_none() {
            self.plan.issue +=
                u64::from(spec.state.auth.is_to_be_issued() && row.record.state != RowState::Failed);
        }
        if seen.is_some() {
            self.device = Some((spec.identity.device().clone(), action));
            self.count_reads(spec, action);
        }
        self.count(action);
        let (differences, etags) =
            seen.map_or_else(Default::default, |seen| (seen.comparison.differences().to_vec(), seen.etags));
        let identity = spec.identity.to_string();
        PlannedRow { line: row.line, identity, action, reason, differences, held_by: None, etags }
    }

    fn of_device(&self, row: &LedgerRow, seen: &Observation) -> (Action, Option<String>) {
        if row.record.state == RowState::Failed {
            // It failed before anything was asked of the DPS.
            return (Action::Refuse, row.record.error.clone());
        }
        match first_action(self.rules, &seen.comparison) {
            Action::Refuse => {
                let reason = "it has no enrolment, and mode `update` creates none";
                (Action::Refuse, Some(reason.to_owned()))
            }
            action => (action, None),
        }
    }

    fn of_module(&self, spec: &IdentitySpec) -> (Action, Option<String>) {
        let device = self.device.as_ref().filter(|(device, _)| device == spec.identity.device());
        match device {
            Some((device, closed @ (Action::Conflict | Action::Refuse))) => {
                let what = closed.as_str();
                let reason =
                    format!("nothing can be done, because the row of its device `{device}` is `{what}`");
                (Action::Refuse, Some(reason))
            }
            _ => (Action::Wait, None),
        }
    }

    fn count(&mut self, action: Action) {
        *match action {
            Action::Conflict => &mut self.plan.conflict,
            Action::Create => &mut self.plan.create,
            // No step of an apply deletes anything.
            Action::Delete | Action::Keep => &mut self.plan.keep,
            Action::Refuse => &mut self.plan.refuse,
            Action::Update => &mut self.plan.update,
            Action::Wait => &mut self.waiting,
        } += 1;
    }

    /// Counts the reads of an apply: before a change, and at the end.
    fn count_reads(&mut self, spec: &IdentitySpec, action: Action) {
        let each = match spec.state.auth {
            // Enrolments do not show keys.
            AuthSpec::Sas { given: true } => 2,
            _ => 1,
        };
        self.reads += match action {
            Action::Create => each,
            Action::Conflict | Action::Refuse => 1,
            Action::Delete | Action::Keep | Action::Update | Action::Wait => 2 * each,
        };
    }

    /// The plan, with its time. A bulk call is reckoned as one operation.
    fn finish(self) -> Plan {
        let Self { mut plan, waiting, reads, .. } = self;
        let bulk = MAX_BULK_ITEMS as u64;
        let count = plan.create.div_ceil(bulk) + plan.update.div_ceil(bulk) + reads;
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
        let seconds = count as f64 * 60.0 / f64::from(OPERATIONS_PER_MINUTE);
        plan.operations.insert(OperationClass::Enrollment.to_string(), Operations { count, seconds });
        (plan.seconds, plan.wait) = (seconds, Some(waiting));
        plan
    }
}

/// The action for a row whose device registers by a group.
fn of_group(row: &LedgerRow, group: &IdentityId, action: Action) -> (Action, Option<String>) {
    match action {
        _ if row.record.state == RowState::Failed => (Action::Refuse, row.record.error.clone()),
        Action::Conflict | Action::Refuse => {
            let reason = format!("nothing can be done, because the row `{group}` is `{}`", action.as_str());
            (Action::Refuse, Some(reason))
        }
        _ => (Action::Wait, None),
    }
}

/// Rows that are asked about at once.
const PAGE: usize = 1_000;

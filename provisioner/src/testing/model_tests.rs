//! Random sequences of runs on a hub that loses answers and that others change too: after every step, what the
//! ledger, its totals and the audit pack say is what the hub's own log says.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use hub_types::IdentityId;
use hub_types::limits::Tier;
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime;

use crate::apply::Apply;
use crate::clock::Timestamp;
use crate::ledger::{
    Holds, Ledger, LedgerRow, Loader, Operator, Record, RowFilter, RowState, RunFacts, RunOptions, RunState,
    SharedLedger,
};
use crate::maintain::{Maintain, VerifyMaintenance};
use crate::model::creator_tag;
use crate::model::digest::Sha256Digest;
use crate::model::failure::ReasonCode;
use crate::model::maintenance::Maintenance;
use crate::model::options::ApplyOptions;
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec, StateSpec};
use crate::plan::{Action, HubSnapshotReader, PlannedRow, Planner};
use crate::testing::model_hub::{CallFault, ModelHub, Modules, OTHERS};
use crate::verify::{HubReader, Verify};
use crate::workers::RunError;
use crate::workers::tests::pool;
use acts::{Act, ApplyAct, Disturbances, Work};

mod acts;
mod oracle;

/// A device and an edge device with modules, and a device without.
const NAMES: [&str; 6] = ["a", "a/x", "a/y", "b", "b/x", "c"];
const EDGE: &str = "b";
const TAG: &str = "createdBy";

fn identity(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

/// A hub, a station's ledger, and what was done.
struct World {
    hub: Arc<ModelHub>,
    ledger: SharedLedger,
    runs: Vec<Done>,
    /// The place of the run that was worked on last.
    last: Option<usize>,
}

/// What a run has to do.
#[derive(Debug, Clone)]
enum Todo {
    /// An apply, of a plan or not.
    Apply(ApplyAct, bool),
    Maintain(Maintenance),
}

impl Todo {
    fn maintenance(&self) -> Option<&Maintenance> {
        match self {
            Self::Apply(..) => None,
            Self::Maintain(maintenance) => Some(maintenance),
        }
    }
}

/// A run, as far as it has come.
struct Done {
    run: RunId,
    todo: Todo,
    state: RunState,
    /// The positions of the hub's log at its beginning and at its end.
    log: (usize, usize),
    /// The plan that it carried out, and where the log stood when that was made.
    plan: Option<(Vec<PlannedRow>, usize)>,
    /// Whether nothing stood in its way.
    is_fine: bool,
}

impl World {
    fn new(modules: Modules) -> Self {
        let ledger = SharedLedger::new(Ledger::open_temporary().unwrap());
        Self { hub: Arc::new(ModelHub::new(modules, Vec::new())), ledger, runs: Vec::new(), last: None }
    }

    fn now(&self) -> usize {
        self.hub.log.lock().unwrap().now()
    }

    /// The run that was worked on last.
    fn last(&self) -> Option<&Done> {
        self.last.map(|place| &self.runs[place])
    }

    fn rows(&self, run: RunId) -> Vec<LedgerRow> {
        self.ledger.lock().rows(run, RowFilter::All).collect::<Result<_, _>>().unwrap()
    }

    fn load(&self, maintenance: Option<&Maintenance>, rows: &[IdentitySpec], plan: &[PlannedRow]) -> RunId {
        let options = RunOptions { maintenance: maintenance.cloned(), ..RunOptions::default() };
        let by = Operator::default();
        let facts = RunFacts {
            hub: "model",
            test_hub: false,
            input: "b.csv",
            started: &Timestamp::now(),
            by: &by,
            options: &options,
        };
        let mut ledger = self.ledger.lock();
        let loader = ledger.load_run(&facts).unwrap();
        insert(&loader, rows);
        expect(&loader, plan);
        match maintenance {
            Some(Maintenance::Undo { run }) => drop(loader.insert_from(*run, RowFilter::Created).unwrap()),
            Some(Maintenance::UndoRelease { run }) => {
                loader.insert_from(*run, RowFilter::Updated).unwrap();
            }
            _ => {}
        }
        loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
    }

    /// Plans what an apply would do, without a write.
    async fn plan(&self, apply: &ApplyAct, rows: &[IdentitySpec]) -> Vec<PlannedRow> {
        let mut temporary = Ledger::open_temporary().unwrap();
        let (by, options) = (Operator::default(), RunOptions::default());
        let facts = RunFacts {
            hub: "model",
            test_hub: false,
            input: "b.csv",
            started: &Timestamp::now(),
            by: &by,
            options: &options,
        };
        let loader = temporary.load_run(&facts).unwrap();
        insert(&loader, rows);
        let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
        let reader = HubSnapshotReader {
            hub: self.hub.clone(),
            ledger: SharedLedger::new(temporary),
            run,
            holds: Holds::new(Some(self.ledger.clone()), "model"),
            parent_scopes: Arc::default(),
            keys: Arc::new(GivenKeys::new()),
            twin: apply.rules.twin,
            concurrency: 2,
            progress: Arc::new(|_| {}),
        };
        let mut planner = Planner::new(apply.rules, Tier::S3, NonZeroU32::MIN);
        let mut planned = Vec::new();
        let tell = |row| {
            planned.push(row);
            Ok::<_, RunError>(())
        };
        reader.each(&mut planner, tell).await.unwrap();
        planned
    }

    async fn act(&mut self, act: &Act) {
        match &act.work {
            Work::Meddle(meddling) => self.hub.meddle(meddling),
            Work::Apply(apply) => {
                let rows: Vec<_> = apply.names.iter().map(|name| apply.spec(name)).collect();
                self.carry_out(Todo::Apply(apply.clone(), false), &rows, None, &act.disturbances).await;
            }
            Work::Planned(apply, meddlings) => {
                let rows: Vec<_> = apply.names.iter().map(|name| apply.spec(name)).collect();
                let plan = (self.plan(apply, &rows).await, self.now());
                meddlings.iter().for_each(|meddling| self.hub.meddle(meddling));
                self.carry_out(Todo::Apply(apply.clone(), true), &rows, Some(plan), &act.disturbances).await;
            }
            Work::Resume(which) => {
                let is_unfinished = |place: &usize| self.runs[*place].state != RunState::Finished;
                let unfinished: Vec<usize> = (0..self.runs.len()).filter(is_unfinished).collect();
                if let Some(place) = unfinished.get(which % unfinished.len().max(1)) {
                    self.runs[*place].is_fine = false;
                    self.go_on(*place, &act.disturbances).await;
                }
            }
            Work::UndoRelease(which) => {
                let is_release =
                    |done: &&Done| matches!(done.todo.maintenance(), Some(Maintenance::Release { .. }));
                let released: Vec<RunId> = self.runs.iter().filter(is_release).map(|done| done.run).collect();
                if let Some(run) = released.get(which % released.len().max(1)) {
                    self.maintain(Maintenance::UndoRelease { run: *run }, &[], &act.disturbances).await;
                }
            }
            Work::Maintain(maintenance, names, thumbprint) => {
                let spec = |name: &&'static str| acts::spec(name, thumbprint, Some(acts::OLD), 60);
                let rows: Vec<_> = names.iter().map(spec).collect();
                let maintenance = maintenance.clone();
                self.maintain(maintenance, &rows, &act.disturbances).await;
            }
            Work::Undo(which) => {
                let applied: Vec<RunId> = self
                    .runs
                    .iter()
                    .filter(|done| done.todo.maintenance().is_none())
                    .map(|done| done.run)
                    .collect();
                if let Some(run) = applied.get(which % applied.len().max(1)) {
                    self.maintain(Maintenance::Undo { run: *run }, &[], &act.disturbances).await;
                }
            }
        }
    }

    async fn maintain(
        &mut self,
        maintenance: Maintenance,
        rows: &[IdentitySpec],
        disturbances: &Disturbances,
    ) {
        self.carry_out(Todo::Maintain(maintenance), rows, None, disturbances).await;
    }

    /// Works on a run, in one session.
    async fn work_on(&self, todo: &Todo, run: RunId) -> RunState {
        let (hub, pool) = (self.hub.clone(), pool(&self.ledger, run));
        match todo.clone() {
            Todo::Apply(act, as_planned) => {
                let created_by = act.tagged.then(|| (TAG.to_owned(), creator_tag::value(run)));
                let options = ApplyOptions { rules: act.rules, created_by, follows: false, as_planned };
                let keys = Arc::new(GivenKeys::new());
                Apply { hub, keys, options, look_first: act.look_first, pool }.run().await.unwrap()
            }
            Todo::Maintain(maintenance) => {
                Maintain { hub, maintenance, certificate_check: None, pool }.run().await.unwrap()
            }
        }
    }

    /// Begins a run, and works on it.
    async fn carry_out(
        &mut self,
        todo: Todo,
        rows: &[IdentitySpec],
        plan: Option<(Vec<PlannedRow>, usize)>,
        disturbances: &Disturbances,
    ) {
        let log = (self.now(), self.now());
        let run = self.load(todo.maintenance(), rows, plan.as_ref().map_or(&[], |(rows, _)| rows));
        let is_fine = disturbances.is_fine();
        self.runs.push(Done { run, todo, state: RunState::Interrupted, log, plan, is_fine });
        self.go_on(self.runs.len() - 1, disturbances).await;
    }

    /// Works on the run at this place, cut off and taken up again, while others are at work too.
    async fn go_on(&mut self, place: usize, disturbances: &Disturbances) {
        let (run, todo) = (self.runs[place].run, self.runs[place].todo.clone());
        self.hub.log.lock().unwrap().replace_actor(number(run));
        self.hub.faults.lock().unwrap().clone_from(&disturbances.faults);
        self.hub.meddlings.lock().unwrap().clone_from(&disturbances.meddlings);
        // A run that was cut off may have left a call for a second station.
        let _ = self.hub.joined.notified().now_or_never();
        let joined = disturbances.joined.unwrap_or(usize::MAX);
        self.hub.calls_until_joined.store(joined, Ordering::SeqCst);
        let mut state = RunState::Interrupted;
        for cut in disturbances.cuts.iter().copied().chain(disturbances.resumed.then_some(usize::MAX)) {
            if state == RunState::Finished {
                break;
            }
            let working = tokio::time::timeout(HANGS, self.at_stations(run, &todo));
            if let Some(ended) = self.hub.cut_off(cut, working).await {
                state = ended.unwrap_or_else(|_| panic!("run {run} hangs"));
            }
        }
        self.hub.calls_until_joined.store(usize::MAX, Ordering::SeqCst);
        {
            let mut log = self.hub.log.lock().unwrap();
            log.tell_nobody(false);
            log.replace_actor(OTHERS);
        }
        self.hub.faults.lock().unwrap().clear();
        self.hub.meddlings.lock().unwrap().clear();
        let now = self.now();
        let done = &mut self.runs[place];
        (done.state, done.log.1) = (state, now);
        self.last = Some(place);
        if matches!(todo, Todo::Apply(ApplyAct { verified: true, .. }, _)) {
            self.verify().await;
        }
    }

    /// Works on a run; when it is time, a second station does so too, and takes over what the first has in hand.
    async fn at_stations(&self, run: RunId, todo: &Todo) -> RunState {
        let mut first = Box::pin(self.work_on(todo, run));
        tokio::select! {
            biased;
            ended = &mut first => return ended,
            () = self.hub.joined.notified() => {}
        }
        let (first, second) = tokio::join!(first, self.work_on(todo, run));
        if first == RunState::Finished { first } else { second }
    }

    /// Reads back what the last run brought to its end, as a run does that finished.
    async fn verify(&self) {
        let Some(Done { run, state: RunState::Finished, todo, .. }) = self.last() else { return };
        let (hub, ledger, progress) = (self.hub.clone(), self.ledger.clone(), Arc::new(|_| {}));
        match todo.maintenance().cloned() {
            None => {
                let holds = Holds::new(Some(self.ledger.clone()), "model");
                let verify = Verify {
                    reader: Arc::new(HubReader::new(hub, holds, Arc::default())),
                    ledger,
                    run: *run,
                    filter: RowFilter::Settled,
                    concurrency: 2,
                    progress,
                };
                verify.run().await.unwrap();
            }
            Some(maintenance) => {
                let check =
                    VerifyMaintenance { hub, ledger, run: *run, maintenance, concurrency: 2, progress };
                check.run().await.unwrap();
            }
        }
    }
}

fn insert(loader: &Loader<'_>, rows: &[IdentitySpec]) {
    for (line, spec) in (2..).zip(rows) {
        loader.insert(line, spec, &[]).unwrap();
    }
}

/// Writes down what a plan knows of the rows.
fn expect(loader: &Loader<'_>, plan: &[PlannedRow]) {
    let seen: Vec<_> = plan.iter().map(|row| (identity(&row.identity), row.etags.clone())).collect();
    loader.expect(&seen).unwrap();
    let refused = plan.iter().filter(|row| row.action == Action::Refuse);
    let record = |row: &PlannedRow| {
        (identity(&row.identity), Record::failed(ReasonCode::RefusedByPlan, "the plan refuses it"))
    };
    loader.refuse(&refused.map(record).collect::<Vec<_>>(), &Timestamp::now()).unwrap();
}

fn number(run: RunId) -> i64 {
    run.to_string().parse().unwrap()
}

/// In the clock of a test, which does not wait.
const HANGS: Duration = Duration::from_secs(10 * 24 * 3600);

fn modules() -> impl Strategy<Value = Modules> {
    prop_oneof![Just(Modules::InBulk), Just(Modules::InBulkWithoutTwin), Just(Modules::OneByOne)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn what_runs_say_they_did_is_what_the_hub_saw(
        modules in modules(),
        acts in proptest::collection::vec(acts::act(), 1..6),
    ) {
        check(modules, &acts);
    }
}

/// Regression tests for the failures that the model has found.
mod found {
    use super::*;
    use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
    use crate::testing::model_hub::{ForeignChange, Other};

    const PROVISION: ApplyAct = ApplyAct {
        names: Vec::new(),
        rules: ApplyRules { mode: ApplyMode::Create, twin: TwinPolicy::Initial },
        quarantined: false,
        disabled: false,
        thumbprint: acts::OLD,
        interval: 60,
        tagged: false,
        look_first: false,
        verified: false,
    };

    fn provision(names: &[&'static str]) -> ApplyAct {
        ApplyAct { names: names.to_vec(), ..PROVISION }
    }

    fn act(work: Work, disturbances: Disturbances) -> Act {
        Act { work, disturbances }
    }

    /// Somebody makes the same after so many calls.
    fn same(name: &str, calls: usize) -> Vec<(usize, ForeignChange)> {
        let spec = acts::spec(name, acts::OLD, None, 60);
        let authentication = spec.authentication(&GivenKeys::new());
        let what = Other::Create(authentication.unwrap(), 60, spec.state.edge);
        vec![(calls, ForeignChange { identity: identity(name), what })]
    }

    #[test]
    fn what_others_make_between_a_look_and_a_lost_answer_is_not_surely_created() {
        let disturbances = Disturbances {
            faults: vec![CallFault::LostAfterEffect],
            meddlings: same("b", 1),
            ..Disturbances::fine()
        };
        let apply = ApplyAct { look_first: true, ..provision(&["a", "b", "c"]) };
        check(Modules::InBulk, &[act(Work::Apply(apply), disturbances)]);
    }

    #[test]
    fn what_was_perhaps_created_gets_no_tag_of_the_creator() {
        let merge = ApplyRules { mode: ApplyMode::Create, twin: TwinPolicy::Merge };
        let write = ForeignChange { identity: identity("c"), what: Other::WriteTwin(7) };
        let again = ApplyAct { rules: merge, tagged: true, ..provision(&["c"]) };
        // It is cut off after it was told that the device exists.
        let cut = Disturbances { cuts: vec![0], ..Disturbances::fine() };
        let acts = [
            act(Work::Apply(provision(&["c"])), Disturbances::fine()),
            act(Work::Meddle(write), Disturbances::fine()),
            act(Work::Apply(again), cut),
        ];
        check(Modules::InBulk, &acts);
    }

    #[test]
    fn a_module_that_is_denied_and_whose_device_has_come_meanwhile_does_not_end_the_run() {
        for calls in 0..8 {
            let disturbances = Disturbances {
                faults: vec![CallFault::LostAfterEffect],
                meddlings: same("b", calls),
                ..Disturbances::fine()
            };
            check(Modules::OneByOne, &[act(Work::Apply(provision(&["a/x", "b/x"])), disturbances)]);
        }
    }

    #[test]
    fn a_device_that_was_left_half_done_and_is_another_was_updated_before_it_was_a_conflict() {
        let half_done = Disturbances { cuts: vec![0], ..Disturbances::default() };
        let lost = Disturbances { faults: vec![CallFault::LostAfterEffect], ..Disturbances::fine() };
        let quarantine = |interval| ApplyAct { quarantined: true, interval, ..provision(&["a", "a/x"]) };
        let acts = [act(Work::Apply(quarantine(30)), half_done), act(Work::Apply(quarantine(60)), lost)];
        check(Modules::InBulk, &acts);
    }

    #[test]
    fn what_a_later_run_has_created_again_is_not_undone_with_the_first() {
        let delete = ForeignChange { identity: identity("a"), what: Other::Delete };
        let acts = [
            act(Work::Apply(provision(&["a", "b"])), Disturbances::fine()),
            act(Work::Meddle(delete), Disturbances::fine()),
            act(Work::Apply(provision(&["a"])), Disturbances::fine()),
            act(Work::Undo(0), Disturbances::fine()),
        ];
        check(Modules::InBulk, &acts);
    }

    #[test]
    fn what_was_created_and_not_finished_is_undone() {
        for modules in [Modules::InBulkWithoutTwin, Modules::OneByOne] {
            let names = ["a", "a/x", "a/y"];
            let mut apply = act(Work::Apply(provision(&names)), Disturbances::fine());
            apply.disturbances.faults = vec![CallFault::TwinRefused; 20];
            let world = check(modules, &[apply, act(Work::Undo(0), Disturbances::fine())]);
            let failed = |row: &LedgerRow| row.record.state == RowState::Failed;
            let [provisioned, undone] = [0, 1].map(|run: usize| world.rows(world.runs[run].run));
            assert!(provisioned.iter().any(failed), "{provisioned:#?}");
            assert_eq!(undone.len(), names.len());
            assert!(world.hub.identities.lock().unwrap().is_empty(), "{undone:#?}");
        }
    }

    #[test]
    fn what_others_put_in_the_place_of_a_device_that_the_run_created_is_not_undone() {
        let upsert = ApplyRules { mode: ApplyMode::Upsert, twin: TwinPolicy::Initial };
        for (calls, verified) in [(1, true), (1, false), (2, true), (2, false), (3, true)] {
            let meddlings = acts::replacement("a", "CC", 60).map(|change| (calls, change)).to_vec();
            let disturbances = Disturbances { meddlings, ..Disturbances::fine() };
            let quarantine =
                ApplyAct { rules: upsert, quarantined: true, verified, ..provision(&["a", "a/x"]) };
            let world = check(
                Modules::InBulk,
                &[act(Work::Apply(quarantine), disturbances), act(Work::Undo(0), Disturbances::fine())],
            );
            let is_there = world.hub.identities.lock().unwrap().contains_key(&identity("a"));
            assert!(is_there, "the device of others was deleted: {calls} {verified}");
        }
    }

    #[test]
    fn what_its_device_or_module_has_used_is_not_undone() {
        for (used, verified) in [("a/x", true), ("a/x", false), ("b", true), ("b", false)] {
            let apply = ApplyAct { verified, ..provision(&NAMES) };
            let used = ForeignChange { identity: identity(used), what: Other::Use };
            let acts = [
                act(Work::Apply(apply), Disturbances::fine()),
                act(Work::Meddle(used.clone()), Disturbances::fine()),
                act(Work::Undo(0), Disturbances::fine()),
            ];
            let world = check(Modules::InBulk, &acts);
            let unit = |other: &IdentityId| other.device() == used.identity.device();
            let stays: Vec<IdentityId> = NAMES.iter().map(|name| identity(name)).filter(unit).collect();
            let left: Vec<IdentityId> = world.hub.identities.lock().unwrap().keys().cloned().collect();
            assert_eq!(left, stays, "a unit stays as a whole");
        }
    }

    /// A run that is killed after so many calls.
    fn killed(work: Work, calls: usize) -> Act {
        act(work, Disturbances { cuts: vec![calls], ..Disturbances::default() })
    }

    fn fine(work: Work) -> Act {
        act(work, Disturbances::fine())
    }

    fn by_others(name: &str, what: Other) -> Act {
        fine(Work::Meddle(ForeignChange { identity: identity(name), what }))
    }

    #[test]
    fn what_a_later_run_made_anew_after_a_deletion_is_not_deleted_when_that_is_resumed() {
        let names = vec!["a", "a/x", "c"];
        let maintain = |maintenance| Work::Maintain(maintenance, names.clone(), acts::OLD);
        let apply = |quarantined| Work::Apply(ApplyAct { quarantined, ..provision(&names) });
        for modules in [Modules::InBulk, Modules::OneByOne] {
            // It is cut off at a read, or after the deletion.
            for calls in 0..5 {
                let acts = [
                    fine(apply(false)),
                    fine(maintain(acts::scrapped())),
                    killed(maintain(Maintenance::Delete), calls),
                    by_others("a", Other::Delete),
                    by_others("c", Other::Delete),
                    fine(apply(true)),
                    fine(Work::Resume(0)),
                ];
                let world = check(modules, &acts);
                let left: Vec<String> =
                    world.hub.identities.lock().unwrap().keys().map(ToString::to_string).collect();
                assert_eq!(left, ["a", "a/x", "c"], "{modules:?} {calls}");
            }
        }
    }

    #[test]
    fn what_a_killed_run_created_is_named_by_an_undo_even_if_it_was_changed_before_the_resumption() {
        let names = ["a", "a/x", "c"];
        let apply = |quarantined| Work::Apply(ApplyAct { quarantined, ..provision(&names) });
        let undone = || [Work::Undo(0), Work::Undo(1)].map(fine).to_vec();
        for calls in 0..8 {
            // Somebody disables a unit.
            let changed = vec![by_others("a", Other::Disable), fine(Work::Resume(0))];
            let acts = [vec![killed(apply(false), calls)], changed, undone()].concat();
            check(Modules::InBulk, &acts);
            // A second run puts the units into quarantine, and they are released.
            let release = Work::Maintain(Maintenance::Release { run: None }, names.to_vec(), acts::OLD);
            let released = [apply(true), release, Work::Resume(0)].map(fine).to_vec();
            let acts = [vec![killed(apply(true), calls)], released, undone()].concat();
            let world = check(Modules::InBulk, &acts);
            let is_there = |name: &&str| world.hub.identities.lock().unwrap().contains_key(&identity(name));
            assert!(calls > 6 || names.iter().all(is_there), "{calls}: units in use were deleted");
        }
    }

    #[test]
    fn what_is_quarantined_with_new_modules_and_undone_was_not_created() {
        for mode in [ApplyMode::Upsert, ApplyMode::Update] {
            let rules = ApplyRules { mode, twin: TwinPolicy::Initial };
            let quarantine = ApplyAct { rules, quarantined: true, ..provision(&["a", "a/x", "b", "b/x"]) };
            let acts = [
                act(Work::Apply(provision(&["a", "b"])), Disturbances::fine()),
                act(Work::Apply(quarantine), Disturbances::fine()),
                act(Work::Undo(1), Disturbances::fine()),
            ];
            check(Modules::InBulk, &acts);
        }
    }
}

fn cases() -> u32 {
    e2e::from_env("MODEL_CASES", 192).try_into().unwrap()
}

/// Does these things one after the other, and asks after each.
fn check(modules: Modules, acts: &[Act]) -> World {
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(modules);
        for act in acts {
            world.act(act).await;
            world.check();
        }
        world
    })
}

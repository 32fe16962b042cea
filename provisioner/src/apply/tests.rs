//! The driver against a hub that loses answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hub_types::IdentityId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, Operator, Record, RowFilter, RunFacts, RunOptions, SharedLedger, Totals};
use crate::model::compare::DifferencePath;
use crate::model::digest::Sha256Digest;
use crate::model::options::{ApplyMode, ApplyOptions, ApplyRules, TwinPolicy};
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec, StateSpec};
use crate::testing;
use crate::testing::model_hub::{CallFault, ModelHub, Modules};
use crate::workers::tests::pool;

fn spec(name: &str, thumbprint: &str) -> IdentitySpec {
    let object = |value: Value| Arc::new(value.as_object().cloned().unwrap_or_default());
    let identity = IdentityId::from_common_name(name).unwrap();
    let primary = Some(testing::thumbprint(&identity, thumbprint));
    IdentitySpec {
        identity,
        state: StateSpec {
            auth: AuthSpec::Thumbprint { primary, secondary: None },
            tags: object(json!({"name": name})),
            desired: object(json!({"interval": 60})),
            ..StateSpec::default()
        },
    }
}

/// Two devices with three modules and none, by name.
const NAMES: [&str; 5] = ["a", "a/x", "a/y", "a/z", "b"];

/// A batch, and what is to be done with it.
#[derive(Clone, Copy)]
struct Batch<'a> {
    thumbprint: &'a str,
    interval: u32,
    status: Status,
    rules: ApplyRules,
    /// A tag `createdBy` that its rows give.
    exported: Option<&'a str>,
}

const BATCH: Batch<'_> = Batch {
    thumbprint: "AB",
    interval: 60,
    status: Status::Enabled,
    rules: ApplyRules { mode: ApplyMode::Create, twin: TwinPolicy::Initial },
    exported: None,
};

impl Batch<'_> {
    fn spec(&self, name: &str) -> IdentitySpec {
        let mut spec = spec(name, self.thumbprint);
        Arc::make_mut(&mut spec.state.desired).insert("interval".into(), self.interval.into());
        if spec.identity.module().is_none() {
            spec.state.status = self.status;
        }
        if let Some(by) = self.exported {
            Arc::make_mut(&mut spec.state.tags).insert("createdBy".into(), by.into());
        }
        spec
    }

    fn load(&self, ledger: &SharedLedger) -> RunId {
        let mut ledger = ledger.lock();
        let (options, by) = (RunOptions::default(), Operator::default());
        let started = &Timestamp::now();
        let facts = RunFacts {
            hub: "model",
            test_hub: false,
            input: "batch.csv",
            started,
            by: &by,
            options: &options,
        };
        let loader = ledger.load_run(&facts).unwrap();
        for (line, name) in (2..).zip(NAMES) {
            loader.insert(line, &self.spec(name), &[]).unwrap();
        }
        loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
    }

    fn apply(&self, hub: &Arc<ModelHub>, ledger: &SharedLedger, run: RunId) -> Apply<ModelHub> {
        Apply {
            hub: hub.clone(),
            keys: Arc::new(GivenKeys::new()),
            options: ApplyOptions { rules: self.rules, created_by: None, follows: false, as_planned: false },
            look_first: ledger.lock().knows_hub("model", run).unwrap(),
            pool: pool(ledger, run),
        }
    }

    async fn run(&self, hub: &Arc<ModelHub>, ledger: &SharedLedger) -> (RunId, Totals) {
        let run = self.load(ledger);
        assert_eq!(self.apply(hub, ledger, run).run().await.unwrap(), RunState::Finished);
        let totals = ledger.lock().totals(run).unwrap();
        assert!(totals.add_up());
        (run, totals)
    }
}

async fn apply(hub: &Arc<ModelHub>, ledger: &SharedLedger, thumbprint: &str) -> (RunId, Totals) {
    Batch { thumbprint, ..BATCH }.run(hub, ledger).await
}

fn new_ledger() -> SharedLedger {
    SharedLedger::new(Ledger::open_temporary().unwrap())
}

fn check_whole(hub: &ModelHub) {
    let identities = hub.identities.lock().unwrap();
    assert_eq!(identities.len(), NAMES.len());
    for (identity, found) in identities.iter() {
        let spec = spec(&identity.to_string(), "AB");
        assert_eq!(found.creations, 1, "{identity}");
        assert_eq!((&found.tags, &found.desired), (&*spec.state.tags, &*spec.state.desired), "{identity}");
    }
}

/// A fault that does not make a row fail.
fn fault() -> impl Strategy<Value = CallFault> {
    let is_survived = |fault: &CallFault| *fault != CallFault::TwinRefused;
    proptest::sample::select(CallFault::ALL.into_iter().filter(is_survived).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_lost_all_is_created_once_and_accounted_for(
        modules in prop_oneof![Just(Modules::InBulk), Just(Modules::InBulkWithoutTwin), Just(Modules::OneByOne)],
        faults in proptest::collection::vec(fault(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let hub = Arc::new(ModelHub::new(modules, faults));
            let (_, totals) = apply(&hub, &new_ledger(), "AB").await;
            let created = Totals { rows: 5, created: 5, presumed: totals.presumed, ..Totals::default() };
            assert_eq!(totals, created);
            check_whole(&hub);
        });
    }
}

#[tokio::test]
async fn what_is_created_stays_accounted_for_if_its_answer_is_lost_and_its_repetition_is_refused() {
    for modules in [Modules::InBulk, Modules::InBulkWithoutTwin, Modules::OneByOne] {
        // From the last to the first: the repetition is refused as a whole, and so is each half of it.
        let faults =
            vec![CallFault::Refused, CallFault::Refused, CallFault::Refused, CallFault::LostAfterEffect];
        let (hub, ledger) = (Arc::new(ModelHub::new(modules, faults)), new_ledger());
        let (run, totals) = apply(&hub, &ledger, "AB").await;
        assert_eq!(totals, Totals { rows: 5, created: 5, presumed: 2, ..Totals::default() }, "{modules:?}");
        check_whole(&hub);
        let to_undo = ledger.lock().page(run, RowFilter::Created, None, 10).unwrap();
        assert_eq!(to_undo.len(), NAMES.len(), "{modules:?}: an undo names all that is there");
    }
}

#[tokio::test]
async fn what_is_refused_after_a_lost_answer_without_effect_has_failed() {
    let faults = [vec![CallFault::Refused; 12], vec![CallFault::LostBeforeEffect]].concat();
    let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, faults)), new_ledger());
    let (run, totals) = apply(&hub, &ledger, "AB").await;
    assert_eq!(totals, Totals { rows: 5, failed: 2, skipped: 3, ..Totals::default() });
    assert!(hub.identities.lock().unwrap().is_empty());
    let rows = ledger.lock().page(run, RowFilter::Failed, None, 10).unwrap();
    let a = &rows[0].record;
    assert_eq!((a.reason, a.effect, a.presumed), (Some(ReasonCode::RequestRefused), None, false));
}

/// An item that the hub throttles is sent again for as long as the hub does so, and nothing else is.
#[tokio::test(start_paused = true)]
async fn what_is_throttled_item_by_item_waits_for_its_turn() {
    let hub = Arc::new(ModelHub::new(Modules::InBulk, vec![CallFault::Throttled; 40]));
    let begun = tokio::time::Instant::now();
    let (_, totals) = apply(&hub, &new_ledger(), "AB").await;
    assert_eq!(totals, Totals { rows: 5, created: 5, ..Totals::default() });
    check_whole(&hub);
    assert!(begun.elapsed() > Duration::from_secs(60), "it is asked again after a pause");
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let hub = Arc::new(ModelHub::new(Modules::InBulk, Vec::new()));
    let ledger = new_ledger();
    apply(&hub, &ledger, "AB").await;
    let calls_before = *hub.changing_calls.lock().unwrap();
    let (_, totals) = apply(&hub, &ledger, "AB").await;
    assert_eq!(totals, Totals { rows: 5, unchanged: 5, ..Totals::default() });
    assert_eq!(*hub.changing_calls.lock().unwrap(), calls_before);
}

#[tokio::test]
async fn another_thumbprint_is_a_conflict_and_its_modules_are_not_touched() {
    let hub = Arc::new(ModelHub::new(Modules::InBulk, Vec::new()));
    let ledger = new_ledger();
    apply(&hub, &ledger, "AB").await;
    let before = hub.identities.lock().unwrap().clone();
    let (run, totals) = apply(&hub, &ledger, "CD").await;
    assert_eq!(totals, Totals { rows: 5, conflict: 2, skipped: 3, ..Totals::default() });
    assert_eq!(*hub.identities.lock().unwrap(), before);
    let rows = ledger.lock().page(run, RowFilter::Remarkable, None, 10).unwrap();
    assert_eq!(rows[0].record.differences[0].path, DifferencePath::PrimaryThumbprint);
    assert_eq!(
        rows[1].record.error.as_deref(),
        Some("nothing was done, because the row of its device `a` is `conflict`")
    );
}

#[tokio::test]
async fn a_run_that_is_stopped_leaves_its_rows_pending_and_is_resumed() {
    let ledger = new_ledger();
    let hub = Arc::new(ModelHub::new(Modules::InBulk, Vec::new()));
    let run = BATCH.load(&ledger);
    let apply = BATCH.apply(&hub, &ledger, run);
    apply.pool.stop.cancel();
    assert_eq!(apply.run().await.unwrap(), RunState::Interrupted);
    let totals = ledger.lock().totals(run).unwrap();
    assert_eq!(totals, Totals { rows: 5, pending: 5, ..Totals::default() });
    assert_eq!(BATCH.apply(&hub, &ledger, run).run().await.unwrap(), RunState::Finished);
    assert_eq!(ledger.lock().totals(run).unwrap(), Totals { rows: 5, created: 5, ..Totals::default() });
}

/// Applies a batch whose run is asked to stop while its first call is under way.
async fn stopped_during_devices(
    batch: Batch<'_>,
    hub: &Arc<ModelHub>,
    ledger: &SharedLedger,
) -> (RunId, Totals) {
    let run = batch.load(ledger);
    let apply = batch.apply(hub, ledger, run);
    let stop = apply.pool.stop.clone();
    hub.calls_until_joined.store(0, Ordering::SeqCst);
    let (state, ()) = tokio::join!(apply.run(), async {
        hub.joined.notified().await;
        stop.cancel();
    });
    assert_eq!(state.unwrap(), RunState::Interrupted);
    (run, ledger.lock().totals(run).unwrap())
}

#[tokio::test(start_paused = true)]
async fn no_modules_are_begun_after_a_request_to_stop() {
    let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, Vec::new())), new_ledger());
    let (run, totals) = stopped_during_devices(BATCH, &hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, created: 2, pending: 3, ..Totals::default() });
    assert_eq!(hub.identities.lock().unwrap().len(), 2, "only the devices are there");
    assert_eq!(BATCH.apply(&hub, &ledger, run).run().await.unwrap(), RunState::Finished);
    assert_eq!(ledger.lock().totals(run).unwrap(), Totals { rows: 5, created: 5, ..Totals::default() });
    check_whole(&hub);
}

/// A device that is to be disabled is enabled until it has its modules.
#[tokio::test(start_paused = true)]
async fn a_device_is_not_left_enabled_by_a_request_to_stop() {
    let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, Vec::new())), new_ledger());
    let quarantine = Batch { status: Status::Disabled, ..BATCH };
    let (run, totals) = stopped_during_devices(quarantine, &hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, created: 5, ..Totals::default() });
    let is_enabled =
        |name: &str| hub.identities.lock().unwrap()[&identity_of(name)].status == Status::Enabled;
    assert!(!is_enabled("a") && !is_enabled("b"));
    assert_eq!(quarantine.apply(&hub, &ledger, run).run().await.unwrap(), RunState::Finished);
}

#[tokio::test]
async fn a_run_of_which_nothing_is_left_to_do_ends() {
    let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, Vec::new())), new_ledger());
    let run = BATCH.load(&ledger);
    let refused: Vec<_> = NAMES
        .iter()
        .map(|name| (identity_of(name), Record::failed(ReasonCode::RequestRefused, "wrong label")))
        .collect();
    ledger.lock().refuse(run, &refused, &Timestamp::now()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(60), BATCH.apply(&hub, &ledger, run).run()).await;
    assert_eq!(ended.expect("nobody waits for anybody").unwrap(), RunState::Finished);
    assert_eq!(ledger.lock().totals(run).unwrap().failed, NAMES.len() as u64);
}

#[tokio::test]
async fn what_another_mode_may_do() {
    let hub = Arc::new(ModelHub::new(Modules::InBulk, Vec::new()));
    let ledger = new_ledger();
    let update = ApplyRules { mode: ApplyMode::Update, twin: TwinPolicy::Initial };
    let (run, totals) = Batch { rules: update, ..BATCH }.run(&hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, failed: 2, skipped: 3, ..Totals::default() });
    let rows = ledger.lock().page(run, RowFilter::Failed, None, 10).unwrap();
    let why = "it does not exist, and mode `update` creates nothing";
    assert_eq!(rows[0].record.error.as_deref(), Some(why));
    assert!(hub.identities.lock().unwrap().is_empty());

    let upsert = ApplyRules { mode: ApplyMode::Upsert, twin: TwinPolicy::Initial };
    let (_, totals) = Batch { rules: upsert, ..BATCH }.run(&hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, created: 5, ..Totals::default() });
    let other = Batch { rules: upsert, thumbprint: "CD", interval: 30, ..BATCH };
    let (_, totals) = other.run(&hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, updated: 5, ..Totals::default() });
    for (identity, found) in hub.identities.lock().unwrap().iter() {
        let spec = other.spec(&identity.to_string());
        assert_eq!(Some(&found.authentication), spec.authentication(&GivenKeys::new()).as_ref());
        assert_eq!((&found.desired, found.creations), (&*spec.state.desired, 1));
    }
}

#[tokio::test]
async fn a_twin_that_somebody_wrote_is_kept_merged_or_replaced() {
    let hub = Arc::new(ModelHub::new(Modules::InBulk, Vec::new()));
    let ledger = new_ledger();
    BATCH.run(&hub, &ledger).await;
    let theirs = json!({"interval": 5, "extra": 1}).as_object().cloned().unwrap();
    hub.patch_twin(&identity_of("a"), &serde_json::Map::new(), &theirs, None).await.unwrap();
    let desired = || Value::Object(hub.identities.lock().unwrap()[&identity_of("a")].desired.clone());

    let (run, totals) = BATCH.run(&hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, unchanged: 5, ..Totals::default() });
    assert_eq!(desired(), json!({"interval": 5, "extra": 1}));
    let kept = ledger.lock().page(run, RowFilter::Remarkable, None, 10).unwrap();
    assert_eq!(kept[0].record.differences[0].to_string(), "desired.interval: batch has 60, hub has 5");

    let merge = ApplyRules { mode: ApplyMode::Create, twin: TwinPolicy::Merge };
    let (_, totals) = Batch { rules: merge, ..BATCH }.run(&hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, updated: 1, unchanged: 4, ..Totals::default() });
    assert_eq!(desired(), json!({"interval": 60, "extra": 1}));

    let replace = ApplyRules { mode: ApplyMode::Create, twin: TwinPolicy::Replace };
    let (_, totals) = Batch { rules: replace, ..BATCH }.run(&hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, updated: 1, unchanged: 4, ..Totals::default() });
    assert_eq!(desired(), json!({"interval": 60}));
}

#[tokio::test]
async fn the_tag_of_the_creator_is_written_once_and_never_compared_nor_touched() {
    let all_rules = [ApplyMode::Create, ApplyMode::Upsert, ApplyMode::Update].into_iter().flat_map(|mode| {
        [TwinPolicy::Initial, TwinPolicy::Merge, TwinPolicy::Replace].map(|twin| ApplyRules { mode, twin })
    });
    for (modules, rules) in [Modules::InBulk, Modules::OneByOne].into_iter().cycle().zip(all_rules) {
        let (hub, ledger) = (Arc::new(ModelHub::new(modules, Vec::new())), new_ledger());
        // The second run changes desired properties; the third is not told of the tag; the fourth is of a batch
        // that was exported by a version which put the tag into it.
        let runs = [(BATCH.rules, 60, true), (rules, 30, true), (rules, 20, false), (rules, 10, false)];
        let mut by = None;
        for (place, (rules, interval, is_told)) in runs.into_iter().enumerate() {
            let batch = Batch {
                rules,
                interval,
                exported: (place == 3).then_some("provisioner 0.0.9 run 4"),
                ..BATCH
            };
            let run = batch.load(&ledger);
            let mut apply = batch.apply(&hub, &ledger, run);
            let value = crate::model::creator_tag::value(run);
            by.get_or_insert_with(|| value.clone());
            apply.options.created_by = is_told.then(|| ("createdBy".into(), value));
            apply.run().await.unwrap();
            for (identity, found) in hub.identities.lock().unwrap().iter() {
                assert_eq!(found.tags.get("createdBy"), by.as_ref(), "{identity}, run {run}, {rules:?}");
                assert_eq!(found.creations, 1, "{identity}");
            }
            let again = batch.run(&hub, &ledger).await.1;
            assert_eq!(again.updated, 0, "nothing is left to do: {rules:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// A run is cut off at any sample and resumed, over and over; nobody else is at work.
    #[test]
    fn whatever_is_lost_and_wherever_it_is_cut_off_a_resumed_run_tells_the_truth(
        modules in prop_oneof![Just(Modules::InBulk), Just(Modules::InBulkWithoutTwin), Just(Modules::OneByOne)],
        faults in proptest::collection::vec(fault(), 0..5),
        disabled: bool,
        rules in prop_oneof![
            Just(BATCH.rules),
            Just(ApplyRules { mode: ApplyMode::Upsert, twin: TwinPolicy::Initial }),
            Just(ApplyRules { mode: ApplyMode::Upsert, twin: TwinPolicy::Replace }),
        ],
        cuts in proptest::collection::vec(0..12_usize, 0..3),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let hub = Arc::new(ModelHub::new(modules, faults));
            let ledger = new_ledger();
            let status = if disabled { Status::Disabled } else { Status::Enabled };
            let batch = Batch { status, rules, ..BATCH };
            let run = batch.load(&ledger);
            for cut in cuts {
                hub.cut_off(cut, batch.apply(&hub, &ledger, run).run()).await;
            }
            let resumed = tokio::time::timeout(HANGS, batch.apply(&hub, &ledger, run).run()).await;
            assert_eq!(resumed.expect("the resumed run hangs").unwrap(), RunState::Finished);
            let totals = ledger.lock().totals(run).unwrap();
            let created = Totals { rows: 5, created: 5, presumed: totals.presumed, ..Totals::default() };
            assert_eq!(totals, created);
            for (identity, found) in hub.identities.lock().unwrap().iter() {
                let spec = batch.spec(&identity.to_string());
                assert_eq!(found.creations, 1, "{identity}");
                assert_eq!((&found.tags, &found.desired), (&*spec.state.tags, &*spec.state.desired), "{identity}");
                assert_eq!(found.status, spec.state.status, "{identity}");
            }
            let (_, totals) = batch.run(&hub, &ledger).await;
            assert_eq!(totals, Totals { rows: 5, unchanged: 5, ..Totals::default() });
        });
    }
}

mod staging;

/// No run of five rows takes so long, however busy the machine is.
const HANGS: Duration = Duration::from_secs(120);

fn identity_of(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

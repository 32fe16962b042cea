//! The driver against a hub that loses answers.

use std::sync::Arc;

use hub_types::IdentityId;
use proptest::prelude::*;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::model_hub::{Fate, ModelHub, Modules};
use super::*;
use crate::desired::{DesiredAuth, DesiredIdentity, DesiredState};
use crate::ledger::{RowFilter, RunFacts, Totals};

fn wanted(name: &str, thumbprint: &str) -> DesiredIdentity {
    let object = |value: serde_json::Value| value.as_object().cloned().unwrap_or_default();
    DesiredIdentity {
        identity: IdentityId::from_common_name(name).unwrap(),
        state: DesiredState {
            auth: DesiredAuth::Thumbprint { primary: thumbprint.repeat(32).parse().ok(), secondary: None },
            tags: object(json!({"name": name})),
            desired: object(json!({"interval": 60})),
            ..DesiredState::default()
        },
    }
}

/// Two devices with three modules and none, by name.
const NAMES: [&str; 5] = ["a", "a/x", "a/y", "a/z", "b"];

fn load(ledger: &SharedLedger, thumbprint: &str) -> RunId {
    let mut ledger = ledger.lock();
    let facts = RunFacts { hub: "model", input: "batch.csv", started: "2026-11-22T10:00:00Z" };
    let loader = ledger.load_run(&facts).unwrap();
    for (line, name) in (2..).zip(NAMES) {
        loader.insert(line, &wanted(name, thumbprint), &[]).unwrap();
    }
    loader.commit("AB", 0).unwrap()
}

async fn apply(hub: &Arc<ModelHub>, ledger: &SharedLedger, thumbprint: &str) -> (RunId, Totals) {
    let run = load(ledger, thumbprint);
    let apply = Apply {
        hub: hub.clone(),
        ledger: ledger.clone(),
        run,
        keys: Arc::new(GivenKeys::new()),
        look_first: ledger.lock().knows_hub("model", run).unwrap(),
        workers: 2,
        stop: CancellationToken::new(),
        progress: Arc::new(|_| {}),
    };
    assert_eq!(apply.run().await.unwrap(), RunState::Finished);
    let totals = ledger.lock().totals(run).unwrap();
    assert!(totals.add_up());
    (run, totals)
}

fn new_ledger() -> SharedLedger {
    SharedLedger::new(Ledger::open_temporary().unwrap())
}

fn check_whole(hub: &ModelHub) {
    let identities = hub.identities.lock().unwrap();
    assert_eq!(identities.len(), NAMES.len());
    for (identity, found) in identities.iter() {
        let wanted = wanted(&identity.to_string(), "AB");
        assert_eq!(found.creations, 1, "{identity}");
        assert_eq!((&found.tags, &found.desired), (&wanted.state.tags, &wanted.state.desired), "{identity}");
    }
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Answered), Just(Fate::LostAfterEffect), Just(Fate::LostBeforeEffect)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_lost_all_is_created_once_and_accounted_for(
        modules in prop_oneof![Just(Modules::InBulk), Just(Modules::InBulkWithoutTwin), Just(Modules::OneByOne)],
        fates in proptest::collection::vec(fate(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let hub = Arc::new(ModelHub::new(modules, fates));
            let (_, totals) = apply(&hub, &new_ledger(), "AB").await;
            assert_eq!(totals, Totals { rows: 5, created: 5, ..Totals::default() });
            check_whole(&hub);
        });
    }
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
    assert_eq!(totals, Totals { rows: 5, conflict: 2, failed: 3, ..Totals::default() });
    assert_eq!(*hub.identities.lock().unwrap(), before);
    let rows = ledger.lock().page(run, RowFilter::Remarkable, None, 10).unwrap();
    assert_eq!(rows[0].record.differences[0].path, "primary_thumbprint");
    assert_eq!(
        rows[1].record.error.as_deref(),
        Some("nothing was done, because the row of its device `a` is `conflict`")
    );
}

#[tokio::test]
async fn a_run_that_is_stopped_leaves_its_rows_pending() {
    let ledger = new_ledger();
    let run = load(&ledger, "AB");
    let stop = CancellationToken::new();
    stop.cancel();
    let apply = Apply {
        hub: Arc::new(ModelHub::new(Modules::InBulk, Vec::new())),
        ledger: ledger.clone(),
        run,
        keys: Arc::new(GivenKeys::new()),
        look_first: false,
        workers: 2,
        stop,
        progress: Arc::new(|_| {}),
    };
    assert_eq!(apply.run().await.unwrap(), RunState::Interrupted);
    let totals = ledger.lock().totals(run).unwrap();
    assert_eq!(totals, Totals { rows: 5, pending: 5, ..Totals::default() });
}

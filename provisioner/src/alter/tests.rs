//! The driver against a hub that loses answers.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hub_types::identity::{Status, StatusReason};
use proptest::prelude::*;
use serde_json::{Map, json};
use tokio::runtime;

use super::*;
use crate::apply::{Apply, Intentions};
use crate::crew::tests::crew;
use crate::desired::{DesiredAuth, DesiredIdentity, DesiredState};
use crate::ledger::{Ledger, Operator, RowFilter, RunFacts, RunId, RunOptions, SharedLedger, Totals};
use crate::model_hub::{Fate, ModelHub, Modules};

/// Two devices with modules and one without.
const NAMES: [&str; 6] = ["a", "a/x", "a/y", "b", "b/x", "c"];

fn identity(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

fn wanted(name: &str, primary: &str, secondary: Option<&str>) -> DesiredIdentity {
    let thumbprint = |byte: &str| byte.repeat(32).parse().unwrap();
    let auth =
        DesiredAuth::Thumbprint { primary: Some(thumbprint(primary)), secondary: secondary.map(thumbprint) };
    let desired = json!({"interval": 60}).as_object().cloned().unwrap();
    let state = DesiredState { auth, desired: desired.into(), ..DesiredState::default() };
    DesiredIdentity { identity: identity(name), state }
}

/// A hub, and the ledger of a station at work on it.
struct Factory {
    hub: Arc<ModelHub>,
    ledger: SharedLedger,
}

impl Factory {
    fn new(modules: Modules) -> Self {
        let ledger = SharedLedger::new(Ledger::open_temporary().unwrap());
        Self { hub: Arc::new(ModelHub::new(modules, Vec::new())), ledger }
    }

    fn load(&self, alteration: Option<Alteration>, rows: &[DesiredIdentity]) -> RunId {
        let options = RunOptions { alteration, ..RunOptions::default() };
        let by = Operator { name: "Ada".into(), station: "line-3".into() };
        let (hub, input, started) = ("model", "batch.csv", "2026-11-27T10:00:00Z");
        let facts = RunFacts { hub, input, started, by: &by, options: &options };
        let mut ledger = self.ledger.lock();
        let loader = ledger.load_run(&facts).unwrap();
        for (line, wanted) in (2..).zip(rows) {
            loader.insert(line, wanted, &[]).unwrap();
        }
        if let Some(Alteration::Undo { run }) = &options.alteration {
            loader.insert_created_by(*run).unwrap();
        }
        loader.commit("AB", 0).unwrap()
    }

    /// Provisions all with the thumbprint `AA`.
    async fn provision(&self) -> RunId {
        let rows: Vec<_> = NAMES.iter().map(|name| wanted(name, "AA", None)).collect();
        let run = self.load(None, &rows);
        let apply = Apply {
            hub: self.hub.clone(),
            keys: Arc::new(GivenKeys::new()),
            intentions: Intentions::default(),
            look_first: false,
            crew: crew(&self.ledger, run),
        };
        assert_eq!(apply.run().await.unwrap(), RunState::Finished);
        run
    }

    fn alter(&self, alteration: &Alteration, run: RunId) -> Alter<ModelHub> {
        let (hub, alteration) = (self.hub.clone(), alteration.clone());
        Alter { hub, alteration, proof: None, crew: crew(&self.ledger, run) }
    }

    /// Alters these identities to the end, checks what came of it, and answers the totals.
    async fn alter_all(&self, alteration: Alteration, rows: &[DesiredIdentity]) -> (RunId, Totals) {
        let run = self.load(Some(alteration.clone()), rows);
        assert_eq!(self.alter(&alteration, run).run().await.unwrap(), RunState::Finished);
        (run, self.check(&alteration, run).await)
    }

    async fn check(&self, alteration: &Alteration, run: RunId) -> Totals {
        let check = Check {
            hub: self.hub.clone(),
            ledger: self.ledger.clone(),
            run,
            alteration: alteration.clone(),
            concurrency: 2,
            progress: Arc::new(|_| {}),
        };
        let verified = check.run().await.unwrap();
        assert!(verified.all_well(), "{verified:?}");
        let totals = self.ledger.lock().totals(run).unwrap();
        assert!(totals.add_up());
        totals
    }

    fn names(&self) -> Vec<String> {
        self.hub.identities.lock().unwrap().keys().map(ToString::to_string).collect()
    }

    /// Why rows were left alone, by identity.
    fn reasons(&self, run: RunId) -> Vec<(String, String)> {
        let rows = self.ledger.lock().page(run, RowFilter::Failed, None, 100).unwrap();
        let reason = |row: LedgerRow| (row.wanted.identity.to_string(), row.record.error.unwrap_or_default());
        rows.into_iter().map(reason).collect()
    }

    async fn write_twin(&self, name: &str) {
        let theirs = json!({"interval": 5}).as_object().cloned().unwrap();
        self.hub.patch_twin(&identity(name), &Map::new(), &theirs, None).await.unwrap();
    }
}

fn named(names: &[&str]) -> Vec<DesiredIdentity> {
    names.iter().map(|name| wanted(name, "AA", None)).collect()
}

fn disable() -> Alteration {
    Alteration::Disable { reason: StatusReason::new("scrapped").unwrap() }
}

#[tokio::test]
async fn a_run_is_undone_with_few_calls() {
    let factory = Factory::new(Modules::InBulk);
    let run = factory.provision().await;
    let before = *factory.hub.changing_calls.lock().unwrap();
    let (undo, totals) = factory.alter_all(Alteration::Undo { run }, &[]).await;
    assert_eq!(totals, Totals { rows: 6, deleted: 6, ..Totals::default() });
    assert!(factory.names().is_empty());
    assert_eq!(*factory.hub.changing_calls.lock().unwrap(), before + 1, "modules go with their devices");
    assert!(factory.reasons(undo).is_empty());
}

#[tokio::test]
async fn an_undo_spares_what_somebody_changed_and_the_device_that_it_is_on() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        let run = factory.provision().await;
        factory.write_twin("a/x").await;
        factory
            .hub
            .put_module(
                &identity("b/new"),
                &wanted("b/new", "CC", None).module_spec(&GivenKeys::new()).unwrap(),
                None,
            )
            .await
            .unwrap();
        let (undo, totals) = factory.alter_all(Alteration::Undo { run }, &[]).await;
        assert_eq!(factory.names(), ["a", "a/x", "b", "b/new"]);
        assert_eq!(totals, Totals { rows: 6, deleted: 3, conflict: 3, ..Totals::default() });
        let reasons = factory.reasons(undo);
        assert_eq!(reasons[0], ("a".to_owned(), "its module `x` stays".to_owned()));
        assert!(reasons[1].1.starts_with("it was changed since run"), "{reasons:?}");
        assert_eq!(reasons[2], ("b".to_owned(), "it has modules that the run did not create".to_owned()));
    }
}

#[tokio::test]
async fn devices_are_disabled_first_and_deleted_later() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let unit = named(&["a", "a/x", "a/y"]);
    let (run, totals) = factory.alter_all(Alteration::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, conflict: 3, ..Totals::default() });
    assert!(factory.reasons(run)[0].1.contains("disable it first"));
    assert!(factory.reasons(run)[1].1.contains("its device `a` stays"));

    let (_, totals) = factory.alter_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 3, updated: 1, unchanged: 2, ..Totals::default() });
    assert_eq!(factory.hub.identities.lock().unwrap()[&identity("a")].status, Status::Disabled);
    let (_, totals) = factory.alter_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 3, unchanged: 3, ..Totals::default() });

    let (_, totals) = factory.alter_all(Alteration::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, deleted: 3, ..Totals::default() });
    assert_eq!(factory.names(), ["b", "b/x", "c"]);
    let (_, totals) = factory.alter_all(Alteration::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, unchanged: 3, ..Totals::default() });
}

#[tokio::test]
async fn a_module_that_is_named_alone_goes_alone() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        factory.provision().await;
        let (_, totals) = factory.alter_all(Alteration::Delete, &named(&["a/x"])).await;
        assert_eq!(totals, Totals { rows: 1, deleted: 1, ..Totals::default() });
        assert_eq!(factory.names(), ["a", "a/y", "b", "b/x", "c"]);
    }
}

#[tokio::test]
async fn an_old_thumbprint_goes_only_where_the_new_one_is_proven() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let rows: Vec<_> = ["a", "a/x", "c"].iter().map(|name| wanted(name, "BB", Some("AA"))).collect();
    let (_, totals) = factory.alter_all(Alteration::AddThumbprint, &rows).await;
    assert_eq!(totals, Totals { rows: 3, updated: 3, ..Totals::default() });

    let finish = Alteration::DropOldThumbprint { unproven: false };
    let run = factory.load(Some(finish.clone()), &rows);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let proof: Proof = {
        let asked = asked.clone();
        Arc::new(move |wanted: DesiredIdentity| {
            asked.lock().unwrap().push(wanted.identity.to_string());
            let unproven = wanted.identity.module().map(|_| Unproven::This("not let in".to_owned()));
            Box::pin(async move { unproven.map_or(Ok(()), Err) })
        })
    };
    let alter = Alter { proof: Some(proof), ..factory.alter(&finish, run) };
    assert_eq!(alter.run().await.unwrap(), RunState::Finished);
    assert_eq!(*asked.lock().unwrap(), ["a", "c", "a/x"]);
    let totals = factory.check(&finish, run).await;
    assert_eq!(totals, Totals { rows: 3, updated: 2, failed: 1, ..Totals::default() });
    assert_eq!(factory.reasons(run), [("a/x".to_owned(), "not let in".to_owned())]);

    let (_, totals) = factory.alter_all(Alteration::DropNewThumbprint, &rows).await;
    assert_eq!(totals, Totals { rows: 3, updated: 1, conflict: 2, ..Totals::default() });
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Answered), Just(Fate::LostAfterEffect), Just(Fate::LostBeforeEffect)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// An undo is cut off at any moment and resumed, over and over.
    #[test]
    fn whatever_is_lost_and_wherever_it_is_cut_off_an_undo_takes_all_back(
        modules in prop_oneof![Just(Modules::InBulk), Just(Modules::OneByOne)],
        fates in proptest::collection::vec(fate(), 0..5),
        cuts in proptest::collection::vec(0..14_usize, 0..3),
        changed: bool,
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let factory = Factory::new(modules);
            let run = factory.provision().await;
            if changed {
                factory.write_twin("a/x").await;
            }
            *factory.hub.fates.lock().unwrap() = fates;
            let undo = Alteration::Undo { run };
            let undoing = factory.load(Some(undo.clone()), &[]);
            for cut in cuts {
                factory.hub.calls_until_cut.store(cut, Ordering::SeqCst);
                let mut cut_off = Box::pin(factory.alter(&undo, undoing).run());
                tokio::select! {
                    biased;
                    () = factory.hub.cut.notified() => {}
                    _ = &mut cut_off => {}
                }
            }
            factory.hub.calls_until_cut.store(usize::MAX, Ordering::SeqCst);
            let resumed = tokio::time::timeout(HANGS, factory.alter(&undo, undoing).run()).await;
            assert_eq!(resumed.expect("the resumed run hangs").unwrap(), RunState::Finished);
            let totals = factory.check(&undo, undoing).await;
            let kept: &[&str] = if changed { &["a", "a/x"] } else { &[] };
            assert_eq!(factory.names(), kept);
            let conflict = kept.len() as u64;
            assert_eq!(totals, Totals { rows: 6, deleted: 6 - conflict, conflict, ..Totals::default() });
        });
    }
}

/// No run of six rows takes so long, however busy the machine is.
const HANGS: Duration = Duration::from_secs(120);

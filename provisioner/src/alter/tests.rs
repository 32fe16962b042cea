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
use crate::plan::{Action, PlannedRow};
use crate::reason::ReasonCode;

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

/// Of the modules of a disabled device a hub tells a caller with a key nothing.
#[tokio::test]
async fn a_disabled_device_with_a_module_of_others_stays_and_the_others_go() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        let run = factory.provision().await;
        factory.meddle("b", Meddling::AddModule).await;
        factory.hub.identities.lock().unwrap().get_mut(&identity("b")).unwrap().status = Status::Disabled;
        let rows = factory.rows(run).into_iter().filter_map(LedgerRow::to_undo).collect::<Vec<_>>();
        let undo = Alteration::Undo { run };
        let foreseen = factory.foresee(&undo, rows).await;
        let (undone, totals) = factory.alter_all(undo, &[]).await;
        assert_eq!(totals.conflict + totals.failed + totals.deleted, 6, "{totals}");
        assert_eq!(factory.names(), ["b", "b/new"]);
        assert_eq!(factory.reasons(undone)[0].0, "b");
        assert!(foreseen.iter().any(|(name, action, _)| name == "b" && *action == Action::Conflict));
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
            let unproven = wanted
                .identity
                .module()
                .map(|_| Unproven::This(ReasonCode::NotLetIn, "not let in".to_owned()));
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

/// Something that somebody does to the hub after the batch.
#[derive(Debug, Clone, Copy)]
enum Meddling {
    WriteTwin,
    Delete,
    Disable,
    AddModule,
    AddThumbprint,
}

impl Factory {
    async fn meddle(&self, name: &str, meddling: Meddling) {
        let device = identity(name).device().to_string();
        match meddling {
            Meddling::WriteTwin if self.names().iter().any(|there| there == name) => {
                self.write_twin(name).await;
            }
            Meddling::WriteTwin => {}
            // What is gone already, or has no place any more, is none of this test's business.
            Meddling::Delete => drop(self.hub.delete(&identity(name), None).await),
            Meddling::Disable => {
                self.run(disable(), &named(&[&device])).await;
            }
            Meddling::AddThumbprint => {
                self.run(Alteration::AddThumbprint, &[wanted(name, "BB", Some("AA"))]).await;
            }
            Meddling::AddModule => {
                let module = wanted(&format!("{device}/new"), "CC", None);
                let spec = module.module_spec(&GivenKeys::new()).unwrap();
                drop(self.hub.put_module(&module.identity, &spec, None).await);
            }
        }
    }

    async fn run(&self, alteration: Alteration, rows: &[DesiredIdentity]) -> RunId {
        let run = self.load(Some(alteration.clone()), rows);
        assert_eq!(self.alter(&alteration, run).run().await.unwrap(), RunState::Finished);
        run
    }

    /// What would be done with each identity, and why not.
    async fn foresee(
        &self,
        alteration: &Alteration,
        rows: Vec<LedgerRow>,
    ) -> Vec<(String, Action, Option<String>)> {
        let preview = Preview::new(self.hub.clone(), alteration.clone(), Arc::new(|_| {}));
        let (calls, mut foreseen) = (*self.hub.changing_calls.lock().unwrap(), Vec::new());
        let tell = |row: PlannedRow| {
            foreseen.push((row.identity, row.action, row.reason));
            Ok::<_, RunError>(())
        };
        let forecast = preview.each(rows.into_iter().map(Ok), tell).await.unwrap();
        let left_alone = |action| matches!(action, Action::Conflict | Action::Refuse);
        assert_eq!(forecast.all_well(), !foreseen.iter().any(|(_, action, _)| left_alone(*action)));
        assert_eq!(*self.hub.changing_calls.lock().unwrap(), calls, "nothing was written");
        foreseen
    }

    /// What a run did with each identity, and why not.
    fn done(&self, run: RunId) -> Vec<(String, Action, Option<String>)> {
        let done = |row: LedgerRow| {
            let action = match (row.record.state, row.record.effect) {
                (RowState::Done, Some(Effect::Deleted)) => Action::Delete,
                (RowState::Done, Some(Effect::Updated)) => Action::Update,
                (RowState::Unchanged, _) => Action::Keep,
                (RowState::Conflict, _) => Action::Conflict,
                other => panic!("{}: {other:?}", row.wanted.identity),
            };
            (row.wanted.identity.to_string(), action, row.record.error)
        };
        self.rows(run).into_iter().map(done).collect()
    }

    fn rows(&self, run: RunId) -> Vec<LedgerRow> {
        self.ledger.lock().rows(run, RowFilter::All).collect::<Result<_, _>>().unwrap()
    }
}

fn meddling() -> impl Strategy<Value = (usize, Meddling)> {
    let what = prop_oneof![
        Just(Meddling::WriteTwin),
        Just(Meddling::Delete),
        Just(Meddling::Disable),
        Just(Meddling::AddModule),
        Just(Meddling::AddThumbprint)
    ];
    (0..NAMES.len(), what)
}

fn fate() -> impl Strategy<Value = Fate> {
    proptest::sample::select(Fate::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever became of the units since their batch, a preview tells what will be done with each row.
    #[test]
    fn what_a_preview_foretells_is_what_is_done(
        modules in prop_oneof![Just(Modules::InBulk), Just(Modules::OneByOne)],
        meddling in proptest::collection::vec(meddling(), 0..5),
        names in proptest::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()),
        which in 0..6,
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let factory = Factory::new(modules);
            let provisioned = factory.provision().await;
            for (place, meddling) in meddling {
                factory.meddle(NAMES[place], meddling).await;
            }
            let alteration = match which {
                0 => Alteration::AddThumbprint,
                1 => Alteration::Delete,
                2 => disable(),
                3 => Alteration::DropNewThumbprint,
                4 => Alteration::DropOldThumbprint { unproven: true },
                _ => Alteration::Undo { run: provisioned },
            };
            let wanted: Vec<_> = match alteration {
                Alteration::Delete | Alteration::Disable { .. } => named(&names),
                Alteration::Undo { .. } => Vec::new(),
                _ => names.iter().map(|name| wanted(name, "BB", Some("AA"))).collect(),
            };
            let rows = match alteration {
                Alteration::Undo { .. } => {
                    factory.rows(provisioned).into_iter().filter_map(LedgerRow::to_undo).collect()
                }
                _ => {
                    let batch = factory.load(Some(alteration.clone()), &wanted);
                    factory.rows(batch)
                }
            };
            let foreseen = factory.foresee(&alteration, rows).await;
            let run = factory.run(alteration, &wanted).await;
            assert_eq!(foreseen, factory.done(run));
        });
    }

    /// An undo is cut off at any moment and resumed, over and over.
    #[test]
    fn whatever_is_lost_and_wherever_it_is_cut_off_an_undo_takes_all_back(
        modules in prop_oneof![Just(Modules::InBulk), Just(Modules::OneByOne)],
        fates in proptest::collection::vec(fate(), 0..5),
        cuts in proptest::collection::vec(0..14_usize, 0..3),
        changed: bool,
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
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

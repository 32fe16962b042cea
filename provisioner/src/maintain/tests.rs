//! The driver against a hub that loses answers.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hub_types::IdentityId;
use hub_types::identity::{Status, StatusReason};
use proptest::prelude::*;
use serde_json::{Map, json};
use tokio::runtime;

use super::connect_check::CheckFailed;
use super::*;
use crate::apply::Apply;
use crate::clock::Timestamp;
use crate::ledger::{
    Holds, Ledger, LedgerRow, Operator, RowFilter, RowState, RunFacts, RunOptions, SharedLedger, Totals,
};
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;
use crate::model::options::ApplyOptions;
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec, StateSpec};
use crate::plan::{Action, PlannedRow};
use crate::testing::model_hub::{Fate, ModelHub, Modules};
use crate::workers::tests::pool;

/// Two devices with modules and one without.
const NAMES: [&str; 6] = ["a", "a/x", "a/y", "b", "b/x", "c"];

fn identity(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

fn spec(name: &str, primary: &str, secondary: Option<&str>) -> IdentitySpec {
    let thumbprint = |byte: &str| byte.repeat(32).parse().unwrap();
    let auth =
        AuthSpec::Thumbprint { primary: Some(thumbprint(primary)), secondary: secondary.map(thumbprint) };
    let desired = json!({"interval": 60}).as_object().cloned().unwrap();
    let state = StateSpec { auth, desired: desired.into(), ..StateSpec::default() };
    IdentitySpec { identity: identity(name), state }
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

    fn load(&self, maintenance: Option<Maintenance>, rows: &[IdentitySpec]) -> RunId {
        let options = RunOptions { maintenance, ..RunOptions::default() };
        let by = Operator { name: "Ada".into(), station: "line-3".into() };
        let (hub, input, started) = ("model", "batch.csv", &Timestamp::now());
        let facts = RunFacts { hub, test_hub: false, input, started, by: &by, options: &options };
        let mut ledger = self.ledger.lock();
        let loader = ledger.load_run(&facts).unwrap();
        for (line, spec) in (2..).zip(rows) {
            loader.insert(line, spec, &[]).unwrap();
        }
        let origin = match &options.maintenance {
            Some(Maintenance::Undo { run }) => Some((*run, RowFilter::Created)),
            Some(Maintenance::UndoRelease { run }) => Some((*run, RowFilter::Updated)),
            Some(Maintenance::Release { run: Some(run) }) => Some((*run, RowFilter::Disabled)),
            _ => None,
        };
        if let Some((run, filter)) = origin {
            loader.insert_from(run, filter).unwrap();
        }
        loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
    }

    /// Provisions all with the thumbprint `AA`.
    async fn provision(&self) -> RunId {
        let rows: Vec<_> = NAMES.iter().map(|name| spec(name, "AA", None)).collect();
        let run = self.load(None, &rows);
        let apply = Apply {
            hub: self.hub.clone(),
            keys: Arc::new(GivenKeys::new()),
            options: ApplyOptions::default(),
            look_first: false,
            pool: pool(&self.ledger, run),
        };
        assert_eq!(apply.run().await.unwrap(), RunState::Finished);
        run
    }

    fn alter(&self, maintenance: &Maintenance, run: RunId) -> Maintain<ModelHub> {
        let (hub, maintenance) = (self.hub.clone(), maintenance.clone());
        Maintain { hub, maintenance, certificate_check: None, pool: pool(&self.ledger, run) }
    }

    /// Alters these identities to the end, checks what came of it, and answers the totals.
    async fn alter_all(&self, maintenance: Maintenance, rows: &[IdentitySpec]) -> (RunId, Totals) {
        let run = self.load(Some(maintenance.clone()), rows);
        assert_eq!(self.alter(&maintenance, run).run().await.unwrap(), RunState::Finished);
        (run, self.check(&maintenance, run).await)
    }

    async fn check(&self, maintenance: &Maintenance, run: RunId) -> Totals {
        let check = VerifyMaintenance {
            hub: self.hub.clone(),
            ledger: self.ledger.clone(),
            run,
            maintenance: maintenance.clone(),
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

    /// The reasons why rows were left unchanged, by identity.
    fn reasons(&self, run: RunId) -> Vec<(String, String)> {
        let rows = self.ledger.lock().page(run, RowFilter::Failed, None, 100).unwrap();
        let reason = |row: LedgerRow| (row.spec.identity.to_string(), row.record.error.unwrap_or_default());
        rows.into_iter().map(reason).collect()
    }

    /// Changes the status of a device as a different client would.
    fn set_status(&self, name: &str, status: Status, reason: Option<&str>) {
        let mut identities = self.hub.identities.lock().unwrap();
        let found = identities.get_mut(&identity(name)).unwrap();
        (found.status, found.version) = (status, found.version + 1);
        found.status_reason = reason.map(|reason| StatusReason::new(reason).unwrap());
    }

    async fn write_twin(&self, name: &str) {
        let theirs = json!({"interval": 5}).as_object().cloned().unwrap();
        self.hub.patch_twin(&identity(name), &Map::new(), &theirs, None).await.unwrap();
    }
}

fn named(names: &[&str]) -> Vec<IdentitySpec> {
    names.iter().map(|name| spec(name, "AA", None)).collect()
}

fn disable() -> Maintenance {
    Maintenance::Disable { reason: StatusReason::new("scrapped").unwrap() }
}

#[tokio::test]
async fn a_run_is_undone_with_few_calls() {
    let factory = Factory::new(Modules::InBulk);
    let run = factory.provision().await;
    let before = *factory.hub.changing_calls.lock().unwrap();
    let (undo, totals) = factory.alter_all(Maintenance::Undo { run }, &[]).await;
    assert_eq!(totals, Totals { rows: 6, deleted: 6, ..Totals::default() });
    assert!(factory.names().is_empty());
    assert_eq!(*factory.hub.changing_calls.lock().unwrap(), before + 1, "modules go with their devices");
    assert!(factory.reasons(undo).is_empty());
}

#[tokio::test]
async fn an_undo_spares_the_whole_unit_where_somebody_changed_a_part_of_it() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        let run = factory.provision().await;
        factory.write_twin("a/x").await;
        factory
            .hub
            .put_module(
                &identity("b/new"),
                &spec("b/new", "CC", None).module_spec(&GivenKeys::new()).unwrap(),
                None,
            )
            .await
            .unwrap();
        let (undo, totals) = factory.alter_all(Maintenance::Undo { run }, &[]).await;
        assert_eq!(factory.names(), ["a", "a/x", "a/y", "b", "b/new", "b/x"]);
        assert_eq!(totals, Totals { rows: 6, deleted: 1, conflict: 3, skipped: 2, ..Totals::default() });
        let reasons = factory.reasons(undo);
        let stays = |module: &str, device: &str| {
            (module.to_owned(), format!("nothing was done, because its device `{device}` stays"))
        };
        assert_eq!(reasons[0], ("a".to_owned(), "its module `x` stays".to_owned()));
        assert!(reasons[1].1.starts_with("it was changed since run"), "{reasons:?}");
        assert_eq!(reasons[2], stays("a/y", "a"));
        assert_eq!(reasons[3], ("b".to_owned(), "it has modules that the run did not create".to_owned()));
        assert_eq!(reasons[4], stays("b/x", "b"));
    }
}

#[tokio::test]
async fn a_device_that_was_changed_since_keeps_its_modules_and_the_run_that_changed_it_is_named() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        let run = factory.provision().await;
        factory.alter_all(disable(), &named(&["b"])).await;
        let (release, _) = factory.alter_all(Maintenance::Release { run: None }, &named(&["b"])).await;
        factory.write_twin("b").await;
        factory.write_twin("c").await;
        let (undo, totals) = factory.alter_all(Maintenance::Undo { run }, &[]).await;
        assert_eq!(totals, Totals { rows: 6, deleted: 3, conflict: 2, skipped: 1, ..Totals::default() });
        assert_eq!(factory.names(), ["b", "b/x", "c"]);
        let reasons = factory.reasons(undo);
        assert_eq!(
            reasons[0].1,
            format!("it was changed since run {run} created it, last by run {release}"),
            "{reasons:?}"
        );
        assert_eq!(reasons[1].1, "nothing was done, because its device `b` stays");
        assert_eq!(reasons[2].1, format!("it was changed since run {run} created it"));
    }
}

#[tokio::test]
async fn a_release_of_a_run_does_not_advise_to_enable_what_was_retired_since() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let (first, _) = factory.alter_all(disable(), &named(&["a"])).await;
    factory.alter_all(Maintenance::Release { run: Some(first) }, &[]).await;
    let (second, _) = factory.alter_all(disable(), &named(&["a"])).await;
    let (release, _) = factory.alter_all(Maintenance::Release { run: Some(first) }, &[]).await;
    let reasons = factory.reasons(release);
    assert_eq!(reasons[0].1, format!("run {second} retired it since, not run {first}: it stays disabled"));
}

/// A hub gives a caller with a policy's key no information on the modules of a disabled device.
#[tokio::test]
async fn a_disabled_device_with_a_module_of_others_stays_with_all_its_modules() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        let run = factory.provision().await;
        factory.meddle("b", ForeignStep::AddModule).await;
        factory.hub.identities.lock().unwrap().get_mut(&identity("b")).unwrap().status = Status::Disabled;
        let rows = factory
            .rows_of(run, RowFilter::Created)
            .into_iter()
            .map(LedgerRow::into_continuation)
            .collect::<Vec<_>>();
        let undo = Maintenance::Undo { run };
        let foreseen = factory.foresee(&undo, rows).await;
        let (undone, totals) = factory.alter_all(undo, &[]).await;
        assert_eq!(totals, Totals { rows: 6, conflict: 1, skipped: 1, deleted: 4, ..Totals::default() });
        assert_eq!(factory.names(), ["b", "b/new", "b/x"]);
        let reasons = factory.reasons(undone);
        assert_eq!(
            reasons[1],
            ("b/x".to_owned(), "nothing was done, because its device `b` stays".to_owned())
        );
        assert!(foreseen.iter().any(|(name, action, _)| name == "b" && *action == Action::Conflict));
    }
}

#[tokio::test]
async fn devices_are_disabled_first_and_deleted_later() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let unit = named(&["a", "a/x", "a/y"]);
    let (run, totals) = factory.alter_all(Maintenance::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, conflict: 1, skipped: 2, ..Totals::default() });
    assert!(factory.reasons(run)[0].1.contains("only what is disabled is deleted"));
    assert!(factory.reasons(run)[1].1.contains("its device `a` stays"));

    let (_, totals) = factory.alter_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 3, updated: 1, unchanged: 2, held: 1, ..Totals::default() });
    assert_eq!(factory.hub.identities.lock().unwrap()[&identity("a")].status, Status::Disabled);
    let (_, totals) = factory.alter_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 3, unchanged: 3, ..Totals::default() });

    let (_, totals) = factory.alter_all(Maintenance::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, deleted: 3, ..Totals::default() });
    assert_eq!(factory.names(), ["b", "b/x", "c"]);
    let (_, totals) = factory.alter_all(Maintenance::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, unchanged: 3, ..Totals::default() });
}

/// The status of a device, and its reason.
fn status_of(factory: &Factory, name: &str) -> (Status, Option<String>) {
    let identities = factory.hub.identities.lock().unwrap();
    let found = &identities[&identity(name)];
    (found.status, found.status_reason.as_ref().map(|reason| reason.as_str().to_owned()))
}

#[tokio::test]
async fn what_a_run_disabled_is_released_and_disabled_again() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let unit = named(&["a", "a/x", "a/y", "b"]);
    let (retire, totals) = factory.alter_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 4, updated: 2, unchanged: 2, held: 2, ..Totals::default() });
    // Somebody writes another reason on one of them, and disables one that no run has disabled.
    factory.set_status("b", Status::Disabled, Some("stolen"));
    factory.set_status("c", Status::Disabled, None);

    let all = named(&["a", "a/x", "b", "c", "nobody"]);
    let (release, totals) = factory.alter_all(Maintenance::Release { run: None }, &all).await;
    assert_eq!(totals, Totals { rows: 5, updated: 1, unchanged: 1, conflict: 3, ..Totals::default() });
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, None));
    let reasons = factory.reasons(release);
    assert!(reasons[0].1.contains(&format!("changed since run {retire} disabled it")), "{reasons:?}");
    assert!(
        reasons[1].1.starts_with("no run of this ledger has put it into quarantine or retired it"),
        "{reasons:?}"
    );
    assert_eq!(reasons[2].1, "it is not on the hub");

    let (_, totals) = factory.alter_all(Maintenance::UndoRelease { run: release }, &[]).await;
    assert_eq!(totals, Totals { rows: 1, updated: 1, held: 1, ..Totals::default() });
    assert_eq!(status_of(&factory, "a"), (Status::Disabled, Some("scrapped".into())));
    assert_eq!(status_of(&factory, "b"), (Status::Disabled, Some("stolen".into())), "it was not released");
    // The run that disabled it first keeps it disabled again.
    let (_, totals) = factory.alter_all(Maintenance::Release { run: Some(retire) }, &[]).await;
    assert_eq!(totals, Totals { rows: 2, updated: 1, conflict: 1, ..Totals::default() });
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, None));
}

#[tokio::test]
async fn a_release_gives_back_the_status_reason_of_before() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    factory.set_status("a", Status::Enabled, Some("line 3"));
    let (first, _) = factory.alter_all(disable(), &named(&["a"])).await;
    factory.alter_all(Maintenance::Release { run: Some(first) }, &[]).await;
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, Some("line 3".into())));
    let (second, _) = factory.alter_all(disable(), &named(&["a"])).await;
    // It is the newer run that keeps it disabled.
    let (release, totals) = factory.alter_all(Maintenance::Release { run: Some(first) }, &[]).await;
    assert_eq!(totals, Totals { rows: 1, conflict: 1, ..Totals::default() });
    let reasons = factory.reasons(release);
    assert!(reasons[0].1.contains(&format!("run {second} retired it since")), "{reasons:?}");
}

#[tokio::test]
async fn a_module_that_is_named_alone_goes_alone() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        factory.provision().await;
        let (_, totals) = factory.alter_all(Maintenance::Delete, &named(&["a/x"])).await;
        assert_eq!(totals, Totals { rows: 1, deleted: 1, ..Totals::default() });
        assert_eq!(factory.names(), ["a", "a/y", "b", "b/x", "c"]);
    }
}

#[tokio::test]
async fn an_old_thumbprint_goes_only_where_the_new_one_is_proven() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let rows: Vec<_> = ["a", "a/x", "c"].iter().map(|name| spec(name, "BB", Some("AA"))).collect();
    let (_, totals) = factory.alter_all(Maintenance::AddThumbprint, &rows).await;
    assert_eq!(totals, Totals { rows: 3, updated: 3, ..Totals::default() });

    let finish = Maintenance::DropOldThumbprint { unproven: false };
    let run = factory.load(Some(finish.clone()), &rows);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let certificate_check: CertificateCheck = {
        let asked = asked.clone();
        Arc::new(move |spec: IdentitySpec| {
            asked.lock().unwrap().push(spec.identity.to_string());
            let unproven = spec
                .identity
                .module()
                .map(|_| CheckFailed::This(ReasonCode::NotLetIn, "not let in".to_owned()));
            Box::pin(async move { unproven.map_or(Ok(()), Err) })
        })
    };
    let alter = Maintain { certificate_check: Some(certificate_check), ..factory.alter(&finish, run) };
    assert_eq!(alter.run().await.unwrap(), RunState::Finished);
    assert_eq!(*asked.lock().unwrap(), ["a", "c", "a/x"]);
    let totals = factory.check(&finish, run).await;
    assert_eq!(totals, Totals { rows: 3, updated: 2, failed: 1, ..Totals::default() });
    assert_eq!(factory.reasons(run), [("a/x".to_owned(), "not let in".to_owned())]);

    let (_, totals) = factory.alter_all(Maintenance::DropNewThumbprint, &rows).await;
    assert_eq!(totals, Totals { rows: 3, updated: 1, conflict: 2, ..Totals::default() });
}

/// A change to the hub after the batch by a different client.
#[derive(Debug, Clone, Copy)]
enum ForeignStep {
    WriteTwin,
    Delete,
    Disable,
    AddModule,
    AddThumbprint,
}

impl Factory {
    async fn meddle(&self, name: &str, meddling: ForeignStep) {
        let device = identity(name).device().to_string();
        match meddling {
            ForeignStep::WriteTwin if self.names().iter().any(|there| there == name) => {
                self.write_twin(name).await;
            }
            ForeignStep::WriteTwin => {}
            // What is gone already, or has no place any more, is none of this test's business.
            ForeignStep::Delete => drop(self.hub.delete(&identity(name), None).await),
            ForeignStep::Disable => {
                self.run(disable(), &named(&[&device])).await;
            }
            ForeignStep::AddThumbprint => {
                self.run(Maintenance::AddThumbprint, &[spec(name, "BB", Some("AA"))]).await;
            }
            ForeignStep::AddModule => {
                let module = spec(&format!("{device}/new"), "CC", None);
                let sent = module.module_spec(&GivenKeys::new()).unwrap();
                drop(self.hub.put_module(&module.identity, &sent, None).await);
            }
        }
    }

    async fn run(&self, maintenance: Maintenance, rows: &[IdentitySpec]) -> RunId {
        let run = self.load(Some(maintenance.clone()), rows);
        assert_eq!(self.alter(&maintenance, run).run().await.unwrap(), RunState::Finished);
        run
    }

    /// The previewed action for each identity, with its reason.
    async fn foresee(
        &self,
        maintenance: &Maintenance,
        rows: Vec<LedgerRow>,
    ) -> Vec<(String, Action, Option<String>)> {
        let holds = Holds::new(Some(self.ledger.clone()), "model");
        let preview = DryRun::new(self.hub.clone(), holds, maintenance.clone(), Arc::new(|_| {}));
        let (calls, mut foreseen) = (*self.hub.changing_calls.lock().unwrap(), Vec::new());
        let tell = |row: PlannedRow| {
            foreseen.push((row.identity, row.action, row.reason));
            Ok::<_, RunError>(())
        };
        let summary = preview.each(rows.into_iter().map(Ok), tell).await.unwrap();
        let left_alone = |action| matches!(action, Action::Conflict | Action::Refuse);
        assert_eq!(summary.all_well(), !foreseen.iter().any(|(_, action, _)| left_alone(*action)));
        assert_eq!(*self.hub.changing_calls.lock().unwrap(), calls, "nothing was written");
        foreseen
    }

    /// The action of a run for each identity, with its reason.
    fn done(&self, run: RunId) -> Vec<(String, Action, Option<String>)> {
        let done = |row: LedgerRow| {
            let action = match (row.record.state, row.record.effect) {
                (RowState::Done, Some(Effect::Deleted)) => Action::Delete,
                (RowState::Done, Some(Effect::Updated)) => Action::Update,
                (RowState::Unchanged, _) => Action::Keep,
                (RowState::Conflict, _) => Action::Conflict,
                (RowState::Skipped, _) => Action::Refuse,
                (RowState::Failed, _) if row.record.reason == Some(ReasonCode::DeviceDisabled) => {
                    Action::Refuse
                }
                other => panic!("{}: {other:?}", row.spec.identity),
            };
            (row.spec.identity.to_string(), action, row.record.error)
        };
        self.rows(run).into_iter().map(done).collect()
    }

    fn rows(&self, run: RunId) -> Vec<LedgerRow> {
        self.rows_of(run, RowFilter::All)
    }

    fn rows_of(&self, run: RunId, filter: RowFilter) -> Vec<LedgerRow> {
        self.ledger.lock().rows(run, filter).collect::<Result<_, _>>().unwrap()
    }
}

fn meddling() -> impl Strategy<Value = (usize, ForeignStep)> {
    let what = prop_oneof![
        Just(ForeignStep::WriteTwin),
        Just(ForeignStep::Delete),
        Just(ForeignStep::Disable),
        Just(ForeignStep::AddModule),
        Just(ForeignStep::AddThumbprint)
    ];
    (0..NAMES.len(), what)
}

fn fate() -> impl Strategy<Value = Fate> {
    proptest::sample::select(Fate::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// A preview announces the later action for each row, in any state of the units.
    #[test]
    fn what_a_preview_foretells_is_what_is_done(
        modules in prop_oneof![Just(Modules::InBulk), Just(Modules::OneByOne)],
        meddling in proptest::collection::vec(meddling(), 0..5),
        names in proptest::sample::subsequence(NAMES.to_vec(), 1..=NAMES.len()),
        which in 0..8,
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let factory = Factory::new(modules);
            let provisioned = factory.provision().await;
            for (place, meddling) in meddling {
                factory.meddle(NAMES[place], meddling).await;
            }
            let maintenance = match which {
                0 => Maintenance::AddThumbprint,
                1 => Maintenance::Delete,
                2 => disable(),
                3 => Maintenance::DropNewThumbprint,
                4 => Maintenance::DropOldThumbprint { unproven: true },
                5 => Maintenance::Release { run: None },
                6 => {
                    let released = factory.run(Maintenance::Release { run: None }, &named(&names)).await;
                    Maintenance::UndoRelease { run: released }
                }
                _ => Maintenance::Undo { run: provisioned },
            };
            let spec: Vec<_> = match maintenance {
                Maintenance::Delete | Maintenance::Disable { .. } | Maintenance::Release { .. } => named(&names),
                Maintenance::Undo { .. } | Maintenance::UndoRelease { .. } => Vec::new(),
                _ => names.iter().map(|name| spec(name, "BB", Some("AA"))).collect(),
            };
            let rows = match maintenance {
                Maintenance::UndoRelease { run } => {
                    factory.rows_of(run, RowFilter::Updated).into_iter().map(LedgerRow::into_continuation).collect()
                }
                Maintenance::Undo { .. } => {
                    factory.rows_of(provisioned, RowFilter::Created).into_iter().map(LedgerRow::into_continuation).collect()
                }
                _ => {
                    let batch = factory.load(Some(maintenance.clone()), &spec);
                    factory.rows(batch)
                }
            };
            let mut foreseen = factory.foresee(&maintenance, rows).await;
            let run = factory.run(maintenance, &spec).await;
            let mut done = factory.done(run);
            // That the device of a module is disabled is seen when the hub denies access, and not before.
            let denied: Vec<_> =
                done.iter().filter(|(_, action, _)| *action == Action::Refuse).map(|(name, ..)| name.clone()).collect();
            foreseen.retain(|(name, ..)| !denied.contains(name));
            done.retain(|(name, ..)| !denied.contains(name));
            assert_eq!(foreseen, done);
        });
    }

    /// A release and its undo are cut off at any sample and resumed, over and over: all are enabled, and then all
    /// are disabled again.
    #[test]
    fn whatever_is_lost_and_wherever_it_is_cut_off_a_release_enables_all_and_its_undo_none(
        fates in proptest::collection::vec(fate(), 0..5),
        cuts in proptest::collection::vec(0..10_usize, 0..3),
        undo: bool,
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let factory = Factory::new(Modules::InBulk);
            factory.provision().await;
            let (retire, _) = factory.alter_all(disable(), &named(&["a", "b", "c"])).await;
            let mut maintenance = Maintenance::Release { run: Some(retire) };
            if undo {
                let (release, _) = factory.alter_all(maintenance, &[]).await;
                maintenance = Maintenance::UndoRelease { run: release };
            }
            *factory.hub.fates.lock().unwrap() = fates;
            let run = factory.load(Some(maintenance.clone()), &[]);
            for cut in cuts {
                factory.hub.calls_until_cut.store(cut, Ordering::SeqCst);
                let mut cut_off = Box::pin(factory.alter(&maintenance, run).run());
                tokio::select! {
                    biased;
                    () = factory.hub.cut.notified() => {}
                    _ = &mut cut_off => {}
                }
            }
            factory.hub.calls_until_cut.store(usize::MAX, Ordering::SeqCst);
            let resumed = tokio::time::timeout(HANGS, factory.alter(&maintenance, run).run()).await;
            assert_eq!(resumed.expect("the resumed run hangs").unwrap(), RunState::Finished);
            let totals = factory.check(&maintenance, run).await;
            let held = if undo { 3 } else { 0 };
            let presumed = totals.presumed;
            assert_eq!(totals, Totals { rows: 3, updated: 3, held, presumed, ..Totals::default() });
            let spec = match undo {
                true => (Status::Disabled, Some("scrapped".to_owned())),
                false => (Status::Enabled, None),
            };
            for name in ["a", "b", "c"] {
                assert_eq!(status_of(&factory, name), spec);
            }
        });
    }

    /// An undo is cut off at any sample and resumed, over and over.
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
            let undo = Maintenance::Undo { run };
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
            let kept: &[&str] = if changed { &["a", "a/x", "a/y"] } else { &[] };
            assert_eq!(factory.names(), kept);
            let (conflict, skipped) = if changed { (2, 1) } else { (0, 0) };
            let (deleted, presumed) = (6 - kept.len() as u64, totals.presumed);
            assert_eq!(totals, Totals { rows: 6, deleted, conflict, skipped, presumed, ..Totals::default() });
        });
    }
}

/// No run of six rows takes so long, however busy the machine is.
const HANGS: Duration = Duration::from_secs(120);

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
use crate::model::options::{ApplyMode, ApplyOptions, ApplyRules};
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec, StateSpec};
use crate::plan::{Action, PlannedRow};
use crate::testing::model_hub::{CallFault, ModelHub, Modules};
use crate::testing::thumbprint;
use crate::workers::tests::pool;

mod lost_answers;
mod scopes;
mod status;
mod undo;

/// Two devices with modules and one without.
const NAMES: [&str; 6] = ["a", "a/x", "a/y", "b", "b/x", "c"];

fn identity(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

fn spec(name: &str, primary: &str, secondary: Option<&str>) -> IdentitySpec {
    let thumbprint = |byte: &str| thumbprint(&identity(name), byte);
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
        self.apply(ApplyRules::default(), &rows).await
    }

    async fn apply(&self, rules: ApplyRules, rows: &[IdentitySpec]) -> RunId {
        let run = self.load(None, rows);
        let apply = Apply {
            hub: self.hub.clone(),
            keys: Arc::new(GivenKeys::new()),
            options: ApplyOptions { rules, ..ApplyOptions::default() },
            look_first: false,
            pool: pool(&self.ledger, run),
        };
        assert_eq!(apply.run().await.unwrap(), RunState::Finished);
        run
    }

    fn maintain(&self, maintenance: &Maintenance, run: RunId) -> Maintain<ModelHub> {
        let (hub, maintenance) = (self.hub.clone(), maintenance.clone());
        Maintain { hub, maintenance, certificate_check: None, pool: pool(&self.ledger, run) }
    }

    /// Maintains these identities to the end, checks the result, and returns the totals.
    async fn maintain_all(&self, maintenance: Maintenance, rows: &[IdentitySpec]) -> (RunId, Totals) {
        let run = self.load(Some(maintenance.clone()), rows);
        assert_eq!(self.maintain(&maintenance, run).run().await.unwrap(), RunState::Finished);
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

/// The status of a device, and its reason.
fn status_of(factory: &Factory, name: &str) -> (Status, Option<String>) {
    let identities = factory.hub.identities.lock().unwrap();
    let found = &identities[&identity(name)];
    (found.status, found.status_reason.as_ref().map(|reason| reason.as_str().to_owned()))
}

#[tokio::test]
async fn a_module_that_is_named_alone_goes_alone() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        factory.provision().await;
        let (_, totals) = factory.maintain_all(Maintenance::Delete, &named(&["a/x"])).await;
        assert_eq!(totals, Totals { rows: 1, deleted: 1, ..Totals::default() });
        assert_eq!(factory.names(), ["a", "a/y", "b", "b/x", "c"]);
    }
}

/// Bulk calls have no place for the manager of a module, and clear it.
#[tokio::test]
async fn a_module_keeps_its_manager_when_it_is_changed() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        factory.provision().await;
        let set = |name: &str| {
            let mut identities = factory.hub.identities.lock().unwrap();
            identities.get_mut(&identity(name)).unwrap().managed_by = Some("iotEdge".to_owned());
        };
        set("a/x");
        let rows: Vec<_> = ["a", "a/x", "a/y"].iter().map(|name| spec(name, "BB", Some("AA"))).collect();
        let (_, totals) = factory.maintain_all(Maintenance::AddThumbprint, &rows).await;
        assert_eq!(totals, Totals { rows: 3, updated: 3, ..Totals::default() });
        let rules = ApplyRules { mode: ApplyMode::Upsert, ..ApplyRules::default() };
        factory.apply(rules, &named(&["a", "a/x", "a/y"])).await;
        let identities = factory.hub.identities.lock().unwrap();
        let managers = ["a/x", "a/y"].map(|name| identities[&identity(name)].managed_by.as_deref());
        assert_eq!(managers, [Some("iotEdge"), None]);
    }
}

#[tokio::test]
async fn an_old_thumbprint_goes_only_where_the_new_one_is_proven() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let rows: Vec<_> = ["a", "a/x", "c"].iter().map(|name| spec(name, "BB", Some("AA"))).collect();
    let (_, totals) = factory.maintain_all(Maintenance::AddThumbprint, &rows).await;
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
    let maintain = Maintain { certificate_check: Some(certificate_check), ..factory.maintain(&finish, run) };
    assert_eq!(maintain.run().await.unwrap(), RunState::Finished);
    assert_eq!(*asked.lock().unwrap(), ["a", "c", "a/x"]);
    let totals = factory.check(&finish, run).await;
    assert_eq!(totals, Totals { rows: 3, updated: 2, failed: 1, ..Totals::default() });
    assert_eq!(factory.reasons(run), [("a/x".to_owned(), "not let in".to_owned())]);

    let (_, totals) = factory.maintain_all(Maintenance::DropNewThumbprint, &rows).await;
    assert_eq!(totals, Totals { rows: 3, updated: 1, conflict: 2, ..Totals::default() });
}

#[tokio::test(start_paused = true)]
async fn no_modules_are_changed_after_a_request_to_stop() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let rows: Vec<_> = NAMES.iter().map(|name| spec(name, "BB", Some("AA"))).collect();
    let run = factory.load(Some(Maintenance::AddThumbprint), &rows);
    let maintain = factory.maintain(&Maintenance::AddThumbprint, run);
    let stop = maintain.pool.stop.clone();
    factory.hub.calls_until_joined.store(0, Ordering::SeqCst);
    let (state, ()) = tokio::join!(maintain.run(), async {
        factory.hub.joined.notified().await;
        stop.cancel();
    });
    assert_eq!(state.unwrap(), RunState::Interrupted);
    let totals = factory.ledger.lock().totals(run).unwrap();
    assert_eq!(totals, Totals { rows: 6, updated: 3, pending: 3, ..Totals::default() });

    let resumed = factory.maintain(&Maintenance::AddThumbprint, run).run().await;
    assert_eq!(resumed.unwrap(), RunState::Finished);
    let totals = factory.check(&Maintenance::AddThumbprint, run).await;
    assert_eq!(totals, Totals { rows: 6, updated: 6, ..Totals::default() });
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
        assert_eq!(self.maintain(&maintenance, run).run().await.unwrap(), RunState::Finished);
        run
    }

    /// The previewed action for each identity, with its reason.
    async fn dry_run(
        &self,
        maintenance: &Maintenance,
        rows: Vec<LedgerRow>,
    ) -> Vec<(String, Action, Option<String>)> {
        let holds = Holds::new(Some(self.ledger.clone()), "model");
        let dry_run = DryRun::on_hub(self.hub.clone(), holds, maintenance.clone(), Arc::new(|_| {}));
        let (calls, mut planned) = (*self.hub.changing_calls.lock().unwrap(), Vec::new());
        let tell = |row: PlannedRow| {
            planned.push((row.identity, row.action, row.reason));
            Ok::<_, RunError>(())
        };
        let summary = dry_run.each(rows.into_iter().map(Ok), tell).await.unwrap();
        let left_alone = |action| matches!(action, Action::Conflict | Action::Refuse);
        assert_eq!(summary.all_well(), !planned.iter().any(|(_, action, _)| left_alone(*action)));
        assert_eq!(*self.hub.changing_calls.lock().unwrap(), calls, "nothing was written");
        planned
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

//! Following registrations with a DPS and a hub that loses answers.

use std::time::Duration;

use hub_types::{Authentication, IdentityId};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::ledger::{Followed, Ledger, Operator, RunFacts, RunOptions, Totals};
use crate::model::digest::Sha256Digest;
use crate::model::options::{ApplyOptions, ApplyRules};
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec, StateSpec};
use crate::testing::model_dps::ModelDps;
use crate::testing::model_hub::{CallFault, Identity, ModelHub, Modules};
use crate::testing::thumbprint;
use crate::workers::tests::pool;

const HUB: &str = "model.example";
/// Three devices, of which two have modules, by name.
const NAMES: [&str; 6] = ["a", "a/x", "a/y", "b", "b/x", "c"];
const DEVICES: [&str; 3] = ["a", "b", "c"];

fn spec(name: &str) -> IdentitySpec {
    let object = |value: Value| Arc::new(value.as_object().cloned().unwrap_or_default());
    let identity = IdentityId::from_common_name(name).unwrap();
    let primary = Some(thumbprint(&identity, "AB"));
    IdentitySpec {
        identity,
        state: StateSpec {
            auth: AuthSpec::Thumbprint { primary, secondary: None },
            tags: object(json!({"name": name})),
            ..StateSpec::default()
        },
    }
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl ActivityProgress for Notes {
    fn add(&self, _rows: usize) {}

    fn note(&self, note: &dyn std::fmt::Display) {
        self.0.lock().unwrap().push(note.to_string());
    }

    fn finish(&self) {}
}

/// A hub and a DPS with a ledger that holds a run.
struct Factory {
    hub: Arc<ModelHub>,
    dps: Arc<ModelDps>,
    ledger: SharedLedger,
    run: RunId,
    notes: Arc<Notes>,
}

impl Factory {
    fn new(names: &[&str], faults: Vec<CallFault>) -> Self {
        let mut ledger = Ledger::open_temporary().unwrap();
        let followed = Followed { dps: Some("factory".to_owned()) };
        let (options, by) =
            (RunOptions { follow: Some(followed), ..RunOptions::default() }, Operator::default());
        let started = &Timestamp::now();
        let facts =
            RunFacts { hub: HUB, test_hub: false, input: "batch.csv", started, by: &by, options: &options };
        let loader = ledger.load_run(&facts).unwrap();
        for (line, name) in (2..).zip(names) {
            loader.insert(line, &spec(name), &[]).unwrap();
        }
        loader.await_devices().unwrap();
        let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
        Self {
            hub: Arc::new(ModelHub::new(Modules::InBulk, faults)),
            dps: Arc::default(),
            ledger: SharedLedger::new(ledger),
            run,
            notes: Arc::default(),
        }
    }

    /// Puts a device on the hub, as a DPS does.
    fn place(&self, device: &str, byte: &str) {
        let device = IdentityId::from_common_name(device).unwrap();
        let primary = Some(thumbprint(&device, byte));
        let authentication = Authentication::SelfSigned { primary, secondary: None };
        let identity = Identity { authentication, creations: 1, ..Identity::default() };
        self.hub.identities.lock().unwrap().insert(device, identity);
    }

    fn register(&self, device: &str) {
        self.place(device, "AB");
        self.dps.assign(device, HUB);
    }

    async fn follow(&self, until: Option<Duration>) -> RunState {
        let apply = Apply {
            hub: self.hub.clone(),
            keys: Arc::new(GivenKeys::new()),
            options: ApplyOptions {
                rules: ApplyRules::default(),
                created_by: None,
                follows: true,
                as_planned: false,
            },
            look_first: false,
            pool: pool(&self.ledger, self.run),
        };
        let registrations = DpsRegistrations::new(self.hub.clone(), "model.example:8443", self.dps.clone());
        let until = until.map(|time| Instant::now() + time);
        let schedule = Schedule { interval: Duration::from_secs(5), until };
        Follow { apply, registrations, schedule, progress: self.notes.clone() }.run().await.unwrap()
    }

    fn totals(&self) -> Totals {
        let totals = self.ledger.lock().totals(self.run).unwrap();
        assert!(totals.add_up());
        totals
    }

    fn record(&self, name: &str) -> Record {
        let identity = IdentityId::from_common_name(name).unwrap();
        self.ledger.lock().row(self.run, &identity).unwrap().unwrap().record
    }
}

fn paused<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// A fault that does not make a row fail.
fn fault() -> impl Strategy<Value = CallFault> {
    let is_survived = |fault: &CallFault| *fault != CallFault::TwinRefused;
    proptest::sample::select(CallFault::ALL.into_iter().filter(is_survived).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Devices register in any order and at any time. The run is killed after some calls and continued.
    #[test]
    fn whenever_devices_register_each_gets_its_modules_once(
        at in proptest::collection::vec(0_u64..60, 3),
        faults in proptest::collection::vec(fault(), 0..6),
        cuts in proptest::collection::vec(0_usize..30, 0..3),
    ) {
        paused(async {
            let factory = Factory::new(&NAMES, faults);
            let registering = async {
                let mut order: Vec<_> = at.iter().zip(DEVICES).collect();
                order.sort();
                let begun = Instant::now();
                for (at, device) in order {
                    tokio::time::sleep_until(begun + Duration::from_secs(*at)).await;
                    factory.register(device);
                }
            };
            let following = async {
                for cut in cuts {
                    if factory.hub.cut_off(cut, factory.follow(None)).await.is_some() {
                        return;
                    }
                }
                assert_eq!(factory.follow(None).await, RunState::Finished);
            };
            tokio::join!(registering, following);
            let totals = factory.totals();
            assert_eq!((totals.rows, totals.created + totals.updated + totals.unchanged), (6, 6));
            assert_eq!((totals.created, totals.waiting), (3, 0));
            let identities = factory.hub.identities.lock().unwrap();
            assert_eq!(identities.len(), NAMES.len());
            for (identity, found) in identities.iter() {
                assert_eq!(found.creations, 1, "{identity}");
                assert_eq!(&found.tags, &*spec(&identity.to_string()).state.tags, "{identity}");
            }
        });
    }
}

#[test]
fn the_rest_waits_until_the_time_is_over_and_is_done_later() {
    paused(async {
        let factory = Factory::new(&NAMES, Vec::new());
        factory.register("b");
        // On the hub from an earlier time, and not registered with the DPS.
        factory.place("c", "AB");
        assert_eq!(factory.follow(Some(Duration::from_secs(60))).await, RunState::Interrupted);
        let totals = factory.totals();
        assert_eq!((totals.updated, totals.created, totals.waiting), (1, 1, 4));
        assert_eq!(*factory.notes.0.lock().unwrap(), ["registered: 1 device; 2 waited for"]);
        factory.register("a");
        factory.dps.assign("c", "MODEL.example");
        assert_eq!(factory.follow(None).await, RunState::Finished);
        let totals = factory.totals();
        assert_eq!((totals.updated, totals.created, totals.waiting), (3, 3, 0));
    });
}

#[test]
fn a_device_on_a_different_hub_ends_with_its_modules_and_a_failure_is_told_once() {
    paused(async {
        let factory = Factory::new(&["a", "a/x", "b", "c/x", "d"], Vec::new());
        factory.dps.assign("a", "other.example");
        factory.dps.assign("c", "other.example");
        factory.register("b");
        factory.dps.assign("d", HUB);
        factory.dps.fail("d", 400_207, "the function fails");
        assert_eq!(factory.follow(Some(Duration::from_secs(60))).await, RunState::Interrupted);
        let totals = factory.totals();
        assert_eq!((totals.failed, totals.skipped, totals.updated, totals.waiting), (2, 1, 1, 1));
        for name in ["a", "c/x"] {
            let record = factory.record(name);
            assert_eq!(record.reason, Some(ReasonCode::AssignedElsewhere));
            assert!(record.error.as_ref().is_some_and(|text| text.contains("`other.example`")), "{record:?}");
        }
        assert_eq!(factory.record("a/x").reason, Some(ReasonCode::DeviceRowNotDone));
        let told = "d: the DPS has not assigned it: 400207 the function fails";
        let notes = factory.notes.0.lock().unwrap();
        assert_eq!(notes.iter().filter(|note| note.as_str() == told).count(), 1, "{notes:?}");
    });
}

#[test]
fn a_device_that_is_gone_again_is_not_created_and_one_of_somebody_else_is_a_conflict() {
    paused(async {
        let factory = Factory::new(&["a", "a/x", "b", "b/x"], Vec::new());
        factory.dps.assign("a", HUB);
        factory.place("b", "CD");
        factory.dps.assign("b", HUB);
        assert_eq!(factory.follow(Some(Duration::from_secs(60))).await, RunState::Interrupted);
        let totals = factory.totals();
        assert_eq!((totals.conflict, totals.skipped, totals.waiting), (1, 1, 2));
        assert!(
            !factory.hub.identities.lock().unwrap().contains_key(&"a".parse::<DeviceId>().unwrap().into())
        );
    });
}

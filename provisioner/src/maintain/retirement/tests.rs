//! The driver against a DPS and a hub that lose answers.

use hub_types::Authentication;
use hub_types::dps::enrollment::ProvisioningStatus;
use hub_types::dps::registration::RegistrationStatus;
use hub_types::dps::{EnrollmentGroup, RegistrationId};
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, Operator, RunFacts, RunOptions, Totals};
use crate::model::digest::Sha256Digest;
use crate::model::service::ServiceKind;
use crate::testing::model_dps::{DpsFault, Entry, ModelDps};
use crate::testing::model_hub::{CallFault, Identity, ModelHub, Modules};
use crate::workers::tests::pool;

/// The only hub that devices are assigned to.
struct OneHub(Arc<ModelHub>);

impl AssignedHubs for OneHub {
    type Hub = ModelHub;

    fn find(&self, name: &str) -> Result<Arc<ModelHub>, String> {
        match name {
            "hub.example" => Ok(self.0.clone()),
            other => Err(format!("no access to its hub `{other}` is configured")),
        }
    }
}

const DEVICES: [&str; 4] = ["a", "b", "c", "d"];

fn identity(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

/// A DPS with four enrolled devices, of which all but the last are on the hub, and a ledger.
struct Bench {
    dps: Arc<ModelDps>,
    hub: Arc<ModelHub>,
    ledger: SharedLedger,
}

impl Bench {
    fn new(dps_faults: Vec<DpsFault>, hub_faults: Vec<CallFault>) -> Self {
        let dps = ModelDps::default();
        let hub = ModelHub::new(Modules::InBulk, hub_faults);
        for name in DEVICES {
            let id: RegistrationId = name.parse().unwrap();
            let mut enrollment = IndividualEnrollment::new(id.clone(), Attestation::SymmetricKey(None));
            enrollment.settings.etag = Some("1".to_owned().into());
            dps.entries.lock().unwrap().insert(id, Entry { enrollment, creations: 1 });
        }
        let ledger = SharedLedger::new(Ledger::open_temporary().unwrap());
        let bench = Self { dps: Arc::new(dps), hub: Arc::new(hub), ledger };
        DEVICES[..3].iter().for_each(|name| bench.register(name, "hub.example"));
        *bench.dps.faults.lock().unwrap() = dps_faults;
        bench
    }

    fn register(&self, name: &str, hub: &str) {
        let id: RegistrationId = name.parse().unwrap();
        let mut state = RegistrationState::new(id.clone(), RegistrationStatus::Assigned);
        state.assigned_hub = Some(hub.to_owned());
        self.dps.registrations.lock().unwrap().insert(id, state);
        let identities = &mut self.hub.identities.lock().unwrap();
        let version = identities.len() as u64 + 1;
        let on_hub = Identity { authentication: Authentication::default(), version, ..Identity::default() };
        identities.insert(identity(name), on_hub);
    }

    async fn run(&self, maintenance: Maintenance) -> Totals {
        let options = RunOptions {
            service: ServiceKind::Dps,
            maintenance: Some(maintenance.clone()),
            ..RunOptions::default()
        };
        let run = {
            let mut ledger = self.ledger.lock();
            let (started, by) = (&Timestamp::now(), Operator::default());
            let facts = RunFacts {
                hub: "model",
                test_hub: false,
                input: "batch.csv",
                started,
                by: &by,
                options: &options,
            };
            let loader = ledger.load_run(&facts).unwrap();
            for (line, name) in (2..).zip(DEVICES) {
                let spec = IdentitySpec { identity: identity(name), state: Default::default() };
                loader.insert(line, &spec, &[]).unwrap();
            }
            loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
        };
        let hubs = Arc::new(OneHub(self.hub.clone()));
        let retire = Retire {
            dps: self.dps.clone(),
            hubs: hubs.clone(),
            maintenance: maintenance.clone(),
            pool: pool(&self.ledger, run),
        };
        assert_eq!(retire.run().await.unwrap(), RunState::Finished);
        let (dps, ledger) = (self.dps.clone(), self.ledger.clone());
        let (concurrency, progress) = (2, Arc::new(|_| {}));
        let verify = VerifyRetired { dps, hubs, ledger, run, maintenance, concurrency, progress };
        assert!(verify.run().await.unwrap().all_well());
        let totals = self.ledger.lock().totals(run).unwrap();
        assert!(totals.add_up());
        totals
    }

    fn disable() -> Maintenance {
        Maintenance::Disable { reason: StatusReason::new("scrapped").unwrap() }
    }

    fn statuses(&self) -> Vec<Option<ProvisioningStatus>> {
        let entries = self.dps.entries.lock().unwrap();
        entries.values().map(|entry| entry.enrollment.settings.provisioning_status).collect()
    }
}

fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_lost_devices_are_kept_out_first_and_nothing_is_left_in_the_end(
        dps_faults in proptest::collection::vec(proptest::sample::select(vec![
            DpsFault::Answered, DpsFault::LostAfterEffect, DpsFault::LostBeforeEffect,
        ]), 0..8),
        hub_faults in proptest::collection::vec(proptest::sample::select(vec![
            CallFault::Answered, CallFault::LostAfterEffect, CallFault::LostBeforeEffect,
        ]), 0..8),
    ) {
        in_time(async {
            let bench = Bench::new(dps_faults.clone(), hub_faults.clone());
            let totals = bench.run(Bench::disable()).await;
            prop_assert_eq!((totals.updated, totals.all_well()), (4, true));
            prop_assert!(bench.statuses().iter().all(|one| *one == Some(ProvisioningStatus::Disabled)));
            {
                let identities = bench.hub.identities.lock().unwrap();
                prop_assert!(identities.values().all(|one| one.status == Status::Disabled));
            }
            *bench.dps.faults.lock().unwrap() = dps_faults;
            *bench.hub.faults.lock().unwrap() = hub_faults;
            let totals = bench.run(Maintenance::Delete).await;
            prop_assert_eq!((totals.deleted, totals.all_well()), (4, true));
            prop_assert!(bench.dps.entries.lock().unwrap().is_empty());
            prop_assert!(bench.dps.registrations.lock().unwrap().is_empty());
            prop_assert!(bench.hub.identities.lock().unwrap().is_empty());
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_are_groups_disabled_enrolments_stay_and_devices_of_groups_get_one() {
    let bench = Bench::new(Vec::new(), Vec::new());
    let group = EnrollmentGroup::new("g".parse().unwrap(), Attestation::SymmetricKey(None));
    bench.dps.groups.lock().unwrap().insert("g".parse().unwrap(), group);
    bench.dps.entries.lock().unwrap().remove(&"a".parse().unwrap());
    let totals = bench.run(Bench::disable()).await;
    assert_eq!((totals.updated, totals.all_well()), (4, true));
    let totals = bench.run(Maintenance::Delete).await;
    // The last device has only its enrolment, which stays.
    assert_eq!((totals.deleted, totals.unchanged), (3, 1));
    assert_eq!(bench.statuses(), [Some(ProvisioningStatus::Disabled); 4]);
    assert!(bench.hub.identities.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_device_on_a_hub_without_access_is_left_alone_as_a_whole() {
    let bench = Bench::new(Vec::new(), Vec::new());
    bench.register("d", "other.example");
    let totals = bench.run(Bench::disable()).await;
    assert_eq!((totals.updated, totals.conflict), (3, 1));
    assert_eq!(bench.statuses().last(), Some(&Some(ProvisioningStatus::Enabled)));
}

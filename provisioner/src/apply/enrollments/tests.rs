//! The driver against a DPS that loses answers.

use std::collections::HashMap;

use hub_types::dps::attestation::{Attestation, X509Attestation};
use hub_types::dps::certificate::CertificateDer;
use hub_types::dps::registration::{RegistrationState, RegistrationStatus};
use hub_types::{Sha256Thumbprint, Thumbprint};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::dps::CertificateError;
use crate::ledger::{Ledger, Operator, RowFilter, RunFacts, RunOptions, SharedLedger, Totals};
use crate::maintain::{UndoEnrollments, VerifyUndoneEnrollments};
use crate::model::digest::Sha256Digest;
use crate::model::entry_settings::EntrySettings;
use crate::model::maintenance::Maintenance;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::model::spec::{AuthSpec, StateSpec};
use crate::testing::model_dps::{DpsFault, ModelDps};
use crate::verify::{Verified, Verify};
use crate::workers::tests::pool;

/// The certificate of a device is its name.
struct NamedCertificates;

impl DeviceCertificates for NamedCertificates {
    fn find(
        &self,
        identity: &IdentityId,
        thumbprint: Thumbprint,
    ) -> Result<CertificateDer, CertificateError> {
        let der = identity.to_string();
        match thumbprint.matches_der(der.as_bytes()) {
            true => Ok(CertificateDer::new(der.as_bytes())),
            false => Err(CertificateError::Missing),
        }
    }
}

/// The credentials of devices, without further settings.
fn source() -> EnrollmentSource<NamedCertificates> {
    let (certificates, keys) = (Arc::new(NamedCertificates), Arc::default());
    EnrollmentSource { certificates, keys, settings: EntrySettings::default() }
}

/// Three devices, of which one has modules, by name. `c` has symmetric keys.
const NAMES: [&str; 5] = ["a", "a/x", "a/y", "b", "c"];
const DEVICES: [&str; 3] = ["a", "b", "c"];

fn spec(name: &str, interval: u32) -> IdentitySpec {
    let object = |value: Value| Arc::new(value.as_object().cloned().unwrap_or_default());
    let primary = Some(Sha256Thumbprint::of_der(name.as_bytes()).into());
    IdentitySpec {
        identity: IdentityId::from_common_name(name).unwrap(),
        state: StateSpec {
            auth: match name {
                "c" => AuthSpec::Sas { given: false },
                _ => AuthSpec::Thumbprint { primary, secondary: None },
            },
            tags: object(json!({"name": name})),
            desired: object(json!({"interval": interval})),
            ..StateSpec::default()
        },
    }
}

/// A DPS with a ledger.
struct Bench {
    dps: Arc<ModelDps>,
    ledger: SharedLedger,
}

impl Bench {
    fn new(faults: Vec<DpsFault>) -> Self {
        let ledger = SharedLedger::new(Ledger::open_temporary().unwrap());
        Self { dps: Arc::new(ModelDps::with_faults(faults)), ledger }
    }

    fn begin(&self, options: &RunOptions, load: impl FnOnce(&crate::ledger::Loader<'_>)) -> RunId {
        let mut ledger = self.ledger.lock();
        let (started, by) = (&Timestamp::now(), Operator::default());
        let facts = RunFacts { hub: "model", test_hub: false, input: "batch.csv", started, by: &by, options };
        let loader = ledger.load_run(&facts).unwrap();
        load(&loader);
        loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
    }

    async fn apply(&self, mode: ApplyMode, interval: u32) -> (RunId, Totals) {
        let options = RunOptions { service: ServiceKind::Dps, ..RunOptions::default() };
        let run = self.begin(&options, |loader| {
            for (line, name) in (2..).zip(NAMES) {
                loader.insert(line, &spec(name, interval), &[]).unwrap();
            }
        });
        let rules = ApplyRules { mode, twin: TwinPolicy::Initial };
        let apply = ApplyEnrollments {
            dps: self.dps.clone(),
            source: source(),
            options: ApplyOptions { rules, created_by: None, follows: false, as_planned: false },
            look_first: self.ledger.lock().knows_hub("model", run).unwrap(),
            pool: pool(&self.ledger, run),
        };
        assert_eq!(apply.run().await.unwrap(), RunState::Finished);
        (run, self.totals(run))
    }

    fn totals(&self, run: RunId) -> Totals {
        let totals = self.ledger.lock().totals(run).unwrap();
        assert!(totals.add_up());
        totals
    }

    async fn verify(&self, run: RunId) -> Verified {
        let reader = Arc::new(EnrollmentReader::new(self.dps.clone(), Arc::default()));
        let (ledger, filter) = (self.ledger.clone(), RowFilter::Settled);
        Verify { reader, ledger, run, filter, concurrency: 2, progress: Arc::new(|_| {}) }
            .run()
            .await
            .unwrap()
    }

    async fn undo(&self, undone: RunId) -> (Totals, Verified) {
        let maintenance = Some(Maintenance::Undo { run: undone });
        let options = RunOptions { service: ServiceKind::Dps, maintenance, ..RunOptions::default() };
        let run = self.begin(&options, |loader| {
            loader.insert_from(undone, RowFilter::Created).unwrap();
        });
        let undo = UndoEnrollments { dps: self.dps.clone(), undone, pool: pool(&self.ledger, run) };
        assert_eq!(undo.run().await.unwrap(), RunState::Finished);
        let (dps, ledger) = (self.dps.clone(), self.ledger.clone());
        let verify = VerifyUndoneEnrollments { dps, ledger, run, concurrency: 2, progress: Arc::new(|_| {}) };
        (self.totals(run), verify.run().await.unwrap())
    }

    fn states(&self, run: RunId) -> HashMap<String, RowState> {
        let mut ledger = self.ledger.lock();
        let rows = ledger.rows(run, RowFilter::All);
        rows.map(|row| row.unwrap()).map(|row| (row.spec.identity.to_string(), row.record.state)).collect()
    }
}

fn fault() -> impl Strategy<Value = DpsFault> {
    proptest::sample::select(vec![
        DpsFault::Answered,
        DpsFault::LostAfterEffect,
        DpsFault::LostBeforeEffect,
        DpsFault::HalfThrottled,
        DpsFault::Vague,
    ])
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
    fn whatever_is_lost_each_device_is_enrolled_once_and_its_modules_wait(
        faults in proptest::collection::vec(fault(), 0..8),
    ) {
        in_time(async {
            let bench = Bench::new(faults);
            let (run, totals) = bench.apply(ApplyMode::Create, 60).await;
            prop_assert_eq!((totals.created, totals.waiting, totals.all_well()), (3, 2, true));
            let entries = bench.dps.entries.lock().unwrap().clone();
            prop_assert_eq!(entries.len(), DEVICES.len());
            prop_assert!(entries.values().all(|entry| entry.creations == 1));
            let verified = bench.verify(run).await;
            prop_assert_eq!((verified.checked, verified.all_well()), (3, true));
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn an_enrolment_holds_the_certificate_the_twin_and_the_device_id() {
    let bench = Bench::new(Vec::new());
    bench.apply(ApplyMode::Create, 60).await;
    let entries = bench.dps.entries.lock().unwrap();
    let a = &entries[&"a".parse().unwrap()].enrollment;
    let Attestation::X509(X509Attestation::ClientCertificates(pair)) = &a.attestation else {
        panic!("{a:?}");
    };
    assert!(pair.has_thumbprint(Sha256Thumbprint::of_der(b"a").into()));
    assert_eq!(a.device_id().as_str(), "a");
    let twin = a.settings.initial_twin.as_ref().unwrap();
    assert_eq!(json!(twin.tags), json!({"name": "a"}));
    assert_eq!(json!(twin.desired()), json!({"interval": 60}));
    assert_eq!(entries[&"c".parse().unwrap()].enrollment.attestation, Attestation::SymmetricKey(None));
}

#[tokio::test(start_paused = true)]
async fn an_enrolment_of_somebody_else_is_a_conflict_and_its_modules_do_not_wait() {
    let bench = Bench::new(Vec::new());
    bench.apply(ApplyMode::Create, 60).await;
    bench.dps.meddle("a", |enrollment| enrollment.attestation = Attestation::SymmetricKey(None));
    let (run, totals) = bench.apply(ApplyMode::Create, 60).await;
    assert_eq!((totals.unchanged, totals.conflict, totals.skipped, totals.waiting), (2, 1, 2, 0));
    let states = bench.states(run);
    assert_eq!((states["a"], states["a/x"]), (RowState::Conflict, RowState::Skipped));
}

#[tokio::test(start_paused = true)]
async fn an_update_keeps_what_the_batch_does_not_give() {
    let bench = Bench::new(Vec::new());
    bench.apply(ApplyMode::Create, 60).await;
    bench.dps.meddle("a", |enrollment| enrollment.settings.iot_hubs = Some(vec!["h.example".to_owned()]));
    let (_, totals) = bench.apply(ApplyMode::Upsert, 30).await;
    assert_eq!((totals.updated, totals.waiting), (3, 2));
    let entries = bench.dps.entries.lock().unwrap();
    let a = &entries[&"a".parse().unwrap()];
    assert_eq!(a.enrollment.settings.iot_hubs, Some(vec!["h.example".to_owned()]));
    assert_eq!(
        json!(a.enrollment.settings.initial_twin.as_ref().unwrap().desired()),
        json!({"interval": 30})
    );
    assert_eq!(a.creations, 1);
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_at_hand_fails_its_row_alone() {
    let bench = Bench::new(Vec::new());
    let options = RunOptions { service: ServiceKind::Dps, ..RunOptions::default() };
    let run = bench.begin(&options, |loader| {
        for (line, name) in (2..).zip(NAMES) {
            let mut spec = spec(name, 60);
            if name == "b" {
                let primary = Some(Sha256Thumbprint::of_der(b"another").into());
                spec.state.auth = AuthSpec::Thumbprint { primary, secondary: None };
            }
            loader.insert(line, &spec, &[]).unwrap();
        }
    });
    let apply = ApplyEnrollments {
        dps: bench.dps.clone(),
        source: source(),
        options: ApplyOptions::default(),
        look_first: false,
        pool: pool(&bench.ledger, run),
    };
    apply.run().await.unwrap();
    let totals = bench.totals(run);
    assert_eq!((totals.created, totals.failed, totals.waiting), (2, 1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_undo_takes_what_the_run_created_and_nobody_has_changed_or_registered_by() {
    let bench = Bench::new(Vec::new());
    let (run, _) = bench.apply(ApplyMode::Create, 60).await;
    bench.verify(run).await;
    bench.dps.meddle("b", |enrollment| enrollment.settings.initial_twin = None);
    let registered = RegistrationState {
        status: RegistrationStatus::Assigned,
        ..serde_json::from_value(json!({"registrationId": "c", "status": "unassigned"})).unwrap()
    };
    {
        let mut entries = bench.dps.entries.lock().unwrap();
        let c = entries.get_mut(&"c".parse().unwrap()).unwrap();
        c.enrollment.registration_state = Some(Box::new(registered));
    }
    bench.dps.faults.lock().unwrap().push(DpsFault::LostAfterEffect);
    let (totals, verified) = bench.undo(run).await;
    assert_eq!((totals.deleted, totals.presumed, totals.conflict), (1, 1, 2));
    assert!(verified.all_well());
    let left: Vec<String> = bench.dps.entries.lock().unwrap().keys().map(ToString::to_string).collect();
    assert_eq!(left, ["b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_as_a_whole_is_halved() {
    let bench = Bench::new(vec![DpsFault::Refused]);
    let (_, totals) = bench.apply(ApplyMode::Create, 60).await;
    assert_eq!(totals.created, 3);
}

//! Devices that are there and are disabled with their modules: a run says of them what it did, and an undo
//! leaves them alone.

use super::*;
use crate::clock::Timestamp;
use crate::maintain::Maintain;
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::maintenance::Maintenance;
use crate::model::scopes::Scopes;

const UPSERT: ApplyRules = ApplyRules { mode: ApplyMode::Upsert, twin: TwinPolicy::Initial };
const UPDATE: ApplyRules = ApplyRules { mode: ApplyMode::Update, twin: TwinPolicy::Initial };

/// Provisions the devices without their modules, and returns the ETags that they have then.
async fn provision_devices(hub: &ModelHub) -> Vec<(IdentityId, Etags)> {
    let devices: Vec<_> = NAMES.iter().filter(|name| !name.contains('/')).collect();
    let items: Vec<_> = devices
        .iter()
        .map(|name| BATCH.spec(name).create_item(&GivenKeys::new(), Scopes::default()))
        .collect();
    assert!(hub.bulk(&items).await.unwrap().is_successful);
    let mut tags = Vec::new();
    for name in devices {
        let twin = hub.twin(&identity_of(name)).await.unwrap();
        tags.push((identity_of(name), Etags::of(twin.as_ref())));
    }
    tags
}

/// The effect on each device and the version found, as recorded in the ledger.
fn devices_of(ledger: &SharedLedger, run: RunId) -> Vec<(Option<Effect>, IdentityId, Etags)> {
    let rows = ledger.lock().page(run, RowFilter::All, None, 100).unwrap();
    let devices = rows.into_iter().filter(|row| row.spec.identity.module().is_none());
    devices.map(|row| (row.record.effect, row.spec.identity, row.before)).collect()
}

async fn undo(hub: &Arc<ModelHub>, ledger: &SharedLedger, run: RunId) -> Totals {
    let undo = Maintenance::Undo { run };
    let (options, by) =
        (RunOptions { maintenance: Some(undo.clone()), ..RunOptions::default() }, Operator::default());
    let facts = RunFacts {
        hub: "model",
        test_hub: false,
        input: "batch.csv",
        started: &Timestamp::now(),
        by: &by,
        options: &options,
    };
    let undoing = {
        let mut ledger = ledger.lock();
        let loader = ledger.load_run(&facts).unwrap();
        loader.insert_from(run, RowFilter::Created).unwrap();
        loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
    };
    let maintain = Maintain {
        hub: hub.clone(),
        maintenance: undo,
        certificate_check: None,
        pool: pool(ledger, undoing),
    };
    assert_eq!(maintain.run().await.unwrap(), RunState::Finished);
    ledger.lock().totals(undoing).unwrap()
}

#[tokio::test]
async fn a_device_that_was_there_and_is_disabled_with_its_modules_is_updated_and_never_undone() {
    for (rules, modules) in [(UPSERT, 3), (UPDATE, 0)] {
        let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, Vec::new())), new_ledger());
        let found = provision_devices(&hub).await;
        let quarantine = Batch { rules, status: Status::Disabled, ..BATCH };
        let (run, totals) = quarantine.run(&hub, &ledger).await;
        let expected =
            Totals { rows: 5, updated: 2, created: modules, failed: 3 - modules, ..Totals::default() };
        assert_eq!(totals, expected, "{rules:?}");
        let updated =
            |(identity, tags): &(IdentityId, Etags)| (Some(Effect::Updated), identity.clone(), tags.clone());
        assert_eq!(devices_of(&ledger, run), found.iter().map(updated).collect::<Vec<_>>());

        let totals = undo(&hub, &ledger, run).await;
        assert_eq!(totals.rows, modules, "only what the run created is taken back");
        for (device, _) in &found {
            assert!(hub.identities.lock().unwrap().contains_key(device), "{device} was there before the run");
        }
    }
}

#[tokio::test]
async fn a_device_of_which_only_the_second_half_of_the_quarantine_is_refused_was_changed() {
    for (is_there, effect) in [(true, Effect::Updated), (false, Effect::Created)] {
        let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, Vec::new())), new_ledger());
        if is_there {
            BATCH.run(&hub, &ledger).await;
        }
        *hub.faults.lock().unwrap() =
            [vec![CallFault::Refused; 60], vec![CallFault::LostAfterEffect]].concat();
        let quarantine = Batch { rules: UPSERT, status: Status::Disabled, ..BATCH };
        let (run, totals) = quarantine.run(&hub, &ledger).await;
        // The device without modules is disabled at once.
        assert_eq!(totals.failed, if is_there { 1 } else { 4 });
        let rows = ledger.lock().page(run, RowFilter::All, None, 100).unwrap();
        for row in rows.iter().filter(|row| row.spec.identity.module().is_none()) {
            assert_eq!((row.record.effect, row.record.presumed), (Some(effect), true), "{row:#?}");
        }
    }
}

#[tokio::test]
async fn a_device_that_was_there_stays_updated_wherever_the_run_is_cut_off() {
    for cut in 0..24 {
        let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, Vec::new())), new_ledger());
        let found = provision_devices(&hub).await;
        let quarantine = Batch { rules: UPSERT, status: Status::Disabled, ..BATCH };
        let run = quarantine.load(&ledger);
        hub.cut_off(cut, quarantine.apply(&hub, &ledger, run).run()).await;
        assert_eq!(quarantine.apply(&hub, &ledger, run).run().await.unwrap(), RunState::Finished);
        for ((effect, device, before), (_, tags)) in devices_of(&ledger, run).into_iter().zip(&found) {
            assert_eq!(
                (effect, &before),
                (Some(Effect::Updated), tags),
                "{device}, cut off after {cut} calls"
            );
        }
        undo(&hub, &ledger, run).await;
        let left: Vec<_> = hub.identities.lock().unwrap().keys().cloned().collect();
        for (device, _) in &found {
            assert!(left.contains(device), "{device}, cut off after {cut} calls");
        }
    }
}

/// An earlier run was cut off between its halves and never resumed.
#[tokio::test]
async fn what_another_run_left_half_done_is_updated_and_not_created() {
    let (hub, ledger) = (Arc::new(ModelHub::new(Modules::InBulk, Vec::new())), new_ledger());
    let quarantine = Batch { status: Status::Disabled, ..BATCH };
    let earlier = quarantine.load(&ledger);
    hub.cut_off(0, quarantine.apply(&hub, &ledger, earlier).run()).await;
    assert_eq!(hub.identities.lock().unwrap().len(), 2, "the devices are there, and wait for their modules");
    let (run, totals) = quarantine.run(&hub, &ledger).await;
    assert_eq!(totals, Totals { rows: 5, created: 3, updated: 1, unchanged: 1, ..Totals::default() });
    let effects: Vec<_> = devices_of(&ledger, run).into_iter().map(|(effect, ..)| effect).collect();
    assert_eq!(effects, [Some(Effect::Updated), None], "`b` has no modules to wait for");
}

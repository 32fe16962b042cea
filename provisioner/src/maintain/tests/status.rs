//! Disabling and enabling devices.

use super::*;
use crate::ledger::{Claim, Sent};
use crate::model::compare::STAGED;
use crate::model::etags::Etags;

#[tokio::test]
async fn devices_are_disabled_first_and_deleted_later() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let unit = named(&["a", "a/x", "a/y"]);
    let (run, totals) = factory.maintain_all(Maintenance::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, conflict: 1, skipped: 2, ..Totals::default() });
    assert!(factory.reasons(run)[0].1.contains("only what is disabled is deleted"));
    assert!(factory.reasons(run)[1].1.contains("its device `a` stays"));

    let (_, totals) = factory.maintain_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 3, updated: 1, unchanged: 2, held: 1, ..Totals::default() });
    assert_eq!(factory.hub.identities.lock().unwrap()[&identity("a")].status, Status::Disabled);
    let (_, totals) = factory.maintain_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 3, unchanged: 3, ..Totals::default() });

    let (_, totals) = factory.maintain_all(Maintenance::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, deleted: 3, ..Totals::default() });
    assert_eq!(factory.names(), ["b", "b/x", "c"]);
    let (_, totals) = factory.maintain_all(Maintenance::Delete, &unit).await;
    assert_eq!(totals, Totals { rows: 3, unchanged: 3, ..Totals::default() });
}

/// After a damaged ledger was moved away, the batch is provisioned again with a new one.
#[tokio::test]
async fn a_quarantine_that_a_new_ledger_found_is_released_by_the_run_that_it_names() {
    let first = Factory::new(Modules::InBulk);
    let mut quarantined = named(&["a", "a/x", "c"]);
    quarantined
        .iter_mut()
        .filter(|spec| spec.identity.module().is_none())
        .for_each(|spec| spec.state.quarantine());
    first.apply(ApplyRules::default(), &quarantined).await;
    let ledger = SharedLedger::new(Ledger::open_temporary().unwrap());
    let second = Factory { hub: first.hub.clone(), ledger };
    let run = second.apply(ApplyRules::default(), &quarantined).await;
    let held = second.ledger.lock().held_devices(run).unwrap();
    assert_eq!(held.iter().map(|held| (held.run, held.devices)).collect::<Vec<_>>(), [(run, 2)]);
    let (_, totals) = second.maintain_all(Maintenance::Release { run: Some(run) }, &[]).await;
    assert_eq!(totals, Totals { rows: 2, updated: 2, ..Totals::default() });
    assert_eq!(status_of(&second, "a"), (Status::Enabled, None));
}

#[tokio::test]
async fn a_module_that_is_not_on_the_hub_is_neither_disabled_nor_released_with_its_device() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let unit = named(&["a", "a/nope", "a/x"]);
    for maintenance in [disable(), Maintenance::Release { run: None }] {
        let rows = factory.rows(factory.load(Some(maintenance.clone()), &unit));
        let planned = factory.dry_run(&maintenance, rows).await;
        let (run, totals) = factory.maintain_all(maintenance, &unit).await;
        assert_eq!((totals.updated, totals.unchanged, totals.conflict), (1, 1, 1), "{totals}");
        assert_eq!(factory.reasons(run), [("a/nope".to_owned(), "it is not on the hub".to_owned())]);
        assert_eq!(planned, factory.done(run));
    }
}

#[tokio::test]
async fn what_a_run_disabled_is_released_and_disabled_again() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let unit = named(&["a", "a/x", "a/y", "b"]);
    let (retire, totals) = factory.maintain_all(disable(), &unit).await;
    assert_eq!(totals, Totals { rows: 4, updated: 2, unchanged: 2, held: 2, ..Totals::default() });
    // Somebody writes another reason on one of them, and disables one that no run has disabled.
    factory.set_status("b", Status::Disabled, Some("stolen"));
    factory.set_status("c", Status::Disabled, None);

    let all = named(&["a", "a/x", "b", "c", "nobody"]);
    let (release, totals) = factory.maintain_all(Maintenance::Release { run: None }, &all).await;
    assert_eq!(totals, Totals { rows: 5, updated: 1, unchanged: 1, conflict: 3, ..Totals::default() });
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, None));
    let reasons = factory.reasons(release);
    assert!(reasons[0].1.contains(&format!("changed since run {retire} disabled it")), "{reasons:?}");
    assert!(
        reasons[1].1.starts_with("no run of this ledger has put it into quarantine or retired it"),
        "{reasons:?}"
    );
    assert_eq!(reasons[2].1, "it is not on the hub");

    let (_, totals) = factory.maintain_all(Maintenance::UndoRelease { run: release }, &[]).await;
    assert_eq!(totals, Totals { rows: 1, updated: 1, held: 1, ..Totals::default() });
    assert_eq!(status_of(&factory, "a"), (Status::Disabled, Some("scrapped".into())));
    assert_eq!(status_of(&factory, "b"), (Status::Disabled, Some("stolen".into())), "it was not released");
    // The run that disabled it first keeps it disabled again.
    let (_, totals) = factory.maintain_all(Maintenance::Release { run: Some(retire) }, &[]).await;
    assert_eq!(totals, Totals { rows: 2, updated: 1, conflict: 1, ..Totals::default() });
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, None));
}

#[tokio::test]
async fn a_release_does_not_give_back_the_mark_of_an_unfinished_quarantine() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    factory.set_status("a", Status::Enabled, Some(STAGED));
    let (retire, _) = factory.maintain_all(disable(), &named(&["a"])).await;
    factory.maintain_all(Maintenance::Release { run: Some(retire) }, &[]).await;
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, None));
}

#[tokio::test]
async fn a_release_gives_back_the_status_reason_of_before() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    factory.set_status("a", Status::Enabled, Some("line 3"));
    let (first, _) = factory.maintain_all(disable(), &named(&["a"])).await;
    factory.maintain_all(Maintenance::Release { run: Some(first) }, &[]).await;
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, Some("line 3".into())));
    let (second, _) = factory.maintain_all(disable(), &named(&["a"])).await;
    // It is the newer run that keeps it disabled.
    let (release, totals) = factory.maintain_all(Maintenance::Release { run: Some(first) }, &[]).await;
    assert_eq!(totals, Totals { rows: 1, conflict: 1, ..Totals::default() });
    let reasons = factory.reasons(release);
    assert!(reasons[0].1.contains(&format!("run {second} retired it since")), "{reasons:?}");
}

#[tokio::test]
async fn a_device_that_is_retired_in_the_middle_of_a_quarantine_is_released_with_the_reason_of_its_batch() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let mut quarantined = named(&["a"]);
    quarantined[0].state.status_reason = Some(StatusReason::new("line 3").unwrap());
    quarantined[0].state.quarantine();
    // A run has prepared the device, and was killed before it disabled it.
    factory.load(None, &quarantined);
    factory.set_status("a", Status::Enabled, Some(STAGED));
    let (retire, _) = factory.maintain_all(disable(), &named(&["a"])).await;
    factory.maintain_all(Maintenance::Release { run: Some(retire) }, &[]).await;
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, Some("line 3".into())));
}

/// A run was killed when its request to correct the reason was about to leave.
#[tokio::test]
async fn a_resumed_retirement_corrects_the_reason_that_it_was_to_correct() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    factory.maintain_all(disable(), &named(&["a"])).await;
    let other = Maintenance::Disable { reason: StatusReason::new("order 4711").unwrap() };
    let run = factory.load(Some(other.clone()), &named(&["a"]));
    factory.mark_sent("a", run).await;
    assert_eq!(factory.maintain(&other, run).run().await.unwrap(), RunState::Finished);
    assert_eq!(status_of(&factory, "a"), (Status::Disabled, Some("order 4711".into())));
}

/// A run was killed when its request to disable the device had left, or was about to leave.
#[tokio::test]
async fn a_device_that_others_changed_since_is_not_disabled_by_a_resumed_run() {
    for is_changed in [false, true] {
        let factory = Factory::new(Modules::InBulk);
        factory.provision().await;
        let run = factory.load(Some(disable()), &named(&["a"]));
        factory.mark_sent("a", run).await;
        if is_changed {
            factory.set_status("a", Status::Enabled, Some("repaired"));
        }
        assert_eq!(factory.maintain(&disable(), run).run().await.unwrap(), RunState::Finished);
        let row = factory.rows(run).remove(0).record;
        match is_changed {
            false => assert_eq!((row.state, status_of(&factory, "a").0), (RowState::Done, Status::Disabled)),
            true => {
                let code = Some(ReasonCode::ChangedSinceSent);
                assert_eq!((row.state, row.reason), (RowState::Conflict, code));
                assert_eq!(status_of(&factory, "a"), (Status::Enabled, Some("repaired".into())));
            }
        }
    }
}

#[tokio::test]
async fn the_reason_of_a_retirement_is_corrected_and_that_of_others_is_left() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    factory.set_status("a", Status::Enabled, Some("line 3"));
    factory.maintain_all(disable(), &named(&["a", "b"])).await;
    factory.set_status("b", Status::Disabled, Some("stolen"));
    factory.set_status("c", Status::Disabled, Some("not ours"));
    let other = Maintenance::Disable { reason: StatusReason::new("order 4711").unwrap() };
    let (second, totals) = factory.maintain_all(other, &named(&["a", "b", "c"])).await;
    assert_eq!(totals, Totals { rows: 3, updated: 1, unchanged: 2, held: 1, ..Totals::default() });
    let reasons = ["a", "b", "c"].map(|name| status_of(&factory, name).1.unwrap());
    assert_eq!(reasons, ["order 4711", "stolen", "not ours"]);
    factory.maintain_all(Maintenance::Release { run: Some(second) }, &[]).await;
    assert_eq!(status_of(&factory, "a"), (Status::Enabled, Some("line 3".into())));
}

impl Factory {
    /// Records that a run's request for a device is about to leave.
    async fn mark_sent(&self, name: &str, run: RunId) {
        let before = Etags::of(self.hub.twin(&identity(name)).await.unwrap().as_ref());
        let mut ledger = self.ledger.lock();
        ledger.begin_work(run, Duration::from_secs(30)).unwrap();
        let Claim::Chunk(chunk) = ledger.claim(run).unwrap() else { panic!("there is work") };
        let sent = Sent { before, held_by: Some(run), ..Sent::from((identity(name), Effect::Updated)) };
        ledger.mark_sent(&chunk.lease, &[sent], &Timestamp::now()).unwrap();
    }
}

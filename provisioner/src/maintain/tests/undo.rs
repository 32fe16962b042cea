//! The undo of runs.

use super::*;

#[tokio::test]
async fn a_run_is_undone_with_few_calls() {
    let factory = Factory::new(Modules::InBulk);
    let run = factory.provision().await;
    let before = *factory.hub.changing_calls.lock().unwrap();
    let (undo, totals) = factory.maintain_all(Maintenance::Undo { run }, &[]).await;
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
        let (undo, totals) = factory.maintain_all(Maintenance::Undo { run }, &[]).await;
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
        factory.maintain_all(disable(), &named(&["b"])).await;
        let (release, _) = factory.maintain_all(Maintenance::Release { run: None }, &named(&["b"])).await;
        factory.write_twin("b").await;
        factory.write_twin("c").await;
        let (undo, totals) = factory.maintain_all(Maintenance::Undo { run }, &[]).await;
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

/// Without a verification, the run has read no version of what it created.
#[tokio::test]
async fn what_later_runs_have_changed_there_and_back_is_not_undone() {
    for modules in [Modules::InBulk, Modules::OneByOne] {
        let factory = Factory::new(modules);
        let run = factory.provision().await;
        factory.maintain_all(disable(), &named(&["a"])).await;
        let (release, _) = factory.maintain_all(Maintenance::Release { run: None }, &named(&["a"])).await;
        let rotated = [spec("b/x", "BB", Some("AA"))];
        factory.maintain_all(Maintenance::AddThumbprint, &rotated).await;
        let (revert, _) = factory.maintain_all(Maintenance::DropNewThumbprint, &rotated).await;
        let undo = Maintenance::Undo { run };
        let rows = factory.rows_of(run, RowFilter::Created);
        let planned =
            factory.dry_run(&undo, rows.into_iter().map(LedgerRow::into_continuation).collect()).await;
        let deleted: Vec<_> = planned
            .iter()
            .filter(|(_, action, _)| *action == Action::Delete)
            .map(|(name, ..)| name)
            .collect();
        assert_eq!(deleted, ["c"], "{modules:?}");
        let (undone, totals) = factory.maintain_all(undo, &[]).await;
        assert_eq!(totals, Totals { rows: 6, deleted: 1, conflict: 3, skipped: 2, ..Totals::default() });
        assert_eq!(factory.names(), ["a", "a/x", "a/y", "b", "b/x"]);
        let reasons = factory.reasons(undone);
        let changed = |by: RunId| format!("it was changed since run {run} created it, last by run {by}");
        assert_eq!(reasons[0], ("a".to_owned(), changed(release)));
        assert_eq!(reasons[3], ("b".to_owned(), "its module `x` stays".to_owned()));
        assert_eq!(reasons[4], ("b/x".to_owned(), changed(revert)));
    }
}

#[tokio::test]
async fn a_release_of_a_run_does_not_advise_to_enable_what_was_retired_since() {
    let factory = Factory::new(Modules::InBulk);
    factory.provision().await;
    let (first, _) = factory.maintain_all(disable(), &named(&["a"])).await;
    factory.maintain_all(Maintenance::Release { run: Some(first) }, &[]).await;
    let (second, _) = factory.maintain_all(disable(), &named(&["a"])).await;
    let (release, _) = factory.maintain_all(Maintenance::Release { run: Some(first) }, &[]).await;
    let reasons = factory.reasons(release);
    assert_eq!(reasons[0].1, format!("run {second} retired it since: it stays disabled"));
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
        let planned = factory.dry_run(&undo, rows).await;
        let (undone, totals) = factory.maintain_all(undo, &[]).await;
        assert_eq!(totals, Totals { rows: 6, conflict: 1, skipped: 1, deleted: 4, ..Totals::default() });
        assert_eq!(factory.names(), ["b", "b/new", "b/x"]);
        let reasons = factory.reasons(undone);
        assert_eq!(
            reasons[1],
            ("b/x".to_owned(), "nothing was done, because its device `b` stays".to_owned())
        );
        assert!(planned.iter().any(|(name, action, _)| name == "b" && *action == Action::Conflict));
    }
}

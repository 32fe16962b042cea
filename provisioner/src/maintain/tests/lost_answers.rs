//! Maintenance runs and their previews on a hub that loses answers.

use super::*;

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

fn fault() -> impl Strategy<Value = CallFault> {
    proptest::sample::select(CallFault::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// A dry run announces the later action for each row, in any state of the units.
    #[test]
    fn a_dry_run_announces_what_the_run_does(
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
            let mut planned = factory.dry_run(&maintenance, rows).await;
            let run = factory.run(maintenance, &spec).await;
            let mut done = factory.done(run);
            // That the device of a module is disabled is seen when the hub denies access, and not before.
            let denied: Vec<_> =
                done.iter().filter(|(_, action, _)| *action == Action::Refuse).map(|(name, ..)| name.clone()).collect();
            planned.retain(|(name, ..)| !denied.contains(name));
            done.retain(|(name, ..)| !denied.contains(name));
            assert_eq!(planned, done);
        });
    }

    /// A release and its undo are cut off at any sample and resumed, over and over: all are enabled, and then all
    /// are disabled again.
    #[test]
    fn whatever_is_lost_and_wherever_it_is_cut_off_a_release_enables_all_and_its_undo_none(
        faults in proptest::collection::vec(fault(), 0..5),
        cuts in proptest::collection::vec(0..10_usize, 0..3),
        undo: bool,
    ) {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let factory = Factory::new(Modules::InBulk);
            factory.provision().await;
            let (retire, _) = factory.maintain_all(disable(), &named(&["a", "b", "c"])).await;
            let mut maintenance = Maintenance::Release { run: Some(retire) };
            if undo {
                let (release, _) = factory.maintain_all(maintenance, &[]).await;
                maintenance = Maintenance::UndoRelease { run: release };
            }
            *factory.hub.faults.lock().unwrap() = faults;
            let run = factory.load(Some(maintenance.clone()), &[]);
            for cut in cuts {
                factory.hub.cut_off(cut, factory.maintain(&maintenance, run).run()).await;
            }
            let resumed = tokio::time::timeout(HANGS, factory.maintain(&maintenance, run).run()).await;
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
        faults in proptest::collection::vec(fault(), 0..5),
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
            *factory.hub.faults.lock().unwrap() = faults;
            let undo = Maintenance::Undo { run };
            let undoing = factory.load(Some(undo.clone()), &[]);
            for cut in cuts {
                factory.hub.cut_off(cut, factory.maintain(&undo, undoing).run()).await;
            }
            let resumed = tokio::time::timeout(HANGS, factory.maintain(&undo, undoing).run()).await;
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

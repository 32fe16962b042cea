//! The owners of credentials across runs.

use super::*;

#[test]
fn of_two_stations_that_load_one_credential_at_once_one_is_refused() {
    let server = e2e::Database::start().unwrap();
    let (mut first, mut second) = (open(&server, "shared"), open_again(&server, "shared"));
    let credential = Credential::thumbprint(&Sha1Thumbprint::of_der(b"AB").into());
    let row = |name: &str| IdentitySpec { state: state_with("AB"), ..spec(name) };
    let options = RunOptions::default();
    let (a, b) = (first.load_run(&facts(&options)).unwrap(), second.load_run(&facts(&options)).unwrap());
    // Neither sees what the other has not committed.
    assert_eq!(a.insert(2, &row("a"), std::slice::from_ref(&credential)).unwrap(), None);
    assert_eq!(b.insert(2, &row("b"), std::slice::from_ref(&credential)).unwrap(), None);
    let run = a.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    let overtaken = b.commit(Sha256Digest::of(b"batch"), 0);
    assert!(matches!(overtaken, Err(LedgerError::Overtaken { .. })), "{overtaken:?}");

    let mut again = || second_loads(&mut second, &row("b"), &credential);
    let belongs = Some(format!("this thumbprint belongs to `a` since run {run}"));
    assert_eq!(again(), belongs, "before the first one begins to work");
    first.begin_work(run, LEASE).unwrap();
    let work = claim(&mut first, run);
    assert_eq!(again(), belongs, "while it works");
    first.mark_sent(&work.lease, &[(identity("a"), Effect::Created).into()], &now()).unwrap();
    first.release_leases().unwrap();
    assert_eq!(again(), belongs, "where it was killed before it knew the answer");
    assert_eq!(second.runs().unwrap().len(), 1, "what was refused left no run");
}

#[test]
fn a_station_that_is_overtaken_while_it_loads_is_told_of_every_row() {
    let server = e2e::Database::start().unwrap();
    let (mut first, mut second) = (open(&server, "shared"), open_again(&server, "shared"));
    let credential = |text: &str| [Credential::thumbprint(&Sha1Thumbprint::of_der(text.as_bytes()).into())];
    let row = |name: &str, text: &str| IdentitySpec { state: state_with(text), ..spec(name) };
    let options = RunOptions::default();
    let (a, b) = (first.load_run(&facts(&options)).unwrap(), second.load_run(&facts(&options)).unwrap());
    assert_eq!(b.insert(2, &row("x", "AB"), &credential("AB")).unwrap(), None, "nobody has it yet");
    for (name, text) in [("a", "AB"), ("b", "CD")] {
        assert_eq!(a.insert(2, &row(name, text), &credential(text)).unwrap(), None);
    }
    a.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    // With a conflict for this row alone, the row before it would not be named.
    let overtaken = b.insert(3, &row("y", "CD"), &credential("CD"));
    assert!(matches!(overtaken, Err(LedgerError::Overtaken { .. })), "{overtaken:?}");
}

#[test]
fn of_two_stations_that_wait_for_each_other_one_is_overtaken() {
    let server = e2e::Database::start().unwrap();
    let both_have_some = std::sync::Barrier::new(2);
    // As many as a station writes at once.
    let half = |name: &str| (0..1_000).map(|number| format!("{name}{number}")).collect::<Vec<_>>();
    let load = |ledger: &mut Ledger, station: &str, [mine, others]: [&str; 2]| {
        let options = RunOptions::default();
        let loader = ledger.load_run(&facts(&options)).unwrap();
        let insert = |text: &String| {
            let credential = Credential::thumbprint(&Sha1Thumbprint::of_der(text.as_bytes()).into());
            loader.insert(2, &spec(&format!("{station}-{text}")), &[credential])
        };
        for text in half(mine) {
            assert_eq!(insert(&text).unwrap(), None);
        }
        both_have_some.wait();
        half(others).iter().try_for_each(|text| insert(text).map(drop))?;
        loader.commit(Sha256Digest::of(b"batch"), 0)
    };
    let (mut first, mut second) = (open(&server, "shared"), open_again(&server, "shared"));
    let ended = std::thread::scope(|scope| {
        let first = scope.spawn(|| load(&mut first, "a", ["early", "late"]));
        let second = scope.spawn(|| load(&mut second, "b", ["late", "early"]));
        [first.join().unwrap(), second.join().unwrap()]
    });
    let overtaken = |ended: &Result<RunId, LedgerError>| matches!(ended, Err(LedgerError::Overtaken { .. }));
    assert_eq!(ended.iter().filter(|ended| overtaken(ended)).count(), 1, "{ended:?}");
    assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 1, "{ended:?}");
}

/// The refusal of a row in a run that is not committed.
fn second_loads(ledger: &mut Ledger, row: &IdentitySpec, credential: &Credential) -> Option<String> {
    let options = RunOptions::default();
    let loader = ledger.load_run(&facts(&options)).unwrap();
    let taken = loader.insert(2, row, std::slice::from_ref(credential)).unwrap();
    taken.map(|taken| taken.to_string())
}

/// Adds a row with thumbprints to a new run of its own, and answers the refusal.
fn owned(ledger: &mut Ledger, rows: &[(&str, &[&str])]) -> (RunId, Vec<Option<String>>) {
    let options = RunOptions::default();
    let loader = ledger.load_run(&facts(&options)).unwrap();
    let mut refused = Vec::new();
    for (name, thumbprints) in rows {
        let credential =
            |name: &&str| Credential::thumbprint(&Sha1Thumbprint::of_der(name.as_bytes()).into());
        let credentials: Vec<Credential> = thumbprints.iter().map(credential).collect();
        let row = match thumbprints {
            [first, ..] => IdentitySpec { state: state_with(first), ..spec(name) },
            [] => spec(name),
        };
        let taken = loader.insert(2, &row, &credentials).unwrap();
        refused.push(taken.map(|taken| taken.to_string()));
    }
    (loader.commit(Sha256Digest::of(b"batch"), 0).unwrap(), refused)
}

pub(super) fn a_credential_stays_with_its_first_owner_across_runs(mut ledger: Ledger) {
    let (first, _) = owned(&mut ledger, &[("a/m", &["AB"])]);
    ledger.refuse(first, &[(identity("a/m"), Record::new(RowState::Done))], &now()).unwrap();
    let (second, refused) =
        owned(&mut ledger, &[("a/m", &["AB"]), ("b", &["CD", "AB"]), ("c", &["CD"]), ("d", &["CD"])]);
    ledger.begin_work(second, LEASE).unwrap();
    let belongs = format!("this thumbprint belongs to `a/m` since run {first}");
    // The refused row left nothing: CD was still free for `c`.
    assert_eq!(refused[..3], [None, Some(belongs.clone()), None]);
    assert_eq!(refused[3].as_deref(), Some("`c` has the same thumbprint"));
    // The same without a run; of `c` nothing is on a hub yet.
    let mut taken = |name: &str, thumbprint: &str| {
        let credential = Credential::thumbprint(&Sha1Thumbprint::of_der(thumbprint.as_bytes()).into());
        ledger.find_conflict(&identity(name), &[credential]).unwrap().map(|taken| taken.to_string())
    };
    assert_eq!([taken("b", "AB"), taken("a/m", "AB"), taken("b", "CD")], [Some(belongs), None, None]);
}

pub(super) fn a_credential_of_a_row_that_was_left_to_do_goes_to_a_later_owner_and_the_row_is_not_done(
    mut ledger: Ledger,
) {
    let (first, _) = owned(&mut ledger, &[("a", &["AB"]), ("b", &["CD"])]);
    ledger.begin_work(first, LEASE).unwrap();
    claim(&mut ledger, first);
    ledger.release_leases().unwrap();
    ledger.end_run(first, RunState::Interrupted, &now()).unwrap();
    // The labels were corrected.
    let (second, refused) = owned(&mut ledger, &[("right", &["AB"])]);
    assert_eq!(refused, [None]);
    ledger.begin_work(first, LEASE).unwrap();
    assert_eq!(names(&claim(&mut ledger, first).rows), ["b"]);
    let record = ledger.row(first, &identity("a")).unwrap().unwrap().record;
    assert_eq!((record.state, record.reason), (RowState::Conflict, Some(ReasonCode::CredentialTaken)));
    assert_eq!(record.error.unwrap(), format!("this thumbprint belongs to `right` since run {second}"));
}

pub(super) fn a_row_that_failed_after_its_identity_was_written_keeps_its_credential(mut ledger: Ledger) {
    let (first, _) = owned(&mut ledger, &[("a", &["AB"])]);
    let half = Record {
        effect: Some(Effect::Created),
        ..Record::failed(ReasonCode::RequestRefused, "its twin could not be written")
    };
    ledger.refuse(first, &[(identity("a"), half)], &now()).unwrap();
    let taken = format!("this thumbprint belongs to `a` since run {first}");
    assert_eq!(owned(&mut ledger, &[("b", &["AB"])]).1, [Some(taken)]);
}

pub(super) fn a_run_that_did_nothing_for_an_identity_frees_the_credential_that_it_was_to_get(
    mut ledger: Ledger,
) {
    let (first, _) = owned(&mut ledger, &[("a", &["AA"]), ("b", &["BB"]), ("c", &["CC"]), ("d", &["DD"])]);
    let done = |name: &str| (identity(name), created());
    ledger.refuse(first, &[done("a"), done("b"), done("c"), done("d")], &now()).unwrap();
    ledger.end_run(first, RunState::Finished, &now()).unwrap();
    // A rotation that ends as a conflict, one whose effect is unknown, and one that comes out well.
    let (second, _) = owned(&mut ledger, &[("a", &["A2"]), ("b", &["B2"]), ("c", &["C2"])]);
    let updated = |state| Record { effect: Some(Effect::Updated), ..Record::new(state) };
    let ends = [
        (
            identity("a"),
            Record { reason: Some(ReasonCode::CertificateDiffers), ..Record::new(RowState::Conflict) },
        ),
        (identity("b"), updated(RowState::Sent)),
        (identity("c"), updated(RowState::Done)),
    ];
    ledger.refuse(second, &ends, &now()).unwrap();
    ledger.end_run(second, RunState::Interrupted, &now()).unwrap();
    let rows: [(&str, &[&str]); 4] = [("x", &["A2"]), ("y", &["B2"]), ("z", &["C2"]), ("w", &["AA"])];
    let (_, refused) = owned(&mut ledger, &rows);
    let belongs = |owner: &str, run| Some(format!("this thumbprint belongs to `{owner}` since run {run}"));
    assert_eq!(refused, [None, belongs("b", second), belongs("c", second), belongs("a", first)]);
}

pub(super) fn credentials_that_were_taken_out_again_are_free(mut ledger: Ledger) {
    let key = |name: &str| Credential::public_key(name.as_bytes());
    let (first, _) = owned(&mut ledger, &[("a", &["AA"]), ("b", &["BB"])]);
    ledger.remember(first, &[(identity("a"), key("a")), (identity("b"), key("b"))]).unwrap();
    ledger.refuse(first, &[(identity("a"), created()), (identity("b"), created())], &now()).unwrap();
    let (second, _) = owned(&mut ledger, &[("a", &["A2"]), ("b", &["B2"])]);
    ledger.remember(second, &[(identity("a"), key("a2")), (identity("b"), key("b2"))]).unwrap();
    let updated = || Record { effect: Some(Effect::Updated), ..Record::new(RowState::Done) };
    ledger.refuse(second, &[(identity("a"), updated()), (identity("b"), updated())], &now()).unwrap();
    let (revert, _) = owned(&mut ledger, &[("a", &["A2"]), ("b", &["B2"])]);
    let stays = Record { reason: Some(ReasonCode::OnlyThumbprint), ..Record::new(RowState::Conflict) };
    ledger.refuse(revert, &[(identity("a"), updated()), (identity("b"), stays)], &now()).unwrap();
    ledger.end_run(revert, RunState::Finished, &now()).unwrap();
    ledger.forget_reverted(revert).unwrap();
    let mut is_free =
        |credential: Credential| ledger.find_conflict(&identity("other"), &[credential]).unwrap().is_none();
    let mut free_thumbprint =
        |text: &str| is_free(Credential::thumbprint(&Sha1Thumbprint::of_der(text.as_bytes()).into()));
    assert_eq!(["A2", "B2", "AA", "BB"].map(&mut free_thumbprint), [true, false, false, false]);
    assert_eq!(["a2", "b2", "a", "b"].map(|name| is_free(key(name))), [true, false, false, false]);
}

pub(super) fn a_row_that_failed_can_be_corrected(mut ledger: Ledger) {
    let (first, _) = owned(&mut ledger, &[("a/m", &["AB"])]);
    ledger
        .refuse(
            first,
            &[(identity("a/m"), Record::failed(ReasonCode::RequestRefused, "wrong label"))],
            &now(),
        )
        .unwrap();
    assert_eq!(owned(&mut ledger, &[("b", &["AB"])]).1, [None]);
}

pub(super) fn an_undo_has_the_rows_that_a_run_created_and_frees_their_credentials(mut ledger: Ledger) {
    let rows: [(&str, &[&str]); 8] = [
        ("a", &["AA"]),
        ("a/m", &["AB"]),
        ("b", &["BB"]),
        ("c", &["CC"]),
        ("d", &["DD"]),
        ("e", &["EE"]),
        ("f", &["FF"]),
        ("g", &["A1"]),
    ];
    let (run, _) = owned(&mut ledger, &rows);
    let done = |effect, presumed| Record { effect: Some(effect), presumed, ..Record::new(RowState::Done) };
    let records = [
        (identity("a"), done(Effect::Created, false)),
        (identity("a/m"), done(Effect::Created, true)),
        (identity("b"), done(Effect::Updated, false)),
        (identity("c"), Record::failed(ReasonCode::RequestRefused, "no")),
        // The run was killed before it knew the answer.
        (identity("d"), Record { state: RowState::Sent, ..done(Effect::Created, false) }),
        // Its twin could not be written.
        (identity("e"), Record { state: RowState::Failed, ..done(Effect::Created, false) }),
        // The run has seen a different one in its place.
        (identity("f"), Record { state: RowState::Conflict, ..done(Effect::Created, false) }),
        (identity("g"), done(Effect::Created, false)),
    ];
    ledger.refuse(run, &records, &now()).unwrap();
    let etags = Etags { identity: Some("1".to_owned().into()), twin: Some("2".to_owned().into()) };
    let seen = |name: &str, drift| VerifiedRow { identity: identity(name), etags: etags.clone(), drift };
    let of_others =
        Some(vec![Difference { path: DifferencePath::Keys, expected: 1.into(), found: 2.into() }]);
    ledger.set_seen(run, &[seen("a", None), seen("e", None), seen("g", of_others)]).unwrap();

    let options = RunOptions::default();
    let loader = ledger.load_run(&facts(&options)).unwrap();
    assert_eq!(loader.insert_from(run, RowFilter::Created).unwrap(), 6);
    let undo = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    let rows = ledger.page(undo, RowFilter::All, None, 10).unwrap();
    assert_eq!(names(&rows), ["a", "a/m", "d", "e", "f", "g"]);
    let proven: Vec<(bool, bool)> =
        rows.iter().map(|row| (row.before == etags, row.record.presumed)).collect();
    let (by_version, by_content, presumed) = ((true, false), (false, false), (false, true));
    assert_eq!(proven, [by_version, presumed, presumed, by_version, presumed, by_content]);
    let continued = ledger.page(run, RowFilter::Created, None, 10).unwrap();
    let continued: Vec<_> = continued.into_iter().map(LedgerRow::into_continuation).collect();
    assert_eq!(continued, rows, "a dry run has the same");
    assert!(rows.iter().all(|row| row.record.state == RowState::Pending && row.record.effect.is_none()));

    // Somebody deleted one, and a later run created it again: it is that run's.
    let loader = ledger.load_run(&facts(&options)).unwrap();
    loader.insert(2, &spec("a/m"), &[]).unwrap();
    let later = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    ledger.refuse(later, &[(identity("a/m"), done(Effect::Created, false))], &now()).unwrap();
    assert_eq!(names(&ledger.page(run, RowFilter::Created, None, 10).unwrap()), ["a", "d", "e", "f", "g"]);
    assert_eq!(names(&ledger.page(later, RowFilter::Created, None, 10).unwrap()), ["a/m"]);

    ledger.refuse(undo, &[(identity("a"), done(Effect::Deleted, false))], &now()).unwrap();
    assert_eq!(ledger.totals(undo).unwrap(), Totals { rows: 6, deleted: 1, pending: 5, ..Totals::default() });
    ledger.forget_undone(run, undo).unwrap();
    let (_, refused) = owned(&mut ledger, &[("x", &["AA"]), ("y", &["AB"]), ("z", &["BB"])]);
    assert!(refused[0].is_none(), "{refused:?}");
    assert!(refused[1].is_some() && refused[2].is_some(), "{refused:?}");
}

pub(super) fn what_was_given_away_is_not_claimed_again(mut ledger: Ledger) {
    let thumbprint = |text: &str| Credential::thumbprint(&Sha1Thumbprint::of_der(text.as_bytes()).into());
    let (first, _) = owned(&mut ledger, &[("a", &["AA"]), ("b", &["BB"])]);
    let (second, _) = owned(&mut ledger, &[("c", &["CC"])]);
    let wanted = |name: &str, text: &str| (identity(name), thumbprint(text));
    // Its own, one of a different identity, one that nobody has.
    let taken =
        ledger.claim_again(first, &[wanted("a", "AA"), wanted("b", "CC"), wanted("b", "DD")]).unwrap();
    let told: Vec<_> = taken.iter().map(|(who, conflict)| (who.to_string(), conflict.to_string())).collect();
    assert_eq!(told, [("b".to_owned(), format!("this thumbprint belongs to `c` since run {second}"))]);
    // The free one belongs to the identity from now on.
    let taken = ledger.claim_again(second, &[wanted("c", "DD"), wanted("b", "DD")]).unwrap();
    let told: Vec<_> = taken.iter().map(|(who, conflict)| (who.to_string(), conflict.to_string())).collect();
    assert_eq!(told, [("c".to_owned(), format!("this thumbprint belongs to `b` since run {first}"))]);
    assert!(ledger.claim_again(second, &[]).unwrap().is_empty());
}

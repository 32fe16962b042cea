//! What every kind of ledger does.

use hub_types::IdentityId;

use super::*;
use crate::causes::with_causes;
use crate::desired::{DesiredAuth, DesiredIdentity, DesiredState};
use crate::lifecycle::{Intent, Mode, TwinPolicy};

fn wanted(name: &str) -> DesiredIdentity {
    DesiredIdentity { identity: identity(name), state: DesiredState::default() }
}

fn identity(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

fn new_ledger() -> Ledger {
    Ledger::open_temporary().unwrap()
}

/// Loads a run with these rows, the levels of some of whose devices are given.
fn load(ledger: &mut Ledger, names: &[&str], levels: &[(&str, u32)]) -> RunId {
    let options = RunOptions::default();
    let facts = RunFacts {
        hub: "hub.example",
        input: "batch.csv",
        started: "2026-11-22T10:00:00Z",
        options: &options,
    };
    let loader = ledger.load_run(&facts).unwrap();
    for (line, name) in (2..).zip(names) {
        assert_eq!(loader.insert(line, &wanted(name), &[]).unwrap(), None);
    }
    for (device, level) in levels {
        loader.set_level(&device.parse().unwrap(), *level).unwrap();
    }
    loader.commit("AB", 0).unwrap()
}

/// Adds a row with thumbprints to a new run of its own, and answers the refusal.
fn owned(ledger: &mut Ledger, rows: &[(&str, &[&str])]) -> (RunId, Vec<Option<String>>) {
    let options = RunOptions::default();
    let facts = RunFacts { hub: "h", input: "b.csv", started: "2026-11-22T10:00:00Z", options: &options };
    let loader = ledger.load_run(&facts).unwrap();
    let mut refused = Vec::new();
    for (name, thumbprints) in rows {
        let credential =
            |value: &&str| Credential { kind: CredentialKind::Thumbprint, value: (*value).into() };
        let credentials: Vec<Credential> = thumbprints.iter().map(credential).collect();
        let taken = loader.insert(2, &wanted(name), &credentials).unwrap();
        refused.push(taken.map(|taken| taken.to_string()));
    }
    (loader.commit("X", 0).unwrap(), refused)
}

fn names(rows: &[LedgerRow]) -> Vec<String> {
    rows.iter().map(|row| row.wanted.identity.to_string()).collect()
}

fn claim(ledger: &mut Ledger, run: RunId) -> Chunk {
    match ledger.claim(run).unwrap() {
        Claim::Chunk(chunk) => chunk,
        other => panic!("{other:?}"),
    }
}

fn record(ledger: &mut Ledger, lease: &Lease, name: &str, record: Record) {
    ledger.record(lease, &[(identity(name), record)], "2026-11-22T10:00:01Z").unwrap();
}

#[test]
fn chunks_hold_whole_units_with_the_device_first() {
    let mut ledger = new_ledger();
    let many: Vec<String> = (0..101).rev().map(|device| format!("d{device:03}")).collect();
    let mut rows: Vec<&str> = many.iter().map(String::as_str).collect();
    rows.extend(["d001/n", "d001/m", "d100/m"]);
    let run = load(&mut ledger, &rows, &[]);
    ledger.begin_work(run).unwrap();
    let (first, second) = (claim(&mut ledger, run), claim(&mut ledger, run));
    assert_eq!(names(&first.rows)[..4], ["d000", "d001", "d001/m", "d001/n"]);
    assert_eq!(names(&second.rows), ["d100", "d100/m"]);
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Wait));
    ledger.finish_chunk(&first.lease).unwrap();
    ledger.finish_chunk(&second.lease).unwrap();
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Finished));
}

#[test]
fn a_level_waits_for_the_one_below_it() {
    let mut ledger = new_ledger();
    let run = load(&mut ledger, &["gate", "leaf", "leaf/m"], &[("leaf", 1)]);
    ledger.begin_work(run).unwrap();
    let below = claim(&mut ledger, run);
    assert_eq!(names(&below.rows), ["gate"]);
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Wait));
    ledger.finish_chunk(&below.lease).unwrap();
    assert_eq!(names(&claim(&mut ledger, run).rows), ["leaf", "leaf/m"]);
}

#[test]
fn what_was_under_way_is_given_out_again_with_all_that_is_known() {
    let mut ledger = new_ledger();
    let run = load(&mut ledger, &["a", "b", "b/m", "c"], &[]);
    ledger.begin_work(run).unwrap();
    let lease = claim(&mut ledger, run).lease;
    ledger.mark_sent(&lease, &[(identity("a"), Effect::Created), (identity("b"), Effect::Updated)]).unwrap();
    record(&mut ledger, &lease, "b", Record::new(RowState::Conflict));
    ledger.begin_work(run).unwrap();
    let again = claim(&mut ledger, run);
    assert_eq!(names(&again.rows), ["a", "b/m", "c"]);
    assert_eq!(
        (again.rows[0].record.state, again.rows[0].record.effect),
        (RowState::Sent, Some(Effect::Created))
    );
    assert_eq!(again.rows[2].record.state, RowState::Claimed);
    assert_eq!(again.closed, [("b".parse().unwrap(), RowState::Conflict)]);
}

#[test]
fn a_run_that_is_not_committed_leaves_nothing() {
    let mut ledger = new_ledger();
    let options = RunOptions::default();
    let facts = RunFacts { hub: "h", input: "b.csv", started: "2026-11-22T10:00:00Z", options: &options };
    ledger.load_run(&facts).unwrap().insert(2, &wanted("a"), &[]).unwrap();
    assert!(ledger.runs().unwrap().is_empty());
}

#[test]
fn the_options_of_a_run_come_back() {
    let options = RunOptions {
        intent: Intent { mode: Mode::Upsert, twin: TwinPolicy::Merge },
        created_by_tag: Some("by".into()),
        issue: Some(("pki".into(), "pki/issued".into())),
        map: vec![("Serial".into(), "device_id".into())],
    };
    let mut ledger = new_ledger();
    let facts = RunFacts { hub: "h", input: "b.csv", started: "2026-11-22T10:00:00Z", options: &options };
    let run = ledger.load_run(&facts).unwrap().commit("AB", 3).unwrap();
    let run = ledger.run(Some(run)).unwrap();
    assert_eq!((run.options, run.rejected, run.input_sha256.as_str()), (options, 3, "AB"));
}

#[test]
fn totals_count_each_row_once() {
    let mut ledger = new_ledger();
    let run = load(&mut ledger, &["a", "b", "c", "d", "e"], &[]);
    ledger.begin_work(run).unwrap();
    let lease = claim(&mut ledger, run).lease;
    ledger.mark_sent(&lease, &["a", "b"].map(|name| (identity(name), Effect::Created))).unwrap();
    let done = |effect| Record { effect: Some(effect), ..Record::new(RowState::Done) };
    record(&mut ledger, &lease, "a", done(Effect::Created));
    record(&mut ledger, &lease, "c", done(Effect::Updated));
    record(&mut ledger, &lease, "d", Record::failed("disk on fire"));
    let totals = ledger.totals(run).unwrap();
    assert_eq!(
        totals,
        Totals { rows: 5, created: 1, updated: 1, failed: 1, pending: 2, ..Totals::default() }
    );
    assert!(totals.add_up() && !totals.all_well());
    let remarkable = ledger.page(run, RowFilter::Remarkable, None, 10).unwrap();
    assert_eq!(names(&remarkable), ["b", "d"]);
    assert_eq!(remarkable[1].record.error.as_deref(), Some("disk on fire"));
    assert_eq!(ledger.count(run, RowFilter::Failed).unwrap(), 1);
}

#[test]
fn issued_rows_are_no_longer_to_be_issued() {
    let mut ledger = new_ledger();
    let run = load(&mut ledger, &["a", "b"], &[]);
    let mut rows = ledger.page(run, RowFilter::ToBeIssued, None, 10).unwrap();
    assert_eq!(names(&rows), ["a", "b"]);
    let issued = DesiredAuth::Thumbprint { primary: "AB".repeat(32).parse().ok(), secondary: None };
    rows[0].wanted.state.auth = issued;
    ledger.replace_wanted(run, &[&rows[0].wanted]).unwrap();
    assert_eq!(names(&ledger.page(run, RowFilter::ToBeIssued, None, 10).unwrap()), ["b"]);
    ledger.begin_work(run).unwrap();
    assert_eq!(claim(&mut ledger, run).rows[0].wanted, rows[0].wanted);
}

#[test]
fn a_row_with_a_thumbprint_is_never_issued_whatever_its_twin_says() {
    let mut row = wanted("a");
    row.state.auth = DesiredAuth::X509Ca;
    row.state.tags.insert("note".to_owned(), "issued_certificate".into());
    row.state.tags.insert("sas".to_owned(), serde_json::json!({"given": true}));
    let mut ledger = new_ledger();
    let options = RunOptions::default();
    let facts = RunFacts { hub: "h", input: "b.csv", started: "2026-11-22T10:00:00Z", options: &options };
    let loader = ledger.load_run(&facts).unwrap();
    loader.insert(2, &row, &[]).unwrap();
    let run = loader.commit("AB", 0).unwrap();
    assert_eq!(ledger.count(run, RowFilter::ToBeIssued).unwrap(), 0);
    assert_eq!(ledger.count(run, RowFilter::GivenKeys).unwrap(), 0);
}

#[test]
fn a_credential_stays_with_its_first_owner_across_runs() {
    let mut ledger = new_ledger();
    let (first, _) = owned(&mut ledger, &[("a/m", &["AB"])]);
    ledger.refuse(first, &[(identity("a/m"), Record::new(RowState::Done))], "now").unwrap();
    let (_, refused) =
        owned(&mut ledger, &[("a/m", &["AB"]), ("b", &["CD", "AB"]), ("c", &["CD"]), ("d", &["CD"])]);
    let belongs = format!("this thumbprint belongs to `a/m` since run {first}");
    // The refused row left nothing: CD was still free for `c`.
    assert_eq!(refused[..3], [None, Some(belongs), None]);
    assert!(refused[3].as_ref().is_some_and(|reason| reason.contains("`c`")), "{refused:?}");
}

#[test]
fn a_row_that_failed_can_be_corrected() {
    let mut ledger = new_ledger();
    let (first, _) = owned(&mut ledger, &[("a/m", &["AB"])]);
    ledger.refuse(first, &[(identity("a/m"), Record::failed("wrong label"))], "now").unwrap();
    assert_eq!(owned(&mut ledger, &[("b", &["AB"])]).1, [None]);
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    assert!(matches!(Ledger::open_to_read(&path), Err(LedgerError::Missing { .. })));
    let writer = Ledger::open(&path).unwrap();
    assert!(matches!(Ledger::open(&path), Err(LedgerError::Busy { .. })));
    assert!(Ledger::open_to_read(&path).unwrap().runs().unwrap().is_empty());
    drop(writer);
    assert!(Ledger::open(&path).is_ok());
}

#[test]
fn a_full_disk_is_said_with_the_path_and_marks_nothing_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    let mut ledger = Ledger::open(&path).unwrap();
    let run = load(&mut ledger, &["a", "b"], &[]);
    ledger.begin_work(run).unwrap();
    let lease = claim(&mut ledger, run).lease;
    let pages: i64 = ledger.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    ledger.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let done = Record { error: Some("long ".repeat(10_000)), ..Record::new(RowState::Done) };
    let refused = ledger.record(&lease, &[(identity("a"), done.clone()), (identity("b"), done)], "now");
    let error = refused.unwrap_err();
    assert!(error.to_string().contains("provisioner.ledger"), "{error}");
    assert!(with_causes(&error).contains("full"), "{}", with_causes(&error));
    assert_eq!(ledger.totals(run).unwrap().pending, 2);
}

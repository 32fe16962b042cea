//! The common behaviour of all kinds of ledgers.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use batch_file::ReadOptions;
use hub_types::identity::StatusReason;
use hub_types::{DeviceId, IdentityId, Sha1Thumbprint};

use super::*;
use crate::clock::Timestamp;
use crate::model::compare::{Difference, DifferencePath};
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::entry_settings::EntryOptions;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::maintenance::Maintenance;
use crate::model::options::{ApplyMode, ApplyRules, TwinPolicy};
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::model::spec::{AuthSpec, IdentitySpec, QUARANTINE, StateSpec};
use credentials::*;
use history::*;

mod credentials;
mod fencing;
mod history;
mod migration;
mod understanding;

fn spec(name: &str) -> IdentitySpec {
    IdentitySpec { identity: identity(name), state: StateSpec::default() }
}

pub(super) fn identity(name: &str) -> IdentityId {
    IdentityId::from_common_name(name).unwrap()
}

pub(super) fn now() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

const LEASE: Duration = Duration::from_secs(30);

type Case = (&'static str, fn(Ledger));

const CASES: &[Case] = &[
    ("chunks_hold_whole_units_with_the_device_first", chunks_hold_whole_units_with_the_device_first),
    ("a_level_waits_for_the_one_below_it", a_level_waits_for_the_one_below_it),
    (
        "what_was_under_way_is_given_out_again_with_all_that_is_known",
        what_was_under_way_is_given_out_again_with_all_that_is_known,
    ),
    ("a_run_that_is_not_committed_leaves_nothing", a_run_that_is_not_committed_leaves_nothing),
    ("the_options_of_a_run_come_back", the_options_of_a_run_come_back),
    ("what_a_plan_knows_of_rows_is_kept_with_the_run", what_a_plan_knows_of_rows_is_kept_with_the_run),
    ("totals_count_each_row_once", totals_count_each_row_once),
    ("issued_rows_are_no_longer_to_be_issued", issued_rows_are_no_longer_to_be_issued),
    (
        "a_row_with_a_thumbprint_is_never_issued_whatever_its_twin_says",
        a_row_with_a_thumbprint_is_never_issued_whatever_its_twin_says,
    ),
    (
        "a_credential_stays_with_its_first_owner_across_runs",
        a_credential_stays_with_its_first_owner_across_runs,
    ),
    (
        "a_credential_of_a_row_that_was_left_to_do_goes_to_a_later_owner_and_the_row_is_not_done",
        a_credential_of_a_row_that_was_left_to_do_goes_to_a_later_owner_and_the_row_is_not_done,
    ),
    (
        "a_row_that_failed_after_its_identity_was_written_keeps_its_credential",
        a_row_that_failed_after_its_identity_was_written_keeps_its_credential,
    ),
    (
        "a_run_that_did_nothing_for_an_identity_frees_the_credential_that_it_was_to_get",
        a_run_that_did_nothing_for_an_identity_frees_the_credential_that_it_was_to_get,
    ),
    ("credentials_that_were_taken_out_again_are_free", credentials_that_were_taken_out_again_are_free),
    ("a_row_that_failed_can_be_corrected", a_row_that_failed_can_be_corrected),
    ("a_run_remembers_who_began_it_and_who_worked_on_it", a_run_remembers_who_began_it_and_who_worked_on_it),
    (
        "the_progress_samples_of_a_session_come_back_in_order",
        the_progress_samples_of_a_session_come_back_in_order,
    ),
    ("a_row_remembers_what_was_there_before_and_after", a_row_remembers_what_was_there_before_and_after),
    (
        "verification_is_remembered_of_the_run_and_of_each_row",
        verification_is_remembered_of_the_run_and_of_each_row,
    ),
    ("the_serial_of_a_rows_certificate_is_remembered", the_serial_of_a_rows_certificate_is_remembered),
    (
        "an_undo_has_the_rows_that_a_run_created_and_frees_their_credentials",
        an_undo_has_the_rows_that_a_run_created_and_frees_their_credentials,
    ),
    (
        "a_device_is_held_by_the_run_that_disabled_it_on_this_hub",
        a_device_is_held_by_the_run_that_disabled_it_on_this_hub,
    ),
    ("what_was_given_away_is_not_claimed_again", what_was_given_away_is_not_claimed_again),
    ("rows_wait_until_their_device_is_there", rows_wait_until_their_device_is_there),
];

#[test]
fn sqlite_does_what_every_ledger_does() {
    for (name, case) in CASES {
        println!("{name}");
        case(Ledger::open_temporary().unwrap());
    }
}

#[test]
fn postgresql_does_what_every_ledger_does() {
    let server = e2e::Database::start().unwrap();
    for (index, (name, case)) in CASES.iter().enumerate() {
        println!("{name}");
        case(open(&server, &format!("case{index}")));
    }
    // And within a runtime, too.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { totals_count_each_row_once(open(&server, "within_a_runtime")) });
}

/// A new ledger on the server.
fn open(server: &e2e::Database, name: &str) -> Ledger {
    server.create(name).unwrap();
    open_again(server, name)
}

/// Another station's access to it.
fn open_again(server: &e2e::Database, name: &str) -> Ledger {
    Ledger::open(
        &LedgerLocation::choose(None, Some(&server.url_with_password(name))).unwrap(),
        StatusListener::default(),
    )
    .unwrap()
}

#[test]
fn a_station_that_slept_past_its_lease_writes_nothing_over_what_another_found() {
    let server = e2e::Database::start().unwrap();
    let mut sleeper = open(&server, "shared");
    let run = load(&mut sleeper, &["a", "b"], &[]);
    sleeper.begin_work(run, LEASE).unwrap();
    let old = claim(&mut sleeper, run);
    let mut other = open_again(&server, "shared");
    other.begin_work(run, LEASE).unwrap();
    assert!(matches!(other.claim(run).unwrap(), Claim::Wait), "the lease holds");
    sleeper.mark_sent(&old.lease, &[(identity("a"), Effect::Created).into()], &now()).unwrap();

    // The database's clock decides, and it says that the lease is over.
    server.sql("shared", "UPDATE provisioner.chunk SET expires = now() - INTERVAL '1 second'").unwrap();
    let new = claim(&mut other, run);
    assert_eq!(new.rows[0].record.state, RowState::Sent, "what was under way is known");
    record(&mut other, &new.lease, "a", Record::new(RowState::Unchanged));

    let lost =
        |result: Result<(), LedgerError>| assert!(matches!(result, Err(LedgerError::LeaseLost { .. })));
    lost(sleeper.record(
        &old.lease,
        &[(identity("a"), Record::failed(ReasonCode::RequestRefused, "late")).into()],
        &now(),
    ));
    lost(sleeper.mark_sent(&old.lease, &[(identity("b"), Effect::Created).into()], &now()));
    sleeper.renew_leases().unwrap();
    sleeper.release_leases().unwrap();
    lost(sleeper.finish_chunk(&old.lease));
    let totals = other.totals(run).unwrap();
    assert_eq!(totals, Totals { rows: 2, unchanged: 1, pending: 1, ..Totals::default() });
    assert!(matches!(sleeper.claim(run).unwrap(), Claim::Wait), "the other's lease was not given back");

    // A lease that is given back can be claimed at once, and one that is renewed can't.
    other.renew_leases().unwrap();
    assert!(matches!(sleeper.claim(run).unwrap(), Claim::Wait));
    other.release_leases().unwrap();
    assert_eq!(names(&claim(&mut sleeper, run).rows), ["b"]);
}

/// The requested state of an identity with the thumbprint of a text.
fn state_with(text: &str) -> StateSpec {
    let primary = Some(Sha1Thumbprint::of_der(text.as_bytes()).into());
    let auth = AuthSpec::Thumbprint { primary, secondary: None };
    StateSpec { auth, ..StateSpec::default() }
}

#[test]
fn stations_at_work_on_one_hub_are_counted_and_those_that_are_silent_are_not() {
    let server = e2e::Database::start().unwrap();
    let mut first = open(&server, "shared");
    let (run, other_run) = (load(&mut first, &["a"], &[]), load(&mut first, &["b"], &[]));
    let mut second = open_again(&server, "shared");
    let count = |ledger: &mut Ledger, run| {
        ledger.begin_work(run, LEASE).unwrap();
        ledger.count_stations(run).unwrap().get()
    };
    assert_eq!(count(&mut first, run), 1);
    assert_eq!(count(&mut first, run), 1, "nobody counts twice");
    // Another run, but the same hub.
    assert_eq!(count(&mut second, other_run), 2);
    assert_eq!(count(&mut first, run), 2);
    server.sql("shared", "UPDATE provisioner.station SET expires = now() - INTERVAL '1 second'").unwrap();
    assert_eq!(count(&mut first, run), 1, "the second is silent");
    assert_eq!(count(&mut second, run), 2, "and is heard again");
    second.release_leases().unwrap();
    assert_eq!(count(&mut first, run), 1);
    // Another hub has a budget of its own.
    server
        .sql("shared", &format!("UPDATE provisioner.run SET hub = 'other.example' WHERE id = {other_run}"))
        .unwrap();
    assert_eq!(count(&mut second, other_run), 1);
}

#[test]
fn a_station_outlives_a_restart_of_the_database() {
    let mut server = e2e::Database::start().unwrap();
    let mut ledger = open(&server, "shared");
    let run = load(&mut ledger, &["a"], &[]);
    ledger.begin_work(run, LEASE).unwrap();
    let lease = claim(&mut ledger, run).lease;
    server.restart().unwrap();
    record(&mut ledger, &lease, "a", created());
    server.restart().unwrap();
    assert_eq!(ledger.totals(run).unwrap(), Totals { rows: 1, created: 1, ..Totals::default() });
}

fn facts(options: &RunOptions) -> RunFacts<'_> {
    static BY: Operator = Operator { name: String::new(), station: String::new() };
    static STARTED: LazyLock<Timestamp> = LazyLock::new(now);
    RunFacts { hub: "hub.example", test_hub: false, input: "batch.csv", started: &STARTED, by: &BY, options }
}

/// Loads a run with these rows, the depths of some of whose devices are given.
pub(super) fn load(ledger: &mut Ledger, names: &[&str], depths: &[(&str, u32)]) -> RunId {
    let options = RunOptions::default();
    let loader = ledger.load_run(&facts(&options)).unwrap();
    for (line, name) in (2..).zip(names) {
        assert_eq!(loader.insert(line, &spec(name), &[]).unwrap(), None);
    }
    for (device, level) in depths {
        loader.set_depth(&device.parse().unwrap(), *level).unwrap();
    }
    loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
}

/// The result of a row that the run created.
fn created() -> Record {
    Record { effect: Some(Effect::Created), ..Record::new(RowState::Done) }
}

fn names(rows: &[LedgerRow]) -> Vec<String> {
    rows.iter().map(|row| row.spec.identity.to_string()).collect()
}

pub(super) fn claim(ledger: &mut Ledger, run: RunId) -> Chunk {
    match ledger.claim(run).unwrap() {
        Claim::Chunk(chunk) => chunk,
        other => panic!("{other:?}"),
    }
}

fn record(ledger: &mut Ledger, lease: &Lease, name: &str, record: Record) {
    ledger.record(lease, &[(identity(name), record).into()], &now()).unwrap();
}

fn chunks_hold_whole_units_with_the_device_first(mut ledger: Ledger) {
    let many: Vec<String> = (0..101).rev().map(|device| format!("d{device:03}")).collect();
    let mut rows: Vec<&str> = many.iter().map(String::as_str).collect();
    rows.extend(["d001/n", "d001/m", "d100/m"]);
    let run = load(&mut ledger, &rows, &[]);
    ledger.begin_work(run, LEASE).unwrap();
    let (first, second) = (claim(&mut ledger, run), claim(&mut ledger, run));
    assert_eq!(names(&first.rows)[..4], ["d000", "d001", "d001/m", "d001/n"]);
    assert_eq!(names(&second.rows), ["d100", "d100/m"]);
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Wait));
    ledger.finish_chunk(&first.lease).unwrap();
    ledger.finish_chunk(&second.lease).unwrap();
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Finished));
}

fn a_level_waits_for_the_one_below_it(mut ledger: Ledger) {
    let run = load(&mut ledger, &["gate", "leaf", "leaf/m"], &[("leaf", 1)]);
    ledger.begin_work(run, LEASE).unwrap();
    let below = claim(&mut ledger, run);
    assert_eq!(names(&below.rows), ["gate"]);
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Wait));
    ledger.finish_chunk(&below.lease).unwrap();
    assert_eq!(names(&claim(&mut ledger, run).rows), ["leaf", "leaf/m"]);
}

fn what_was_under_way_is_given_out_again_with_all_that_is_known(mut ledger: Ledger) {
    let run = load(&mut ledger, &["a", "b", "b/m", "c"], &[]);
    ledger.begin_work(run, LEASE).unwrap();
    let lease = claim(&mut ledger, run).lease;
    let sent = [(identity("a"), Effect::Created).into(), (identity("b"), Effect::Updated).into()];
    ledger.mark_sent(&lease, &sent, &now()).unwrap();
    record(&mut ledger, &lease, "b", Record::new(RowState::Conflict));
    ledger.release_leases().unwrap();
    ledger.begin_work(run, LEASE).unwrap();
    let again = claim(&mut ledger, run);
    assert_eq!(names(&again.rows), ["a", "b/m", "c"]);
    assert_eq!(
        (again.rows[0].record.state, again.rows[0].record.effect),
        (RowState::Sent, Some(Effect::Created))
    );
    assert_eq!(again.rows[2].record.state, RowState::Claimed);
    assert_eq!(again.closed, [("b".parse().unwrap(), RowState::Conflict)]);
}

fn a_run_that_is_not_committed_leaves_nothing(mut ledger: Ledger) {
    let options = RunOptions::default();
    ledger.load_run(&facts(&options)).unwrap().insert(2, &spec("a"), &[]).unwrap();
    assert!(ledger.runs().unwrap().is_empty());
}

fn the_options_of_a_run_come_back(mut ledger: Ledger) {
    let options = RunOptions {
        maintenance: Some(Maintenance::Undo { run: RunId(1) }),
        rules: ApplyRules { mode: ApplyMode::Upsert, twin: TwinPolicy::Merge },
        created_by_tag: Some("by".into()),
        issue: Some(IssueFolders { ca: "pki".into(), out: "pki/issued".into() }),
        quarantine: true,
        read: ReadOptions {
            map: vec![("Serial".into(), "device_id".into())],
            id_pattern: Some("[ab]".parse().unwrap()),
            modules: vec!["m".parse().unwrap()],
            ignore: vec!["ERP*".parse().unwrap()],
            columns: vec!["Serial".into(), "x_a".into()],
        },
        profile: Some("gateway".into()),
        plan: Some(Sha256Digest::of(b"plan")),
        service: ServiceKind::Dps,
        entries: EntryOptions { iot_hubs: vec!["h.example".into()], ..EntryOptions::default() },
        follow: Some(Followed { dps: Some("factory.example".into()) }),
    };
    let run = ledger.load_run(&facts(&options)).unwrap().commit(Sha256Digest::of(b"batch"), 3).unwrap();
    let run = ledger.run(Some(run)).unwrap();
    assert_eq!((run.options, run.rejected, run.input_sha256), (options, 3, Sha256Digest::of(b"batch")));
}

fn totals_count_each_row_once(mut ledger: Ledger) {
    let run = load(&mut ledger, &["a", "b", "c", "d", "e"], &[]);
    ledger.begin_work(run, LEASE).unwrap();
    let lease = claim(&mut ledger, run).lease;
    ledger
        .mark_sent(&lease, &["a", "b"].map(|name| (identity(name), Effect::Created).into()), &now())
        .unwrap();
    let done = |effect| Record { effect: Some(effect), ..Record::new(RowState::Done) };
    record(&mut ledger, &lease, "a", done(Effect::Created));
    record(&mut ledger, &lease, "c", done(Effect::Updated));
    record(&mut ledger, &lease, "d", Record::failed(ReasonCode::RequestRefused, "disk on fire"));
    let totals = ledger.totals(run).unwrap();
    assert_eq!(
        totals,
        Totals { rows: 5, created: 1, updated: 1, failed: 1, pending: 2, ..Totals::default() }
    );
    assert!(totals.add_up() && !totals.all_well());
    assert_eq!(ledger.row(run, &identity("nobody")).unwrap(), None);
    let remarkable = ledger.page(run, RowFilter::Remarkable, None, 10).unwrap();
    assert_eq!(names(&remarkable), ["b", "d"]);
    assert_eq!(remarkable[1].record.error.as_deref(), Some("disk on fire"));
    assert_eq!(ledger.row(run, &identity("d")).unwrap().as_ref(), Some(&remarkable[1]));
    assert_eq!(ledger.count(run, RowFilter::Failed).unwrap(), 1);
}

fn issued_rows_are_no_longer_to_be_issued(mut ledger: Ledger) {
    let run = load(&mut ledger, &["a", "b"], &[]);
    let mut rows = ledger.page(run, RowFilter::ToBeIssued, None, 10).unwrap();
    assert_eq!(names(&rows), ["a", "b"]);
    let issued = AuthSpec::Thumbprint { primary: "AB".repeat(32).parse().ok(), secondary: None };
    rows[0].spec.state.auth = issued;
    ledger.replace_wanted(run, &[(&rows[0].spec, "0A")]).unwrap();
    assert_eq!(names(&ledger.page(run, RowFilter::ToBeIssued, None, 10).unwrap()), ["b"]);
    ledger.begin_work(run, LEASE).unwrap();
    let issued = &claim(&mut ledger, run).rows[0];
    assert_eq!((&issued.spec, issued.serial.as_deref()), (&rows[0].spec, Some("0A")));
}

fn a_row_with_a_thumbprint_is_never_issued_whatever_its_twin_says(mut ledger: Ledger) {
    let mut row = spec("a");
    row.state.auth = AuthSpec::X509Ca;
    Arc::make_mut(&mut row.state.tags).insert("note".to_owned(), "issued_certificate".into());
    Arc::make_mut(&mut row.state.tags).insert("sas".to_owned(), serde_json::json!({"given": true}));
    let options = RunOptions::default();
    let loader = ledger.load_run(&facts(&options)).unwrap();
    loader.insert(2, &row, &[]).unwrap();
    let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    assert_eq!(ledger.count(run, RowFilter::ToBeIssued).unwrap(), 0);
    assert_eq!(ledger.count(run, RowFilter::GivenKeys).unwrap(), 0);
}

fn rows_wait_until_their_device_is_there(mut ledger: Ledger) {
    // The rows of a run on a DPS: two devices are enrolled, and one is not.
    let enrolled = load(&mut ledger, &["a", "a/m", "b", "b/m", "c", "c/m"], &[]);
    let mut records: Vec<_> = ["a", "b"].map(|name| (identity(name), created())).into();
    records.extend(["a/m", "b/m"].map(|name| (identity(name), Record::new(RowState::Waiting))));
    records.push((identity("c"), Record::failed(ReasonCode::RequestRefused, "no")));
    records.push((identity("c/m"), Record::skipped(ReasonCode::DeviceRowNotDone, "no")));
    ledger.refuse(enrolled, &records, &now()).unwrap();
    let etags = Etags { identity: Some("1".to_owned().into()), twin: None };
    ledger.set_seen(enrolled, &[VerifiedRow { identity: identity("a"), etags, drift: None }]).unwrap();

    let options = RunOptions::default();
    let loader = ledger.load_run(&facts(&options)).unwrap();
    assert_eq!(loader.insert_from(enrolled, RowFilter::Followed).unwrap(), 4);
    loader.await_devices().unwrap();
    let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    let rows = ledger.page(run, RowFilter::All, None, 10).unwrap();
    assert!(
        rows.iter().all(|row| row.record == Record::new(RowState::Waiting) && row.before == Etags::default())
    );
    assert_eq!(ledger.count(run, RowFilter::WaitingDevices).unwrap(), 2);
    assert_eq!(ledger.count(run, RowFilter::ToBeIssued).unwrap(), 4);
    let [a, b] = ["a", "b"].map(|id| id.parse::<DeviceId>().unwrap());
    assert_eq!(ledger.awaited_devices(run, None, 10).unwrap(), [a.clone(), b.clone()]);
    assert_eq!(ledger.awaited_devices(run, None, 1).unwrap(), std::slice::from_ref(&a));
    assert_eq!(ledger.awaited_devices(run, Some(&a), 10).unwrap(), std::slice::from_ref(&b));

    // Nothing is to be done before a device has registered.
    ledger.begin_work(run, LEASE).unwrap();
    let chunk = claim(&mut ledger, run);
    assert_eq!(chunk.rows, []);
    ledger.finish_chunk(&chunk.lease).unwrap();
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Finished));
    let left = |is_unfinished, waits| RowsLeft { is_unfinished, waits };
    assert_eq!(ledger.wake_stranded(run).unwrap(), left(false, true));
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Finished));

    assert_eq!(ledger.wake(run, std::slice::from_ref(&b)).unwrap(), 2);
    assert_eq!(ledger.wake(run, std::slice::from_ref(&b)).unwrap(), 0);
    let chunk = claim(&mut ledger, run);
    assert_eq!(names(&chunk.rows), ["b", "b/m"]);
    // While this chunk is at work, a second device registers.
    assert_eq!(ledger.wake(run, std::slice::from_ref(&a)).unwrap(), 2);
    record(&mut ledger, &chunk.lease, "b", Record::new(RowState::Unchanged));
    // It was deleted meanwhile.
    record(&mut ledger, &chunk.lease, "b/m", Record::new(RowState::Waiting));
    ledger.finish_chunk(&chunk.lease).unwrap();
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Finished));
    assert_eq!(ledger.wake_stranded(run).unwrap(), left(true, true));
    let chunk = claim(&mut ledger, run);
    assert_eq!(names(&chunk.rows), ["a", "a/m"]);
    record(&mut ledger, &chunk.lease, "a", Record::new(RowState::Waiting));
    record(&mut ledger, &chunk.lease, "a/m", Record::new(RowState::Waiting));
    ledger.finish_chunk(&chunk.lease).unwrap();

    // The modules of a device that is not to be have nothing to wait for.
    ledger.refuse(run, &[(identity("a"), Record::failed(ReasonCode::RequestRefused, "no"))], &now()).unwrap();
    assert_eq!(ledger.wake_stranded(run).unwrap(), left(true, true));
    let chunk = claim(&mut ledger, run);
    assert_eq!(names(&chunk.rows), ["a/m"]);
    assert_eq!(chunk.closed, [(a, RowState::Failed)]);
    record(&mut ledger, &chunk.lease, "a/m", Record::new(RowState::Skipped));
    ledger.finish_chunk(&chunk.lease).unwrap();
    ledger.refuse(run, &[(identity("b/m"), Record::new(RowState::Unchanged))], &now()).unwrap();
    assert_eq!(ledger.wake_stranded(run).unwrap(), left(false, false));
}

fn a_device_is_held_by_the_run_that_disabled_it_on_this_hub(mut ledger: Ledger) {
    let reason = |text: &str| StatusReason::new(text).unwrap();
    let begin = |ledger: &mut Ledger, maintenance: Option<Maintenance>, quarantine: bool| {
        let options = RunOptions { maintenance, quarantine, ..RunOptions::default() };
        let loader = ledger.load_run(&facts(&options)).unwrap();
        for name in ["a", "a/m", "b"] {
            let mut spec = spec(name);
            if quarantine && spec.identity.module().is_none() {
                spec.state.quarantine();
            }
            loader.insert(2, &spec, &[]).unwrap();
        }
        loader.commit(Sha256Digest::of(b"batch"), 0).unwrap()
    };
    let quarantine = begin(&mut ledger, None, true);
    let scrapped = Maintenance::Disable { reason: reason("scrapped") };
    let retire = begin(&mut ledger, Some(scrapped), false);
    let release = begin(&mut ledger, Some(Maintenance::Release { run: None }), false);
    let held_by =
        |run| Record { effect: Some(Effect::Created), held_by: Some(run), ..Record::new(RowState::Done) };
    let hold = |ledger: &mut Ledger, device: &str, before| {
        let hold = ledger.hold("hub.example", &identity(device), before).unwrap();
        hold.map(|hold| (hold.run, hold.reason.as_str().to_owned(), hold.released_reason))
    };
    assert_eq!(hold(&mut ledger, "a", None), None);
    ledger.refuse(quarantine, &[(identity("a"), held_by(quarantine))], &now()).unwrap();
    assert_eq!(hold(&mut ledger, "a", None), Some((quarantine, QUARANTINE.to_owned(), None)));
    assert_eq!(hold(&mut ledger, "b", None), None);
    assert_eq!(ledger.hold("another.example", &identity("a"), None).unwrap(), None);
    let totals = ledger.totals(quarantine).unwrap();
    assert_eq!(totals, Totals { rows: 3, created: 1, held: 1, pending: 2, ..Totals::default() });
    let held = |run, retired| vec![HeldDevices { run, devices: 1, retired }];
    assert_eq!(ledger.held_devices(quarantine).unwrap(), held(quarantine, false));

    // What a request is to do is known before it leaves.
    ledger.begin_work(retire, LEASE).unwrap();
    let lease = claim(&mut ledger, retire).lease;
    let sent = Sent {
        held_by: Some(retire),
        status_reason_before: Some(reason("line 3")),
        ..(identity("b"), Effect::Updated).into()
    };
    ledger.mark_sent(&lease, &[sent], &now()).unwrap();
    // It may have had its effect.
    assert_eq!(names(&ledger.page(retire, RowFilter::Disabled, None, 10).unwrap()), ["b"]);
    assert_eq!(ledger.totals(retire).unwrap().to_disable, 1);
    let retired = Some((retire, "scrapped".to_owned(), Some(reason("line 3"))));
    assert_eq!(hold(&mut ledger, "b", None), retired);
    record(&mut ledger, &lease, "b", held_by(retire));
    assert_eq!(hold(&mut ledger, "b", None), retired);
    let disabled = ledger.page(retire, RowFilter::Disabled, None, 10).unwrap();
    assert_eq!(names(&disabled), ["b"]);
    assert_eq!(ledger.held_devices(retire).unwrap(), held(retire, true));

    let released = Record { effect: Some(Effect::Updated), ..Record::new(RowState::Done) };
    ledger.refuse(release, &[(identity("b"), released)], &now()).unwrap();
    assert_eq!(hold(&mut ledger, "b", None), None);
    assert_eq!(hold(&mut ledger, "b", Some(release)), retired);
    assert_eq!(ledger.last_change("hub.example", &identity("b"), quarantine).unwrap(), Some(release));
    assert_eq!(ledger.last_change("hub.example", &identity("b"), release).unwrap(), None);
    assert_eq!(ledger.held_devices(release).unwrap(), []);

    // What an interrupted run was to disable, a later one has put into quarantine as it is.
    let interrupted = begin(&mut ledger, None, true);
    ledger.begin_work(interrupted, LEASE).unwrap();
    let lease = claim(&mut ledger, interrupted).lease;
    let sent = Sent { held_by: Some(interrupted), ..(identity("a"), Effect::Created).into() };
    ledger.mark_sent(&lease, &[sent], &now()).unwrap();
    assert_eq!(ledger.totals(interrupted).unwrap().to_disable, 1);
    let later = begin(&mut ledger, None, true);
    let found = Record { held_by: Some(later), ..Record::new(RowState::Unchanged) };
    ledger.refuse(later, &[(identity("a"), found)], &now()).unwrap();
    assert_eq!(
        ledger.totals(interrupted).unwrap().to_disable,
        0,
        "nobody needs to resume it for this device"
    );
    assert_eq!(names(&ledger.page(later, RowFilter::Disabled, None, 10).unwrap()), ["a"]);
    assert_eq!(ledger.count(release, RowFilter::Updated).unwrap(), 1);
}

fn what_a_plan_knows_of_rows_is_kept_with_the_run(mut ledger: Ledger) {
    let options = RunOptions::default();
    let etags = Etags { identity: Some("1".to_owned().into()), twin: Some("2".to_owned().into()) };
    let loader = ledger.load_run(&facts(&options)).unwrap();
    for (line, name) in (2..).zip(["a", "b"]) {
        loader.insert(line, &spec(name), &[]).unwrap();
    }
    loader.expect(&[(identity("a"), etags.clone()), (identity("b"), Etags::default())]).unwrap();
    loader.refuse(&[(identity("b"), Record::failed(ReasonCode::RequestRefused, "no"))], &now()).unwrap();
    let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    let totals = ledger.totals(run).unwrap();
    assert_eq!((totals.pending, totals.failed), (1, 1));
    ledger.begin_work(run, LEASE).unwrap();
    let chunk = claim(&mut ledger, run);
    assert_eq!(chunk.rows.len(), 1);
    assert_eq!(chunk.rows[0].before, etags);
    assert_eq!(chunk.closed.len(), 1);
}

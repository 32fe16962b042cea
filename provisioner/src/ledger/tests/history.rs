//! The history in a ledger for reports: operators, times, and the state before and after.

use serde_json::json;

use super::*;
use crate::hub::rate_limit::CallStats;
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::run_id::RunId;

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn operator(name: &str, station: &str) -> Operator {
    Operator { name: name.into(), station: station.into() }
}

fn etags(identity: &str, twin: &str) -> Etags {
    Etags { identity: Some(identity.to_owned().into()), twin: Some(twin.to_owned().into()) }
}

fn row(ledger: &mut Ledger, run: RunId, name: &str) -> LedgerRow {
    let rows = ledger.page(run, RowFilter::All, None, 100).unwrap();
    rows.into_iter().find(|row| row.spec.identity == identity(name)).unwrap()
}

pub(super) fn a_run_remembers_who_began_it_and_who_worked_on_it(mut ledger: Ledger) {
    let (options, ada) = (RunOptions::default(), operator("ada", "line-3"));
    let loader = ledger.load_run(&RunFacts { by: &ada, ..facts(&options) }).unwrap();
    let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    ledger.begin_session(run, &ada, &at("2026-11-22T10:00:00Z")).unwrap();
    ledger.begin_session(run, &operator("bob", "line-4"), &at("2026-11-22T11:00:00Z")).unwrap();
    assert_eq!(ledger.run(Some(run)).unwrap().by, ada);
    let sessions = ledger.sessions(run).unwrap();
    let known: Vec<_> = sessions
        .iter()
        .map(|session| (session.number, session.by.name.as_str(), session.by.station.as_str()))
        .collect();
    assert_eq!(known, [(1, "ada", "line-3"), (2, "bob", "line-4")]);
    assert_eq!(sessions[1].started, at("2026-11-22T11:00:00Z"));
}

pub(super) fn the_progress_samples_of_a_session_come_back_in_order(mut ledger: Ledger) {
    let run = load(&mut ledger, &["a"], &[]);
    let sample = |seconds: u64| ProgressSample {
        elapsed: Duration::from_millis(seconds * 1000 + 1),
        rows: seconds * 10,
        stats: CallStats {
            calls: seconds,
            failed: 1,
            throttled: 2,
            throttled_for: Duration::from_millis(1500),
            outage_for: Duration::from_secs(3),
        },
    };
    ledger.begin_session(run, &Operator::default(), &now()).unwrap();
    for seconds in [2, 10, 4] {
        ledger.add_progress_sample(run, &sample(seconds)).unwrap();
    }
    ledger.begin_session(run, &Operator::default(), &now()).unwrap();
    ledger.add_progress_sample(run, &sample(7)).unwrap();
    assert_eq!(ledger.progress_samples(run, 1).unwrap(), [2, 4, 10].map(sample));
    assert_eq!(ledger.progress_samples(run, 2).unwrap(), [sample(7)]);
}

pub(super) fn a_row_remembers_what_was_there_before_and_after(mut ledger: Ledger) {
    let run = load(&mut ledger, &["a", "b"], &[]);
    ledger.begin_session(run, &operator("ada", "line-3"), &now()).unwrap();
    ledger.begin_work(run, LEASE).unwrap();
    let lease = claim(&mut ledger, run).lease;
    let sent = |before| Sent { before, ..(identity("a"), Effect::Updated).into() };
    ledger.mark_sent(&lease, &[sent(etags("1", "2"))], &at("2026-11-22T10:00:01Z")).unwrap();
    // Sent once more: what was there before the first time counts, and so does the time.
    ledger.mark_sent(&lease, &[sent(etags("3", "4"))], &at("2026-11-22T10:00:02Z")).unwrap();
    let reason = Some(ReasonCode::TwinKept);
    let record = Record { effect: Some(Effect::Updated), reason, ..Record::new(RowState::Done) };
    let ended = Ended { before: etags("5", "6"), after: etags("7", "8"), ..(identity("a"), record).into() };
    ledger.record(&lease, &[ended], &at("2026-11-22T10:00:03Z")).unwrap();
    let done = row(&mut ledger, run, "a");
    assert_eq!((&done.before, &done.etags), (&etags("1", "2"), &etags("7", "8")));
    assert_eq!(done.sent, Some(at("2026-11-22T10:00:01Z")));
    assert_eq!(done.ended, Some(at("2026-11-22T10:00:03Z")));
    assert_eq!((done.session, done.record.reason), (Some(1), reason));
    let untouched = row(&mut ledger, run, "b");
    assert_eq!((untouched.before, untouched.sent, untouched.session), (Etags::default(), None, None));
}

pub(super) fn verification_is_remembered_of_the_run_and_of_each_row(mut ledger: Ledger) {
    let run = load(&mut ledger, &["a", "b", "c"], &[]);
    let difference =
        Difference { path: DifferencePath::Status, expected: json!("enabled"), found: json!("disabled") };
    let seen = |name, drift| VerifiedRow { identity: identity(name), etags: etags("1", "2"), drift };
    let all = [seen("a", None), seen("b", Some(vec![difference.clone()])), seen("c", Some(Vec::new()))];
    ledger.set_seen(run, &all).unwrap();
    assert_eq!(row(&mut ledger, run, "b").drift, Some(vec![difference]));
    assert_eq!(row(&mut ledger, run, "c").drift, Some(Vec::new()), "it is missing");
    assert_eq!(names(&ledger.page(run, RowFilter::Remarkable, None, 10).unwrap()), ["b", "c"]);
    // What is mended and verified again is well.
    ledger.set_seen(run, &[seen("b", None)]).unwrap();
    assert_eq!(row(&mut ledger, run, "b").drift, None);
    assert_eq!(ledger.run(Some(run)).unwrap().verification, None);
    let verification = Verification {
        at: now(),
        checked: 3,
        equal: 2,
        twin_written_since: 0,
        held: 0,
        missing: 1,
        different: 0,
    };
    ledger.set_verification(run, &verification).unwrap();
    assert_eq!(ledger.run(Some(run)).unwrap().verification, Some(verification));
}

pub(super) fn the_serial_of_a_rows_certificate_is_remembered(mut ledger: Ledger) {
    let options = RunOptions::default();
    let loader = ledger.load_run(&facts(&options)).unwrap();
    let serial = Credential::serial("CN=of steel", "0A1B");
    assert_eq!(loader.insert(2, &spec("a"), &[Credential::public_key(b"key"), serial]).unwrap(), None);
    assert_eq!(loader.insert(3, &spec("b"), &[]).unwrap(), None);
    let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    assert_eq!(row(&mut ledger, run, "a").serial.as_deref(), Some("0A1B"));
    assert_eq!(row(&mut ledger, run, "b").serial, None);
}

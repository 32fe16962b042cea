//! Leases that are lost, and databases that come back without the end of what was written to them.

use super::*;
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;

/// As a standby has it that took over without the last writes.
fn go_back(server: &e2e::Database, name: &str, sql: &str) {
    server.sql(name, &format!("SET search_path TO provisioner; {sql}")).unwrap();
    server
        .sql(
            name,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .unwrap();
}

fn is_lost(result: Result<(), LedgerError>) {
    assert!(matches!(result, Err(LedgerError::LeaseLost { .. })), "{result:?}");
}

#[test]
fn the_same_fence_given_twice_is_told_apart_by_its_token() {
    let server = e2e::Database::start().unwrap();
    let mut first = open(&server, "shared");
    let run = load(&mut first, &["a"], &[]);
    first.begin_work(run, LEASE).unwrap();
    let old = claim(&mut first, run).lease;
    // The claim is forgotten, and the chunk is given out again: with the same number.
    go_back(&server, "shared", "UPDATE chunk SET fence = 0, token = NULL, expires = NULL");
    let mut second = open_again(&server, "shared");
    second.begin_work(run, LEASE).unwrap();
    let new = claim(&mut second, run).lease;
    assert_eq!((old.fence, old.chunk), (new.fence, new.chunk));
    is_lost(first.mark_sent(&old, &[(identity("a"), Effect::Created).into()], &now()));
    is_lost(first.record(&old, &[(identity("a"), Record::new(RowState::Conflict)).into()], &now()));
    is_lost(first.finish_chunk(&old));
    first.renew_leases().unwrap();
    first.release_leases().unwrap();
    second.mark_sent(&new, &[(identity("a"), Effect::Created).into()], &now()).unwrap();
    record(&mut second, &new, "a", created());
    second.finish_chunk(&new).unwrap();
    assert!(matches!(second.claim(run).unwrap(), Claim::Finished));
}

#[test]
fn a_chunk_whose_rows_were_forgotten_is_not_done() {
    let server = e2e::Database::start().unwrap();
    let mut ledger = open(&server, "shared");
    let run = load(&mut ledger, &["a", "b"], &[]);
    ledger.begin_work(run, LEASE).unwrap();
    let lease = claim(&mut ledger, run).lease;
    record(&mut ledger, &lease, "a", created());
    record(&mut ledger, &lease, "b", created());
    go_back(&server, "shared", r#"UPDATE "row" SET state = 'claimed', effect = NULL WHERE device_id = 'b'"#);
    ledger.renew_leases().unwrap();
    is_lost(ledger.finish_chunk(&lease));
    let again = claim(&mut ledger, run);
    assert_eq!(names(&again.rows), ["b"], "what was forgotten is given out again");
    // A run is not over while the database knows of something to do.
    let ended = ledger.end_run(run, RunState::Finished, &now());
    assert!(matches!(ended, Err(LedgerError::Forgotten { .. })), "{ended:?}");
    record(&mut ledger, &again.lease, "b", Record::new(RowState::Unchanged));
    ledger.finish_chunk(&again.lease).unwrap();
    ledger.end_run(run, RunState::Finished, &now()).unwrap();
}

#[test]
fn another_run_of_the_same_number_is_not_taken_for_this_one() {
    let server = e2e::Database::start().unwrap();
    let mut ledger = open(&server, "shared");
    let run = load(&mut ledger, &["a"], &[]);
    ledger.begin_work(run, LEASE).unwrap();
    // The database forgot the run, and another station began one, which got its number.
    go_back(&server, "shared", "UPDATE run SET token = '\\x00'");
    for forgotten in [ledger.claim(run).map(drop), ledger.end_run(run, RunState::Interrupted, &now())] {
        assert!(matches!(forgotten, Err(LedgerError::Forgotten { .. })), "{forgotten:?}");
    }
    assert_eq!(open_again(&server, "shared").run(Some(run)).unwrap().state, RunState::Running);
}

#[test]
fn a_file_asks_for_the_token_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    let mut ledger = Ledger::open(&LedgerLocation::File(path.clone()), StatusListener::default()).unwrap();
    let run = load(&mut ledger, &["a"], &[]);
    ledger.begin_work(run, LEASE).unwrap();
    let lease = claim(&mut ledger, run).lease;
    // As another process leaves it that has the file because the lock does not work where it lies.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE chunk SET token = x'00'", []).unwrap();
    is_lost(ledger.mark_sent(&lease, &[(identity("a"), Effect::Created).into()], &now()));
    is_lost(ledger.record(&lease, &[(identity("a"), created()).into()], &now()));
    is_lost(ledger.finish_chunk(&lease));
    assert_eq!(ledger.totals(run).unwrap().pending, 1);
    ledger.begin_work(run, LEASE).unwrap();
    let lease = claim(&mut ledger, run).lease;
    record(&mut ledger, &lease, "a", created());
    ledger.finish_chunk(&lease).unwrap();
    assert!(matches!(ledger.claim(run).unwrap(), Claim::Finished));
}

#[test]
fn a_run_that_was_being_loaded_when_the_database_went_is_loaded_again_whole() {
    let mut server = e2e::Database::start().unwrap();
    let mut ledger = open(&server, "shared");
    let options = RunOptions::default();
    let load = |ledger: &mut Ledger, between: &mut dyn FnMut()| {
        let loader = ledger.load_run(&facts(&options))?;
        for number in 0..2_500 {
            loader.insert(number, &spec(&format!("d{number:04}")), &[])?;
            if number == 1_500 {
                between();
            }
        }
        loader.commit(Sha256Digest::of(b"batch"), 0)
    };
    let broken = load(&mut ledger, &mut || server.restart().unwrap());
    assert!(matches!(broken, Err(LedgerError::LoadingBroken { .. })), "{broken:?}");
    let run = load(&mut ledger, &mut || ()).unwrap();
    assert_eq!(ledger.totals(run).unwrap().pending, 2_500);
    assert_eq!(ledger.runs().unwrap().len(), 1, "nothing is left of the first try");
}

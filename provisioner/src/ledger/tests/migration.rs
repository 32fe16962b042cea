//! Ledgers of older versions are brought up to date when they are opened, and nothing is lost.

use super::*;
use rusqlite::Connection;

const OLD_FILE: &str = include_str!("version_2.sql");
const OLD_DATABASE: &str = include_str!("version_1_shared.sql");

#[test]
fn a_file_of_version_2_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    Connection::open(&path).unwrap().execute_batch(OLD_FILE).unwrap();
    let location = LedgerLocation::File(path.clone());
    nothing_is_lost(&mut Ledger::open_to_read(&location).unwrap());
    nothing_is_lost(&mut Ledger::open(&location).unwrap());

    let new = folder.path().join("new.ledger");
    drop(Ledger::open(&LedgerLocation::File(new.clone())).unwrap());
    assert_eq!(columns(&path), columns(&new), "it has all that a new one has");
}

#[test]
fn a_database_of_the_first_version_is_brought_up_to_date() {
    let server = ::tests::Database::start().unwrap();
    server.create("old").unwrap();
    server.sql("old", OLD_DATABASE).unwrap();
    let mut ledger = open_again(&server, "old");
    nothing_is_lost(&mut ledger);
    nothing_is_lost(&mut open_again(&server, "old"));
    let run = ledger.run(None).unwrap().id;
    ledger.begin_work(run, LEASE).unwrap();
    assert_eq!(ledger.count_stations(run).unwrap().get(), 1, "it got the table of stations");

    drop(open(&server, "new"));
    let columns = |name| {
        let list = "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns \
                    WHERE table_schema = 'provisioner' ORDER BY 1, 2";
        server.sql(name, list).unwrap()
    };
    assert_eq!(columns("old"), columns("new"), "it has all that a new one has");
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    match Ledger::open(&LedgerLocation::File(path.clone())) {
        Err(LedgerError::Version { found, known, .. }) => assert_eq!((found, known), (VERSION + 1, VERSION)),
        other => panic!("{other:?}"),
    }
    assert!(columns(&path).is_empty());
}

fn nothing_is_lost(ledger: &mut Ledger) {
    let run = ledger.run(None).unwrap();
    assert_eq!((run.input.as_str(), run.by, run.verification), ("batch.csv", Operator::default(), None));
    assert_eq!(ledger.stints(run.id).unwrap(), []);
    let totals = ledger.totals(run.id).unwrap();
    assert_eq!(totals, Totals { rows: 3, created: 1, rejected: 1, pending: 1, ..Totals::default() });
    let rows = ledger.page(run.id, RowFilter::All, None, 10).unwrap();
    let [done, pending] = rows.as_slice() else { panic!("{rows:?}") };
    let etag = |text: &str| Some(text.to_owned().into());
    let seen = Etags { identity: etag("I1"), twin: etag("T1") };
    assert_eq!((&done.before, &done.etags), (&Etags::default(), &seen));
    assert_eq!(done.ended.as_deref(), Some("2026-11-20T10:00:05Z"));
    // What the plan expects is still to be compared with what is there.
    let planned = Etags { identity: etag("I2"), twin: etag("T2") };
    assert_eq!((&pending.before, &pending.etags), (&planned, &Etags::default()));
}

/// Each column of each table.
fn columns(path: &std::path::Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut list = connection
        .prepare(
            "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\"
             FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1",
        )
        .unwrap();
    list.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

//! Ledgers of older versions are brought up to date when they are opened, and nothing is lost.

use rusqlite::Connection;

use super::*;

/// Files of each version.
const OLD_FILES: [&str; 4] = [
    include_str!("version_1.sql"),
    include_str!("version_2.sql"),
    include_str!("version_3.sql"),
    include_str!("version_4.sql"),
];
/// Databases likewise: there was no version 2 of them.
const OLD_DATABASES: [&str; 3] = [
    include_str!("version_1_shared.sql"),
    include_str!("version_3_shared.sql"),
    include_str!("version_4_shared.sql"),
];

#[test]
fn a_file_of_an_older_version_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let new = folder.path().join("new.ledger");
    drop(Ledger::open(&LedgerLocation::File(new.clone()), StatusListener::default()).unwrap());
    for (number, old) in OLD_FILES.iter().enumerate() {
        let path = folder.path().join(format!("{number}.ledger"));
        Connection::open(&path).unwrap().execute_batch(old).unwrap();
        let location = LedgerLocation::File(path.clone());
        nothing_is_lost(&mut Ledger::open_to_read(&location, StatusListener::default()).unwrap());
        nothing_is_lost(&mut Ledger::open(&location, StatusListener::default()).unwrap());
        assert_eq!(columns(&path), columns(&new), "it has all that a new one has");
    }
}

#[test]
fn a_database_of_an_older_version_is_brought_up_to_date() {
    let server = e2e::Database::start().unwrap();
    drop(open(&server, "new"));
    let columns = |name: &str| {
        let list = "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns \
                    WHERE table_schema = 'provisioner' ORDER BY 1, 2";
        server.sql(name, list).unwrap()
    };
    for (number, old) in OLD_DATABASES.iter().enumerate() {
        let name = format!("old_{number}");
        server.create(&name).unwrap();
        server.sql(&name, old).unwrap();
        let mut ledger = open_again(&server, &name);
        nothing_is_lost(&mut ledger);
        nothing_is_lost(&mut open_again(&server, &name));
        let run = ledger.run(None).unwrap().id;
        ledger.begin_work(run, LEASE).unwrap();
        assert_eq!(ledger.count_stations(run).unwrap().get(), 1, "it got the table of stations");
        assert_eq!(columns(&name), columns("new"), "it has all that a new one has");
    }
}

/// Programs of version 4 and this one work on the same ledgers, so the columns of that version never
/// change. They were written down when that version was made.
#[test]
fn the_columns_of_version_4_are_still_defined_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old.ledger", "new.ledger"].map(|name| folder.path().join(name));
    Connection::open(&old).unwrap().execute_batch(OLD_FILES[3]).unwrap();
    drop(Ledger::open(&LedgerLocation::File(new.clone()), StatusListener::default()).unwrap());
    let definitions = |path| {
        listed(
            path,
            "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || c.pk || ' ' ||
                    coalesce(c.dflt_value, 'no default')
             FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'
             UNION ALL SELECT name || ' on ' || tbl_name FROM sqlite_master WHERE type = 'index'",
        )
    };
    let new = definitions(&new);
    for definition in definitions(&old) {
        assert!(new.contains(&definition), "{definition} is not in {new:#?}");
    }

    let server = ::e2e::Database::start().unwrap();
    server.create("old").unwrap();
    server.sql("old", OLD_DATABASES[2]).unwrap();
    drop(open(&server, "new"));
    let definitions = |name: &str| {
        let list = "SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default,
                                     collation_name, is_identity, identity_generation)
                    FROM information_schema.columns WHERE table_schema = 'provisioner'
                    UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'provisioner'";
        server.sql(name, list).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let new = definitions("new");
    for definition in definitions("old") {
        assert!(new.contains(&definition), "{definition} is not in {new:#?}");
    }
}

#[test]
fn a_file_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    drop(Ledger::open(&LedgerLocation::File(path.clone()), StatusListener::default()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", VERSION + 1).unwrap();
    let before = columns(&path);
    match Ledger::open(&LedgerLocation::File(path.clone()), StatusListener::default()) {
        Err(LedgerError::Version { found, known, .. }) => assert_eq!((found, known), (VERSION + 1, VERSION)),
        other => panic!("{other:?}"),
    }
    assert_eq!(columns(&path), before);
}

fn nothing_is_lost(ledger: &mut Ledger) {
    let run = ledger.run(None).unwrap();
    assert_eq!((run.input.as_str(), run.by, run.verification), ("batch.csv", Operator::default(), None));
    assert_eq!(ledger.sessions(run.id).unwrap(), []);
    let totals = ledger.totals(run.id).unwrap();
    assert_eq!(totals, Totals { rows: 3, created: 1, rejected: 1, pending: 1, ..Totals::default() });
    let rows = ledger.page(run.id, RowFilter::All, None, 10).unwrap();
    let [done, pending] = rows.as_slice() else { panic!("{rows:?}") };
    let etag = |text: &str| Some(text.to_owned().into());
    let seen = Etags { identity: etag("I1"), twin: etag("T1") };
    assert_eq!((&done.before, &done.etags), (&Etags::default(), &seen));
    assert_eq!(
        (done.ended.as_ref().map(Timestamp::as_str), done.record.reason),
        (Some("2026-11-20T10:00:05Z"), None)
    );
    // What the plan expects is still to be compared with what is there.
    let planned = Etags { identity: etag("I2"), twin: etag("T2") };
    assert_eq!((&pending.before, &pending.etags), (&planned, &Etags::default()));
}

/// Each column of each table.
fn columns(path: &std::path::Path) -> Vec<String> {
    listed(
        path,
        "SELECT m.name || '.' || c.name || ' ' || c.type || ' ' || c.\"notnull\"
         FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY 1",
    )
}

fn listed(path: &std::path::Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut list = connection.prepare(sql).unwrap();
    list.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

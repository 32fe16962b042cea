use super::*;
use crate::ledger::tests::{claim, identity, load, now};
use crate::ledger::{Ledger, RowFilter, RowState};
use crate::model::effect::Effect;

/// Opens a ledger that was just closed. A test beside this one may be about to start a program, which
/// has the lock too until it is that program.
fn open_again(path: &Path) -> Sqlite {
    loop {
        match Sqlite::open(path) {
            Err(LedgerError::Busy { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn a_second_writer_is_refused_and_a_reader_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    assert!(matches!(Sqlite::open_to_read(&path), Err(LedgerError::Missing { .. })));
    let writer = Sqlite::open(&path).unwrap();
    let Err(LedgerError::Busy { holder: Some(holder), .. }) = Sqlite::open(&path) else { panic!("not busy") };
    assert!(holder.starts_with(&format!("process {} on ", std::process::id())), "{holder}");
    assert!(Sqlite::open_to_read(&path).unwrap().runs().unwrap().is_empty());
    drop(writer);
    open_again(&path);
}

#[test]
fn a_full_disk_is_said_with_the_path_and_marks_nothing_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    let mut ledger = Ledger(Box::new(Sqlite::open(&path).unwrap()));
    let run = load(&mut ledger, &["a", "b"], &[]);
    ledger.begin_work(run, Duration::ZERO).unwrap();
    let lease = claim(&mut ledger, run).lease;
    drop(ledger);
    let mut ledger = open_again(&path);
    let pages: i64 = ledger.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    ledger.connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    let done = Record {
        error: Some("long ".repeat(10_000)),
        effect: Some(Effect::Created),
        ..Record::new(RowState::Done)
    };
    let records = [(identity("a"), done.clone()).into(), (identity("b"), done).into()];
    let error = ledger.record(&lease, &records, &now()).unwrap_err();
    assert!(matches!(error, LedgerError::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("provisioner.ledger"), "{error}");
    assert_eq!(ledger.count_results(run).unwrap().pending, 2);
}

/// The results of opening a file with these bytes, for writing and for reading. Checks that an
/// error leaves the file and its folder unchanged.
fn opened(bytes: &[u8]) -> [Result<(), LedgerError>; 2] {
    [Sqlite::open as fn(&Path) -> _, Sqlite::open_to_read].map(|open| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.file");
        std::fs::write(&path, bytes).unwrap();
        let opened = open(&path).map(drop);
        if opened.is_err() {
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was put beside it");
        }
        opened
    })
}

/// The bytes of a database that these statements make.
fn database(sql: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.file");
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    std::fs::read(path).unwrap()
}

#[test]
fn what_is_no_ledger_is_refused_before_anything_is_written() {
    let foreign = [
        b"device_id,module_id\npump,\n".to_vec(),
        b"SQLite".to_vec(),
        vec![0; 4096],
        database("CREATE TABLE photos (id INTEGER PRIMARY KEY)"),
        database("CREATE VIEW run AS SELECT 1"),
        database("PRAGMA application_id = 1196444487; PRAGMA user_version = 10200; CREATE TABLE gpkg (id)"),
        database("PRAGMA user_version = 3; CREATE TABLE run (id); CREATE TABLE row (id)"),
        database("PRAGMA user_version = 4; CREATE TABLE run (id)"),
    ];
    for bytes in foreign {
        for opened in opened(&bytes) {
            assert!(matches!(opened, Err(LedgerError::NoLedger { .. })), "{opened:?}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    for open in [Sqlite::open as fn(&Path) -> _, Sqlite::open_to_read] {
        let Err(LedgerError::NoLedger { what, .. }) = open(folder.path()) else {
            panic!("a folder was opened")
        };
        assert_eq!(what, "it is a folder");
    }
}

#[test]
fn an_empty_file_becomes_a_ledger_and_holds_nothing_to_read() {
    let [written, read] = opened(b"");
    written.unwrap();
    assert!(matches!(read, Err(LedgerError::Empty { .. })), "{read:?}");
}

#[test]
fn a_ledger_that_another_program_keeps_locked_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    let mut ledger = Ledger(Box::new(Sqlite::open(&path).unwrap()));
    let run = load(&mut ledger, &["a"], &[]);
    drop(ledger);
    let mut ledger = open_again(&path);
    ledger.connection.busy_timeout(Duration::ZERO).unwrap();
    let shell = Connection::open(&path).unwrap();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = ledger.begin_work(run, Duration::ZERO);
    assert!(matches!(refused, Err(LedgerError::Locked { .. })), "{refused:?}");
}

#[test]
fn a_ledger_that_may_not_be_written_is_said_to_be_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    let mut ledger = Ledger(Box::new(Sqlite::open(&path).unwrap()));
    let run = load(&mut ledger, &["a"], &[]);
    drop(ledger);
    let mut ledger = open_again(&path);
    // The rights of the file don't bind root, who runs these tests here and there.
    ledger.connection.pragma_update(None, "query_only", true).unwrap();
    let refused = ledger.begin_work(run, Duration::ZERO);
    assert!(matches!(refused, Err(LedgerError::ReadOnly { .. })), "{refused:?}");
}

/// Reads all that a ledger holds.
fn read_all(path: &Path) -> Result<(), LedgerError> {
    let mut ledger = Sqlite::open_to_read(path)?;
    ledger.runs()?;
    let run = ledger.run(None)?.id;
    ledger.count_results(run)?;
    ledger.page(run, RowFilter::All, None, 10_000)?;
    ledger.sessions(run)?;
    drop(ledger);
    let mut ledger = open_for_work(path)?;
    ledger.begin_work(run, Duration::ZERO)?;
    ledger.claim(run).map(drop)
}

fn open_for_work(path: &Path) -> Result<Sqlite, LedgerError> {
    loop {
        match Sqlite::open(path) {
            Err(LedgerError::Busy { .. }) => std::thread::yield_now(),
            opened => return opened,
        }
    }
}

#[test]
fn damage_at_any_point_is_told_as_damage_or_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.ledger");
    let names: Vec<String> = (0..300).map(|number| format!("device-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut ledger = Ledger(Box::new(Sqlite::open(&whole).unwrap()));
    let run = load(&mut ledger, &names, &[]);
    ledger.begin_work(run, Duration::ZERO).unwrap();
    drop(ledger);
    let bytes = std::fs::read(&whole).unwrap();
    let mut told = 0;
    let path = folder.path().join("damaged.ledger");
    let mut try_out = |what: &str, damaged: &[u8]| {
        for beside in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{beside}", path.to_string_lossy()));
        }
        std::fs::write(&path, damaged).unwrap();
        match read_all(&path) {
            Ok(()) => {}
            Err(
                LedgerError::Damaged { .. }
                | LedgerError::NoLedger { .. }
                | LedgerError::NotUnderstood { .. }
                | LedgerError::NoSuchRun { .. }
                | LedgerError::Version { .. },
            ) => told += 1,
            Err(other) => panic!("{what}: {other:?}"),
        }
    };
    for junk in [[0x00; 64], [0xFF; 64], *b"junk that stands where a page of the database had its own words!"]
    {
        // Each byte of the header by itself, and then one place after the other.
        for at in (0..100)
            .filter(|at| junk[0] == 0 || at % 10 == 0)
            .chain((100..bytes.len()).step_by(bytes.len() / 60))
        {
            let mut damaged = bytes.clone();
            let length = if at < 100 { 1 } else { junk.len().min(bytes.len() - at) };
            damaged[at..at + length].copy_from_slice(&junk[..length]);
            try_out(&format!("{} at {at}", junk[0]), &damaged);
        }
    }
    for length in (1..bytes.len()).step_by(bytes.len() / 20) {
        try_out(&format!("cut off at {length}"), &bytes[..length]);
    }
    assert!(told > 60, "{told}");
}

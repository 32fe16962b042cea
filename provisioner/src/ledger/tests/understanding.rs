//! Content of a ledger that this version does not know is an error that names its place.

use cli_support::causes::with_causes;
use rusqlite::Connection;

use super::*;
use crate::model::effect::Effect;

/// A value that a newer version may have written.
struct Strange {
    table: &'static str,
    column: &'static str,
    value: &'static str,
    /// Also where rows are only counted.
    is_counted: bool,
}

const fn strange(table: &'static str, column: &'static str, value: &'static str) -> Strange {
    Strange { table, column, value, is_counted: false }
}

const fn counted(column: &'static str, value: &'static str) -> Strange {
    Strange { table: "row", column, value, is_counted: true }
}

const STRANGE: &[Strange] = &[
    strange("run", "options", r#"'{"alteration":"no_such_verb"}'"#),
    strange("run", "options", r#"'{"alteration":{"undo":{"run":1,"no_such_member":true}}}'"#),
    strange("run", "options", r#"'{"mode":"create","no_such_member":true}'"#),
    strange("run", "options", r#"'{"mode":"no_such_mode"}'"#),
    strange("run", "options", r#"'{"twin":null}'"#),
    strange("run", "options", "'{'"),
    strange("run", "options", "''"),
    strange("run", "state", "'paused'"),
    strange("run", "verification", "'{}'"),
    strange("run", "rejected", "-1"),
    strange("run", "started", "'yesterday'"),
    strange("run", "finished", "''"),
    counted("state", "'no_such_state'"),
    counted("effect", "'no_such_effect'"),
    strange("row", "line", "-1"),
    strange("row", "http_status", "70000"),
    strange("row", "desired", r#"'{"auth":"no_such_way"}'"#),
    strange("row", "desired", r#"'{"auth":"x509_ca","no_such_member":1}'"#),
    strange("row", "desired", r#"'{"auth":{"issued_certificate":{"no_such_member":1}}}'"#),
    strange("row", "desired", "'{'"),
    strange("row", "differences", "'{}'"),
    strange("row", "deviation", "'nothing'"),
    strange("row", "reason", "'no_such_reason'"),
    strange("row", "sent", "'yesterday'"),
    strange("row", "updated", "'2026-13-01T00:00:00Z'"),
];

/// Puts each strange value into a ledger of two runs, and asks for everything that it is part of.
fn each_strange_value_is_an_error(open: impl Fn() -> Ledger, sql: impl Fn(&str) -> String) {
    let mut ledger = open();
    let (other, run) = (load(&mut ledger, &["a"], &[]), load(&mut ledger, &["a", "b/m"], &[]));
    ledger.begin_work(run, LEASE).unwrap();
    let done = Record { effect: Some(Effect::Created), ..Record::new(RowState::Done) };
    ledger.refuse(run, &[(identity("a"), done)], &now()).unwrap();
    for Strange { table, column, value, is_counted } in STRANGE {
        let is_of_run = *table == "run";
        let at = match is_of_run {
            true => format!("id = {run}"),
            false => format!("run = {run} AND module_id = 'm'"),
        };
        let before =
            sql(&format!("SELECT coalesce('''' || {column} || '''', 'NULL') FROM {table} WHERE {at}"));
        sql(&format!("UPDATE {table} SET {column} = {value} WHERE {at}"));
        let refused = |result: Result<(), LedgerError>| {
            let error = result.unwrap_err();
            assert!(matches!(error, LedgerError::NotUnderstood { .. }), "{value}: {error:?}");
            let text = with_causes(&error);
            assert!(text.contains(&format!("run {run}, ")), "{text}");
            assert!(text.contains(&format!("column `{column}`")) || *is_counted, "{text}");
            assert!(text.contains(env!("CARGO_PKG_VERSION")), "{text}");
            if !is_of_run && !is_counted {
                assert!(text.contains("row `b/m`"), "{text}");
            }
        };
        let mut ledger = open();
        let listed = ledger.runs().unwrap();
        assert_eq!(listed.len(), 2, "no run hides another");
        if is_of_run {
            refused(ledger.run(Some(run)).map(drop));
            refused(ledger.run(None).map(drop));
            assert!(matches!(&listed[0], ListedRun::Unknown(value) if value.run == Some(run)));
            assert!(matches!(&listed[1], ListedRun::Known(known) if known.id == other));
        } else {
            refused(ledger.page(run, RowFilter::All, None, 10).map(drop));
            refused(ledger.row(run, &identity("b/m")).map(drop));
        }
        if *is_counted {
            refused(ledger.totals(run).map(drop));
        }
        sql(&format!("UPDATE {table} SET {column} = {before} WHERE {at}"));
    }
    ledger.run(None).unwrap();
    ledger.totals(run).unwrap();
    // An effect that is missing is none of those that are known.
    sql(&format!("UPDATE row SET effect = NULL WHERE run = {run} AND module_id = ''"));
    assert!(matches!(ledger.totals(run), Err(LedgerError::NotUnderstood { .. })));
    sql(&format!(
        "UPDATE row SET state = 'no_such_state', effect = NULL WHERE run = {run} AND module_id = 'm'"
    ));
    assert!(!matches!(ledger.claim(run), Ok(Claim::Chunk(chunk)) if !chunk.rows.is_empty()));
}

#[test]
fn a_file_holds_something_strange() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    drop(Ledger::open(&LedgerLocation::File(path.clone()), StatusListener::default()).unwrap());
    let open =
        || Ledger::open_to_read(&LedgerLocation::File(path.clone()), StatusListener::default()).unwrap();
    each_strange_value_is_an_error(open, |sql| {
        let connection = Connection::open(&path).unwrap();
        match sql.starts_with("SELECT") {
            true => connection.query_row(sql, [], |row| row.get(0)).unwrap(),
            false => connection.execute(sql, []).unwrap().to_string(),
        }
    });
}

#[test]
fn a_database_holds_something_strange() {
    let server = e2e::Database::start().unwrap();
    drop(open(&server, "strange"));
    each_strange_value_is_an_error(
        || open_again(&server, "strange"),
        |sql| {
            let sql = sql.replace(" row ", r#" "row" "#);
            server.sql("strange", &format!("SET search_path TO provisioner; {sql}")).unwrap()
        },
    );
}

#[test]
fn a_chunk_in_a_strange_state_does_not_let_its_run_seem_to_be_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("provisioner.ledger");
    let mut ledger = Ledger::open(&LedgerLocation::File(path.clone()), StatusListener::default()).unwrap();
    let run = load(&mut ledger, &["a"], &[]);
    ledger.begin_work(run, LEASE).unwrap();
    Connection::open(&path).unwrap().execute("UPDATE chunk SET state = 'resting'", []).unwrap();
    let error = ledger.begin_work(run, LEASE).unwrap_err();
    assert!(matches!(error, LedgerError::NotUnderstood { .. }), "{error:?}");
    assert!(with_causes(&error).contains("`resting`"), "{}", with_causes(&error));
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf_8_is_refused_and_nothing_of_the_run_is_kept() {
    use std::os::unix::ffi::OsStringExt;
    let path = PathBuf::from(std::ffi::OsString::from_vec(vec![b'p', 0xFF]));
    let options =
        RunOptions { issue: Some(IssueFolders { ca: path.clone(), out: path }), ..RunOptions::default() };
    let server = e2e::Database::start().unwrap();
    for mut ledger in [Ledger::open_temporary().unwrap(), open(&server, "paths")] {
        let refused = ledger.load_run(&facts(&options)).map(drop).unwrap_err();
        assert!(matches!(refused, LedgerError::NotStorable(_)), "{refused:?}");
        assert!(ledger.runs().unwrap().is_empty());
    }
}

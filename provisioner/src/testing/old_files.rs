//! Files that the program wrote before its types were renamed still mean the same. They are in
//! `fixtures/old`: a ledger, the audit packs of its runs, and a plan.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::audit;
use crate::ledger::{Ledger, LedgerLocation, RunState};
use crate::model::options::{ApplyMode, TwinPolicy};
use crate::model::service_status::StatusListener;
use crate::plan::file::{PlanFile, PlanFileError};

fn old_files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/old")
}

#[test]
fn an_old_ledger_opens_and_gives_the_audit_packs_that_it_gave() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old.ledger");
    let sql = std::fs::read_to_string(old_files().join("ledger.sql")).unwrap();
    Connection::open(&path).unwrap().execute_batch(&sql).unwrap();
    let mut ledger = Ledger::open(&LedgerLocation::File(path), StatusListener::default()).unwrap();
    let runs = ledger.runs().unwrap().len();
    assert_eq!(runs, 6);
    for number in 1..=runs {
        let run = ledger.run(number.to_string().parse().ok()).unwrap();
        assert_eq!(run.state, RunState::Finished);
        let mut pack = Vec::new();
        audit::write(&mut ledger, run.id, &mut pack).unwrap();
        let old = std::fs::read(old_files().join(format!("run-{number}.audit.jsonl"))).unwrap();
        assert_eq!(String::from_utf8(pack), String::from_utf8(old));
    }
}

#[test]
fn an_old_audit_pack_is_whole() {
    for number in 1..=6 {
        let pack = std::fs::read(old_files().join(format!("run-{number}.audit.jsonl"))).unwrap();
        assert!(audit::check(&mut pack.as_slice()).is_ok(), "{number}");
    }
}

#[test]
fn an_old_plan_opens_and_has_the_rows_that_it_had() {
    let path = old_files().join("changed.plan");
    let plan = PlanFile::open(&path).unwrap();
    let rules = plan.header.options.rules;
    assert_eq!((rules.mode, rules.twin), (ApplyMode::Upsert, TwinPolicy::Merge));
    let mut rows = Vec::new();
    let read = plan.each_row(|row| {
        rows.push(serde_json::to_string(&row).unwrap());
        Ok::<(), PlanFileError>(())
    });
    read.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(rows, text.lines().skip(1).take(3).collect::<Vec<_>>());
}

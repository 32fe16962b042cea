use std::time::Duration;

use hub_types::IdentityId;

use super::*;
use crate::clock::Timestamp;
use crate::ledger::{Claim, Ended, Operator, Record, RowState, RunFacts, RunOptions, Sent};
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::spec::{AuthSpec, IdentitySpec, StateSpec};

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

/// A ledger with a run of three rows: created, failed, and not yet done.
fn ledger() -> (Ledger, RunId) {
    let mut ledger = Ledger::open_temporary().unwrap();
    let by = Operator { name: "Ada \"the\" <b>Operator</b>".into(), station: "line-3".into() };
    let facts = RunFacts {
        hub: "hub.example",
        test_hub: false,
        input: "batch.csv",
        started: &at("2026-11-22T10:00:00Z"),
        by: &by,
        options: &RunOptions::default(),
    };
    let loader = ledger.load_run(&facts).unwrap();
    let identity = |name: &str| IdentityId::from_common_name(name).unwrap();
    for (line, name) in (2..).zip(["a", "a/m", "b"]) {
        let auth = AuthSpec::Thumbprint { primary: "AB".repeat(32).parse().ok(), secondary: None };
        let state = StateSpec { auth, ..StateSpec::default() };
        loader.insert(line, &IdentitySpec { identity: identity(name), state }, &[]).unwrap();
    }
    let run = loader.commit(Sha256Digest::of(b"batch"), 0).unwrap();
    ledger.begin_session(run, &by, &at("2026-11-22T10:00:00Z")).unwrap();
    ledger.begin_work(run, Duration::from_secs(30)).unwrap();
    let Claim::Chunk(chunk) = ledger.claim(run).unwrap() else { panic!("there is work") };
    ledger
        .mark_sent(&chunk.lease, &[Sent::from((identity("a"), Effect::Created))], &at("2026-11-22T10:00:01Z"))
        .unwrap();
    let done = Record { effect: Some(Effect::Created), ..Record::new(RowState::Done) };
    let after = Etags { identity: Some("NTI=".to_owned().into()), twin: Some("AAE=".to_owned().into()) };
    let ended = [
        Ended { after, ..(identity("a"), done).into() },
        (identity("a/m"), Record::failed(ReasonCode::RequestRefused, "no \u{202e}room\u{1}")).into(),
    ];
    ledger.record(&chunk.lease, &ended, &at("2026-11-22T10:00:02Z")).unwrap();
    (ledger, run)
}

fn pack() -> String {
    let (mut ledger, run) = ledger();
    let mut pack = Vec::new();
    write(&mut ledger, run, &mut pack).unwrap();
    String::from_utf8(pack).unwrap()
}

fn broken_at(pack: &str) -> u64 {
    match check(pack.as_bytes()) {
        Err(Broken::Line { line, .. }) => line,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_pack_of_a_run() {
    let version = format!("\"tool_version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    assert_eq!(pack(), pack(), "the same run gives the same bytes");
    insta::assert_snapshot!(pack().replace(&version, "\"tool_version\":\"…\""));
}

#[test]
fn a_whole_pack_passes_and_tells_its_last_hash() {
    let (mut ledger, run) = ledger();
    let mut pack = Vec::new();
    let sealed = write(&mut ledger, run, &mut pack).unwrap();
    assert_eq!(check(pack.as_slice()).unwrap(), sealed);
    assert_eq!(sealed.rows, 3);
    let text = String::from_utf8(pack).unwrap();
    assert!(text.lines().last().unwrap().contains(&format!("{:x}", sealed.hash)));
}

#[test]
fn whatever_is_changed_missing_swapped_or_added_is_found_at_its_line() {
    let pack = pack();
    let lines: Vec<&str> = pack.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(broken_at(&pack.replacen("line-3", "line-4", 1)), 1);
    assert_eq!(broken_at(&pack.replace("\"line\":3", "\"line\":4")), 3);
    assert_eq!(broken_at(&pack.replace("\"state\":\"failed\"", "\"state\": \"failed\"")), 3, "spaces count");
    assert_eq!(broken_at(&[lines[0], lines[2], lines[1], lines[3], lines[4]].concat()), 2, "swapped");
    assert_eq!(broken_at(&[lines[0], lines[1], lines[3], lines[4]].concat()), 3, "taken out");
    assert_eq!(broken_at(&[lines[0], lines[1], lines[1]].concat()), 3, "doubled");
    assert_eq!(broken_at(&lines[..4].concat()), 5, "without its end");
    assert_eq!(broken_at(&format!("{pack}{}", lines[1])), 6, "with more behind its end");
    assert_eq!(broken_at(pack.trim_end()), 5, "cut off");
    assert_eq!(broken_at(&lines[1..].concat()), 1, "without its beginning");
    assert_eq!(broken_at(""), 1);
    assert_eq!(broken_at("{}\n"), 1);
}

proptest::proptest! {
    /// No byte of a pack can be another without being noticed, in that line or the next.
    #[test]
    fn no_byte_can_be_another(at in 0..4_000_usize, to in 0..=255_u8) {
        static PACK: std::sync::LazyLock<String> = std::sync::LazyLock::new(pack);
        let mut bytes = PACK.clone().into_bytes();
        let at = at % bytes.len();
        proptest::prop_assume!(bytes[at] != to);
        let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        bytes[at] = to;
        match check(bytes.as_slice()) {
            Err(Broken::Line { line: found, .. }) => proptest::prop_assert!(found == line),
            other => proptest::prop_assert!(false, "{:?}", other),
        }
    }
}

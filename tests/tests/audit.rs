//! The audit pack of a run, written and checked by the built binaries, and checked by independent
//! tools.

use std::process::Command;

use anyhow::{Result, ensure};
use e2e::{Ended, ServedHub, Station};
use serde_json::Value;

/// A check of the pack as an auditor would write it, without any code of this project.
const AUDITOR: &str = r#"
import hashlib, json, sys
before = ""
for line in open(sys.argv[1], encoding="utf-8", newline="\n"):
    record = json.loads(line)
    expected = record.pop("hash")
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    before = hashlib.sha256((before + text).encode()).hexdigest()
    assert before == expected, line
print(before)
"#;

#[test]
fn a_pack_is_whole_the_same_each_time_and_holds_for_other_programs_too() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let batch = "device_id,module_id,auth,tags.note,desired.limit\n\
                 pump-1,,,Straße „Ü“ \u{1f527},1e-7\npump-1,m,,,\npump-2,,sas,,\n";
    station.write("batch.csv", batch)?;
    let apply = ["apply", "batch.csv", "--issue", "pki", "--operator", "Ada Lovelace", "--station", "line-3"];
    station.provision(&hub, apply)?.expect_code(0)?;

    let written = station.run("provisioner", ["audit", "--out", "run.jsonl"])?.expect_code(0)?;
    let hash = written.stdout.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let as_json = ["audit", "--out", "as-json.jsonl", "--format", "json"];
    let as_json: Value = serde_json::from_str(&station.run("provisioner", as_json)?.expect_code(0)?.stdout)?;
    ensure!(as_json["hash"] == *hash && as_json["input"] == "batch.csv", "{as_json}");
    ensure!(as_json["test_hub"] == true && as_json["ledger"] == "provisioner.ledger", "{as_json}");
    let again = station.run("provisioner", ["audit"])?.expect_code(0)?;
    let pack = std::fs::read_to_string(station.path("run.jsonl"))?;
    assert_eq!(again.stdout, pack, "the same run gives the same bytes");
    let refused = station.run("provisioner", ["audit", "--out", "run.jsonl"])?.expect_code(2)?;
    assert!(refused.stderr.contains("exists already"), "{}", refused.stderr);

    let checked =
        station.run("provisioner", ["audit", "--check", "run.jsonl", "--hash", &hash])?.expect_code(0)?;
    assert!(checked.stdout.contains("3 rows, whole"), "{}", checked.stdout);
    let auditor = Command::new("python3").args(["-c", AUDITOR]).arg(station.path("run.jsonl")).output()?;
    assert_eq!(Ended::of(auditor)?.expect_code(0)?.stdout.trim(), hash);

    // Who did it, what it became, and by which certificate.
    let issued = std::fs::read_to_string(station.path("pki/issued/issued.csv"))?;
    let row = |name: &str| pack.lines().find(|line| line.contains(name)).unwrap_or_default();
    let device = row("\"device_id\":\"pump-1\"");
    for part in
        ["\"operator\":\"Ada Lovelace\"", "\"station\":\"line-3\"", "\"effect\":\"created\"", "\"sent\":\"20"]
    {
        assert!(device.contains(part), "{part} in {device}");
    }
    let serial =
        device.split("\"serial\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    assert!(serial.len() > 15 && issued.contains(serial), "{serial}");
    assert!(device.contains("\"twin_etag\":"), "verification saw it");

    // A second run finds it all there: before and after are the same.
    station.provision(&hub, apply)?.expect_code(0)?;
    let second = station.run("provisioner", ["audit"])?.expect_code(0)?.stdout;
    let device = second.lines().find(|line| line.contains("\"device_id\":\"pump-1\"")).unwrap_or_default();
    let etags =
        |name: &str| device.split(&format!("\"{name}\":")).nth(1).and_then(|rest| rest.split('}').next());
    assert!(etags("before").is_some_and(|etags| etags.contains("twin_etag")), "{device}");
    assert_eq!(etags("before"), etags("after"));
    Ok(())
}

#[test]
fn what_was_tampered_with_is_found_at_its_line() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", "device_id,auth\npump-1,x509_ca\npump-2,x509_ca\n")?;
    station.run("provisioner", ["apply", "batch.csv"])?.expect_code(0)?;
    let pack = station.run("provisioner", ["audit"])?.expect_code(0)?.stdout;
    station.write("forged.jsonl", &pack.replace("\"state\":\"done\"", "\"state\":\"unchanged\""))?;
    let forged = station.run("provisioner", ["audit", "--check", "forged.jsonl"])?.expect_code(1)?;
    assert!(forged.stderr.contains("line 2 has changed since it was written"), "{}", forged.stderr);
    station.write("whole.jsonl", &pack)?;
    let other = ["audit", "--check", "whole.jsonl", "--hash", "00"];
    let other = station.run("provisioner", other)?.expect_code(1)?;
    assert!(other.stderr.contains("a different pack"), "{}", other.stderr);
    station.run("provisioner", ["audit", "--check", "missing.jsonl"])?.expect_code(2)?;
    Ok(())
}

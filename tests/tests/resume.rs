//! `resume`: an interrupted run is completed as it was begun, or the reason why it can't be is
//! reported.

use std::process::{Child, Stdio};

use anyhow::{Result, ensure};
use e2e::{Ended, ServedHub, Station, devices_with_modules};
use serde_json::Value;

const DEVICES: usize = 600;
const ROWS: usize = DEVICES * 3;

fn begin(station: &Station, hub: &ServedHub, args: &[&str]) -> Result<Child> {
    let mut apply = station.provisioner(hub)?;
    apply.args(["apply", "batch.csv", "--workers", "2"]).args(args);
    Ok(apply.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn wait_for_requests(hub: &ServedHub, apply: &mut Child, requests: usize) -> Result<()> {
    while hub.requests()?.len() < requests && apply.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    Ok(())
}

/// Starts a run and kills it after some requests.
fn cut_off(station: &Station, hub: &ServedHub) -> Result<()> {
    station.write("batch.csv", &devices_with_modules(DEVICES))?;
    let mut apply = begin(station, hub, &[])?;
    wait_for_requests(hub, &mut apply, 6)?;
    apply.kill()?;
    ensure!(apply.wait()?.code().is_none(), "the apply was done before it was killed");
    Ok(())
}

#[test]
fn a_killed_run_is_resumed_with_nothing_lost_and_nothing_created_twice() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    cut_off(&station, &hub)?;
    let before = hub.requests()?.len();
    let ended = station.provision(&hub, ["resume", "--format", "json"])?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(outcome["totals"]["created"] == ROWS, "{outcome}");
    ensure!(outcome["verified"]["equal"] == ROWS, "{outcome}");
    let created: u64 = hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created == ROWS as u64, "{created} creations were counted at the hub");
    ensure!(hub.requests()?.len() > before);
    // There is nothing left, and that is no failure.
    station.provision(&hub, ["resume", "1", "--no-verify"])?.expect_code(0)?;
    let again: u64 = hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(again == created);
    Ok(())
}

#[test]
fn a_batch_that_was_changed_since_is_noticed() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    cut_off(&station, &hub)?;
    let original = std::fs::read_to_string(station.path("batch.csv"))?;
    station.write("batch.csv", &original.replace("x509_ca", "sas"))?;
    let status = || station.run("provisioner", ["status", "--format", "json"]).map(|ended| ended.stdout);
    let before = status()?;
    let refused = station.provision(&hub, ["resume"])?.expect_code(2)?;
    ensure!(refused.stderr.contains("batch.csv was changed since run 1 began"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("provisioner apply batch.csv"), "{}", refused.stderr);
    ensure!(status()? == before, "something was done");
    station.write("kept.csv", &original)?;
    station.provision(&hub, ["resume", "--batch", "kept.csv", "--no-verify"])?.expect_code(0)?;
    Ok(())
}

#[test]
#[cfg(unix)]
fn ctrl_c_finishes_what_is_in_flight_and_can_be_resumed() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &devices_with_modules(DEVICES))?;
    let mut apply = begin(&station, &hub, &["--format", "json"])?;
    wait_for_requests(&hub, &mut apply, 6)?;
    let interrupted = std::process::Command::new("kill").args(["-INT", &apply.id().to_string()]).status()?;
    ensure!(interrupted.success());
    let ended = Ended::of(apply.wait_with_output()?)?.expect_code(4)?;
    ensure!(ended.stderr.contains("`provisioner resume 1` does the rest"), "{}", ended.stderr);
    let outcome: Value = serde_json::from_str(&ended.stdout)?;
    let (created, pending) = (&outcome["totals"]["created"], &outcome["totals"]["pending"]);
    // What was in flight is known: the ledger says of each row what the hub says.
    let at_hub: u64 = hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created.as_u64() == Some(at_hub), "{outcome}, {at_hub} at the hub");
    ensure!(pending.as_u64() == Some(ROWS as u64 - at_hub), "{outcome}");
    station.provision(&hub, ["resume"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn failed_rows_are_a_batch_of_their_own() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let thumbprint = |digit: &str| digit.repeat(64);
    let header = "device_id,module_id,auth,primary_thumbprint,primary_key,secondary_key\n";
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVoyMzQ1Njc=";
    let rows = |digit: &str| {
        format!("{header}a,,,{0},,\na,m,,{1},,\nb,,sas,,{key},{key}\n", thumbprint(digit), thumbprint("C"))
    };
    station.write("batch.csv", &rows("A"))?;
    station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    ensure!(!station.path("batch.run-1-failed.csv").exists(), "no row failed");
    station.write("batch.csv", &rows("B"))?;
    let ended = station.provision(&hub, ["apply", "batch.csv"])?.expect_code(1)?;
    ensure!(ended.stderr.contains("batch.run-2-failed.csv"), "{}", ended.stderr);
    let failed = std::fs::read_to_string(station.path("batch.run-2-failed.csv"))?;
    ensure!(failed == format!("{header}a,,,{},,\na,m,,{},,\n", thumbprint("B"), thumbprint("C")), "{failed}");
    station.provision(&hub, ["report", "2", "--failed-rows", "again.csv"])?.expect_code(1)?;
    ensure!(std::fs::read_to_string(station.path("again.csv"))? == failed);
    // It is a batch: a mode that may change what is there makes it true.
    let upsert = ["apply", "again.csv", "--mode", "upsert", "--format", "json"];
    let ended = station.provision(&hub, upsert)?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(outcome["totals"]["updated"] == 1 && outcome["totals"]["unchanged"] == 1, "{outcome}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(station.path("again.csv"))?.permissions().mode();
        ensure!(mode & 0o077 == 0, "rows may hold keys, and the file is {mode:o}");
    }
    Ok(())
}

#[test]
fn a_quarantined_device_has_its_modules_and_is_disabled() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &devices_with_modules(3))?;
    let command = ["apply", "batch.csv", "--quarantine", "--created-by-tag", "madeBy"];
    station.provision(&hub, command)?.expect_code(0)?;
    let device = hub.get("/devices/dev-00001")?;
    ensure!(
        device["status"] == "disabled"
            && device["statusReason"] == "provisioner: in quarantine until it is released",
        "{device}"
    );
    let twin = hub.twin("dev-00001/modules/m1")?;
    let by = twin["tags"]["madeBy"].as_str().unwrap_or_default();
    ensure!(by.starts_with("provisioner ") && by.ends_with(" run 1"), "{twin}");
    let again = station.provision(&hub, command)?.expect_code(0)?;
    ensure!(again.stdout.contains("9 unchanged"), "{}", again.stdout);
    Ok(())
}

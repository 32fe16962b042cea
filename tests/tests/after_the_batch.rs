//! The verbs for the time after a batch: `undo` and `retire` on the built binaries (`rotate`: `rotation.rs`).

#![expect(clippy::indexing_slicing, reason = "in a test a panic is a failure")]

use std::process::Stdio;

use anyhow::{Result, ensure};
use e2e::{Ended, HostileHub, Reply, ServedHub, Station, devices_with_modules};
use serde_json::Value;

const DEVICES: usize = 300;

fn totals(stdout: &str) -> Result<Value> {
    let outcome: Value = serde_json::from_str(stdout)?;
    Ok(outcome["totals"].clone())
}

fn devices_on(hub: &ServedHub) -> Result<u64> {
    Ok(hub.get("/statistics/devices")?["totalDeviceCount"].as_u64().unwrap_or_default())
}

#[test]
fn a_run_is_undone_but_for_what_somebody_has_changed_since() -> Result<()> {
    let (station, hub) = ServedHub::with_batch(&devices_with_modules(DEVICES))?;
    hub.patch_twin("dev-00003/modules/m1", r#"{"tags":{"owner":"QA"}}"#)?;
    let ended = station.provision(&hub, ["undo", "1"])?.expect_code(1)?;
    ensure!(ended.stdout.contains("dev-00003: conflict: its module `m1` stays"), "{ended:?}");
    ensure!(ended.stdout.contains("dev-00003/m1: conflict: it was changed since run 1"), "{ended:?}");
    ensure!(
        ended.stdout.contains(
            "900 rows = 0 created + 0 updated + 897 deleted + 0 unchanged + 2 conflict + 0 rejected + 0 failed + 1 skipped + 0 pending"
        ),
        "{ended:?}"
    );
    ensure!(devices_on(&hub)? == 1);
    hub.twin("dev-00003/modules/m1")?;
    hub.twin("dev-00003/modules/m2")?;
    let skipped = "dev-00003/m2: skipped: nothing was done, because its device `dev-00003` stays";
    ensure!(ended.stdout.contains(skipped), "a unit stays as a whole: {ended:?}");
    let runs = station.run("provisioner", ["runs"])?.expect_code(0)?;
    ensure!(runs.stdout.starts_with("run 2: undo of run 1, batch.csv on"), "{runs:?}");
    // What was taken back can be provisioned again, and what was spared is kept as it is.
    let again = station.provision(&hub, ["apply", "batch.csv", "--format", "json"])?.expect_code(0)?;
    ensure!(
        totals(&again.stdout)?["created"] == 897 && totals(&again.stdout)?["unchanged"] == 3,
        "{again:?}"
    );
    Ok(())
}

/// Who hangs below a parent that others deleted or created again differs, although the parent's id is right.
#[test]
fn a_child_of_a_parent_that_was_created_anew_differs_until_an_upsert() -> Result<()> {
    let (station, hub) = ServedHub::with_batch("device_id,edge,parent,auth\ngw,true,,sas\nleaf,,gw,sas\n")?;
    station.provision(&hub, ["verify", "batch.csv"])?.expect_code(0)?;
    station.provision(&hub, ["device", "delete", "--device-id", "gw"])?.expect_code(0)?;
    let stale = r#"parent: batch has "gw", hub has "ms-azure-iot-edge://gw-"#;
    let verified = station.provision(&hub, ["verify", "batch.csv"])?.expect_code(1)?;
    ensure!(verified.stdout.contains(stale), "the parent is missing: {verified:?}");
    let applied = station.provision(&hub, ["apply", "batch.csv"])?.expect_code(1)?;
    ensure!(applied.stdout.contains(stale), "the parent is another one: {applied:?}");
    let verified = station.provision(&hub, ["verify", "batch.csv"])?.expect_code(1)?;
    ensure!(verified.stdout.contains(stale), "{verified:?}");
    let planned = station.provision(&hub, ["plan", "batch.csv", "--mode", "upsert"])?.expect_code(0)?;
    ensure!(planned.stdout.contains("1 to update"), "{planned:?}");
    let args = ["apply", "batch.csv", "--mode", "upsert", "--format", "json"];
    let applied = totals(&station.provision(&hub, args)?.expect_code(0)?.stdout)?;
    ensure!(applied["updated"] == 1 && applied["unchanged"] == 1, "{applied}");
    station.provision(&hub, ["verify", "batch.csv"])?.expect_code(0)?;
    ensure!(hub.get("/devices/leaf")?["deviceScope"] == hub.get("/devices/gw")?["deviceScope"]);
    Ok(())
}

/// A parent that goes would leave its children below a scope that leads nowhere.
#[test]
fn a_parent_stays_as_long_as_there_are_devices_below_it() -> Result<()> {
    let batch = "device_id,edge,parent,auth\ngw,true,,sas\nleaf,,gw,sas\nfree,true,,sas\nunder,,free,sas\n";
    let (station, hub) = ServedHub::with_batch(batch)?;
    hub.patch_twin("leaf", r#"{"tags":{"owner":"QA"}}"#)?;
    let foreseen = station.provision(&hub, ["undo", "1", "--dry-run"])?.expect_code(1)?;
    ensure!(foreseen.stdout.contains("2 to delete, 0 to keep, 2 in conflict"), "{foreseen:?}");
    let undone = station.provision(&hub, ["undo", "1"])?.expect_code(1)?;
    let reason = "gw: conflict: it is the parent of `leaf`, on the hub";
    ensure!(undone.stdout.contains(reason), "{undone:?}");
    ensure!(undone.stdout.contains("2 deleted"), "who has no children but those that go, goes: {undone:?}");
    ensure!(devices_on(&hub)? == 2);
    // So it is where the children are of nobody's batch.
    station.write("gw.csv", "device_id\ngw\n")?;
    station.provision(&hub, ["retire", "gw.csv"])?.expect_code(0)?;
    let deleted = station.provision(&hub, ["retire", "gw.csv", "--delete"])?.expect_code(1)?;
    ensure!(deleted.stdout.contains(reason), "{deleted:?}");
    station.provision(&hub, ["device", "delete", "--device-id", "leaf"])?.expect_code(0)?;
    station.provision(&hub, ["retire", "gw.csv", "--delete"])?.expect_code(0)?;
    ensure!(devices_on(&hub)? == 0);
    Ok(())
}

#[test]
fn an_edge_device_with_a_deployment_of_others_is_not_undone() -> Result<()> {
    let (station, hub) = ServedHub::with_batch("device_id,edge,auth\ngw,true,sas\nother,true,sas\n")?;
    hub.patch_twin("gw/modules/$edgeAgent", r#"{"properties":{"desired":{"modules":{}}}}"#)?;
    let undone = station.provision(&hub, ["undo", "1"])?.expect_code(1)?;
    let reason = "gw: conflict: its module `$edgeAgent` was written to by a deployment, or used by the device, since run 1 created it";
    ensure!(undone.stdout.contains(reason), "{undone:?}");
    ensure!(undone.stdout.contains("1 deleted") && devices_on(&hub)? == 1, "{undone:?}");
    Ok(())
}

#[test]
fn an_undo_that_is_killed_is_resumed() -> Result<()> {
    let (station, hub) = ServedHub::with_batch(&devices_with_modules(DEVICES))?;
    let before = hub.requests()?.len();
    let mut undo = station.provisioner(&hub)?;
    let mut undo =
        undo.args(["undo", "1", "--workers", "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let has_deleted = || -> Result<bool> {
        Ok(hub
            .requests()?
            .iter()
            .skip(before)
            .any(|request| request.operation() == "bulk" || request.writes() > 0))
    };
    while !has_deleted()? && undo.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    undo.kill()?;
    ensure!(undo.wait()?.code().is_none(), "the undo was done before it was killed");
    let resumed = station.provision(&hub, ["resume", "--format", "json"])?.expect_code(0)?;
    let totals = totals(&resumed.stdout)?;
    ensure!(totals["rows"] == 900 && totals["deleted"] == 900, "{totals}");
    ensure!(devices_on(&hub)? == 0);
    Ok(())
}

#[test]
fn an_undo_names_what_a_killed_run_may_have_created() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_unanswered_bulk(&station, "hub", 1)?;
    let devices: String = (0..150).map(|device| format!("dev-{device:05},sas\n")).collect();
    station.write("batch.csv", &format!("device_id,auth\n{devices}"))?;
    hub.kill_at_bulk(station.provisioner(&hub)?.args(["apply", "batch.csv", "--workers", "1"]), 2)?;
    ensure!(devices_on(&hub)? == 150, "the hub has carried out both calls");
    let dry = station.provision(&hub, ["undo", "1", "--dry-run"])?.expect_code(1)?;
    ensure!(dry.text().contains("100 to delete"), "{dry:?}");
    let undone = station.provision(&hub, ["undo", "1"])?.expect_code(1)?;
    ensure!(undone.stdout.contains("150 rows = 0 created + 0 updated + 100 deleted"), "{undone:?}");
    ensure!(undone.stdout.contains("50 conflict"), "{undone:?}");
    ensure!(
        undone.stdout.contains("conflict: it is there, and run 1 can't be sure that it created it"),
        "{undone:?}"
    );
    ensure!(devices_on(&hub)? == 50, "what the run may not have created stays");
    let report = station.run("provisioner", ["report", "2", "--format", "json"])?.expect_code(1)?;
    let report: Value = serde_json::from_str(&report.stdout)?;
    let uncertain = report["rows"].as_array().into_iter().flatten();
    let uncertain = uncertain.filter(|row| row["reason"] == "creation_uncertain").count();
    ensure!(uncertain == 50, "{uncertain} rows are named as uncertain");
    Ok(())
}

#[test]
fn a_run_that_was_killed_and_undone_is_not_continued() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let devices: String = (0..1500).map(|device| format!("dev-{device:05},sas\n")).collect();
    station.write("batch.csv", &format!("device_id,auth\n{devices}"))?;
    hub.kill_at_bulk(station.provisioner(&hub)?.args(["apply", "batch.csv", "--workers", "1"]), 2)?;
    // What is not certain stays, and is named.
    let undone = station.provision(&hub, ["undo", "1"])?;
    ensure!(undone.stderr.contains("run 1 did not come to its end: "), "{undone:?}");
    ensure!(undone.stderr.contains("Once it is undone, it is not continued"), "{undone:?}");
    let left = devices_on(&hub)?;
    for verb in [&["runs"][..], &["report", "1"]] {
        let told = station.run("provisioner", verb)?;
        ensure!(told.stdout.contains("run 2 has undone it"), "{told:?}");
    }
    let report = station.run("provisioner", ["report", "1", "--format", "json"])?;
    ensure!(serde_json::from_str::<Value>(&report.stdout)?["undone_by"] == 2, "{report:?}");
    station.run("provisioner", ["report", "1", "--html", "page.html"])?;
    let page = std::fs::read_to_string(station.path("page.html"))?;
    ensure!(page.contains("run 2 has undone it"), "{page}");
    for verb in ["resume", "work"] {
        let refused = station.provision(&hub, [verb, "1"])?.expect_code(2)?;
        ensure!(refused.stderr.contains("run 1 was undone by run 2, and is not continued"), "{refused:?}");
        ensure!(refused.stderr.contains("begin a new run with its batch"), "{refused:?}");
    }
    ensure!(devices_on(&hub)? == left, "nothing is created again");
    let again = station.provision(&hub, ["apply", "batch.csv", "--format", "json"])?.expect_code(0)?;
    ensure!(totals(&again.stdout)?["rows"] == 1500 && devices_on(&hub)? == 1500, "{again:?}");
    Ok(())
}

#[test]
fn an_undo_takes_what_was_created_and_could_not_be_finished() -> Result<()> {
    for options in [&[][..], &["--no-verify"]] {
        let station = Station::new()?;
        let hub = ServedHub::start(&station, "hub")?;
        // A hub that takes modules one by one only, and refuses their twins.
        let hostile = HostileHub::before(&station, &hub, |call| match call {
            _ if call.method == "PATCH" || call.names_modules() => Reply::error(400, "ArgumentInvalid"),
            _ => Reply::Forward,
        })?;
        let run = |args: &[&str]| Ended::of(hostile.provisioner(&station)?.args(args).output()?);
        station.write("batch.csv", &devices_with_modules(3))?;
        let apply = [&["apply", "batch.csv", "--format", "json"], options].concat();
        let applied = totals(&run(&apply)?.expect_code(1)?.stdout)?;
        ensure!(applied["created"] == 3 && applied["failed"] == 6, "{applied}");
        let dry = run(&["undo", "1", "--dry-run"])?.expect_code(0)?;
        ensure!(dry.text().contains("9 to delete"), "{dry:?}");
        let undone = totals(&run(&["undo", "1", "--format", "json"])?.expect_code(0)?.stdout)?;
        ensure!(undone["rows"] == 9 && undone["deleted"] == 9, "{undone}");
        ensure!(devices_on(&hub)? == 0);
    }
    Ok(())
}

#[test]
fn units_are_retired_in_two_steps() -> Result<()> {
    let (station, hub) = ServedHub::with_batch(&devices_with_modules(5))?;
    station.write("scrapped.csv", "device_id\ndev-00001\ndev-00004\nnever-made\n")?;
    let early = station.provision(&hub, ["retire", "scrapped.csv", "--delete"])?.expect_code(1)?;
    ensure!(early.stdout.contains("it is enabled, and only what is disabled"), "{early:?}");

    let retire = ["retire", "scrapped.csv", "--reason", "scrapped on line 3"];
    let retired = station.provision(&hub, retire)?.expect_code(1)?;
    ensure!(retired.stdout.contains("never-made: conflict: it is not on the hub"), "{retired:?}");
    ensure!(retired.stdout.contains("2 updated"), "{retired:?}");
    let twin = hub.twin("dev-00001")?;
    ensure!(twin["status"] == "disabled" && twin["statusReason"] == "scrapped on line 3", "{twin}");
    ensure!(twin["tags"]["site"] == "works 1", "all else is as it was: {twin}");

    let gone = station.provision(&hub, ["retire", "scrapped.csv", "--delete"])?.expect_code(0)?;
    ensure!(gone.stdout.contains("2 deleted + 1 unchanged"), "{gone:?}");
    ensure!(devices_on(&hub)? == 3);
    ensure!(hub.twin("dev-00001/modules/m1").is_err(), "modules go with their device");
    // The ledger still knows all of it.
    let report = station.provision(&hub, ["report", "1", "--format", "csv"])?.expect_code(0)?;
    ensure!(report.stdout.contains("dev-00001,m1,done,created"), "{report:?}");
    Ok(())
}

#[test]
fn a_dry_run_tells_what_would_be_done_and_writes_nothing() -> Result<()> {
    let (station, hub) = ServedHub::with_batch(&devices_with_modules(5))?;
    hub.patch_twin("dev-00003/modules/m1", r#"{"tags":{"owner":"QA"}}"#)?;
    station.write("scrapped.csv", "device_id,module_id\ndev-00001,\ndev-00001,m1\nnever-made,\n")?;
    let writes = || -> Result<u64> { Ok(hub.requests()?.iter().map(|request| request.writes()).sum()) };
    let before = writes()?;

    let undo = station.provision(&hub, ["undo", "1", "--dry-run"])?.expect_code(1)?;
    ensure!(undo.stdout.contains("dev-00003: conflict: its module `m1` stays"), "{undo:?}");
    ensure!(undo.stdout.contains("dev-00003/m1: conflict: it was changed since run 1"), "{undo:?}");
    let sum =
        "0 to change, 12 to delete, 0 to keep, 2 in conflict, 1 refused; a dry run: nothing was written";
    ensure!(undo.text().lines().last() == Some(sum), "{undo:?}");

    let retire = ["retire", "scrapped.csv", "--dry-run", "--format", "json"];
    let retire = station.provision(&hub, retire)?.expect_code(1)?;
    let told: Value = serde_json::from_str(&retire.stdout)?;
    let (device, missing) = (&told["rows"][0], &told["rows"][1]);
    ensure!(device["identity"] == "dev-00001" && device["action"] == "update", "{told}");
    ensure!(missing["reason"] == "it is not on the hub" && missing["line"] == 4, "{told}");
    ensure!(
        told["update"] == 1 && told["keep"] == 1 && told["conflict"] == 1,
        "a module goes with its device: {told}"
    );
    let deletion = ["retire", "scrapped.csv", "--delete", "--dry-run", "--format", "csv"];
    let deletion = station.provision(&hub, deletion)?.expect_code(1)?;
    ensure!(
        deletion.stdout.contains("2,dev-00001,conflict,,\"it is enabled, and only what is disabled"),
        "{deletion:?}"
    );

    station.write("one-bad.csv", "device_id\ndev-00001\nno id\n")?;
    let skipping = ["retire", "one-bad.csv", "--skip-bad-rows", "--dry-run"];
    let skipping = station.provision(&hub, skipping)?.expect_code(1)?;
    ensure!(skipping.text().ends_with("\n1 row rejected: bad, and left out\n"), "{skipping:?}");

    ensure!(writes()? == before, "a dry run has written");
    let runs = station.run("provisioner", ["runs", "--format", "json"])?.expect_code(0)?;
    let runs: Value = serde_json::from_str(&runs.stdout)?;
    ensure!(runs.as_array().is_some_and(|runs| runs.len() == 1), "{runs}");
    // It was told the truth.
    let undone = station.provision(&hub, ["undo", "1"])?.expect_code(1)?;
    ensure!(undone.stdout.contains("12 deleted + 0 unchanged + 2 conflict"), "{undone:?}");
    Ok(())
}

#[test]
fn another_board_under_the_same_id_is_not_retired() -> Result<()> {
    let batch = |byte: &str| format!("device_id,primary_thumbprint\npump,{}\n", byte.repeat(32));
    let (station, hub) = ServedHub::with_batch(&batch("AB"))?;
    station.write("scrapped.csv", &batch("CD"))?;
    let refused = station.provision(&hub, ["retire", "scrapped.csv"])?.expect_code(1)?;
    ensure!(refused.stdout.contains("it may be a different unit"), "{refused:?}");
    ensure!(refused.stdout.contains("primary_thumbprint: batch has \"CDCD"), "{refused:?}");
    ensure!(hub.twin("pump")?["status"] == "enabled");
    Ok(())
}

#[test]
fn an_undo_frees_thumbprints_for_the_right_label() -> Result<()> {
    let batch = |name: &str| format!("device_id,primary_thumbprint\n{name},{}\n", "AB".repeat(32));
    let (station, hub) = ServedHub::with_batch(&batch("wrong-label"))?;
    station.write("right.csv", &batch("right-label"))?;
    let taken = station.provision(&hub, ["apply", "right.csv"])?.expect_code(2)?;
    ensure!(taken.stderr.contains("belongs to `wrong-label`"), "{taken:?}");
    station.provision(&hub, ["undo", "1"])?.expect_code(0)?;
    station.provision(&hub, ["apply", "right.csv"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn what_a_run_only_changed_is_not_undone() -> Result<()> {
    let batch = |rows: &[(&str, &str)]| {
        let row = |(name, byte): &(&str, &str)| format!("{name},{}\n", byte.repeat(32));
        format!("device_id,primary_thumbprint\n{}", rows.iter().map(row).collect::<String>())
    };
    let (station, hub) = ServedHub::with_batch(&batch(&[("a", "AA")]))?;
    station.write("more.csv", &batch(&[("a", "BB"), ("b", "CC")]))?;
    station.provision(&hub, ["apply", "more.csv", "--mode", "upsert"])?.expect_code(0)?;
    let undone = station.provision(&hub, ["undo", "2"])?.expect_code(0)?;
    ensure!(undone.stderr.contains("1 row that it changed"), "{undone:?}");
    ensure!(undone.stdout.contains("1 rows = 0 created + 0 updated + 1 deleted"), "{undone:?}");
    ensure!(hub.twin("a")?["x509Thumbprint"]["primaryThumbprint"] == "BB".repeat(32));
    Ok(())
}

#[test]
fn what_can_t_be_undone_is_said() -> Result<()> {
    let (station, hub) = ServedHub::with_batch("device_id,auth\nd,sas\n")?;
    station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    let nothing = station.provision(&hub, ["undo", "2"])?.expect_code(2)?;
    ensure!(nothing.stderr.contains("run 2 created nothing"), "{nothing:?}");
    let unknown = station.provision(&hub, ["undo", "9"])?.expect_code(2)?;
    ensure!(unknown.stderr.contains("there is no run 9"), "{unknown:?}");
    let elsewhere = station.run("provisioner", ["undo", "1", "--local", "other"])?.expect_code(2)?;
    ensure!(elsewhere.stderr.contains("run 1 is for the hub"), "{elsewhere:?}");
    Ok(())
}

/// A hub with two pumps and a module on it, and their certificates renewed.
#[test]
fn devices_that_were_there_and_are_quarantined_with_new_modules_outlive_an_undo() -> Result<()> {
    let devices = "device_id,auth,tags.site\nd1,sas,m\nd2,sas,m\nd3,sas,m\n";
    let quarantined = "device_id,module_id,auth,tags.site\nd1,,sas,m\nd1,m,sas,\nd2,,sas,m\nd2,m,sas,\nd3,,sas,m\nd3,m,sas,\n";
    for (mode, modules) in [("upsert", 3), ("update", 0)] {
        let (station, hub) = ServedHub::with_batch(devices)?;
        station.write("quarantined.csv", quarantined)?;
        let keys = |device: &str| -> Result<Value> {
            Ok(hub.get(&format!("/devices/{device}"))?["authentication"].clone())
        };
        let before = (keys("d1")?, hub.requests()?.len());
        let apply = ["apply", "quarantined.csv", "--quarantine", "--mode", mode, "--format", "json"];
        let ended = station.provision(&hub, apply)?.expect_code(if modules == 3 { 0 } else { 1 })?;
        // The hub's own log is the witness.
        let created: u64 = hub.requests()?.iter().skip(before.1).map(|request| request.created()).sum();
        ensure!(created == modules, "{mode}: {created} created by the log");
        let totals = totals(&ended.stdout)?;
        ensure!(totals["created"] == modules && totals["updated"] == 3, "{mode}: {totals}");

        let undone = station.provision(&hub, ["undo", "2", "--format", "json"])?;
        let code = if modules == 3 { 0 } else { 2 };
        let undone = undone.expect_code(code)?;
        if modules == 0 {
            ensure!(undone.stderr.contains("run 2 created nothing"), "{undone:?}");
        }
        ensure!(devices_on(&hub)? == 3, "{mode}: what run 1 made is there");
        ensure!(keys("d1")? == before.0, "{mode}: with its keys");
        ensure!(hub.twin("d1")?["tags"]["site"] == "m", "{mode}: and its twin");
        ensure!(hub.twin("d1/modules/m").is_err(), "{mode}: what run 2 made is gone");
    }
    Ok(())
}

/// Checks that an edge device, its module and a leaf below it pass through all verbs, and stay where they are.
#[test]
fn edge_devices_and_their_leaves_are_changed_by_every_verb_and_keep_their_scopes() -> Result<()> {
    const THUMBPRINTS: [&str; 2] =
        ["00112233445566778899AABBCCDDEEFF00112233", "FF112233445566778899AABBCCDDEEFF00112233"];
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let batch = |thumbprints: &str, rest: &str| {
        format!(
            "device_id,module_id,edge,parent,auth,primary_thumbprint,secondary_thumbprint,status\n\
             gate,,true,,x509_thumbprint,{thumbprints},{rest}\ngate,m,,,sas,,,\nleaf,,,gate,sas,,,{rest}\n"
        )
    };
    let run = |command: &str| station.provision(&hub, command.split(' '))?.expect_code(0);
    let devices = || -> Result<[Value; 2]> { Ok([hub.get("/devices/gate")?, hub.get("/devices/leaf")?]) };
    let scopes = || -> Result<Vec<(Value, Value)>> {
        Ok(devices()?
            .iter()
            .map(|device| (device["deviceScope"].clone(), device["parentScopes"].clone()))
            .collect())
    };
    let [first, second] = THUMBPRINTS;
    station.write("batch.csv", &batch(&format!("{first},"), ""))?;
    run("apply batch.csv --quarantine")?;
    let placed = scopes()?;
    ensure!(
        placed[0].0.as_str().is_some_and(|scope| scope.starts_with("ms-azure-iot-edge://gate-")),
        "{placed:?}"
    );
    ensure!(placed[1].0 == placed[0].0, "{placed:?}");
    let keys = devices()?[1]["authentication"].clone();
    let module = hub.twin("gate/modules/m")?["deviceEtag"].clone();
    station.write("renewed.csv", &batch(&format!("{second},{first}"), ""))?;
    station.write("disabled.csv", &batch(&format!("{second},{first}"), "disabled"))?;
    station.write(
        "gate.csv",
        &format!("device_id,primary_thumbprint,secondary_thumbprint\ngate,{second},{first}\n"),
    )?;
    for (command, status) in [
        ("release --run 1", "enabled"),
        ("undo 2", "disabled"),
        ("release --run 1", "enabled"),
        ("rotate gate.csv", "enabled"),
        ("rotate gate.csv --revert", "enabled"),
        ("apply renewed.csv --mode upsert", "enabled"),
        ("apply disabled.csv --mode upsert", "disabled"),
        ("apply renewed.csv --mode update", "enabled"),
        ("retire renewed.csv", "disabled"),
        ("device update --device-id gate --status enabled", "disabled"),
        ("device update --device-id leaf --status enabled", "enabled"),
    ] {
        run(command)?;
        let [gate, leaf] = devices()?;
        ensure!(leaf["status"] == status, "{command}: {leaf}");
        ensure!(gate["status"] == status || command.starts_with("device"), "{command}: {gate}");
        ensure!(scopes()? == placed, "{command}: {gate} {leaf}");
        ensure!(
            gate["capabilities"]["iotEdge"] == true && leaf["authentication"] == keys,
            "{command}: {gate} {leaf}"
        );
    }
    ensure!(hub.twin("gate/modules/m")?["deviceEtag"] == module, "nobody has changed the module");
    // A device that is an edge device no more does not become its own child.
    run("device update --device-id gate --edge-enabled false")?;
    ensure!(devices()?[0].get("deviceScope").is_none(), "{:?}", devices()?);

    let [gate, leaf] = ["gate-2", "leaf-2"];
    station.write(
        "second.csv",
        &format!("device_id,edge,parent,auth\n{gate},true,,sas\n{leaf},,{gate},sas\n"),
    )?;
    let applied = run("apply second.csv --quarantine --format json")?;
    let number = serde_json::from_str::<Value>(&applied.stdout)?["run"].clone();
    run(&format!("undo {number}"))?;
    ensure!(devices_on(&hub)? == 2, "what the second run created is gone");
    Ok(())
}

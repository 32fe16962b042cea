//! Provisioning through a DPS: batches become enrolments, by the built binaries and a local DPS.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::{ServedHub, Station};

const PUMPS: usize = 48;

/// Pumps with symmetric keys and one module each.
fn pumps_with_modules(interval: u32) -> String {
    let mut batch = "device_id,module_id,auth,tags.line,desired.interval\n".to_owned();
    for pump in 0..PUMPS {
        for module in ["", "valve"] {
            batch += &format!("pump-{pump:04},{module},sas,L1,{interval}\n");
        }
    }
    batch
}

#[test]
fn a_batch_becomes_enrolments_and_its_modules_wait() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", &pumps_with_modules(60))?;
    let ended = station.provision_dps(&hub, &["apply", "pumps.csv", "--dps"], 0)?;
    ensure!(ended.stderr.contains("DPS: localhost:"), "{}", ended.stderr);
    ensure!(ended.stderr.contains(" as `provisioningserviceowner`"), "{}", ended.stderr);
    ensure!(ended.stdout.contains("96 rows = 48 created"), "{}", ended.stdout);
    ensure!(ended.stdout.contains("48 waiting"), "{}", ended.stdout);
    ensure!(ended.stdout.ends_with("TEST DPS: nothing of this is on a DPS of Azure\n"), "{}", ended.stdout);
    ensure!(
        hub.count_requests("BulkEnrollments")? == PUMPS.div_ceil(10),
        "bulk calls hold 10 enrolments each"
    );

    // The same again changes nothing; other values are a conflict, and are written on request.
    let again =
        station.provision_dps(&hub, &["apply", "pumps.csv", "--dps", "--format", "json"], 0)?.json()?;
    ensure!(again["totals"]["unchanged"] == PUMPS && again["hub"].is_null(), "{again}");
    ensure!(again["dps"].as_str().is_some_and(|name| name.starts_with("localhost:")), "{again}");
    ensure!(again["verified"]["equal"] == PUMPS, "{again}");
    station.write("faster.csv", &pumps_with_modules(30))?;
    // Modules are no enrolments, so only devices are read back.
    let verify =
        |batch, code| station.provision_dps(&hub, &["verify", batch, "--dps", "--format", "json"], code);
    let equal = verify("pumps.csv", 0)?.json()?;
    ensure!(equal["equal"] == PUMPS && equal["dps"] == again["dps"], "{equal}");
    ensure!(verify("faster.csv", 1)?.json()?["different"] == PUMPS);
    let conflict = station.provision_dps(&hub, &["apply", "faster.csv", "--dps"], 1)?;
    ensure!(conflict.stdout.contains("desired.interval"), "{}", conflict.stdout);
    for verb in [&["report", "--format", "csv"][..], &["audit"]] {
        let told = station.run("provisioner", verb)?.stdout;
        ensure!(told.contains("DPS has ") && !told.contains("hub has "), "{verb:?}: {told}");
    }
    let upsert = ["apply", "faster.csv", "--dps", "--mode", "upsert", "--format", "json"];
    let updated = station.provision_dps(&hub, &upsert, 0)?.json()?;
    ensure!(updated["totals"]["updated"] == PUMPS, "{updated}");

    // A report tells of the DPS without calling it, and an undo leaves what was changed since.
    let report = station.run("provisioner", ["report", "1", "--format", "json"])?.expect_code(0)?;
    let report = report.json()?;
    ensure!(report["options"]["service"] == "dps", "{report}");
    let undone = station.provision_dps(&hub, &["undo", "1", "--dps", "--format", "json"], 1)?.json()?;
    ensure!(undone["totals"]["conflict"] == PUMPS, "{undone}");
    Ok(())
}

#[test]
fn a_device_registers_by_the_enrolment_of_its_certificate_and_an_undo_leaves_it_then() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("units.csv", "device_id\npump-0001\npump-0002\n")?;
    let issue = ["issue", "--ca", "pki", "--out", "issued", "--from", "units.csv"];
    station.run("cert-tool", issue)?.expect_code(0)?;
    station.provision_dps(&hub, &["apply", "issued/issued.csv", "--dps"], 0)?;

    let (status, registered) = hub.register(&station, "pump-0001")?;
    ensure!(status == 202 && registered["status"] == "assigning", "{registered}");
    ensure!(hub.get("/devices/pump-0001")?["deviceId"] == "pump-0001");
    let undone = station.provision_dps(&hub, &["undo", "1", "--dps", "--format", "json"], 1)?;
    let totals = &undone.json()?["totals"];
    ensure!(totals["deleted"] == 1 && totals["conflict"] == 1, "{}", undone.stdout);
    let report = station.run("provisioner", ["report"])?;
    ensure!(report.stdout.contains("its device has registered since run 1 created it"), "{}", report.stdout);
    Ok(())
}

#[test]
fn a_killed_run_is_resumed_with_nothing_lost_and_lost_answers_are_settled() -> Result<()> {
    let station = Station::new()?;
    let faults = "[[fault]]\noperation = 'BulkEnrollments'\neffect = 'lose-answer'\nskip = 1\ncount = 1\n\
                  [[fault]]\noperation = 'BulkEnrollments'\neffect = 'drip'\nbytes_per_second = 1\nskip = 3\ncount = 1\n";
    let faults = station.write("faults.toml", faults)?.to_string_lossy().into_owned();
    let hub = ServedHub::start_with_free_dps(&station, &["--faults", &faults])?;
    station.write("pumps.csv", &pumps_with_modules(60))?;
    let apply = ["apply", "pumps.csv", "--dps", "--workers", "1"];
    let mut process =
        station.dps_provisioner(&hub, &apply)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while hub.count_requests("BulkEnrollments")? < 5 {
        ensure!(process.try_wait()?.is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    process.kill()?;
    process.wait()?;

    // On a hub the run can't be continued.
    let refused = station.provision(&hub, ["resume"])?.expect_code(2)?;
    ensure!(refused.stderr.contains("run 1 is for the DPS localhost:"), "{}", refused.stderr);
    let resumed = station.provision_dps(&hub, &["resume", "--dps", "--format", "json"], 0)?.json()?;
    let totals = &resumed["totals"];
    let done = totals["created"].as_u64().zip(totals["unchanged"].as_u64());
    ensure!(done.is_some_and(|(created, unchanged)| created + unchanged == PUMPS as u64), "{resumed}");
    ensure!(totals["unchanged"] == 0 && totals["waiting"] == PUMPS, "{resumed}");
    ensure!(resumed["verified"]["equal"] == PUMPS, "{resumed}");
    Ok(())
}

#[test]
fn rows_that_cant_become_enrolments_are_told_one_by_one() -> Result<()> {
    let station = Station::new()?;
    let thumbprint = "AB".repeat(32);
    let batch = format!(
        "device_id,module_id,auth,primary_thumbprint,status_reason,status\n\
         pump-1,,,{thumbprint},,\n\
         pump#2,,sas,,,\n\
         pump-4,,x509_ca,,,\n\
         pump-5,,sas,,broken,disabled\n\
         PUMP-5,,sas,,,\n\
         pump-7,,sas,,,\n\
         pump-7,valve,sas,,,\n"
    );
    station.write("pumps.csv", &batch)?;
    station.run("provisioner", ["check", "pumps.csv"])?.expect_code(0)?;
    let checked = station.run("provisioner", ["check", "pumps.csv", "--dps", "--format", "json"])?;
    let checked = checked.expect_code(2)?.json()?;
    let problems = checked["problems"].as_array().context("problems")?;
    let places: Vec<(u64, &str)> = problems
        .iter()
        .filter(|problem| problem["severity"] == "error")
        .filter_map(|problem| Some((problem["line"].as_u64()?, problem["column"].as_str()?)))
        .collect();
    let expected =
        [(2, "primary_thumbprint"), (3, "device_id"), (4, "auth"), (5, "status_reason"), (6, "device_id")];
    ensure!(places == expected, "{checked:#}");
    ensure!(checked["bad_rows"] == 5, "{checked}");

    // An apply refuses the batch before anything is sent, and on request takes the good rows.
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    let refused = station.provision_dps(&hub, &["apply", "pumps.csv", "--dps"], 2)?;
    ensure!(refused.stderr.contains("nothing was sent"), "{}", refused.stderr);
    ensure!(hub.requests()?.is_empty(), "{:?}", hub.requests()?);
    let skipped = ["apply", "pumps.csv", "--dps", "--skip-bad-rows", "--format", "json"];
    let skipped = station.provision_dps(&hub, &skipped, 1)?.json()?;
    let totals = &skipped["totals"];
    ensure!(totals["created"] == 1 && totals["waiting"] == 1 && totals["rejected"] == 5, "{skipped}");
    Ok(())
}

#[test]
fn a_dps_is_named_by_the_settings_or_the_environment_and_never_together_with_a_hub() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", "device_id,auth\npump-1,sas\n")?;
    let access = std::fs::read_to_string(hub.data().join("dps-connection-string"))?;
    station.write("dps.secret", &access)?;
    let ca = hub.ca_file();
    let ca = ca.to_string_lossy();
    let settings = format!("[dps.factory]\nconnection_string_file = 'dps.secret'\nca_file = '{ca}'\n");
    station.write("provisioner.toml", &settings)?;
    station.run("provisioner", ["apply", "pumps.csv", "--dps", "factory"])?.expect_code(0)?;
    let unknown = station.run("provisioner", ["apply", "pumps.csv", "--dps", "factori"])?.expect_code(2)?;
    ensure!(unknown.stderr.contains("has no DPS `factori`; it has `factory`"), "{}", unknown.stderr);
    let none = station.run("provisioner", ["apply", "pumps.csv", "--dps"])?.expect_code(2)?;
    ensure!(none.stderr.contains("IOTDPS_CONNECTION_STRING is not set"), "{}", none.stderr);
    for both in [["--hub", "line"], ["--local", "x"], ["--tier", "S1"]] {
        let args = [&["apply", "pumps.csv", "--dps", "factory"], &both[..]].concat();
        let refused = station.run("provisioner", args)?.expect_code(2)?;
        ensure!(refused.stderr.contains("cannot be used with"), "{}", refused.stderr);
    }
    let quarantine = ["apply", "pumps.csv", "--dps", "factory", "--quarantine"];
    let quarantine = station.run("provisioner", quarantine)?.expect_code(2)?;
    ensure!(quarantine.stderr.contains("a quarantine is not possible on a DPS"), "{}", quarantine.stderr);
    Ok(())
}

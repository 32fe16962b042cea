//! The statements of the provisioner are true: the folder with the certificates, missing files,
//! remaining work, and the faults of a certificate.

use anyhow::{Result, ensure};
use e2e::{ServedHub, Station};
use serde_json::Value;

/// A hub with three units on it, whose certificates a CA has issued.
fn issued() -> Result<(Station, ServedHub)> {
    let station = Station::new()?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", "device_id,module_id\npump-1,\npump-1,telemetry\npump-2,\n")?;
    station.provision(&hub, ["apply", "batch.csv", "--issue", "pki"])?.expect_code(0)?;
    Ok((station, hub))
}

#[test]
fn certificates_that_are_in_another_folder_are_refused_at_once_with_its_name() -> Result<()> {
    let (station, hub) = issued()?;
    let before = hub.requests()?.len();
    let other = ["apply", "batch.csv", "--issue", "pki", "--out", "other"];
    let refused = station.provision(&hub, other)?.expect_code(2)?;
    let folder = station.path("pki/issued");
    let folder = folder.canonicalize()?;
    ensure!(
        refused.stderr.contains("3 certificates of this batch, the first of them `pump-1`"),
        "{refused:?}"
    );
    ensure!(refused.stderr.contains(&format!("--out {}", folder.to_string_lossy())), "{refused:?}");
    ensure!(hub.requests()?.len() == before, "something was sent");
    let runs = station.run("provisioner", ["runs", "--format", "json"])?.expect_code(0)?;
    ensure!(serde_json::from_str::<Value>(&runs.stdout)?.as_array().is_some_and(|runs| runs.len() == 1));
    // With the folder that it names, all is as it was; and new units may have a folder of their own.
    let named = ["apply", "batch.csv", "--issue", "pki", "--out", &folder.to_string_lossy()];
    let named = station.provision(&hub, named)?.expect_code(0)?;
    ensure!(named.stdout.contains("3 unchanged"), "{named:?}");
    station.write("new.csv", "device_id\npump-3\n")?;
    station.provision(&hub, ["apply", "new.csv", "--issue", "pki", "--out", "other"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_template_that_is_missing_is_named_as_it_was_looked_for() -> Result<()> {
    let station = Station::new()?;
    std::fs::create_dir(station.path("line"))?;
    station.write("line/batch.csv", "device_id,auth,twin\npump-1,sas,twins/pump.json\n")?;
    let refused = station.run("provisioner", ["check", "line/batch.csv"])?;
    let path = station.folder().canonicalize()?.join("line/twins/pump.json");
    let said = format!("{}{}", refused.stdout, refused.stderr);
    ensure!(said.contains(&format!("no such file: `{}`", path.to_string_lossy())), "{refused:?}");
    ensure!(said.contains("correct the path") && !said.contains("correct the template"), "{refused:?}");

    std::fs::create_dir(station.path("line/twins"))?;
    station.write("line/twins/pump.json", "{\"desired\":\n {\"interval\": {{ x_interval | int }}}}\n")?;
    station.write("line/batch.csv", "device_id,auth,twin,x_interval\npump-1,sas,twins/pump.json,soon\n")?;
    let refused = station.run("provisioner", ["check", "line/batch.csv"])?;
    let said = format!("{}{}", refused.stdout, refused.stderr);
    ensure!(said.contains("line 2 of the twin template: `x_interval | int` fails"), "{refused:?}");
    ensure!(said.contains("the column `x_interval` holds `soon`"), "{refused:?}");
    Ok(())
}

#[test]
fn a_run_that_is_finished_is_not_resumed() -> Result<()> {
    let (station, hub) = issued()?;
    let before = hub.requests()?.len();
    let resumed = station.provision(&hub, ["resume", "1"])?.expect_code(0)?;
    ensure!(resumed.stderr.contains("run 1 is finished; nothing to resume"), "{resumed:?}");
    ensure!(!resumed.stderr.contains("provisioned in"), "{resumed:?}");
    ensure!(resumed.stdout.contains("run 1: finished: 3 rows = 3 created"), "{resumed:?}");
    let json = station.provision(&hub, ["resume", "--format", "json"])?.expect_code(0)?;
    let json: Value = serde_json::from_str(&json.stdout)?;
    ensure!(json["state"] == "finished" && json["totals"]["created"] == 3, "{json}");
    ensure!(hub.requests()?.len() == before, "the hub was asked");
    // What was never read back still is, and that is said.
    station.write("more.csv", "device_id,auth\npump-3,sas\n")?;
    station.provision(&hub, ["apply", "more.csv", "--no-verify"])?.expect_code(0)?;
    let verified = station.provision(&hub, ["resume"])?.expect_code(0)?;
    ensure!(verified.stderr.contains("what is left is to read everything back"), "{verified:?}");
    ensure!(verified.stdout.contains("1 equal"), "{verified:?}");
    Ok(())
}

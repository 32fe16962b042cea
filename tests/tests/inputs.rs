//! Batches as other programs write them, read by the built programs without a script in between.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use e2e::{Ended, ServedHub, Station};
use serde_json::Value;

/// The options for [`export`].
const OPTIONS: [&str; 8] = [
    "--map",
    "Seriennummer=device_id",
    "--map",
    "Los=tags.lot:string",
    "--ignore",
    "ERP *",
    "--modules",
    "telemetry,updater",
];

/// A list of gateways as an MES exports it: one row for each, with columns for modules and for others.
fn export(station: &Station, gateways: u32) -> Result<()> {
    let mut text = "\u{FEFF}Seriennummer;Los;ERP Menge;modules.updater.desired.channel\r\n".to_owned();
    for number in 1..=gateways {
        write!(text, "GW-{number:04};007;1,5;stable\r\n")?;
    }
    station.write("mes.csv", &text)?;
    Ok(())
}

fn provision(station: &Station, hub: &ServedHub, args: &[&str]) -> Result<Ended> {
    station.provision(hub, [args, &OPTIONS].concat())
}

fn json(ended: &Ended) -> Result<Value> {
    serde_json::from_str(&ended.stdout).context("JSON")
}

#[test]
fn one_row_for_each_gateway_becomes_gateways_with_modules_from_certificate_to_verification() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    export(&station, 3)?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let issue = ["issue", "--ca", "pki", "--from", "mes.csv", "--out", "pki/issued"];
    station.run("cert-tool", [&issue[..], &OPTIONS].concat())?.expect_code(0)?;
    let planned =
        json(&provision(&station, &hub, &["plan", "mes.csv", "--issue", "pki", "--format", "json"])?)?;
    assert_eq!(planned["create"], 9, "{planned}");
    provision(&station, &hub, &["apply", "mes.csv", "--issue", "pki"])?.expect_code(0)?;
    provision(&station, &hub, &["verify", "mes.csv", "--issue", "pki"])?.expect_code(0)?;
    let twin = station
        .provision(&hub, ["twin", "show", "--device-id", "GW-0002", "--format", "json"])?
        .expect_code(0)?;
    assert_eq!(json(&twin)?["tags"]["lot"], "007");
    let module = ["twin", "show", "-d", "GW-0002", "-m", "updater", "--format", "json"];
    let module = station.provision(&hub, module)?.expect_code(0)?;
    assert_eq!(json(&module)?["properties"]["desired"]["channel"], "stable");
    Ok(())
}

#[test]
fn the_settings_of_a_folder_expand_rows_and_plans_and_runs_keep_them() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("old.csv", "device_id,auth\nd1,x509_ca\n")?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;
    station.write("batch.csv", "device_id,auth,ERP\nd1,sas,9\nd2,sas,\n")?;
    station.write("provisioner.toml", "[batch]\nmodules = ['telemetry']\nignore = ['ERP']\n")?;
    let plan = ["plan", "batch.csv", "--output", "batch.plan", "--format", "json"];
    let planned = json(&station.provision(&hub, plan)?)?;
    let rows: Vec<_> = planned["rows"].as_array().into_iter().flatten().collect();
    let of_second: Vec<_> =
        rows.iter().filter(|row| row["line"] == 3).filter_map(|row| row["identity"].as_str()).collect();
    assert_eq!(of_second, ["d2", "d2/telemetry"], "{planned}");
    // Neither a plan nor the failed rows need the settings, or others, to be read again.
    station.write("provisioner.toml", "[batch]\nmodules = ['other']\n")?;
    station.provision(&hub, ["apply", "batch.plan"])?.expect_code(1)?;
    station.provision(&hub, ["twin", "show", "-d", "d2", "-m", "telemetry"])?.expect_code(0)?;
    let failed = std::fs::read_to_string(station.path("batch.run-2-failed.csv"))?;
    assert_eq!(failed, "device_id,auth,ERP\nd1,sas,9\n", "the device and its module are one row");
    station.write("provisioner.toml", "[batch]\nmodules = 'telemetry'\n")?;
    let refused = station.provision(&hub, ["check", "batch.csv"])?.expect_code(2)?;
    let place = "line 2, column 11: `modules` must be a list of the ids of modules";
    assert!(refused.stderr.contains(place), "{refused:?}");
    Ok(())
}

#[test]
fn lists_without_a_header_are_issued_applied_and_repaired_with_the_names_of_their_columns() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("ids.txt", "PMP-1\nPMP-2\n")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let missing = station.provision(&hub, ["check", "ids.txt"])?.expect_code(2)?;
    assert!(missing.stdout.contains("--columns device_id"), "{missing:?}");
    let issue =
        ["issue", "--ca", "pki", "--from", "ids.txt", "--columns", "device_id", "--out", "pki/issued"];
    station.run("cert-tool", issue)?.expect_code(0)?;
    station
        .provision(&hub, ["apply", "ids.txt", "--columns", "device_id", "--issue", "pki"])?
        .expect_code(0)?;
    station.write("more.csv", "PMP-2|sas|L7\nPMP-3|sas|L8\n")?;
    let names = ["--columns", "device_id,auth,tags.line"];
    station.provision(&hub, [&["apply", "more.csv"], &names[..]].concat())?.expect_code(1)?;
    let failed = std::fs::read_to_string(station.path("more.run-2-failed.csv"))?;
    assert_eq!(failed, "PMP-2|sas|L7\n", "it is read with the same options");
    let verify = ["verify", "ids.txt", "--columns", "device_id", "--issue", "pki"];
    station.provision(&hub, verify)?.expect_code(0)?;
    Ok(())
}

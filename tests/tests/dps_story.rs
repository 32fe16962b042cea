//! From a list of pumps to pumps whose modules are connected: certificates, enrolments, registration
//! with Microsoft's client for Python, `follow`, report and verification; one pump is retired for good.
//! `STORY_PUMPS` pumps.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::{Ended, ServedHub, Station, from_env, repository};
use hub_types::connection_string::ServiceConnectionString;
use serde_json::Value;

const MODULES: [&str; 3] = ["control", "telemetry", "update"];

/// Pumps with three modules each, and twins.
fn work_order(pumps: usize) -> String {
    let mut batch = "device_id,module_id,tags.line,desired.interval\n".to_owned();
    for pump in 0..pumps {
        batch += &format!("pump-{pump:04},,L{},60\n", pump % 4);
        for (number, module) in MODULES.iter().enumerate() {
            batch += &format!("pump-{pump:04},{module},L{},{}\n", pump % 4, number + 1);
        }
    }
    batch
}

fn provision(station: &Station, hub: &ServedHub, args: &[&str], code: i32) -> Result<Ended> {
    Ended::of(station.provisioner_beside_dps(hub)?.args(args).output()?)?.expect_code(code)
}

/// Microsoft's client, unmodified.
fn line(station: &Station, args: &[&str]) -> Result<Ended> {
    let output = Command::new(repository().join(".venv/bin/python"))
        .arg(repository().join("scripts/device-judge/line.py"))
        .args(args)
        .current_dir(station.folder())
        .output()
        .context("run scripts/install-test-needs first, or all tests with scripts/test")?;
    Ended::of(output)?.expect_code(0)
}

fn json(ended: &Ended) -> Result<Value> {
    Ok(serde_json::from_str(&ended.stdout)?)
}

#[test]
fn pumps_of_a_list_register_and_their_modules_connect() -> Result<()> {
    let pumps = from_env("STORY_PUMPS", 48);
    let (modules, rows) = (3 * pumps, 4 * pumps);
    let station = Station::new()?;
    let hub = ServedHub::start_with_dps(&station, "hub")?;
    station.write("pumps.csv", &work_order(pumps))?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    provision(&station, &hub, &["check", "pumps.csv", "--dps"], 0)?;
    let applied = ["apply", "pumps.csv", "--issue", "pki", "--dps", "--format", "json"];
    let applied = json(&provision(&station, &hub, &applied, 0)?)?;
    ensure!(applied["totals"]["created"] == pumps && applied["totals"]["waiting"] == modules, "{applied}");

    // The station follows while the pumps register, one after the other.
    let follow = ["follow", "1", "--dps", "--interval", "1s", "--format", "json"];
    let mut following = station.provisioner_beside_dps(&hub)?;
    let following = following.args(follow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (scope, ca) = (hub.id_scope()?, hub.ca_file().to_string_lossy().into_owned());
    let access: ServiceConnectionString = hub.dps_connection_string()?.parse()?;
    let dps = access.host.name().to_owned();
    let registered = line(&station, &["register", &dps, &scope, &ca, "pki/issued"])?;
    ensure!(registered.stdout.contains(&format!("{pumps} as expected")), "{}", registered.stdout);
    let followed = json(&end(following)?)?;
    let totals = &followed["totals"];
    ensure!(totals["created"] == modules && totals["unchanged"] == pumps, "{followed}");
    ensure!(followed["verified"]["equal"] == rows, "{followed}");

    let connected = line(&station, &["connect", &hub.host()?, &ca, "pki/issued"])?;
    ensure!(connected.stdout.contains(&format!("{modules} as expected")), "{}", connected.stdout);

    let report = station.run("provisioner", ["report"])?.expect_code(0)?;
    ensure!(report.stdout.contains(&format!("{rows} rows = {modules} created")), "{}", report.stdout);
    let verify = ["verify", "pumps.csv", "--issue", "pki", "--format", "json"];
    let verified = json(&provision(&station, &hub, &verify, 0)?)?;
    ensure!(verified["equal"] == rows, "{verified}");
    let verify = ["verify", "pumps.csv", "--issue", "pki", "--dps", "--format", "json"];
    let verified = json(&provision(&station, &hub, &verify, 0)?)?;
    ensure!(verified["equal"] == pumps, "{verified}");

    // One pump is scrapped, and can't come back.
    station.write("scrapped.csv", "device_id\npump-0003\n")?;
    provision(&station, &hub, &["retire", "scrapped.csv", "--dps", "--reason", "scrapped"], 0)?;
    line(&station, &["refused", &dps, &scope, &ca, "pki/issued", "pump-0003"])?;
    provision(&station, &hub, &["retire", "scrapped.csv", "--dps", "--delete"], 0)?;
    line(&station, &["refused", &dps, &scope, &ca, "pki/issued", "pump-0003"])?;
    ensure!(hub.get("/devices/pump-0003").is_err(), "it is on the hub again");
    ensure!(hub.get("/devices/pump-0002").is_ok());
    Ok(())
}

fn end(process: Child) -> Result<Ended> {
    Ended::of(process.wait_with_output()?)?.expect_code(0)
}

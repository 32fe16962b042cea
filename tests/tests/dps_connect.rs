//! Devices register through a DPS as they do themselves, and connect to the hub that they are assigned to.

use anyhow::{Result, ensure};
use e2e::{Ended, ServedHub, Station};
use reqwest::Method;
use serde_json::{Value, json};

const KEYS: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn verify(station: &Station, hub: &ServedHub, args: &[&str], code: i32) -> Result<Ended> {
    let args = [&["verify"], args, &["--dps"]].concat();
    let mut command = station.dps_provisioner(hub, &args)?;
    command.env("IOTDPS_ID_SCOPE", hub.id_scope()?);
    Ended::of(command.output()?)?.expect_code(code)
}

fn failure<'v>(verified: &'v Value, identity: &str) -> Option<&'v str> {
    let failures = verified.pointer("/connections/failures")?.as_array()?;
    failures
        .iter()
        .find(|one| one.get("identity").is_some_and(|found| found == identity))?
        .get("reason")?
        .as_str()
}

#[test]
fn devices_register_with_their_certificates_and_keys_and_read_their_twins() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_dps(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let batch = format!(
        "device_id,auth,primary_key,secondary_key,status,desired.interval\n\
         pump-1,,,,,60\npump-2,,,,,60\npump-3,,,,disabled,60\nmeter-1,sas,{KEYS},{KEYS},,30\nmeter-2,sas,,,,30\n"
    );
    station.write("units.csv", &batch)?;
    station.provision_dps(&hub, &["apply", "units.csv", "--issue", "pki", "--dps"], 0)?;
    ensure!(hub.get("/devices/pump-1").is_err(), "nobody has registered yet");

    let connect = ["units.csv", "--issue", "pki", "--connect", "all", "--format", "json"];
    let verified = verify(&station, &hub, &connect, 0)?.json()?;
    let connections = &verified["connections"];
    ensure!(verified["equal"] == 5 && connections["connected"] == 3, "{verified}");
    // The keys of the last one are known to the DPS alone.
    ensure!(connections["disabled"] == 1 && connections["not_tried"] == 1, "{verified}");
    ensure!(hub.get("/devices/pump-1")?["deviceId"] == "pump-1");
    ensure!(hub.twin("meter-1")?["properties"]["desired"]["interval"] == 30);

    // An enrolment that does not let the device in is told.
    let (status, mut entry) = hub.call_dps(Method::GET, "/enrollments/pump-2", None)?;
    ensure!(status == 200);
    entry["attestation"] = json!({"type": "symmetricKey"});
    let mode = json!({"mode": "updateIfMatchETag", "enrollments": [entry]});
    ensure!(hub.call_dps(Method::POST, "/enrollments", Some(&mode))?.1["isSuccessful"] == true);
    let verified = verify(&station, &hub, &connect, 1)?.json()?;
    let told =
        |identity: &str, text: &str| failure(&verified, identity).is_some_and(|found| found.contains(text));
    ensure!(told("pump-2", "the DPS refused the registration (401, 401002)"), "{verified}");

    let unnamed = ["verify", "units.csv", "--issue", "pki", "--dps", "--connect", "1"];
    let unnamed = station.provision_dps(&hub, &unnamed, 2)?;
    ensure!(unnamed.stderr.contains("devices register with an id scope"), "{}", unnamed.stderr);
    Ok(())
}

#[test]
fn a_device_of_a_group_registers_with_its_chain() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_dps(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("units.csv", "device_id\npump-1\npump-2\n")?;
    let issue = ["issue", "--ca", "pki", "--out", "issued", "--from", "units.csv"];
    station.run("cert-tool", issue)?.expect_code(0)?;
    let group = ["apply", "issued/issued.csv", "--dps", "--group", "factory"];
    station.provision_dps(&hub, &group, 0)?;
    let of_group = ["issued/issued.csv", "--group", "factory", "--connect", "1", "--format", "json"];
    let verified = verify(&station, &hub, &of_group, 0)?.json()?;
    ensure!(verified["equal"] == 1 && verified["connections"]["connected"] == 1, "{verified}");
    // Without the group, enrolments are expected that the batch does not have; the devices come in all the same.
    let verified = verify(&station, &hub, &["issued/issued.csv", "--connect", "all", "--format", "json"], 1)?;
    let verified = verified.json()?;
    ensure!(verified["missing"] == 2 && verified["connections"]["connected"] == 2, "{verified}");
    ensure!(hub.get("/devices/pump-2")?["deviceId"] == "pump-2");
    Ok(())
}

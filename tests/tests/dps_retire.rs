//! Retiring devices of a DPS: what lets them in is taken in an order in which they can't come back.

use std::process::Stdio;

use anyhow::{Result, ensure};
use e2e::{Ended, ServedHub, Station};
use reqwest::Method;
use serde_json::{Value, json};

const BATCH: &str = "device_id\npump-1\npump-2\npump-3\n";

/// Serves a hub with a DPS, and issues certificates for three pumps.
fn factory(station: &Station, more: &[&str]) -> Result<ServedHub> {
    let hub = ServedHub::start_with_free_dps(station, more)?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("units.csv", BATCH)?;
    let issue = ["issue", "--ca", "pki", "--out", "issued", "--from", "units.csv"];
    station.run("cert-tool", issue)?.expect_code(0)?;
    Ok(hub)
}

/// Runs the provisioner against the DPS, with the access to the hub that devices are assigned to.
fn retire(station: &Station, hub: &ServedHub, args: &[&str], code: i32) -> Result<Ended> {
    let args = [args, &["--dps"]].concat();
    let mut command = station.dps_provisioner(hub, &args)?;
    command.env("IOTHUB_CONNECTION_STRING", hub.connection_string());
    Ended::of(command.output()?)?.expect_code(code)
}

/// The status of the device on the hub; null if it is not there.
fn on_hub(hub: &ServedHub, device: &str) -> Value {
    hub.get(&format!("/devices/{device}"))
        .map_or(Value::Null, |device| device.get("status").cloned().unwrap_or_default())
}

fn registration(hub: &ServedHub, device: &str) -> Result<u16> {
    Ok(hub.call_dps(Method::GET, &format!("/registrations/{device}"), None)?.0)
}

/// The operations that change something, in the order of the log, without those before the `skip`th.
fn changes(hub: &ServedHub, skip: usize) -> Result<Vec<String>> {
    let changing =
        ["BulkEnrollments", "BulkRegistry", "DeleteEnrollment", "DeleteRegistration", "DeleteDevice"];
    let requests = hub.requests()?;
    let names = requests.iter().skip(skip).map(|request| request.operation().to_owned());
    Ok(names.filter(|name| changing.contains(&name.as_str())).collect())
}

#[test]
fn a_retired_device_is_kept_out_and_a_deleted_one_leaves_nothing_behind() -> Result<()> {
    let station = Station::new()?;
    let hub = factory(&station, &[])?;
    station.provision_dps(&hub, &["apply", "issued/issued.csv", "--dps"], 0)?;
    for pump in ["pump-1", "pump-2"] {
        ensure!(hub.register(&station, pump)?.0 == 202);
    }
    // What is enabled is not deleted, and a dry run changes nothing.
    let early = retire(&station, &hub, &["retire", "units.csv", "--delete"], 1)?;
    ensure!(early.stdout.contains("its enrolment is enabled"), "{}", early.stdout);
    let before = hub.requests()?.len();
    let dry = retire(&station, &hub, &["retire", "units.csv", "--dry-run", "--format", "json"], 0)?.json()?;
    ensure!(dry["update"] == 3 && changes(&hub, before)?.is_empty(), "{dry}");

    let disable = ["retire", "units.csv", "--reason", "scrapped", "--format", "json"];
    let retired = retire(&station, &hub, &disable, 0)?.json()?;
    ensure!(retired["totals"]["updated"] == 3 && retired["verified"]["equal"] == 3, "{retired}");
    ensure!(changes(&hub, before)? == ["BulkEnrollments", "BulkRegistry", "BulkRegistry"], "{retired}");
    ensure!(on_hub(&hub, "pump-1") == "disabled" && on_hub(&hub, "pump-3").is_null());
    ensure!(hub.get("/devices/pump-1")?["statusReason"] == "scrapped");
    for pump in ["pump-1", "pump-3"] {
        ensure!(hub.register(&station, pump)?.0 == 401, "{pump} came back");
    }
    let again = retire(&station, &hub, &disable, 0)?.json()?;
    ensure!(again["totals"]["unchanged"] == 3, "{again}");

    let before = hub.requests()?.len();
    let delete = ["retire", "units.csv", "--delete", "--format", "json"];
    let deleted = retire(&station, &hub, &delete, 0)?.json()?;
    ensure!(deleted["totals"]["deleted"] == 3 && deleted["verified"]["equal"] == 3, "{deleted}");
    let order = changes(&hub, before)?;
    let last = |name: &str| order.iter().rposition(|operation| operation == name);
    let count = |name: &str| order.iter().filter(|operation| *operation == name).count();
    ensure!(count("DeleteEnrollment") == 3 && count("DeleteDevice") == 2, "{order:?}");
    ensure!(
        count("DeleteRegistration") == 2 && last("DeleteRegistration") == Some(order.len() - 1),
        "{order:?}"
    );
    for pump in ["pump-1", "pump-2", "pump-3"] {
        ensure!(hub.enrollment(pump)?.is_null() && on_hub(&hub, pump).is_null());
        ensure!(registration(&hub, pump)? == 404, "{pump} left a record");
    }
    // The devices show their certificates in vain.
    ensure!(hub.register(&station, "pump-1")?.0 == 401 && on_hub(&hub, "pump-1").is_null());
    let again = retire(&station, &hub, &delete, 0)?.json()?;
    ensure!(again["totals"]["unchanged"] == 3, "{again}");
    Ok(())
}

#[test]
fn a_device_of_a_group_is_kept_out_by_an_enrolment_of_its_own_that_stays() -> Result<()> {
    let station = Station::new()?;
    let hub = factory(&station, &[])?;
    let ca = std::fs::read_to_string(station.path("pki/issuing.pem"))?;
    let group = json!({"enrollmentGroupId": "factory", "attestation": {"type": "x509",
        "x509": {"signingCertificates": {"primary": {"certificate": ca}}}}});
    let (status, body) = hub.call_dps(Method::PUT, "/enrollmentGroups/factory", Some(&group))?;
    ensure!(status == 200, "{body}");
    ensure!(hub.register(&station, "pump-1")?.0 == 202 && on_hub(&hub, "pump-1") == "enabled");
    station.write("pump-1.csv", "device_id,module_id\npump-1,\npump-1,valve\n")?;

    let early = retire(&station, &hub, &["retire", "pump-1.csv", "--delete"], 1)?;
    ensure!(early.stdout.contains("an enrolment group could let it in"), "{}", early.stdout);
    let retired = retire(&station, &hub, &["retire", "pump-1.csv", "--format", "json"], 0)?.json()?;
    ensure!(retired["totals"]["updated"] == 1 && retired["totals"]["unchanged"] == 1, "{retired}");
    ensure!(hub.enrollment("pump-1")?["provisioningStatus"] == "disabled");
    ensure!(hub.register(&station, "pump-1")?.0 == 401 && on_hub(&hub, "pump-1") == "disabled");
    let deleted =
        retire(&station, &hub, &["retire", "pump-1.csv", "--delete", "--format", "json"], 0)?.json()?;
    ensure!(deleted["totals"]["deleted"] == 1 && deleted["verified"]["different"] == 0, "{deleted}");
    ensure!(on_hub(&hub, "pump-1").is_null() && registration(&hub, "pump-1")? == 404);
    ensure!(hub.enrollment("pump-1")?["provisioningStatus"] == "disabled");
    ensure!(hub.register(&station, "pump-1")?.0 == 401 && on_hub(&hub, "pump-1").is_null());
    // If that was a mistake, a release of the run that retired it takes the enrolment away again.
    let released = retire(&station, &hub, &["release", "--run", "2", "--format", "json"], 0)?.json()?;
    ensure!(released["totals"]["updated"] == 1, "{released}");
    ensure!(hub.enrollment("pump-1")?.is_null() && hub.register(&station, "pump-1")?.0 == 202);
    // Its sisters register as before, and an id that nobody has is told.
    ensure!(hub.register(&station, "pump-2")?.0 == 202);
    station.write("typo.csv", "device_id\npump-9\n")?;
    let typo = retire(&station, &hub, &["retire", "typo.csv"], 1)?;
    ensure!(
        typo.stdout.contains("it has no enrolment of its own and has never registered"),
        "{}",
        typo.stdout
    );
    Ok(())
}

#[test]
fn a_killed_retirement_is_resumed_and_lost_answers_are_settled() -> Result<()> {
    let station = Station::new()?;
    let faults = "[[fault]]\noperation = 'DeleteEnrollment'\neffect = 'lose-answer'\ncount = 1\n\
                  [[fault]]\noperation = 'DeleteDevice'\neffect = 'lose-answer'\ncount = 1\n\
                  [[fault]]\noperation = 'DeleteRegistration'\neffect = 'drip'\nbytes_per_second = 1\ncount = 1\n";
    let faults = station.write("faults.toml", faults)?.to_string_lossy().into_owned();
    let hub = factory(&station, &["--faults", &faults])?;
    station.provision_dps(&hub, &["apply", "issued/issued.csv", "--dps"], 0)?;
    for pump in ["pump-1", "pump-2", "pump-3"] {
        ensure!(hub.register(&station, pump)?.0 == 202);
    }
    retire(&station, &hub, &["retire", "units.csv"], 0)?;
    let args = ["retire", "units.csv", "--delete", "--dps"];
    let mut process = station
        .dps_provisioner(&hub, &args)?
        .env("IOTHUB_CONNECTION_STRING", hub.connection_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    while hub.count_requests("DeleteRegistration")? == 0 {
        ensure!(process.try_wait()?.is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    process.kill()?;
    process.wait()?;
    let resumed = retire(&station, &hub, &["resume", "--format", "json"], 0)?.json()?;
    let totals = &resumed["totals"];
    ensure!(totals["deleted"] == 3 && resumed["verified"]["equal"] == 3, "{resumed}");
    for pump in ["pump-1", "pump-2", "pump-3"] {
        ensure!(hub.enrollment(pump)?.is_null() && on_hub(&hub, pump).is_null());
        ensure!(registration(&hub, pump)? == 404, "{pump} left a record");
    }
    Ok(())
}

#[test]
fn a_different_unit_and_a_hub_that_cant_be_called_are_left_alone() -> Result<()> {
    let station = Station::new()?;
    let hub = factory(&station, &[])?;
    station.provision_dps(&hub, &["apply", "issued/issued.csv", "--dps"], 0)?;
    ensure!(hub.register(&station, "pump-1")?.0 == 202);
    // Without access to its hub the enrolment stays too: a half is not retired.
    let blind = station.provision_dps(&hub, &["retire", "units.csv", "--dps"], 1)?;
    ensure!(blind.stdout.contains("no access to its hub `localhost` is configured"), "{}", blind.stdout);
    ensure!(hub.enrollment("pump-1")?["provisioningStatus"] == "enabled");
    ensure!(hub.enrollment("pump-2")?["provisioningStatus"] == "disabled");
    let thumbprint = "AB".repeat(32);
    station.write("swapped.csv", &format!("device_id,primary_thumbprint\npump-3,{thumbprint}\n"))?;
    let swapped = retire(&station, &hub, &["retire", "swapped.csv"], 0)?;
    ensure!(swapped.stdout.contains("1 unchanged"), "{}", swapped.stdout);
    let delete = retire(&station, &hub, &["retire", "swapped.csv", "--delete"], 1)?;
    ensure!(delete.stdout.contains("the certificate of its enrolment differs"), "{}", delete.stdout);
    ensure!(!hub.enrollment("pump-3")?.is_null());
    // The settings of the working folder name the hub, too.
    let access = hub.connection_string();
    station.write("hub.secret", access)?;
    station.write("provisioner.toml", "[hubs.line]\nconnection_string_file = 'hub.secret'\n")?;
    station.provision_dps(&hub, &["retire", "units.csv", "--dps"], 0)?;
    ensure!(on_hub(&hub, "pump-1") == "disabled");
    Ok(())
}

#[test]
fn an_undo_on_a_dps_has_a_dry_run() -> Result<()> {
    let station = Station::new()?;
    let hub = factory(&station, &[])?;
    station.provision_dps(&hub, &["apply", "issued/issued.csv", "--dps"], 0)?;
    ensure!(hub.register(&station, "pump-1")?.0 == 202);
    let undo = ["undo", "1", "--dps", "--dry-run", "--format", "json"];
    let dry = station.provision_dps(&hub, &undo, 1)?.json()?;
    ensure!(dry["delete"] == 2 && dry["conflict"] == 1 && dry["dps"] == hub.dps_host()?, "{dry}");
    ensure!(hub.count_requests("DeleteEnrollment")? == 0);
    Ok(())
}

#[test]
fn a_device_that_was_retired_by_mistake_is_released() -> Result<()> {
    let station = Station::new()?;
    let hub = factory(&station, &[])?;
    station.write("pump-1.csv", "device_id\npump-1\n")?;
    station.write("pump-2.csv", "device_id\npump-2\n")?;
    let own = std::fs::read_to_string(station.path("issued/issued.csv"))?;
    let row = |id: &str| own.lines().find(|line| line.starts_with(id)).map(str::to_owned).unwrap_or_default();
    let header = own.lines().next().unwrap_or_default();
    station.write("issued/own.csv", &format!("{header}\n{}\n", row("pump-1")))?;
    station.write("issued/group.csv", &format!("{header}\n{}\n", row("pump-2")))?;
    station.provision_dps(&hub, &["apply", "issued/own.csv", "--dps"], 0)?;
    station.provision_dps(&hub, &["apply", "issued/group.csv", "--dps", "--group", "factory"], 0)?;
    for pump in ["pump-1", "pump-2"] {
        ensure!(hub.register(&station, pump)?.0 == 202);
    }
    retire(&station, &hub, &["retire", "pump-1.csv"], 0)?;
    retire(&station, &hub, &["retire", "pump-2.csv"], 0)?;
    ensure!(hub.enrollment("pump-2")?["provisioningStatus"] == "disabled");
    let undo = retire(&station, &hub, &["undo", "3"], 2)?;
    ensure!(undo.stderr.contains("`provisioner release --run 3` enables again"), "{}", undo.stderr);

    let dry =
        retire(&station, &hub, &["release", "--run", "3", "--dry-run", "--format", "json"], 0)?.json()?;
    ensure!(dry["update"] == 1 && on_hub(&hub, "pump-1") == "disabled", "{dry}");
    let released = retire(&station, &hub, &["release", "--run", "3", "--format", "json"], 0)?.json()?;
    ensure!(released["totals"]["updated"] == 1 && released["verified"]["equal"] == 1, "{released}");
    ensure!(on_hub(&hub, "pump-1") == "enabled" && hub.register(&station, "pump-1")?.0 == 202);
    // The enrolment that only kept the device of the group out is gone.
    let released = retire(&station, &hub, &["release", "pump-2.csv", "--format", "json"], 0)?.json()?;
    ensure!(released["totals"]["updated"] == 1 && hub.enrollment("pump-2")?.is_null(), "{released}");
    ensure!(on_hub(&hub, "pump-2") == "enabled" && hub.register(&station, "pump-2")?.0 == 202);
    // Nobody releases what somebody else has disabled.
    hub.register(&station, "pump-3")?;
    station.write("pump-3.csv", "device_id,auth,status\npump-3,sas,disabled\n")?;
    station.provision_dps(&hub, &["apply", "pump-3.csv", "--dps"], 0)?;
    let refused = retire(&station, &hub, &["release", "pump-3.csv"], 1)?;
    ensure!(refused.stdout.contains("no run of this ledger has retired it"), "{}", refused.stdout);
    Ok(())
}

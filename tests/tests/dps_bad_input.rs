//! Bad input and bad luck on a DPS: one clear message for each, nothing lost, nothing done twice.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::{Ended, ServedHub, Station};
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use reqwest::Method;
use serde_json::{Value, json};

const PUMPS: usize = 60;

fn pumps() -> String {
    let rows: String = (0..PUMPS).map(|pump| format!("pump-{pump:03},sas\n")).collect();
    format!("device_id,auth\n{rows}")
}

/// The number of enrolments of the DPS.
fn enrolled(hub: &ServedHub) -> Result<usize> {
    let query = json!({"query": "SELECT * FROM enrollments"});
    let (status, body) = hub.call_dps(Method::POST, "/enrollments/query", Some(&query))?;
    ensure!(status == 200, "{body}");
    Ok(body.as_array().context("a list")?.len())
}

/// Writes a certificate with this common name, valid in these years.
fn certificate(station: &Station, file: &str, name: &str, years: (i32, i32)) -> Result<()> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate()?;
    station.write(file, &params.self_signed(&key)?.pem())?;
    Ok(())
}

#[test]
fn certificates_that_no_device_could_register_with_are_told() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    certificate(&station, "old.pem", "pump-1", (2020, 2021))?;
    certificate(&station, "new.pem", "pump-2", (2090, 2099))?;
    certificate(&station, "other.pem", "valve-3", (2020, 2099))?;
    let batch = "device_id,certificate\npump-1,old.pem\npump-2,new.pem\npump-3,other.pem\n";
    station.write("units.csv", batch)?;
    let refused = station.provision_dps(&hub, &["apply", "units.csv", "--dps"], 2)?;
    for told in [
        "units.csv:2: column certificate: \"old.pem\": the certificate has expired at 2021-01-01T00:00:00",
        "units.csv:3: warning: column certificate: \"new.pem\": the certificate is not valid before 2090",
        "units.csv:4: column certificate",
        "valve-3",
    ] {
        ensure!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
    }
    ensure!(hub.requests()?.is_empty());
    let skipped = ["apply", "units.csv", "--dps", "--skip-bad-rows", "--format", "json"];
    let skipped = station.provision_dps(&hub, &skipped, 1)?.json()?;
    ensure!(skipped["totals"]["created"] == 1 && skipped["totals"]["rejected"] == 2, "{skipped}");
    // The CA of a group must be one, and be valid.
    station.write("any.csv", "device_id,auth\npump-1,x509_ca\n")?;
    for (file, told) in [("old.pem", "not a CA"), ("issued.csv", "issued.csv")] {
        let group = ["apply", "any.csv", "--dps", "--group", "g", "--group-ca", file];
        let refused = station.provision_dps(&hub, &group, 2)?;
        ensure!(refused.stderr.contains(told), "{}", refused.stderr);
    }
    Ok(())
}

#[test]
fn an_enrolment_of_the_same_id_by_somebody_else_is_a_conflict_and_stays() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("units.csv", "device_id\npump-1\npump-2\n")?;
    let entry = json!({"registrationId": "PUMP-1", "attestation": {"type": "symmetricKey"},
        "deviceId": "something-else"});
    ensure!(hub.call_dps(Method::PUT, "/enrollments/PUMP-1", Some(&entry))?.0 == 200);
    let conflict = station.provision_dps(&hub, &["apply", "units.csv", "--issue", "pki", "--dps"], 1)?;
    ensure!(conflict.stdout.contains("1 created") && conflict.stdout.contains("1 conflict"), "{conflict:?}");
    ensure!(conflict.stdout.contains("auth: batch has \"x509\", DPS has \"symmetricKey\""), "{conflict:?}");
    ensure!(conflict.stdout.contains("identity: batch has \"pump-1\", DPS has \"something-else\""));
    ensure!(hub.enrollment("pump-1")?["deviceId"] == "something-else");
    Ok(())
}

#[test]
fn a_dps_that_is_too_busy_fails_or_answers_nobody_gets_every_enrolment_once() -> Result<()> {
    let station = Station::new()?;
    let faults = "[[fault]]\noperation = 'BulkEnrollments'\neffect = 'status'\nstatus = 429\ncount = 2\n\
                  [[fault]]\noperation = 'BulkEnrollments'\neffect = 'status'\nstatus = 500\nskip = 2\ncount = 2\n\
                  [[fault]]\noperation = 'BulkEnrollments'\neffect = 'lose-answer'\nskip = 4\ncount = 2\n\
                  [[fault]]\noperation = 'GetEnrollment'\neffect = 'status'\nstatus = 503\ncount = 2\n";
    let faults = station.write("faults.toml", faults)?.to_string_lossy().into_owned();
    let hub = ServedHub::start_with_free_dps(&station, &["--faults", &faults])?;
    station.write("pumps.csv", &pumps())?;
    let applied =
        station.provision_dps(&hub, &["apply", "pumps.csv", "--dps", "--format", "json"], 0)?.json()?;
    let totals = &applied["totals"];
    ensure!(totals["created"] == PUMPS && applied["verified"]["equal"] == PUMPS, "{applied}");
    ensure!(enrolled(&hub)? == PUMPS && hub.enrollment("pump-000")?["etag"].is_string());
    Ok(())
}

#[test]
fn a_run_waits_for_a_dps_that_is_gone_and_goes_on_when_it_is_back() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", &pumps())?;
    let dps = hub.dps_host()?.replace("localhost", "127.0.0.1");
    let args = ["apply", "pumps.csv", "--dps", "--workers", "1", "--format", "json", "--wait-for-hub", "10"];
    let mut command = station.dps_provisioner(&hub, &args)?;
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    while hub.count_requests("BulkEnrollments")? == 0 {
        std::thread::yield_now();
    }
    hub.kill()?;
    let back = ServedHub::start_again_with_dps(&station, &dps)?;
    let ended = Ended::of(process.wait_with_output()?)?.expect_code(0)?;
    let totals = &ended.json()?["totals"];
    ensure!(totals["created"] == PUMPS && enrolled(&back)? == PUMPS, "{}", ended.stdout);

    // Without a DPS nothing begins, and the message names it.
    let refused = station.dps_provisioner(&back, &["apply", "pumps.csv", "--dps", "--wait-for-hub", "0"])?;
    back.kill()?;
    let mut refused = refused;
    let refused = Ended::of(refused.output()?)?.expect_code(3)?;
    ensure!(refused.stderr.contains("check that the DPS is up"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn a_device_that_registers_twice_at_once_is_on_one_hub_once_and_is_retired_once() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("units.csv", "device_id\npump-1\n")?;
    let issue = ["issue", "--ca", "pki", "--out", "issued", "--from", "units.csv"];
    station.run("cert-tool", issue)?.expect_code(0)?;
    station.provision_dps(&hub, &["apply", "issued/issued.csv", "--dps"], 0)?;
    let extract = ["extract", "issued", "--device-id", "pump-1", "--out", "extracted-pump-1"];
    station.run("cert-tool", extract)?.expect_code(0)?;
    let registered: Vec<Result<(u16, Value)>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| hub.register(&station, "pump-1"))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| anyhow::bail!("it panics")))
            .collect()
    });
    for answer in registered {
        let (status, body) = answer?;
        ensure!(status == 202, "{body}");
    }
    ensure!(hub.get("/devices/pump-1")?["deviceId"] == "pump-1");
    let same =
        station.provision_dps(&hub, &["apply", "issued/issued.csv", "--dps", "--format", "json"], 0)?;
    ensure!(same.json()?["totals"]["unchanged"] == 1, "{}", same.stdout);
    for (args, count) in [
        (&["retire", "units.csv", "--dps"][..], "updated"),
        (&["retire", "units.csv", "--dps", "--delete"][..], "deleted"),
    ] {
        let args = [args, &["--format", "json"]].concat();
        let mut command = station.dps_provisioner(&hub, &args)?;
        command.env("IOTHUB_CONNECTION_STRING", hub.connection_string());
        let retired = Ended::of(command.output()?)?.expect_code(0)?.json()?;
        ensure!(retired["totals"][count] == 1, "{retired}");
    }
    ensure!(hub.get("/devices/pump-1").is_err() && hub.register(&station, "pump-1")?.0 == 401);
    Ok(())
}

/// The local hub names its errors, and its DPS numbers them.
#[test]
fn a_hub_is_taken_for_no_dps_and_a_dps_for_no_hub() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", "device_id,auth\npump-1,sas\n")?;
    let call = |variable: &str, value: &str, args: &[&str]| -> Result<Ended> {
        let mut command = station.command("provisioner")?;
        command.env("IOTHUB_CA_FILE", hub.ca_file()).env(variable, value).args(args);
        Ended::of(command.output()?)
    };
    let dps = hub.dps_connection_string()?;
    let sides = [
        (
            "IOTDPS_CONNECTION_STRING",
            hub.connection_string(),
            &["--dps"][..],
            "check that the address is that of a DPS",
        ),
        ("IOTHUB_CONNECTION_STRING", &dps, &[], "check that the address is that of an IoT hub"),
    ];
    for (variable, value, option, remedy) in sides {
        for args in
            [&["plan", "pumps.csv"][..], &["apply", "pumps.csv"], &["verify", "pumps.csv"], &["export"]]
        {
            let refused = call(variable, value, &[args, option].concat())?.expect_code(3)?;
            ensure!(refused.stderr.contains("what answers has no such operation"), "{args:?}: {refused:?}");
            ensure!(refused.stderr.contains(remedy), "{args:?}: {refused:?}");
        }
        let doctor = call(variable, value, &[&["doctor"], option].concat())?.expect_code(3)?;
        ensure!(!doctor.stdout.contains("granted"), "{doctor:?}");
        ensure!(doctor.stdout.contains(remedy), "{doctor:?}");
    }
    // The names that Azure gives tell before anything is sent.
    let key = "SharedAccessKeyName=p;SharedAccessKey=QUJDREVGR0hJSktMTU5PUA==";
    for (variable, host, option, told) in [
        (
            "IOTDPS_CONNECTION_STRING",
            "h.azure-devices.net",
            &["--dps"][..],
            "is the address of a hub, and a DPS is needed",
        ),
        (
            "IOTHUB_CONNECTION_STRING",
            "d.azure-devices-provisioning.net",
            &[],
            "is the address of a DPS, and a hub is needed",
        ),
    ] {
        let value = format!("HostName={host};{key}");
        let refused = call(variable, &value, &[&["plan", "pumps.csv"], option].concat())?.expect_code(2)?;
        ensure!(refused.stderr.contains(told) && refused.stderr.contains(variable), "{refused:?}");
    }
    Ok(())
}

//! Exports of enrolments, and the check of the way to a DPS.

use anyhow::{Context, Result, ensure};
use e2e::{ServedHub, Station};
use reqwest::Method;
use serde_json::{Value, json};

const BATCH: &str = "device_id,auth,status,edge,tags.line,desired.interval,desired.mode.name\n\
                     pump-1,sas,,,L1,60,eco\n\
                     pump-2,sas,disabled,,007,,\n\
                     gate-1,sas,,true,,,\n";

#[test]
fn exported_enrolments_are_a_batch_that_changes_nothing() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", BATCH)?;
    station.provision_dps(&hub, &["apply", "pumps.csv", "--dps", "--created-by-tag", "by"], 0)?;
    let group = json!({"enrollmentGroupId": "g", "attestation": {"type": "symmetricKey"}});
    ensure!(hub.call_dps(Method::PUT, "/enrollmentGroups/g", Some(&group))?.0 == 200);
    for file in ["export.csv", "export.jsonl"] {
        let exported = station.provision_dps(&hub, &["export", "--dps", "--out", file], 0)?;
        ensure!(exported.stderr.contains("exported: 3 enrolments"), "{}", exported.stderr);
        ensure!(exported.stderr.contains("3 of them have symmetric keys"), "{}", exported.stderr);
        ensure!(exported.stderr.contains("1 enrolment group not exported"), "{}", exported.stderr);
        let applied = ["apply", file, "--dps", "--format", "json"];
        let applied = station.provision_dps(&hub, &applied, 0)?.json()?;
        ensure!(applied["totals"]["unchanged"] == 3, "{applied}");
    }
    let condition = ["export", "--dps", "--where", "tags.line = 'L1'"];
    let refused = station.provision_dps(&hub, &condition, 2)?;
    ensure!(refused.stderr.contains("cannot be used with"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn certificates_are_exported_as_thumbprints_page_by_page() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("units.csv", "device_id\npump-1\npump-2\n")?;
    station.provision_dps(&hub, &["apply", "units.csv", "--issue", "pki", "--dps"], 0)?;
    let exported = station.provision_dps(&hub, &["export", "--dps"], 0)?;
    ensure!(exported.stderr.contains("2 of them have certificates"), "{}", exported.stderr);
    let rows: Vec<Value> =
        exported.stdout.lines().map(serde_json::from_str).collect::<Result<_, serde_json::Error>>()?;
    let list = station.run("cert-tool", ["list", "--ca", "pki", "--format", "json"])?;
    ensure!(rows.len() == 2 && rows.iter().all(|row| row["auth"] == "x509_thumbprint"), "{rows:?}");
    let thumbprint = rows[0]["primary_thumbprint"].as_str().context("a thumbprint")?;
    ensure!(list.stdout.to_uppercase().contains(&thumbprint.to_uppercase()), "{} {thumbprint}", list.stdout);
    ensure!(rows[0]["secondary_thumbprint"].is_null(), "the only certificate is exported once");
    Ok(())
}

#[test]
fn a_doctor_tells_the_rights_on_a_dps_and_changes_nothing() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    let checks = station.provision_dps(&hub, &["doctor", "--dps", "--format", "json"], 0)?.json()?;
    let check = |name: &str| {
        let checks = checks.as_array().into_iter().flatten();
        checks.filter(|check| check["name"] == name).map(|check| check["verdict"].clone()).next()
    };
    for name in ["dns", "https port", "tls", "clock", "credentials", "enrolment read", "enrolment write"] {
        ensure!(check(name) == Some(json!("ok")), "{name}: {checks:#}");
    }
    for name in ["registration read", "registration write"] {
        ensure!(check(name) == Some(json!("ok")), "{name}: {checks:#}");
    }
    ensure!(checks[0]["dps"] == hub.dps_host()?, "{checks:#}");
    ensure!(hub.requests()?.iter().all(|request| request.writes() == 0));

    // A wrong key can do nothing, and a DPS that does not answer is not waited for.
    let access = hub.dps_connection_string()?;
    let (before, _) = access.rsplit_once("SharedAccessKey=").context("a key")?;
    let wrong = format!("{before}SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let mut command = station.dps_provisioner(&hub, &["doctor", "--dps"])?;
    let refused = e2e::Ended::of(command.env("IOTDPS_CONNECTION_STRING", wrong).output()?)?.expect_code(3)?;
    ensure!(refused.stdout.contains("the DPS lets it do nothing"), "{}", refused.stdout);
    let mut command = station.dps_provisioner(&hub, &["doctor", "--dps"])?;
    hub.kill()?;
    let away = e2e::Ended::of(command.output()?)?.expect_code(3)?;
    ensure!(away.stdout.contains("the DPS can't be asked"), "{}", away.stdout);
    Ok(())
}

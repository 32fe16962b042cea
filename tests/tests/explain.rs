//! `explain` says of a device what the local DPS decides, in the words of the log of the local DPS.

#![expect(clippy::indexing_slicing, reason = "a JSON document yields null for what it lacks")]

use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::{Ended, Registrant, ServedHub, Station};
use serde_json::{Value, json};

const LOG: &str = "hub.log";

fn serve(station: &Station) -> Result<ServedHub> {
    let address = "127.0.0.1:0";
    let args =
        ["--https", address, "--mqtt", address, "--dps", "--dps-https", address, "--dps-mqtt", address];
    ServedHub::start_loud(station, "hub", &args, LOG)
}

fn explain(station: &Station, hub: &ServedHub, args: &[&str]) -> Result<Ended> {
    let mut command = station.provisioner_beside_dps(hub)?;
    Ended::of(command.env_remove("IOTHUB_CONNECTION_STRING").args(["explain", "--dps"]).args(args).output()?)
}

fn explain_json(station: &Station, hub: &ServedHub, args: &[&str]) -> Result<Value> {
    let ended = explain(station, hub, &[args, &["--format", "json"]].concat())?;
    let explained: Value = serde_json::from_str(&ended.stdout).with_context(|| ended.stderr.clone())?;
    let code = if explained["accepted"] == true { 0 } else { 1 };
    ended.expect_code(code)?;
    Ok(explained)
}

/// The last reason for a refusal in the log of the local DPS.
fn last_refusal(station: &Station) -> Result<String> {
    let log = std::fs::read_to_string(station.path(LOG))?;
    let mut refusals = log.lines().filter_map(|line| line.split_once("a registration is refused (401002): "));
    let (_, reasons) = refusals.next_back().context("no registration was refused")?;
    Ok(reasons.split(" registration=").next().unwrap_or_default().to_owned())
}

fn group(hub: &ServedHub, id: &str, certificate: &Path) -> Result<()> {
    let certificate = std::fs::read_to_string(certificate)?;
    let group = json!({
        "enrollmentGroupId": id,
        "attestation": {"type": "x509", "x509": {"signingCertificates": {"primary": {"certificate": certificate}}}},
    });
    let path = format!("/enrollmentGroups/{id}");
    Registrant::new(hub)?.service(reqwest::Method::PUT, &path, &group).map(drop)
}

/// Every kind of wrong certificate, in a group of the root: the DPS refuses, and its log has the words of
/// `explain`.
#[test]
fn each_wrong_certificate_is_explained_in_the_words_of_the_log() -> Result<()> {
    let station = Station::new()?;
    station.run("cert-tool", ["test-pki", "pki"])?.expect_code(0)?;
    let hub = serve(&station)?;
    group(&hub, "test", &station.path("pki/root.pem"))?;
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(station.path("pki/expected.json"))?)?;
    let (mut compared, mut accepted, mut faults) = (0, 0, Vec::new());
    for case in expected["cases"].as_array().context("cases")? {
        let text = |name: &str| case[name].as_str().unwrap_or_default();
        let (name, id) = (text("name"), "device01");
        if text("identity").contains('/') {
            continue;
        }
        let [chain, key] = ["certificate", "key"].map(|name| format!("pki/{}", text(name)));
        let device = Registrant::with_certificate(&hub, &station.path(&chain), &station.path(&key));
        // Some certificates end the handshake already, on this side or on that of the DPS.
        let Ok((status, answer)) = device.and_then(|device| device.register(id)) else { continue };
        let args = ["--certificate", &chain, "--device-id", id, "--ca", "pki/root.pem"];
        let explained = explain_json(&station, &hub, &args).with_context(|| name.to_owned())?;
        let (told, is_accepted) =
            (explained["text"].as_str().unwrap_or_default(), explained["accepted"] == true);
        if status == 202 {
            accepted += 1;
            if !is_accepted {
                faults.push(format!("{name}: the DPS accepts it: {told}"));
            }
            continue;
        }
        ensure!(status == 401, "{name}: {status} {answer}");
        let logged = last_refusal(&station)?;
        let findings = explained["findings"].as_array().context("findings")?;
        // The rules of RFC 5280 are checked by different programs.
        let is_equal = match findings.iter().any(|finding| finding["kind"] == "path") {
            true => told.split(';').next() == logged.split(';').next(),
            false => told == logged,
        };
        if is_accepted || !is_equal {
            faults.push(format!("{name}: {told}\n{logged}"));
        }
        compared += 1;
    }
    ensure!(faults.is_empty(), "{}", faults.join("\n"));
    ensure!(compared >= 15 && accepted >= 3, "{compared} compared, {accepted} accepted");
    Ok(())
}

#[test]
fn entries_that_refuse_are_explained_and_so_is_what_is_not_known() -> Result<()> {
    let station = Station::new()?;
    let hub = serve(&station)?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.run("cert-tool", ["ca", "init", "other"])?.expect_code(0)?;
    for (ca, id) in [("pki", "pump-1"), ("pki", "pump-2"), ("other", "pump-3")] {
        let args =
            ["issue", "--sink", "folder", "--ca", ca, "--out", &format!("{ca}-out"), "--device-id", id];
        station.run("cert-tool", args)?.expect_code(0)?;
    }
    let chain = |ca: &str, id: &str| format!("{ca}-out/devices/{id}/chain.pem");
    station.write(
        "pumps.csv",
        &format!(
            "device_id,certificate,status\npump-1,{},\npump-2,{},disabled\n",
            chain("pki", "pump-1"),
            chain("pki", "pump-2")
        ),
    )?;
    let mut apply = station.provisioner_beside_dps(&hub)?;
    Ended::of(apply.args(["apply", "pumps.csv", "--dps"]).output()?)?.expect_code(0)?;

    let well = explain(&station, &hub, &["--certificate", &chain("pki", "pump-1")])?.expect_code(0)?;
    ensure!(well.stdout.contains("registration id: pump-1\n"), "{}", well.stdout);
    ensure!(
        well.stdout.contains("entry: the individual enrolment `pump-1` counts, before all groups\n"),
        "{}",
        well.stdout
    );
    ensure!(well.stdout.contains("nothing is known that would refuse the device"), "{}", well.stdout);
    ensure!(well.stdout.ends_with("TEST DPS: nothing of this is on a DPS of Azure\n"), "{}", well.stdout);

    let key = |ca: &str, id: &str| station.path(&format!("{ca}-out/devices/{id}/key.pem"));
    let refused_as = |ca: &str, id: &str| -> Result<String> {
        let device = Registrant::with_certificate(&hub, &station.path(&chain(ca, id)), &key(ca, id))?;
        let (status, answer) = device.register(id)?;
        ensure!(status == 401 && answer["errorCode"] == 401_002, "{status} {answer}");
        last_refusal(&station)
    };
    let disabled = explain_json(&station, &hub, &["--certificate", &chain("pki", "pump-2")])?;
    ensure!(disabled["findings"][0]["kind"] == "disabled", "{disabled}");
    ensure!(disabled["text"] == refused_as("pki", "pump-2")?, "{disabled}");

    // The group has a CA of the same name, and a different key.
    group(&hub, "pumps", &station.path("pki/root.pem"))?;
    let issuing = explain_json(&station, &hub, &["--certificate", &chain("other", "pump-3")])?;
    let note = issuing["notes"][0].as_str().unwrap_or_default();
    ensure!(issuing["accepted"] == true && note.contains("is not checked"), "{issuing}");
    let with_ca = ["--certificate", &chain("other", "pump-3"), "--ca", "other/root.pem"];
    let other = explain_json(&station, &hub, &with_ca)?;
    ensure!(other["findings"][0]["kind"] == "otherCa", "{other}");
    ensure!(other["text"] == refused_as("other", "pump-3")?, "{other}");

    // Of the right CA, a device without an entry of its own registers by the group, which says so afterwards.
    let own = chain("pki", "pump-1");
    let id = explain_json(
        &station,
        &hub,
        &["--certificate", &own, "--device-id", "pump-9", "--ca", "pki/root.pem"],
    )?;
    ensure!(id["entry"]["enrollmentGroupId"] == "pumps" && id["findings"][0]["kind"] == "commonName", "{id}");
    let rule = explain_json(&station, &hub, &["--certificate", &own, "--device-id", "pump_"])?;
    ensure!(rule["findings"][0]["kind"] == "id", "{rule}");
    Registrant::with_certificate(&hub, &station.path(&own), &key("pki", "pump-1"))?.register("pump-1")?;
    let known = explain_json(&station, &hub, &["--certificate", &own])?;
    let note = known["notes"][0].as_str().unwrap_or_default();
    ensure!(note.starts_with("it has registered before: the DPS assigned it to the hub `"), "{known}");
    let missing = explain(&station, &hub, &["--certificate", "nothing.pem"])?.expect_code(2)?;
    ensure!(missing.stderr.contains("nothing.pem"), "{}", missing.stderr);
    Ok(())
}

//! The findings of `doctor`, on healthy and on faulty stations.

use anyhow::{Context, Result};
use e2e::{Ended, LoggedRequest, SIGN_IN_SECRET, ServedHub, Station, TokenService};
use serde_json::Value;
use std::process::Command;

/// The verdicts by check.
fn verdicts(ended: &Ended) -> Result<Vec<(String, String)>> {
    let checks: Vec<Value> = serde_json::from_str(&ended.stdout)?;
    let text = |check: &Value, member| {
        check.get(member).and_then(Value::as_str).map(str::to_owned).context("a member is missing")
    };
    checks.iter().map(|check| Ok((text(check, "name")?, text(check, "verdict")?))).collect()
}

fn verdict(ended: &Ended, name: &str) -> Result<String> {
    let found = verdicts(ended)?.into_iter().find(|(check, _)| check == name);
    Ok(found.with_context(|| format!("no check `{name}`"))?.1)
}

fn doctor(mut command: Command) -> Result<Ended> {
    Ended::of(command.args(["doctor", "--format", "json"]).output()?)
}

#[test]
fn a_station_that_is_well() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let ended = doctor(station.provisioner(&hub)?)?.expect_code(0)?;
    let station_and_way = ["disk", "ledger", "dns", "https port", "tls", "clock"];
    let rights = ["credentials", "registry read", "registry write", "service connect", "twin write"];
    for check in station_and_way.into_iter().chain(rights) {
        assert_eq!(verdict(&ended, check)?, "ok", "{check}: {}", ended.stdout);
    }
    // Each check says of which hub and ledger it is.
    let checks: Value = serde_json::from_str(&ended.stdout)?;
    for check in checks.as_array().context("a list")? {
        assert_eq!(check["hub"], hub.host()?, "{check}");
        assert_eq!(check["test_hub"], true, "{check}");
        assert!(check["ledger"].as_str().is_some_and(|ledger| !ledger.is_empty()), "{check}");
        assert!(check["name"].is_string() && check["verdict"].is_string(), "{check}");
    }
    let writes: u64 = hub.requests()?.iter().map(LoggedRequest::writes).sum();
    assert_eq!(writes, 0, "the doctor changes nothing");
    Ok(())
}

#[test]
fn what_is_not_well_is_named() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;

    let mut stranger = station.provisioner(&hub)?;
    stranger.env_remove("IOTHUB_CA_FILE");
    let ended = doctor(stranger)?.expect_code(3)?;
    assert_eq!(verdict(&ended, "tls")?, "fail", "{}", ended.stdout);

    let reader = Ended::of(
        station
            .command("local-hub")?
            .args(["connection-string", "--policy", "registryRead", "--data"])
            .arg(hub.data())
            .output()?,
    )?
    .expect_code(0)?;
    let mut weak = station.provisioner(&hub)?;
    weak.env("IOTHUB_CONNECTION_STRING", reader.stdout.trim());
    let ended = doctor(weak)?.expect_code(3)?;
    assert_eq!(verdict(&ended, "registry read")?, "ok");
    assert_eq!(verdict(&ended, "registry write")?, "fail");
    assert_eq!(verdict(&ended, "service connect")?, "fail");
    assert_eq!(verdict(&ended, "credentials")?, "ok");

    let mut wrong = station.provisioner(&hub)?;
    let (front, _) = hub.connection_string().split_once("SharedAccessKey=").unwrap_or_default();
    let key = "c29tZWJvZHkgZWxzZSdzIGtleSwgMzIgYnl0ZXMgbG8=";
    wrong.env("IOTHUB_CONNECTION_STRING", format!("{front}SharedAccessKey={key}"));
    let ended = doctor(wrong)?.expect_code(3)?;
    assert_eq!(verdict(&ended, "credentials")?, "fail", "{}", ended.stdout);
    assert_eq!(verdict(&ended, "tls")?, "ok", "{}", ended.stdout);

    let mut lost = station.provisioner(&hub)?;
    lost.env("IOTHUB_CONNECTION_STRING", hub.connection_string().replace("localhost", "no-such-hub.invalid"));
    let ended = doctor(lost)?;
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert_eq!(verdict(&ended, "dns")?, "fail", "{}", ended.stdout);
    for check in ["tls", "registry read"] {
        assert_eq!(verdict(&ended, check)?, "skipped", "{check}: {}", ended.stdout);
    }
    Ok(())
}

/// Listeners on the standard ports of devices, both with the hub's certificate.
#[test]
fn the_port_of_devices_is_looked_at() -> Result<()> {
    let station = Station::new()?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let hub = ServedHub::start_for_devices(&station, "hub", &station.path("pki/root.pem"), station.folder())?;
    let ended = doctor(station.provisioner(&hub)?)?.expect_code(0)?;
    for check in ["mqtt port", "mqtt tls"] {
        assert_eq!(verdict(&ended, check)?, "ok", "{}", ended.stdout);
    }
    let mut stranger = station.provisioner(&hub)?;
    stranger.env_remove("IOTHUB_CA_FILE");
    assert_eq!(verdict(&doctor(stranger)?, "mqtt tls")?, "warning");
    Ok(())
}

#[test]
fn a_host_for_devices_that_has_no_address_is_a_failed_check() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let mut text = station.provisioner(&hub)?;
    let text = Ended::of(text.args(["doctor", "--device-host", "no-such-host.invalid"]).output()?)?;
    let text = text.expect_code(3)?.stdout;
    assert!(text.contains("fail     mqtt dns         no-such-host.invalid: "), "{text}");
    assert!(text.contains("`--device-host`") && !text.contains("firewall"), "{text}");
    for check in ["mqtt port", "mqtt tls"] {
        assert!(text.contains(&format!("skipped  {check}")), "{text}");
    }
    Ok(())
}

#[test]
fn a_basic_hub_has_no_twins() -> Result<()> {
    let station = Station::new()?;
    let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--tier", "B1"];
    let hub = ServedHub::start_with(&station, "hub", &args)?;
    let ended = doctor(station.provisioner(&hub)?)?.expect_code(3)?;
    assert_eq!(verdict(&ended, "tier")?, "fail", "{}", ended.stdout);
    assert_eq!(verdict(&ended, "registry write")?, "ok", "{}", ended.stdout);
    Ok(())
}

/// A role of Entra ID with the right to read everything, and a sign-in method that is missing.
#[test]
fn roles_of_entra_id_show_in_the_rights() -> Result<()> {
    let station = Station::new()?;
    let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--entra-test"];
    let hub = ServedHub::start_with(&station, "hub", &args)?;
    let reader = TokenService::metadata(&station, &hub, "data-reader")?;
    let signed_in = |way: &str| -> Result<Command> {
        let mut command = station.command("provisioner")?;
        command.env("IDENTITY_ENDPOINT", reader.url()).env("IDENTITY_HEADER", SIGN_IN_SECRET);
        command.env("IOTHUB_CA_FILE", hub.ca_file()).args(["--format", "json", "doctor"]);
        command.args(["--host", &hub.host()?, "--auth", way]);
        Ok(command)
    };
    let ended = Ended::of(signed_in("managed-identity")?.output()?)?.expect_code(3)?;
    let expected = [("credentials", "ok"), ("registry read", "ok"), ("service connect", "ok")];
    for (check, expected) in expected.into_iter().chain([("registry write", "fail"), ("twin write", "fail")])
    {
        assert_eq!(verdict(&ended, check)?, expected, "{check}: {}", ended.stdout);
    }
    let ended = Ended::of(signed_in("environment")?.output()?)?.expect_code(3)?;
    assert_eq!(verdict(&ended, "tls")?, "ok", "{}", ended.stdout);
    assert_eq!(verdict(&ended, "credentials")?, "fail", "{}", ended.stdout);
    assert_eq!(verdict(&ended, "twin write")?, "skipped", "{}", ended.stdout);
    Ok(())
}

/// A full disk, simulated by a limit on the size of files.
#[cfg(unix)]
#[test]
fn a_full_disk_and_a_ledger_that_is_none() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let provisioner = station.provisioner(&hub)?;
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$0\" doctor --format json"]);
    limited.arg(provisioner.get_program()).current_dir(station.folder());
    limited.envs(provisioner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Ended::of(limited.output()?)?.expect_code(3)?;
    assert_eq!(verdict(&ended, "disk")?, "fail", "{}", ended.stdout);

    station.write("line.ledger", &"this is something else".repeat(100))?;
    let mut other = station.provisioner(&hub)?;
    other.args(["--ledger", "line.ledger"]);
    assert_eq!(verdict(&doctor(other)?, "ledger")?, "fail");
    Ok(())
}

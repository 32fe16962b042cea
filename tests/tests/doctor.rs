//! What `doctor` finds, on stations that are well and on some that are not.

use anyhow::{Context, Result};
use serde_json::Value;
use std::process::Command;
use tests::{Ended, LoggedRequest, ServedHub, Station};

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
    for check in
        ["disk", "dns", "https port", "tls", "clock", "registry read", "registry write", "service connect"]
    {
        assert_eq!(verdict(&ended, check)?, "ok", "{check}: {}", ended.stdout);
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

    let mut lost = station.provisioner(&hub)?;
    lost.env("IOTHUB_CONNECTION_STRING", hub.connection_string().replace("localhost", "no-such-hub.invalid"));
    let ended = doctor(lost)?;
    assert_eq!(ended.code, Some(3), "{}", ended.stdout);
    assert_eq!(verdict(&ended, "dns")?, "fail", "{}", ended.stdout);
    Ok(())
}

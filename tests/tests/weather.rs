//! A faulty hub and network: the run ends by itself, and every row is accounted for.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Ended, ServedHub, Station, devices_with_modules, from_env};
use serde_json::Value;

const DEVICES: usize = 200;

/// The number of devices: more with `STORM_DEVICES`, for a longer test.
fn storm_devices() -> usize {
    from_env("STORM_DEVICES", 100)
}

/// The number of rows: each device has two modules.
fn rows(devices: usize) -> u64 {
    3 * devices as u64
}

/// One call in ten is throttled, one in ten fails, and one in twenty each hangs, is interrupted, or
/// is done without a response.
const STORM: &str = "\
seed = 11
[[fault]]
effect = 'status'
status = 429
probability = 0.1
[[fault]]
effect = 'status'
status = 500
probability = 0.05
[[fault]]
effect = 'status'
status = 503
probability = 0.05
[[fault]]
effect = 'hang'
seconds = 1
probability = 0.05
[[fault]]
effect = 'reset'
probability = 0.05
[[fault]]
effect = 'lose-answer'
probability = 0.05
";

fn served(station: &Station, https: &str, faults: Option<&str>) -> Result<ServedHub> {
    let mut args = vec!["--https", https, "--mqtt", "127.0.0.1:0"];
    let file = station.path("faults.toml");
    let file = file.to_string_lossy();
    if let Some(faults) = faults {
        station.write("faults.toml", faults)?;
        args.extend(["--faults", &file]);
    }
    ServedHub::start_with(station, "hub", &args)
}

/// Applies the batch and returns its totals, and the number of calls that it took.
fn apply(faults: Option<&str>, devices: usize) -> Result<(Value, usize)> {
    let station = Station::new()?;
    let hub = served(&station, "127.0.0.1:0", faults)?;
    station.write("batch.csv", &devices_with_modules(devices))?;
    let ended = station.provision(&hub, ["apply", "batch.csv", "--format", "json"])?.expect_code(0)?;
    Ok((serde_json::from_str(&ended.stdout)?, hub.requests()?.len()))
}

#[test]
fn a_storm_costs_time_and_not_one_row() -> Result<()> {
    let (devices, rows) = (storm_devices(), rows(storm_devices()));
    let (outcome, calm) = apply(None, devices)?;
    ensure!(outcome["totals"]["created"] == rows, "{outcome}");
    let (outcome, stormy) = apply(Some(STORM), devices)?;
    ensure!(outcome["totals"]["created"] == rows, "{outcome}");
    ensure!(outcome["verified"]["equal"] == rows, "{outcome}");
    ensure!(stormy * 10 <= calm * 16, "{calm} calls in calm weather, {stormy} in a storm");
    Ok(())
}

#[test]
fn an_undo_in_a_storm_takes_all_back() -> Result<()> {
    let devices = 10;
    let station = Station::new()?;
    let hub = served(&station, "127.0.0.1:0", None)?;
    station.write("batch.csv", &devices_with_modules(devices))?;
    station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    let host = hub.host()?;
    let (_, port) = host.split_once(':').context("the hub has a port")?;
    hub.kill()?;
    let hub = served(&station, &format!("127.0.0.1:{port}"), Some(STORM))?;
    let ended = station.provision(&hub, ["undo", "1", "--format", "json"])?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(
        outcome["totals"]["deleted"] == rows(devices) && outcome["verified"]["equal"] == rows(devices),
        "{outcome}"
    );
    Ok(())
}

#[test]
fn a_hub_that_is_gone_is_waited_for_and_the_run_goes_on_when_it_is_back() -> Result<()> {
    let station = Station::new()?;
    let hub = served(&station, "127.0.0.1:0", Some("[[fault]]\neffect = 'delay'\nseconds = 0.2\n"))?;
    station.write("batch.csv", &devices_with_modules(DEVICES))?;
    let mut apply = station.provisioner(&hub)?;
    let mut apply = apply
        .args(["apply", "batch.csv", "--format", "json", "--workers", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    while hub.requests()?.len() < 3 && apply.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    let host = hub.connection_string().split([';', '=']).nth(1).context("the hub has a host")?.to_owned();
    let (_, port) = host.split_once(':').context("the hub has a port")?;
    hub.kill()?;
    let mut stderr = BufReader::new(apply.stderr.take().context("piped")?).lines();
    let mut said = |what: &str| -> Result<()> {
        for line in stderr.by_ref() {
            if line?.contains(what) {
                return Ok(());
            }
        }
        anyhow::bail!("nothing was said like `{what}`")
    };
    said("the hub does not answer")?;
    // It is away for as long as it takes to notice, and then for so many seconds more.
    std::thread::sleep(Duration::from_secs(from_env("OUTAGE_SECONDS", 0) as u64));
    let _hub = served(&station, &format!("127.0.0.1:{port}"), None)?;
    said("the hub is back")?;
    let drain = std::thread::spawn(move || stderr.for_each(drop));
    let outcome = Ended::of(apply.wait_with_output()?)?.expect_code(0)?;
    ensure!(drain.join().is_ok());
    let outcome: Value = serde_json::from_str(&outcome.stdout)?;
    ensure!(outcome["totals"]["created"] == rows(DEVICES), "{outcome}");
    ensure!(outcome["verified"]["equal"] == rows(DEVICES), "{outcome}");
    Ok(())
}

#[test]
fn credentials_that_are_lost_in_mid_run_stop_it_and_the_ledger_knows_how_far_it_came() -> Result<()> {
    let station = Station::new()?;
    let lost = "[[fault]]\neffect = 'status'\nstatus = 401\ncode = 'IotHubUnauthorizedAccess'\nskip = 1\noperation = 'BulkRegistry'\n";
    let hub = served(&station, "127.0.0.1:0", Some(lost))?;
    let port =
        hub.connection_string().split([';', '=', ':']).nth(2).context("the hub has a port")?.to_owned();
    station.write("batch.csv", &devices_with_modules(DEVICES))?;
    let stopped = station.provision(&hub, ["apply", "batch.csv", "--workers", "1"])?.expect_code(3)?;
    ensure!(stopped.stderr.contains("401"), "{}", stopped.stderr);
    let refused = hub.requests()?.len();
    ensure!(refused < 10, "{refused} calls");
    let status = station.run("provisioner", ["status", "--format", "json"])?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    ensure!(status["totals"]["created"] == 100, "{status}");
    hub.kill()?;
    let hub = served(&station, &format!("127.0.0.1:{port}"), None)?;
    let resumed = station.provision(&hub, ["resume", "--format", "json"])?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&resumed.stdout)?;
    ensure!(outcome["totals"]["created"] == rows(DEVICES), "{outcome}");
    Ok(())
}

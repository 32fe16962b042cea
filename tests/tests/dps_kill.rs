//! Power loss on a DPS: `apply --dps` and `follow` are killed at some moment and run again, and ledger,
//! DPS and hub agree afterwards. `KILL_ROUNDS` rounds of `KILL_DEVICES` devices.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::{Ended, LoggedRequest, Registrant, ServedHub, Station, from_env};
use hub_types::symmetric_key::SymmetricKey;
use serde_json::Value;

const MODULES: [&str; 3] = ["m1", "m2", "m3"];

fn key(device: usize) -> SymmetricKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&device.to_be_bytes());
    SymmetricKey::from_bytes(&bytes)
}

fn id(device: usize) -> String {
    format!("dev-{device:05}")
}

/// Devices with symmetric keys of their own, three modules each, and twins.
fn batch(devices: usize) -> String {
    let mut batch = "device_id,module_id,auth,primary_key,secondary_key,desired.interval\n".to_owned();
    for device in 0..devices {
        let (id, key) = (id(device), key(device));
        let key = key.expose_text();
        batch += &format!("{id},,sas,{key},{key},60\n");
        for module in MODULES {
            batch += &format!("{id},{module},sas,,,30\n");
        }
    }
    batch
}

fn random_below(bound: usize) -> usize {
    let random = RandomState::new().hash_one(bound);
    usize::try_from(random % bound.max(1) as u64).unwrap_or_default()
}

/// Kills a process when the hub and the DPS have answered so many requests, unless it ends before.
/// Returns true if it was killed.
fn kill_at(mut process: Child, hub: &ServedHub, requests: usize) -> Result<bool> {
    loop {
        if process.try_wait()?.is_some() {
            return Ok(false);
        }
        if hub.requests()?.len() >= requests {
            process.kill()?;
            return Ok(process.wait()?.code().is_none());
        }
        std::thread::yield_now();
    }
}

/// The number of enrolments or identities that all requests of an operation have created.
fn created_by(hub: &ServedHub, is_of_dps: bool) -> Result<u64> {
    let requests = hub.requests()?;
    let of_dps = |request: &&LoggedRequest| is_enrolling(request) == is_of_dps;
    Ok(requests.iter().filter(of_dps).map(LoggedRequest::created).sum())
}

fn is_enrolling(request: &LoggedRequest) -> bool {
    request.operation().contains("Enrollment")
}

fn spawn(station: &Station, hub: &ServedHub, args: &[&str]) -> Result<Child> {
    let mut command = station.provisioner_beside_dps(hub)?;
    Ok(command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// Runs a command to its end; `None` for the exit code 2, with which a run that is not there can't be
/// continued.
fn finish(station: &Station, hub: &ServedHub, args: &[&str]) -> Result<Option<Value>> {
    let ended =
        Ended::of(station.provisioner_beside_dps(hub)?.args(args).args(["--format", "json"]).output()?)?;
    if ended.code == Some(2) {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&ended.expect_code(0)?.stdout)?))
}

/// Runs rounds at random moments, of which most must have cut a run off. Returns a summary.
fn rounds(calls: usize, mut round: impl FnMut(usize) -> Result<bool>) -> Result<String> {
    let (rounds, mut cut_off) = (from_env("KILL_ROUNDS", 3), 0);
    for number in 0..rounds {
        let moment = 1 + random_below(calls);
        let was_cut_off =
            round(moment).with_context(|| format!("round {number}, after {moment} requests"))?;
        cut_off += usize::from(was_cut_off);
    }
    ensure!(cut_off * 2 > rounds, "only {cut_off} of {rounds} were cut off");
    Ok(format!("{rounds} rounds, {cut_off} cut off, within {calls} requests"))
}

#[test]
fn an_apply_on_a_dps_that_is_killed_at_any_moment_is_resumed_with_the_truth() -> Result<()> {
    let devices = from_env("KILL_DEVICES", 300);
    let calls = devices.div_ceil(10);
    let told = rounds(calls, |moment| {
        let station = Station::new()?;
        let hub = ServedHub::start_with_free_dps(&station, &[])?;
        station.write("batch.csv", &batch(devices))?;
        let apply = ["apply", "batch.csv", "--dps", "--no-verify"];
        let was_cut_off = kill_at(spawn(&station, &hub, &apply)?, &hub, moment)?;
        let resumed = match finish(&station, &hub, &["resume", "--dps", "--no-verify"])? {
            Some(outcome) => outcome,
            None => finish(&station, &hub, &apply)?.context("it can't be begun")?,
        };
        let totals = &resumed["totals"];
        ensure!(totals["created"] == devices && totals["waiting"] == 3 * devices, "{resumed}");
        let created = created_by(&hub, true)?;
        ensure!(created == devices as u64, "{created} creations were counted at the DPS");
        Ok(was_cut_off)
    })?;
    println!("{told}");
    Ok(())
}

/// All devices have registered: the run is killed while it creates their modules.
#[test]
fn a_follow_that_is_killed_at_any_moment_is_continued_with_the_truth() -> Result<()> {
    let devices = from_env("KILL_DEVICES", 300);
    // Registrations are asked for one by one, and modules are created in bulk.
    let calls = devices + devices * MODULES.len() / 100;
    let told = rounds(calls, |moment| {
        let station = Station::new()?;
        let hub = ServedHub::start_with_free_dps(&station, &[])?;
        station.write("batch.csv", &batch(devices))?;
        finish(&station, &hub, &["apply", "batch.csv", "--dps", "--no-verify"])?.context("applied")?;
        let registrant = Registrant::new(&hub)?;
        for device in 0..devices {
            registrant.register_by_key(&id(device), &key(device))?;
        }
        let (before, there) = (hub.requests()?.len(), generations(&hub)?);
        let follow = ["follow", "1", "--dps", "--no-verify", "--interval", "1s"];
        let was_cut_off = kill_at(spawn(&station, &hub, &follow)?, &hub, before + moment)?;
        let again = ["follow", "2", "--dps", "--no-verify", "--interval", "1s"];
        let outcome = match finish(&station, &hub, &again)? {
            Some(outcome) => outcome,
            None => finish(&station, &hub, &follow)?.context("it can't be begun")?,
        };
        let totals = &outcome["totals"];
        ensure!(totals["created"] == 3 * devices && totals["unchanged"] == devices, "{outcome}");
        ensure!(totals["rows"] == 4 * devices, "{outcome}");
        let created = created_by(&hub, false)?;
        ensure!(created == (3 * devices) as u64, "{created} creations of modules were counted at the hub");
        ensure!(generations(&hub)? == there, "a device was created anew");
        Ok(was_cut_off)
    })?;
    println!("{told}");
    Ok(())
}

/// The generation ids of the devices that a hub lists, at most a thousand.
fn generations(hub: &ServedHub) -> Result<HashMap<String, String>> {
    let devices = hub.get("/devices")?;
    let text = |device: &Value, name: &str| device[name].as_str().unwrap_or_default().to_owned();
    let devices = devices.as_array().context("a list of devices")?;
    Ok(devices.iter().map(|device| (text(device, "deviceId"), text(device, "generationId"))).collect())
}

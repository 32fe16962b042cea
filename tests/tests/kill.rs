//! Power loss: `apply` is killed at some moment and run again, and ledger and hub agree afterwards.

#![expect(clippy::indexing_slicing, reason = "in a test a panic is a failure")]

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Ended, LoggedRequest, ServedHub, Station, devices_with_modules, from_env, repository};
use serde_json::Value;

const ROUNDS: u64 = 20;
const ROWS: u64 = 1920;
/// The number of workers of an apply without `--workers`.
const WORKERS: u64 = 4;

/// A moment in an apply at which it is killed. It is defined by events visible from outside, so
/// that slow and fast machines stop at the same place.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The time when this many bytes of certificates are on the disk.
    Issued(u64),
    /// The time when the hub has responded to this many requests.
    Answered(usize),
}

impl Moment {
    /// Distributes the rounds over issuing and provisioning.
    fn of_round(round: u64) -> Self {
        match round % 4 {
            0 => Self::Issued(1 + round * 35_000),
            _ => Self::Answered(1 + usize::try_from(round).unwrap_or_default()),
        }
    }

    fn has_come(self, station: &Station, hub: &ServedHub) -> Result<bool> {
        Ok(match self {
            Self::Issued(bytes) => {
                let file = station.path("pki/issued/certificates.pem");
                std::fs::metadata(file).is_ok_and(|metadata| metadata.len() >= bytes)
            }
            Self::Answered(requests) => hub.requests()?.len() >= requests,
        })
    }
}

#[test]
fn killed_twenty_times_every_identity_is_there_exactly_once_as_the_batch_says() -> Result<()> {
    let mut cut_off = 0;
    for round in 0..ROUNDS {
        cut_off +=
            u64::from(pull_the_plug(Moment::of_round(round)).with_context(|| format!("round {round}"))?);
    }
    // An apply may be done before it is killed, but if most were, this would test nothing.
    ensure!(cut_off > ROUNDS / 2, "only {cut_off} of {ROUNDS} were cut off");
    Ok(())
}

/// Runs one round; returns true if the apply was killed before its end.
fn pull_the_plug(moment: Moment) -> Result<bool> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let batch = repository().join("fixtures/batches/pump-line.csv").to_string_lossy().into_owned();
    let command = ["apply", &batch, "--issue", "pki", "--format", "json"];

    let killed =
        station.provisioner(&hub)?.args(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let was_cut_off = kill_at(killed, || moment.has_come(&station, &hub))?;

    let again = Ended::of(station.provisioner(&hub)?.args(command).output()?)?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&again.stdout)?;
    // Devices that the first run made and left to be disabled are updated by the second.
    let parts = ["created", "updated", "unchanged"].map(|part| outcome["totals"][part].as_u64());
    ensure!(parts.into_iter().sum::<Option<u64>>() == Some(ROWS), "{outcome}");
    ensure!(outcome["verified"]["equal"] == ROWS, "{outcome}");
    check_issued_once(&station.path("pki/issued"), ROWS)?;
    let created: u64 = hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created == ROWS, "{created} creations were counted at the hub");
    Ok(was_cut_off)
}

/// Kills a process when `moment` returns true, unless it ends before.
fn kill_at(mut process: Child, moment: impl Fn() -> Result<bool>) -> Result<bool> {
    loop {
        if process.try_wait()?.is_some() {
            return Ok(false);
        }
        if moment()? {
            process.kill()?;
            return Ok(process.wait()?.code().is_none());
        }
        std::thread::yield_now();
    }
}

/// Checks that every identity has one certificate, and that all serials differ.
fn check_issued_once(folder: &Path, rows: u64) -> Result<()> {
    let mut issued = csv::Reader::from_path(folder.join("issued.csv"))?;
    let mut identities = HashSet::new();
    let mut serials = HashSet::new();
    for record in issued.records() {
        let record = record?;
        ensure!(identities.insert((record[0].to_owned(), record[1].to_owned())), "twice: {record:?}");
        ensure!(serials.insert(record[5].to_owned()), "serial twice: {record:?}");
    }
    ensure!(identities.len() as u64 == rows);
    Ok(())
}

/// The same with the embedded hub, which ends with the provisioner.
#[test]
fn the_embedded_hub_survives_being_killed_too() -> Result<()> {
    let batch = repository().join("fixtures/batches/pump-line.csv").to_string_lossy().into_owned();
    let command = ["apply", &batch, "--issue", ".local-hub/pki", "--format", "json"];
    for rows in [1, 400, 800, 1200, 1600] {
        let station = Station::new()?;
        let killed = station
            .command("provisioner")?
            .args(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        kill_at(killed, || Ok(settled_rows(&station)? >= rows))?;
        let again = station.run("provisioner", command)?.expect_code(0)?;
        let outcome: Value = serde_json::from_str(&again.stdout)?;
        ensure!(outcome["verified"]["equal"] == ROWS, "{outcome}");
        check_issued_once(&station.path(".local-hub/pki/issued"), ROWS)?;
    }
    Ok(())
}

/// The first command of the README, killed from its first file to its last row: each time the same command finishes.
/// The moments are numbers of files and folders that it has made until then, temporary ones included.
#[test]
fn the_first_command_is_finished_wherever_it_was_killed() -> Result<()> {
    const DEVICES: usize = 4;
    let rows = 3 * DEVICES as u64;
    let command = ["apply", "batch.csv", "--issue", ".local-hub/pki", "--format", "json"];
    let (mut names_made, mut cut_off) = (1, 0);
    loop {
        let station = Station::new()?;
        station.write("batch.csv", &devices_with_modules(DEVICES))?;
        let mut apply = station.command("provisioner")?;
        let apply = apply.args(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let seen = RefCell::new(HashSet::new());
        let was_cut_off = kill_at(apply, || {
            note_names(station.folder(), &mut seen.borrow_mut());
            Ok(seen.borrow().len() > names_made)
        })?;
        let again = || {
            let again = station.run("provisioner", command)?.expect_code(0)?;
            let outcome: Value = serde_json::from_str(&again.stdout)?;
            ensure!(outcome["totals"]["rows"] == rows && outcome["verified"]["equal"] == rows, "{outcome}");
            check_issued_once(&station.path(".local-hub/pki/issued"), rows)
        };
        again().with_context(|| format!("killed when there were {:?}", seen.borrow()))?;
        if !was_cut_off {
            break;
        }
        cut_off += 1;
        names_made = seen.borrow().len();
    }
    ensure!(cut_off >= 10, "only {cut_off} runs were cut off");
    Ok(())
}

/// Adds the paths of everything in a folder.
fn note_names(folder: &Path, names: &mut HashSet<PathBuf>) {
    // What is gone meanwhile was seen before.
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            note_names(&path, names);
        }
        names.insert(path);
    }
}

/// A run is killed at a random moment and resumed: `KILL_ROUNDS` times, with `KILL_DEVICES` devices
/// of two modules each.
#[test]
fn a_run_that_is_killed_at_any_moment_is_resumed_with_the_truth() -> Result<()> {
    let (rounds, devices) = (from_env("KILL_ROUNDS", 3), from_env("KILL_DEVICES", 600));
    let calls = calls_of_a_whole_run(devices)?;
    let (mut cut_off, mut slowest, mut most_sent_again) = (0, Duration::ZERO, 0);
    for round in 0..rounds {
        let moment = Moment::Answered(random_below(calls));
        let resumed =
            kill_and_resume(devices, moment).with_context(|| format!("round {round}, {moment:?}"))?;
        let Some(Resumed { first_call, sent_again }) = resumed else { continue };
        cut_off += 1;
        (slowest, most_sent_again) = (slowest.max(first_call), most_sent_again.max(sent_again));
    }
    println!(
        "{rounds} rounds of {} rows, {cut_off} cut off: the first call came within {slowest:?} of the restart, at most \
         {most_sent_again} rows were sent again",
        devices * 3
    );
    ensure!(cut_off * 2 > rounds, "only {cut_off} of {rounds} were cut off");
    ensure!(most_sent_again <= WORKERS * 100, "{most_sent_again} rows were sent again");
    Ok(())
}

/// The observations of a resumed run.
struct Resumed {
    /// The time from its start to its first call of the hub.
    first_call: Duration,
    /// The number of rows that were sent before the kill, and sent again.
    sent_again: u64,
}

/// Runs one round; `None` if the run ended before it was killed.
fn kill_and_resume(devices: usize, moment: Moment) -> Result<Option<Resumed>> {
    let (station, rows) = (Station::new()?, 3 * devices as u64);
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &devices_with_modules(devices))?;
    let mut apply = station.provisioner(&hub)?;
    apply.args(["apply", "batch.csv", "--no-verify"]).stdout(Stdio::null()).stderr(Stdio::null());
    if !kill_at(apply.spawn()?, || moment.has_come(&station, &hub))? {
        return Ok(None);
    }
    let (before, there) = (hub.requests()?.len(), generations(&hub)?);
    let begun = Instant::now();
    let mut resume = station.provisioner(&hub)?;
    let resume = resume.args(["resume", "--format", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut resume = resume.spawn()?;
    while hub.requests()?.len() <= before && resume.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    let first_call = begun.elapsed();
    // The run may have been killed before it was a run: then there is nothing to resume.
    let ended = Ended::of(resume.wait_with_output()?)?;
    let ended = match ended.code {
        Some(2) => station.provision(&hub, ["apply", "batch.csv", "--format", "json"])?,
        _ => ended,
    };
    let outcome: Value = serde_json::from_str(&ended.expect_code(0)?.stdout)?;
    ensure!(outcome["totals"]["created"] == rows && outcome["totals"]["rows"] == rows, "{outcome}");
    ensure!(outcome["verified"]["equal"] == rows, "{outcome}");
    let requests = hub.requests()?;
    let created: u64 = requests.iter().map(LoggedRequest::created).sum();
    ensure!(created == rows, "{created} creations were counted at the hub");
    let after = generations(&hub)?;
    let statistics = hub.get("/statistics/devices")?;
    ensure!(statistics["totalDeviceCount"] == devices, "{statistics}");
    for (device, generation) in there {
        // The list ends after a thousand devices.
        let now = match after.get(&device) {
            Some(now) => now.clone(),
            None => hub.get(&format!("/devices/{device}"))?["generationId"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        ensure!(now == generation, "{device} was created anew");
    }
    let sent: u64 = requests.iter().map(|request| request.created() + request.refused()).sum();
    Ok(Some(Resumed { first_call, sent_again: sent - rows }))
}

/// The generation ids of the thousand devices that a hub lists. A device that was deleted and
/// created again has a different one.
fn generations(hub: &ServedHub) -> Result<HashMap<String, String>> {
    let devices = hub.get("/devices")?;
    let text = |device: &Value, name: &str| device[name].as_str().unwrap_or_default().to_owned();
    let devices = devices.as_array().context("a list of devices")?;
    Ok(devices.iter().map(|device| (text(device, "deviceId"), text(device, "generationId"))).collect())
}

fn calls_of_a_whole_run(devices: usize) -> Result<usize> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &devices_with_modules(devices))?;
    station.provision(&hub, ["apply", "batch.csv", "--no-verify"])?.expect_code(0)?;
    Ok(hub.requests()?.len())
}

fn random_below(bound: usize) -> usize {
    let random = RandomState::new().hash_one(bound);
    usize::try_from(random % bound.max(1) as u64).unwrap_or_default()
}

/// The hub is killed: the run waits for it, reads back the state of the lost requests, and ends
/// normally.
#[test]
fn a_hub_that_dies_and_comes_back_is_waited_for() -> Result<()> {
    let station = Station::new()?;
    let mut hub = ServedHub::start(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let batch = repository().join("fixtures/batches/pump-line.csv").to_string_lossy().into_owned();
    let command = ["apply", &batch, "--issue", "pki", "--format", "json"];
    let mut apply = station.provisioner(&hub)?;
    let mut apply = apply.args(command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    for requests in [3, 9] {
        while hub.requests()?.len() < requests && apply.try_wait()?.is_none() {
            std::thread::yield_now();
        }
        hub = hub.die_and_come_back(&station)?;
    }
    let outcome: Value = serde_json::from_str(&Ended::of(apply.wait_with_output()?)?.expect_code(0)?.stdout)?;
    ensure!(outcome["totals"]["created"] == ROWS, "{outcome}");
    ensure!(outcome["verified"]["equal"] == ROWS, "{outcome}");
    Ok(())
}

/// The number of finished rows that the ledger of an active run shows.
fn settled_rows(station: &Station) -> Result<u64> {
    let status = station.run("provisioner", ["status", "--format", "json"])?;
    let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    Ok(status["totals"]["created"].as_u64().unwrap_or_default())
}

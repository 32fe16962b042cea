//! Pulling the plug: `apply` is killed at some moment and run again, and the truth is whole.

#![expect(clippy::indexing_slicing, reason = "in a test a panic is a failure")]

use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Ended, ServedHub, Station, repository};

const ROUNDS: u64 = 20;
const ROWS: u64 = 1920;

/// A moment in an apply at which the plug is pulled. It is told by what can be seen from outside,
/// so that slow and fast machines are cut off at the same place.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// When so many bytes of certificates are on the disk.
    Issued(u64),
    /// When the hub has answered so many requests.
    Answered(usize),
}

impl Moment {
    /// Spreads the rounds over issuing and provisioning.
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

/// One round; answers whether the apply was cut off before its end.
fn pull_the_plug(moment: Moment) -> Result<bool> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let batch = repository().join("fixtures/batches/pump-line.csv").display().to_string();
    let command = ["apply", &batch, "--issue", "pki", "--format", "json"];

    let killed =
        station.provisioner(&hub)?.args(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let was_cut_off = kill_at(killed, || moment.has_come(&station, &hub))?;

    let again = Ended::of(station.provisioner(&hub)?.args(command).output()?)?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&again.stdout)?;
    ensure!(
        outcome["totals"]["created"]
            .as_u64()
            .zip(outcome["totals"]["unchanged"].as_u64())
            .map(|(c, u)| c + u)
            == Some(ROWS),
        "{outcome}"
    );
    ensure!(outcome["verified"]["equal"] == ROWS, "{outcome}");
    check_issued_once(&station.path("pki/issued"))?;
    let created: u64 = hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created == ROWS, "{created} creations were counted at the hub");
    Ok(was_cut_off)
}

/// Kills a process when `moment` has come, unless it ends before.
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

/// Every identity has one certificate, and no two have the same serial or thumbprint.
fn check_issued_once(folder: &Path) -> Result<()> {
    let mut issued = csv::Reader::from_path(folder.join("issued.csv"))?;
    let mut identities = std::collections::HashSet::new();
    let mut serials = std::collections::HashSet::new();
    for record in issued.records() {
        let record = record?;
        ensure!(identities.insert((record[0].to_owned(), record[1].to_owned())), "twice: {record:?}");
        ensure!(serials.insert(record[5].to_owned()), "serial twice: {record:?}");
    }
    ensure!(identities.len() as u64 == ROWS);
    Ok(())
}

/// The same with the embedded hub, which dies with the provisioner.
#[test]
fn the_embedded_hub_survives_being_killed_too() -> Result<()> {
    let batch = repository().join("fixtures/batches/pump-line.csv").display().to_string();
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
        check_issued_once(&station.path(".local-hub/pki/issued"))?;
    }
    Ok(())
}

/// The other side dies: the run waits for the hub, asks it what became of the lost requests, and ends
/// as if nothing had happened.
#[test]
fn a_hub_that_dies_and_comes_back_is_waited_for() -> Result<()> {
    let station = Station::new()?;
    let mut hub = ServedHub::start(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let batch = repository().join("fixtures/batches/pump-line.csv").display().to_string();
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

/// How many rows the ledger of a run at work says are done.
fn settled_rows(station: &Station) -> Result<u64> {
    let status = station.run("provisioner", ["status", "--format", "json"])?;
    let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
    Ok(status["totals"]["created"].as_u64().unwrap_or_default())
}

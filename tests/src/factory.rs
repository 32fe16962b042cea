//! A factory: a hub, a database, and stations that share a run in it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{DATABASE_PASSWORD, Database, ServedHub, Station, devices_with_modules};

/// A hub, a database with a ledger, and a folder with a batch.
#[derive(Debug)]
pub struct Factory {
    /// The folder that all stations work in.
    pub station: Station,
    /// The hub.
    pub hub: ServedHub,
    /// The database server; the ledger is in its database `units`.
    pub database: Database,
    /// The address of the ledger.
    pub url: String,
}

impl Factory {
    /// Makes a factory with a batch of this many devices, each with two modules, in `batch.csv`.
    pub fn open(devices: usize) -> Result<Self> {
        let station = Station::new()?;
        let hub = ServedHub::start(&station, "hub")?;
        let database = Database::start()?;
        database.create("units")?;
        station.write("batch.csv", &devices_with_modules(devices))?;
        let url = database.url("units");
        Ok(Self { station, hub, database, url })
    }

    /// A provisioner for the hub and the ledger.
    pub fn provisioner(&self, args: &[&str]) -> Result<Command> {
        let mut command = self.station.provisioner(&self.hub)?;
        command.args(args).args(["--ledger", &self.url]).env("PGPASSWORD", DATABASE_PASSWORD);
        Ok(command)
    }

    /// Starts a station with two workers and short leases.
    pub fn begin(&self, args: &[&str]) -> Result<Child> {
        let mut command = self.provisioner(args)?;
        Ok(command
            .args(["--lease", "2", "--workers", "2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    /// The number that a query of the ledger returns.
    pub fn ask(&self, sql: &str) -> Result<i64> {
        Ok(self.database.sql("units", sql)?.parse()?)
    }

    /// The number of finished chunks of all runs; 0 if there is no ledger yet.
    pub fn chunks_done(&self) -> Result<i64> {
        match self.ask("SELECT count(to_regclass('provisioner.chunk'))")? {
            0 => Ok(0),
            _ => self.ask("SELECT count(*) FROM provisioner.chunk WHERE done"),
        }
    }

    /// Returns true if every chunk of the run is done.
    pub fn is_done(&self) -> Result<bool> {
        Ok(self.ask("SELECT count(*) FROM provisioner.chunk WHERE NOT done")? == 0)
    }
}

/// Sends a signal to a process.
pub fn signal(process: &Child, name: &str) -> Result<()> {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.id().to_string()]).status()?;
    ensure!(sent.success(), "SIG{name} could not be sent");
    Ok(())
}

/// Waits until a condition is true. Each evaluation takes a while, so there is no pause between
/// them.
pub fn wait_until(what: &str, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(300);
    while !so()? {
        ensure!(Instant::now() < deadline, "waited in vain until {what}");
    }
    Ok(())
}

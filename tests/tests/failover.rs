//! A ledger database that fails over, hangs, or stops while a batch is loaded or stations are at
//! work.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{DATABASE_PASSWORD, Database, Ended, Factory, from_env, wait_until};
use serde_json::Value;

/// Four stations and two servers, of which one is the standby of the other.
struct FailOver {
    factory: Factory,
    standby: Database,
    stations: Vec<Child>,
    rows: u64,
}

impl FailOver {
    /// Starts stations on a run, with an address that names both servers.
    fn begin(is_synchronous: bool) -> Result<Self> {
        let devices = from_env("FAILOVER_DEVICES", 6_000);
        let mut factory = Factory::open(devices)?;
        let standby = factory.database.follow()?;
        if is_synchronous {
            factory.database.wait_for_standbys()?;
        }
        factory.url = format!(
            "postgres://line3@127.0.0.1:{},127.0.0.1:{}/units?target_session_attrs=read-write",
            factory.database.port(),
            standby.port()
        );
        let mut stations = vec![factory.begin(&["apply", "batch.csv", "--no-verify"])?];
        wait_until("the first station is at work", || Ok(factory.chunks_done()? > 0))?;
        for _ in 0..3 {
            stations.push(factory.begin(&["work", "1"])?);
        }
        let rows = devices as u64 * 3;
        Ok(Self { factory, standby, stations, rows })
    }

    /// Waits until this many more chunks are done.
    fn wait_for(&self, more: i64) -> Result<()> {
        let before = self.factory.chunks_done()?;
        wait_until("the stations get on", || Ok(self.factory.chunks_done()? >= before + more))?;
        ensure!(!self.factory.is_done()?, "the run was over before the server died");
        Ok(())
    }

    /// Ends the first server, promotes the standby, and checks that the stations continue.
    fn fail_over(&mut self) -> Result<()> {
        self.factory.database.die()?;
        self.standby.promote()?;
        std::mem::swap(&mut self.factory.database, &mut self.standby);
        let factory = &self.factory;
        wait_until("all is done", || factory.is_done())
    }

    /// Compares ledger and hub, and returns the totals and the complete standard error output.
    fn end(self) -> Result<(Value, String)> {
        let mut said = String::new();
        for station in self.stations {
            let ended = Ended::of(station.wait_with_output()?)?;
            ensure!(!ended.stderr.contains(DATABASE_PASSWORD) && !ended.stdout.contains(DATABASE_PASSWORD));
            said += &ended.stderr;
            let ended = ended.expect_code(0)?;
            ensure!(ended.stdout.contains("finished: "), "{}", ended.stdout);
        }
        let status = self.factory.provisioner(&["status", "--format", "json"])?.output()?;
        let status: Value = serde_json::from_str(&Ended::of(status)?.expect_code(0)?.stdout)?;
        let totals = status.get("totals").context("a status has totals")?.clone();
        ensure!(number(&totals, "rows") == self.rows && number(&totals, "pending") == 0, "{status}");
        let created: u64 = self.factory.hub.requests()?.iter().map(|request| request.created()).sum();
        ensure!(created == self.rows, "{created} of {} were created at the hub", self.rows);
        Ended::of(self.factory.provisioner(&["verify", "batch.csv"])?.output()?)?.expect_code(0)?;
        Ok((totals, said))
    }
}

fn number(totals: &Value, name: &str) -> u64 {
    totals.get(name).and_then(Value::as_u64).unwrap_or(u64::MAX)
}

#[test]
fn a_standby_that_has_everything_takes_over_and_nothing_is_lost_or_done_twice() -> Result<()> {
    let mut run = FailOver::begin(true)?;
    run.wait_for(2)?;
    run.fail_over()?;
    let rows = run.rows;
    let (totals, said) = run.end()?;
    ensure!(number(&totals, "created") == rows, "{totals}");
    ensure!(!said.contains("has lost"), "{said}");
    Ok(())
}

#[test]
fn a_standby_that_lags_behind_takes_over_and_what_it_lacks_is_found_on_the_hub_and_said() -> Result<()> {
    let mut run = FailOver::begin(false)?;
    run.factory.database.cut_standbys_off()?;
    run.wait_for(4)?;
    run.fail_over()?;
    let rows = run.rows;
    let (totals, said) = run.end()?;
    let (created, unchanged) = (number(&totals, "created"), number(&totals, "unchanged"));
    ensure!(created + unchanged == rows && unchanged > 0, "{totals}");
    ensure!(said.contains("the ledger's database has lost what was written to it last"), "{said}");
    ensure!(said.contains("`synchronous_standby_names` is empty"), "{said}");
    Ok(())
}

/// The lines of a station's standard error output, each when it is printed.
fn listen(station: &mut Child) -> Result<Receiver<(Instant, String)>> {
    let stderr = station.stderr.take().context("stderr is piped")?;
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if tell.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    Ok(told)
}

/// Waits for a line with this beginning.
fn wait_for_line(told: &Receiver<(Instant, String)>, beginning: &str) -> Result<(Instant, String)> {
    loop {
        let line = told.recv_timeout(Duration::from_secs(60));
        let line = line.with_context(|| format!("never said: {beginning}"))?;
        if line.1.starts_with(beginning) {
            return Ok(line);
        }
    }
}

const AWAY: &str = "the ledger's database does not answer; it is tried again";

#[test]
fn a_database_that_freezes_is_said_to_be_away_after_two_seconds_and_waited_for() -> Result<()> {
    let mut factory = Factory::open(1_000)?;
    let mut station = factory.begin(&["apply", "batch.csv", "--no-verify"])?;
    let told = listen(&mut station)?;
    wait_until("the station is at work", || Ok(factory.chunks_done()? > 0))?;
    let frozen = Instant::now();
    factory.database.freeze()?;
    let (said, _) = wait_for_line(&told, AWAY)?;
    ensure!(said - frozen < Duration::from_secs(6), "{:?}", said - frozen);
    // Longer than a connection to a silent server is kept.
    let given_up = Duration::from_secs(from_env("FROZEN_SECONDS", 20) as u64);
    while frozen.elapsed() < given_up {
        ensure!(station.try_wait()?.is_none(), "the station gave up");
    }
    factory.database.thaw()?;
    wait_for_line(&told, "the ledger's database is back after ")?;
    let mut stdout = String::new();
    station.stdout.take().context("stdout is piped")?.read_to_string(&mut stdout)?;
    ensure!(station.wait()?.code() == Some(0) && stdout.contains("3000 created"), "{stdout}");
    let created: u64 = factory.hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created == 3_000, "{created} were created");
    Ok(())
}

#[test]
fn a_database_that_is_frozen_from_the_beginning_is_said_to_be_away() -> Result<()> {
    let mut factory = Factory::open(1)?;
    Ended::of(factory.provisioner(&["apply", "batch.csv"])?.output()?)?.expect_code(0)?;
    factory.database.freeze()?;
    let mut status = factory.provisioner(&["status"])?;
    let mut status = status.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let told = listen(&mut status)?;
    wait_for_line(&told, AWAY)?;
    factory.database.thaw()?;
    wait_for_line(&told, "the ledger's database is back after ")?;
    Ended::of(status.wait_with_output()?)?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_database_that_restarts_while_a_batch_is_loaded_gets_it_again_whole() -> Result<()> {
    let mut factory = Factory::open(from_env("LOADED_DEVICES", 15_000))?;
    // The tables are there already.
    Ended::of(factory.provisioner(&["doctor"])?.output()?)?;
    let mut loading = factory.begin(&["apply", "batch.csv", "--no-verify"])?;
    let told = listen(&mut loading)?;
    wait_until("rows are being written", || {
        let written = "SELECT count(*) FROM pg_stat_activity
                       WHERE application_name = 'provisioner' AND query LIKE 'INSERT INTO \"row\"%'";
        Ok(factory.ask(written)? > 0)
    })?;
    factory.database.restart()?;
    wait_for_line(&told, "the ledger's database broke off while the run was loaded into it")?;
    wait_until("the station is at work", || Ok(factory.chunks_done()? > 0))?;
    ensure!(factory.ask("SELECT count(*) FROM provisioner.run")? == 1, "nothing is left of the first try");
    ensure!(factory.ask("SELECT count(*) FROM provisioner.\"row\"")? == 45_000);
    loading.kill()?;
    loading.wait()?;
    Ok(())
}

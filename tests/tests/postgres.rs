//! Several stations on one run, with a ledger in a real PostgreSQL: stations are killed or
//! suspended, and the database is restarted; ledger and hub agree afterwards.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{DATABASE_PASSWORD, Database, Ended, Factory, ServedHub, Station, from_env, signal, wait_until};
use serde_json::Value;

#[test]
fn stations_die_and_sleep_and_the_database_is_restarted_and_nothing_is_lost_or_done_twice() -> Result<()> {
    let devices = from_env("STATIONS_DEVICES", 2_000);
    let kills = from_env("STATIONS_KILLS", 4);
    let restarts = from_env("STATIONS_RESTARTS", 1);
    // One is killed as soon as the others got on, or so many seconds after the one before.
    let pause = Duration::from_secs(from_env("STATIONS_PAUSE_SECONDS", 0) as u64);
    let mut factory = Factory::open(devices)?;
    let sleeper = factory.begin(&["apply", "batch.csv", "--no-verify"])?;
    wait_until("the run is begun", || {
        let chunks = factory.ask(
            "SELECT CASE WHEN to_regclass('provisioner.chunk') IS NULL THEN 0
                    ELSE (xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM provisioner.chunk',
                          false, true, '')))[1]::text::int END",
        )?;
        Ok(chunks > 0)
    })?;
    // The one that began the run sleeps past its leases, and others take over what it has in hand.
    wait_until("the first station is at work", || {
        Ok(factory.ask("SELECT count(*) FROM provisioner.chunk WHERE done")? > 0)
    })?;
    signal(&sleeper, "STOP")?;
    let mut stations = Vec::new();
    for _ in 0..3 {
        stations.push(factory.begin(&["work", "1"])?);
    }

    let mut killed = 0;
    for round in 0..kills {
        let (before, begun) =
            (factory.ask("SELECT count(*) FROM provisioner.chunk WHERE done")?, Instant::now());
        if factory.is_done()? {
            break;
        }
        let index = round % stations.len();
        let mut station = stations.remove(index);
        let sent = station.kill();
        killed += usize::from(station.wait()?.code().is_none());
        sent?;
        stations.push(factory.begin(&["work"])?);
        if round < restarts {
            factory.database.restart()?;
        }
        wait_until("the others get on", || {
            Ok(factory.is_done()?
                || (begun.elapsed() >= pause
                    && factory.ask("SELECT count(*) FROM provisioner.chunk WHERE done")? > before))
        })?;
    }
    wait_until("all is done, the sleeper's part too", || factory.is_done())?;
    let taken_over = factory.ask("SELECT count(*) FROM provisioner.chunk WHERE fence > 1")?;
    ensure!(taken_over > 0, "nobody's part was taken over");
    signal(&sleeper, "CONT")?;
    let mut ends = vec![Ended::of(sleeper.wait_with_output()?)?];
    for station in stations {
        ends.push(Ended::of(station.wait_with_output()?)?);
    }
    ensure!(killed > 0, "the run was over before anybody was killed");
    println!("{} rows: {killed} stations killed, {taken_over} parts taken over", devices * 3);

    let rows = devices * 3;
    for ended in ends {
        ensure!(!ended.stderr.contains(DATABASE_PASSWORD) && !ended.stdout.contains(DATABASE_PASSWORD));
        let ended = ended.expect_code(0)?;
        ensure!(ended.stdout.contains("finished: "), "{}", ended.stdout);
    }
    let status =
        Ended::of(factory.provisioner(&["status", "--format", "json"])?.output()?)?.expect_code(0)?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    let totals = status.get("totals").context("a status has totals")?;
    ensure!(status.get("state").is_some_and(|state| state == "finished"), "{status}");
    ensure!(totals.get("created").and_then(Value::as_u64) == Some(rows as u64), "{status}");
    let created: u64 = factory.hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created == rows as u64, "{created} creations were counted at the hub");
    let verified = Ended::of(factory.provisioner(&["verify", "batch.csv"])?.output()?)?;
    verified.expect_code(0)?;
    Ok(())
}

#[test]
fn a_password_is_never_taken_from_an_argument_and_a_wrong_one_is_told_at_once() -> Result<()> {
    let factory = Factory::open(1)?;
    let run = |url: &str, password: &str| -> Result<Ended> {
        let mut command = factory.station.provisioner(&factory.hub)?;
        command.args(["apply", "batch.csv", "--ledger", url]).env("PGPASSWORD", password);
        Ended::of(command.output()?)
    };
    let refused = run(&factory.database.url_with_password("units"), "")?.expect_code(2)?;
    ensure!(refused.stderr.contains("set PGPASSWORD"), "{}", refused.stderr);
    ensure!(!refused.stderr.contains(DATABASE_PASSWORD), "{}", refused.stderr);
    let wrong = run(&factory.url, "another")?.expect_code(4)?;
    ensure!(wrong.stderr.contains("password authentication failed"), "{}", wrong.stderr);
    run(&factory.url, DATABASE_PASSWORD)?.expect_code(0)?;
    // The URL with its password may come from the environment.
    let mut command = factory.station.provisioner(&factory.hub)?;
    command.arg("runs").env("PROVISIONER_LEDGER", factory.database.url_with_password("units"));
    let runs = Ended::of(command.output()?)?.expect_code(0)?;
    ensure!(runs.stdout.contains("run 1: batch.csv"), "{}", runs.stdout);
    Ok(())
}

#[test]
fn a_database_that_is_away_is_waited_for_and_that_is_said() -> Result<()> {
    let mut factory = Factory::open(1)?;
    Ended::of(factory.provisioner(&["apply", "batch.csv"])?.output()?)?.expect_code(0)?;
    factory.database.stop()?;
    let mut waiting = factory.provisioner(&["status"])?;
    let mut waiting = waiting.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let told = waiting.stderr.take().context("stderr is piped")?;
    let mut told = BufReader::new(told).lines();
    let away = told.next().context("nothing was said")??;
    ensure!(away == "the ledger's database does not answer; it is tried again", "{away}");
    factory.database.serve()?;
    let back = told.next().context("nothing more was said")??;
    ensure!(back.starts_with("the ledger's database is back after "), "{back}");
    let ended = Ended::of(waiting.wait_with_output()?)?.expect_code(0)?;
    ensure!(ended.stdout.contains("run 1: "), "{}", ended.stdout);
    Ok(())
}

/// Two stations together call the hub no faster than one would: the hub refuses hardly any call.
#[test]
fn stations_share_the_budget_of_the_hub() -> Result<()> {
    let station = Station::new()?;
    let size = ["--tier", "S3", "--units", "1"];
    let listen = ["--https", "127.0.0.1:0", "--mqtt", "none"];
    let hub = ServedHub::start_with(&station, "hub", &[&listen[..], &size[..]].concat())?;
    let database = Database::start()?;
    database.create("units")?;
    let rows: String = (0..6_000).map(|number| format!("dev-{number},x509_ca\n")).collect();
    station.write("batch.csv", &format!("device_id,auth\n{rows}"))?;
    let factory = Factory { url: database.url("units"), station, hub, database };
    let first = factory.begin(&[&["apply", "batch.csv", "--no-verify"][..], &size[..]].concat())?;
    wait_until("the first station is at work", || {
        let is_there = factory.ask("SELECT count(to_regclass('provisioner.station'))")? > 0;
        Ok(is_there && factory.ask("SELECT count(*) FROM provisioner.chunk WHERE done")? > 0)
    })?;
    let second = factory.begin(&[&["work", "1"][..], &size[..]].concat())?;
    for station in [first, second] {
        Ended::of(station.wait_with_output()?)?.expect_code(0)?;
    }
    let requests = factory.hub.requests()?;
    let refused = requests.iter().filter(|request| request.status() == 429).count();
    ensure!(refused * 50 <= requests.len(), "{refused} of {} calls were refused", requests.len());
    ensure!(requests.iter().map(|request| request.created()).sum::<u64>() == 6_000);
    ensure!(factory.ask("SELECT count(*) FROM provisioner.station")? == 0, "who is done is at work no more");
    Ok(())
}

/// Of two stations that begin at the same time with one certificate for two units, one is refused as
/// if it had begun later.
#[test]
fn stations_that_begin_at_once_do_not_give_one_certificate_to_two_units() -> Result<()> {
    let factory = Factory::open(1)?;
    Ended::of(factory.provisioner(&["apply", "batch.csv"])?.output()?)?.expect_code(0)?;
    for round in 0..from_env("OVERTAKEN_ROUNDS", 3) {
        let mut stations = Vec::new();
        // Both have read who owns the certificate when the first one may write it.
        let held = factory.database.hold("units", "LOCK TABLE provisioner.credential IN SHARE MODE")?;
        for name in ["left", "right"] {
            let (file, thumbprint) = (format!("{name}-{round}.csv"), format!("{round:02}").repeat(32));
            let row = format!("device_id,primary_thumbprint\n{name}-{round},{thumbprint}\n");
            factory.station.write(&file, &row)?;
            stations.push((format!("{name}-{round}"), factory.begin(&["apply", &file])?));
        }
        wait_until("both wait to write who owns the certificate", || {
            let waiting = "SELECT count(*) FROM pg_locks JOIN pg_class ON pg_class.oid = relation
                           WHERE relname = 'credential' AND NOT granted";
            Ok(factory.ask(waiting)? == 2)
        })?;
        drop(held);
        let mut ends = Vec::new();
        for (name, station) in stations {
            ends.push((name, Ended::of(station.wait_with_output()?)?));
        }
        ends.sort_by_key(|(_, ended)| ended.code);
        let [(owner, first), (_, second)] = &ends[..] else { unreachable!("there are two stations") };
        ensure!(first.code == Some(0), "{first:?}");
        ensure!(second.code == Some(2), "{second:?}");
        ensure!(second.stderr.contains("has begun a run with credentials of this batch at the same time"));
        let belongs = format!("column primary_thumbprint: this thumbprint belongs to `{owner}` since run ");
        ensure!(second.stderr.contains(&belongs), "{second:?}");
    }
    let created: u64 = factory.hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created == 3 + from_env("OVERTAKEN_ROUNDS", 3) as u64, "{created} were created");
    Ok(())
}

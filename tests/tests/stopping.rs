//! Ctrl-C in every phase of every verb: a response at once, exit code 4, and the same command or
//! `resume` does the rest.

#![expect(clippy::indexing_slicing, reason = "a JSON document yields null for what it lacks")]

use anyhow::{Context, Result, ensure};
use e2e::{ServedHub, Station, Terminal, devices_with_modules};
use serde_json::Value;

const DEVICES: usize = 150;

/// A hub with one operation that never responds in time.
fn hub_that_waits_at(station: &Station, operation: &str, skip: u32) -> Result<ServedHub> {
    let faults = format!(
        "[[fault]]\noperation = '{operation}'\neffect = 'delay'\nseconds = 2\nskip = {skip}\ncount = 20\n"
    );
    let file = station.write("faults.toml", &faults)?;
    let file = file.to_string_lossy();
    ServedHub::start_with(
        station,
        "hub",
        &["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--faults", &file],
    )
}

fn station_with_batch() -> Result<Station> {
    let station = Station::new()?;
    station.write("batch.csv", &devices_with_modules(DEVICES))?;
    Ok(station)
}

/// Runs the provisioner on a terminal, presses Ctrl-C when `shown` is on the screen, and returns
/// the complete output. Checks that the exit code is 4, and that the interrupt is confirmed.
fn stop(station: &Station, hub: &ServedHub, args: &[&str], shown: &str) -> Result<String> {
    let mut terminal = Terminal::start(station.provisioner(hub)?.args(args))?;
    terminal.wait_for(shown)?;
    terminal.interrupt()?;
    terminal.wait_for("stop")?;
    let (code, screen) = terminal.end()?;
    ensure!(code == 4, "{args:?} at `{shown}`: exit code {code}\n{screen}");
    ensure!(screen.contains("stopped; ") || screen.contains("stopping: "), "{screen}");
    Ok(screen)
}

/// Continues the last run; then every row is done and read back.
fn resume(station: &Station, hub: &ServedHub) -> Result<()> {
    let resumed = station.provision(hub, ["resume", "--format", "json"])?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&resumed.stdout)?;
    let rows = 3 * DEVICES as u64;
    ensure!(outcome["totals"]["rows"] == rows && outcome["verified"]["equal"] == rows, "{outcome}");
    ensure!(outcome["test_hub"] == true && outcome["input"] == "batch.csv", "{outcome}");
    Ok(())
}

#[test]
fn apply_is_stopped_while_it_provisions() -> Result<()> {
    let station = station_with_batch()?;
    let hub = hub_that_waits_at(&station, "BulkRegistry", 0)?;
    let screen = stop(&station, &hub, &["apply", "batch.csv"], "provisioning")?;
    ensure!(screen.contains("press Ctrl-C again to end at once"), "{screen}");
    ensure!(screen.contains("`provisioner resume 1` does the rest"), "{screen}");
    resume(&station, &hub)
}

#[test]
fn apply_is_stopped_while_it_reads_back_and_the_report_says_so_first() -> Result<()> {
    let station = station_with_batch()?;
    // The first twin that is read shows how the hub treats module twins; those after it are read back.
    let hub = hub_that_waits_at(&station, "GetTwin", 30)?;
    let screen = stop(&station, &hub, &["apply", "batch.csv"], "verifying")?;
    ensure!(screen.contains("`provisioner resume 1` reads the rest back"), "{screen}");
    let report = station.run("provisioner", ["report"])?;
    let first = report.stdout.lines().next().context("an empty report")?;
    ensure!(first.contains("not read back"), "{}", report.stdout);
    ensure!(
        report.stdout.lines().last().is_some_and(|line| line.starts_with("TEST HUB: ")),
        "{}",
        report.stdout
    );
    station.run("provisioner", ["report", "--html", "page.html"])?;
    let page = std::fs::read_to_string(station.path("page.html"))?;
    ensure!(page.contains("<h1>All 150 devices are ready, not read back."), "{page}");
    ensure!(page.contains("<strong>TEST HUB</strong>"), "{page}");
    resume(&station, &hub)
}

#[test]
fn a_second_request_ends_at_once() -> Result<()> {
    let station = station_with_batch()?;
    let hub = hub_that_waits_at(&station, "BulkRegistry", 0)?;
    let mut terminal = Terminal::start(station.provisioner(&hub)?.args(["apply", "batch.csv"]))?;
    terminal.wait_for("provisioning")?;
    terminal.interrupt()?;
    terminal.wait_for("stopping: ")?;
    terminal.interrupt()?;
    let (code, screen) = terminal.end()?;
    ensure!(
        code == 4 && screen.contains("stopped; `provisioner resume 1` does the rest"),
        "{code}\n{screen}"
    );
    resume(&station, &hub)
}

#[test]
fn resume_is_stopped_and_resumed() -> Result<()> {
    let station = station_with_batch()?;
    let hub = hub_that_waits_at(&station, "BulkRegistry", 0)?;
    stop(&station, &hub, &["apply", "batch.csv"], "provisioning")?;
    stop(&station, &hub, &["resume"], "hub: ")?;
    resume(&station, &hub)
}

#[test]
fn verbs_that_change_nothing_are_stopped_at_once() -> Result<()> {
    let station = station_with_batch()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    hub.kill()?;
    let hub = hub_that_waits_at(&station, "GetTwin", 0)?;
    stop(&station, &hub, &["verify", "batch.csv"], "verifying")?;
    stop(&station, &hub, &["plan", "batch.csv", "--output", "batch.plan"], "comparing")?;
    let left: Vec<_> = std::fs::read_dir(station.folder())?
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.contains("plan") || name.starts_with(".tmp"))
        .collect();
    ensure!(left.is_empty(), "half-written files: {left:?}");
    Ok(())
}

#[test]
fn retire_is_stopped_and_resumed() -> Result<()> {
    let station = station_with_batch()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    hub.kill()?;
    let hub = hub_that_waits_at(&station, "BulkRegistry", 0)?;
    stop(&station, &hub, &["retire", "batch.csv"], "altering")?;
    station.provision(&hub, ["resume"])?.expect_code(0)?;
    Ok(())
}

//! Credentials that become invalid during a run, as when the key of a policy is rolled.

use anyhow::{Result, ensure};
use e2e::{ServedHub, Station, devices_with_modules};

const DEVICES: usize = 400;
const LOST: &str = "[[fault]]\noperation = 'BulkRegistry'\neffect = 'status'\nstatus = 401\n\
                    code = 'IotHubUnauthorizedAccess'\nskip = 4\n";

#[test]
fn the_run_stops_and_goes_on_when_they_are_back() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", &devices_with_modules(DEVICES))?;
    let faults = station.write("faults.toml", LOST)?.to_string_lossy().into_owned();
    let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--faults", &faults];
    let hub = ServedHub::start_with(&station, "hub", &args)?;
    let stopped = station.provision(&hub, ["apply", "batch.csv"])?.expect_code(3)?;
    ensure!(stopped.stderr.contains("401 IotHubUnauthorizedAccess"), "{}", stopped.stderr);
    ensure!(stopped.stderr.contains("`provisioner resume 1` does the rest"), "{}", stopped.stderr);
    let status = station.run("provisioner", ["status"])?.expect_code(0)?;
    ensure!(status.stdout.contains("interrupted") && status.stdout.contains("0 failed"), "{}", status.stdout);
    let refused = hub.requests()?.iter().filter(|request| request.status() == 401).count();
    // A single 401 is worth a fresh token and one more try.
    ensure!(refused <= 8, "each worker is refused twice at most: {refused}");

    let hub = hub.die_and_come_back(&station)?;
    let resumed = station.provision(&hub, ["resume"])?.expect_code(0)?;
    let rows = 3 * DEVICES;
    ensure!(resumed.stdout.contains(&format!("{rows} rows = {rows} created")), "{}", resumed.stdout);
    let created: u64 = hub.requests()?.iter().map(|request| request.writes()).sum();
    ensure!(created == rows as u64, "each was created once: {created}");
    Ok(())
}

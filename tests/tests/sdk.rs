//! Microsoft's own client drives the local hub, unchanged, and is content.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::{Ended, ServedHub, Station, repository};

/// `scripts/install-test-needs` installs the client; without it this fails rather than being skipped.
#[test]
fn the_python_sdk_finds_the_hub_as_it_should_be() -> Result<()> {
    let python = repository().join(".venv/bin/python");
    ensure!(python.exists(), "run scripts/install-test-needs first, or all tests with scripts/test");
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let output = Command::new(python)
        .arg(repository().join("scripts/sdk-judge/judge.py"))
        .current_dir(station.folder())
        .env("IOTHUB_CONNECTION_STRING", hub.connection_string())
        .env("REQUESTS_CA_BUNDLE", hub.ca_file())
        .output()?;
    let judged = Ended::of(output)?.expect_code(0)?;
    let checks = judged.stdout.lines().filter(|line| line.starts_with("ok ")).count();
    ensure!(checks >= 18, "only {checks} checks were made:\n{}", judged.stdout);
    Ok(())
}

//! Microsoft's own device clients connect to the local hub, unchanged, with certificates that
//! `cert-tool` made.
//!
//! `scripts/install-test-needs` installs the clients; without them this fails rather than being
//! skipped. Where `JUDGE_COVERAGE` names a file, it gets a line for every operation of every client.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use tests::{Ended, ServedHub, Station, repository};

/// A hub that devices with the certificates below can connect to.
struct Scene {
    station: Station,
    hub: ServedHub,
}

impl Scene {
    fn set() -> Result<Self> {
        let station = Station::new()?;
        for (ca, name) in [("ca", "Factory"), ("stranger-ca", "Stranger")] {
            station.run("cert-tool", ["ca", "init", ca, "--name", name])?.expect_code(0)?;
        }
        let issue = |ca: &str, out: &str, ids: &[&str]| -> Result<()> {
            let args = ["issue", "--sink", "folder", "--ca", ca, "--out", out, "--device-id"];
            station.run("cert-tool", args.iter().chain(ids))?.expect_code(0).map(drop)
        };
        issue("ca", "issued", &["judge-thumbprint"])?;
        issue("ca", "issued", &["judge-ca"])?;
        issue("ca", "issued", &["judge-sas", "--module-id", "judge-thumbprint"])?;
        issue("ca", "issued", &["judge-sas", "--module-id", "judge-ca"])?;
        issue("stranger-ca", "issued/stranger", &["judge-ca"])?;
        // Only the root: devices present the issuing CA's certificate with their own.
        let hub = ServedHub::start_for_devices(&station, "hub", &station.path("ca/root.pem"))?;
        Ok(Self { station, hub })
    }

    /// Lets a judge judge, and insists on a number of checks, so that none gets lost unnoticed.
    fn judge(&self, program: PathBuf, script: &str, checks: usize) -> Result<()> {
        ensure!(
            program.components().count() == 1 || program.exists(),
            "run scripts/install-test-needs first, or all tests with scripts/test"
        );
        let output = Command::new(program)
            .arg(repository().join(script))
            .args(["issued", "websockets"])
            .current_dir(self.station.folder())
            .env("IOTHUB_CONNECTION_STRING", self.hub.connection_string())
            .env("REQUESTS_CA_BUNDLE", self.hub.ca_file())
            .env("NODE_EXTRA_CA_CERTS", self.hub.ca_file())
            .output()?;
        let judged = Ended::of(output)?.expect_code(0)?;
        let made = judged.stdout.lines().filter(|line| line.starts_with("ok ")).count();
        ensure!(made >= checks, "only {made} checks were made:\n{}", judged.stdout);
        Ok(())
    }
}

#[test]
fn the_python_device_sdk_finds_the_hub_as_it_should_be() -> Result<()> {
    let python = repository().join(".venv/bin/python");
    Scene::set()?.judge(python, "scripts/device-judge/judge.py", 98)
}

#[test]
fn the_node_sdks_find_the_hub_as_it_should_be() -> Result<()> {
    let installed = repository().join("scripts/sdk-judge-node/node_modules");
    ensure!(installed.exists(), "run scripts/install-test-needs first, or all tests with scripts/test");
    Scene::set()?.judge(PathBuf::from("node"), "scripts/sdk-judge-node/judge.js", 86)
}

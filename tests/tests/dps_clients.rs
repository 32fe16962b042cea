//! Microsoft's clients of the Device Provisioning Service, unmodified, against the local DPS.
//!
//! `scripts/install-test-needs` installs them; without them this test fails. The operations of each
//! client are read from the request log, and must match the table in `docs/local-dps.md`;
//! `SNAPSHOTS=overwrite` writes the table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::{Ended, ServedHub, Station, repository};

/// The clients by their column in the table, with a part of the name that they send to the DPS.
const CLIENTS: [(&str, &str); 4] = [
    ("Python azure-iot-deviceprovisioning", "azsdk-python-az-iot-dps-python/"),
    ("Python azure-iot-device", "azure-iot-device-provisioning-py/"),
    ("Node azure-iot-provisioning-device", "azure-iot-provisioning-device/"),
    ("Node azure-iot-provisioning-service", "azure-iot-provisioning-service/"),
];

/// A hub and a DPS, and certificates of two CAs.
struct Scene {
    station: Station,
    hub: ServedHub,
}

impl Scene {
    fn set(devices: &[&str]) -> Result<Self> {
        let station = Station::new()?;
        for (ca, name, out) in [("ca", "Factory", "issued"), ("stranger-ca", "Stranger", "issued/stranger")] {
            station.run("cert-tool", ["ca", "init", ca, "--name", name])?.expect_code(0)?;
            for device in devices {
                let args = ["issue", "--sink", "folder", "--ca", ca, "--out", out, "--device-id", device];
                station.run("cert-tool", args)?.expect_code(0)?;
            }
        }
        std::fs::copy(station.path("ca/root.pem"), station.path("issued/root.pem"))?;
        let hub = ServedHub::start_with_dps(&station, "hub")?;
        Ok(Self { station, hub })
    }

    /// Runs a judge program, and requires the given number of checks, so that a missing check is
    /// noticed.
    fn judge(&self, program: &Path, script: &str, checks: usize) -> Result<()> {
        let output = Command::new(program)
            .arg(repository().join(script))
            .args(["issued", "websockets"])
            .current_dir(self.station.folder())
            .env("IOTDPS_CONNECTION_STRING", self.hub.dps_connection_string()?)
            .env("IOTDPS_ID_SCOPE", self.hub.id_scope()?)
            .env("REQUESTS_CA_BUNDLE", self.hub.ca_file())
            .env("NODE_EXTRA_CA_CERTS", self.hub.ca_file())
            .output()
            .with_context(|| NEEDS)?;
        let judged = Ended::of(output)?.expect_code(0)?;
        let made = judged.stdout.lines().filter(|line| line.starts_with("ok ")).count();
        ensure!(made >= checks, "only {made} checks were made:\n{}", judged.stdout);
        Ok(())
    }

    /// The operations that each client performed, by the name that it sent to the DPS.
    fn seen(&self) -> Result<Seen> {
        let mut seen = Seen::new();
        for request in self.hub.requests()? {
            if !(200..300).contains(&request.status()) {
                continue;
            }
            if let Some((client, _)) = CLIENTS.iter().find(|(_, part)| request.agent().contains(part)) {
                seen.entry(request.operation().to_owned()).or_default().insert(client);
            }
        }
        Ok(seen)
    }
}

/// Operations by name, with the clients that performed them.
type Seen = BTreeMap<String, BTreeSet<&'static str>>;

const NEEDS: &str = "run scripts/install-test-needs first, or all tests with scripts/test";

fn table(seen: &Seen) -> Result<String> {
    let columns = CLIENTS.map(|(name, _)| name);
    let mut text =
        format!("| operation | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for (operation, clients) in seen {
        let cells = columns.map(|client| if clients.contains(client) { "yes" } else { "" });
        writeln!(text, "| `{operation}` | {} |", cells.join(" | "))?;
    }
    Ok(text)
}

/// The page with its table replaced.
fn with_table(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    Ok([before, BEGIN, table, END, after].concat())
}

const BEGIN: &str = "<!-- written by tests/tests/dps_clients.rs -->\n\n";
const END: &str = "\n<!-- until here -->\n";

#[test]
fn what_each_client_of_a_dps_did_is_what_the_table_says() -> Result<()> {
    ensure!(repository().join("scripts/sdk-judge-node/node_modules").exists(), NEEDS);
    let scene = Scene::set(&["judge-dps", "judge-dps-x509", "judge-dps-group", "judge-dps-node"])?;
    scene.judge(&repository().join(".venv/bin/python"), "scripts/sdk-judge/dps_judge.py", 9)?;
    scene.judge(Path::new("node"), "scripts/sdk-judge-node/dps_service_judge.js", 14)?;
    scene.judge(&repository().join(".venv/bin/python"), "scripts/device-judge/dps_judge.py", 24)?;
    scene.judge(Path::new("node"), "scripts/sdk-judge-node/dps_judge.js", 14)?;
    let page = snapbox::Data::read_from(&repository().join("docs/local-dps.md"), None).raw();
    let wanted = with_table(&page.render().context("the page is no text")?, &table(&scene.seen()?)?)?;
    snapbox::assert_data_eq!(wanted, page);
    Ok(())
}

//! Independent clients, unmodified, against the hub: Microsoft's SDKs for services and for devices,
//! in Python and in Node, and mosquitto.
//!
//! `scripts/install-test-needs` installs them; without them this test fails. The operations of each
//! client are read from the hub's request log, and must match the table in `docs/`;
//! `SNAPSHOTS=overwrite` writes the table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use e2e::{Ended, ServedHub, Station, repository};

/// The clients by their column in the table, with a part of the name that they send to the hub.
const CLIENTS: [(&str, &str); 5] = [
    ("Python azure-iot-hub", "iothubgatewayserviceapis/"),
    ("Node azure-iothub", "azure-iothub/"),
    ("Python azure-iot-device", "azure-iot-device-iothub-py/"),
    ("Node azure-iot-device-mqtt", "azure-iot-device/"),
    ("mosquitto", MOSQUITTO),
];

/// The client name that the mosquitto clients are configured with below.
const MOSQUITTO: &str = "mosquitto";

/// A hub that devices with the certificates below can connect to, and that has a container for blobs.
struct Scene {
    station: Station,
    hub: ServedHub,
    container: PathBuf,
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
        let container = station.path("blobs/container");
        std::fs::create_dir_all(&container)?;
        // Only the root: devices present the issuing CA's certificate with their own.
        let (device_ca, blobs) = (station.path("ca/root.pem"), station.path("blobs"));
        let hub = ServedHub::start_for_devices(&station, "hub", &device_ca, &blobs)?;
        Ok(Self { station, hub, container })
    }

    /// Runs a judge program, and requires the given number of checks, so that a missing check is
    /// noticed.
    fn judge(&self, program: &Path, script: &str, checks: usize) -> Result<()> {
        let output = Command::new(program)
            .arg(repository().join(script))
            .args(["issued", "websockets"])
            .current_dir(self.station.folder())
            .env("IOTHUB_CONNECTION_STRING", self.hub.connection_string())
            .env("REQUESTS_CA_BUNDLE", self.hub.ca_file())
            .env("NODE_EXTRA_CA_CERTS", self.hub.ca_file())
            .env("JUDGE_CONTAINER", &self.container)
            .output()
            .with_context(|| NEEDS)?;
        let judged = Ended::of(output)?.expect_code(0)?;
        let made = judged.stdout.lines().filter(|line| line.starts_with("ok ")).count();
        ensure!(made >= checks, "only {made} checks were made:\n{}", judged.stdout);
        Ok(())
    }

    /// Runs one of mosquitto's clients as the device `judge-ca`.
    fn mosquitto(&self, program: &str, arguments: &[&str]) -> Result<()> {
        let host = self.hub.host()?;
        let user_name = format!("{host}/judge-ca/?api-version=2021-04-12&DeviceClientType={MOSQUITTO}");
        let credentials = self.station.path("issued/devices/judge-ca");
        let output = Command::new(program)
            .args(["-h", &host, "-p", "8883", "-V", "mqttv311", "-i", "judge-ca", "-u", &user_name])
            .arg("--cafile")
            .arg(self.hub.ca_file())
            .arg("--cert")
            .arg(credentials.join("chain.pem"))
            .arg("--key")
            .arg(credentials.join("key.pem"))
            .args(arguments)
            .output()
            .with_context(|| NEEDS)?;
        Ended::of(output)?.expect_code(0).map(drop)
    }

    /// The operations of each client, by the name that it sent to the hub.
    fn seen(&self) -> Result<Seen> {
        let mut seen = Seen::new();
        for request in self.hub.requests()? {
            let cell = match request.status() {
                200..300 => "yes",
                501 => "501",
                _ => continue,
            };
            if let Some((client, _)) = CLIENTS.iter().find(|(_, part)| request.agent().contains(part)) {
                seen.entry(request.operation().to_owned()).or_default().insert(client, cell);
            }
        }
        Ok(seen)
    }
}

/// Operations by name, and their outcome by client.
type Seen = BTreeMap<String, BTreeMap<&'static str, &'static str>>;

const NEEDS: &str = "run scripts/install-test-needs first, or all tests with scripts/test";

fn python(script: &'static str, checks: usize) -> Result<Seen> {
    let scene = Scene::set()?;
    scene.judge(&repository().join(".venv/bin/python"), script, checks)?;
    scene.seen()
}

fn node() -> Result<Seen> {
    ensure!(repository().join("scripts/sdk-judge-node/node_modules").exists(), NEEDS);
    let scene = Scene::set()?;
    scene.judge(Path::new("node"), "scripts/sdk-judge-node/judge.js", 94)?;
    scene.seen()
}

fn mosquitto() -> Result<Seen> {
    let scene = Scene::set()?;
    let create = ["device", "create", "-d", "judge-ca", "--auth-method", "x509_ca"];
    scene.station.provision(&scene.hub, create)?.expect_code(0)?;
    let events = "devices/judge-ca/messages/events/";
    scene.mosquitto("mosquitto_pub", &["-q", "1", "-r", "-t", events, "-m", "x"])?;
    // It stays until the hub has granted what it asks for.
    let commands = "devices/judge-ca/messages/devicebound/#";
    scene.mosquitto("mosquitto_sub", &["-q", "1", "-E", "-W", "60", "-t", commands])?;
    scene.seen()
}

/// The table, and the operations that are missing from it.
fn table(seen: &Seen) -> Result<String> {
    let columns = CLIENTS.map(|(name, _)| name);
    let mut text =
        format!("| operation | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for (operation, cells) in seen {
        let cells = columns.map(|client| cells.get(client).copied().unwrap_or_default());
        writeln!(text, "| `{operation}` | {} |", cells.join(" | "))?;
    }
    let operations = std::fs::read_to_string(repository().join("local-hub/operations.txt"))?;
    let all: BTreeSet<_> = operations.lines().filter_map(|line| line.split(' ').next()).collect();
    writeln!(text, "\nNo client runs these operations:\n")?;
    for name in all.into_iter().filter(|name| !seen.contains_key(*name)) {
        writeln!(text, "- `{name}`")?;
    }
    Ok(text)
}

/// The page with its table replaced.
fn with_table(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no table")?;
    let (_, after) = rest.split_once(END).context("the table has no end")?;
    Ok([before, BEGIN, table, END, after].concat())
}

const BEGIN: &str = "<!-- written by tests/tests/clients.rs -->\n\n";
const END: &str = "\n<!-- until here -->\n";

#[test]
fn what_each_client_did_is_what_the_table_says() -> Result<()> {
    let judges: [fn() -> Result<Seen>; 4] = [
        || python("scripts/sdk-judge/judge.py", 23),
        || python("scripts/device-judge/judge.py", 98),
        node,
        mosquitto,
    ];
    let judged: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = judges.iter().map(|judge| scope.spawn(judge)).collect();
        running.into_iter().map(|judge| judge.join().unwrap_or_else(|_| bail!("a judge panicked"))).collect()
    });
    let mut seen = Seen::new();
    for one in judged {
        for (operation, cells) in one? {
            seen.entry(operation).or_default().extend(cells);
        }
    }
    let page = snapbox::Data::read_from(&repository().join("docs/local-hub.md"), None).raw();
    let wanted = with_table(&page.render().context("the page is no text")?, &table(&seen)?)?;
    snapbox::assert_data_eq!(wanted, page);
    Ok(())
}

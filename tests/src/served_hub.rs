//! A `local-hub serve` in a process of its own.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use hub_types::connection_string::ServiceConnectionString;
use hub_types::sas::SasToken;
use serde_json::Value;

use crate::Station;

/// The year 2100, so that tokens do not expire during a test.
const FAR_FUTURE: u64 = 4_102_444_800;

/// A hub that serves until the value is dropped.
#[derive(Debug)]
pub struct ServedHub {
    process: Child,
    data: PathBuf,
    log: PathBuf,
    connection_string: String,
    ready: String,
}

/// A line of the hub's request log.
#[derive(Debug)]
pub struct LoggedRequest(Value);

impl ServedHub {
    /// Serves from a data folder of the station, and waits until the hub is ready.
    pub fn start(station: &Station, data: &str) -> Result<Self> {
        Self::start_on(station, data, "127.0.0.1:0")
    }

    /// A station and a hub that it has put a batch (CSV) on, in run 1.
    pub fn with_batch(batch: &str) -> Result<(Station, Self)> {
        let station = Station::new()?;
        let hub = Self::start(&station, "hub")?;
        station.write("batch.csv", batch)?;
        station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
        Ok((station, hub))
    }

    /// Kills the hub with SIGKILL, and serves again from the same folder on the same port.
    pub fn die_and_come_back(self, station: &Station) -> Result<Self> {
        let access: ServiceConnectionString = self.connection_string.parse()?;
        let (_, port) = access.host.as_str().split_once(':').context("the hub has a port")?;
        let address = format!("127.0.0.1:{port}");
        let data = self.data.clone();
        self.kill()?;
        Self::start_on(station, &data.to_string_lossy(), &address)
    }

    fn start_on(station: &Station, data: &str, address: &str) -> Result<Self> {
        Self::start_with(station, data, &["--https", address, "--mqtt", "127.0.0.1:0"])
    }

    /// Serves on the standard ports of device SDKs, on a loopback address that no other test uses.
    /// Devices may have certificates of the CA in the file; jobs find their containers in the
    /// folder.
    pub fn start_for_devices(
        station: &Station,
        data: &str,
        device_ca: &Path,
        containers: &Path,
    ) -> Result<Self> {
        let address = free_loopback_address()?;
        let (https, mqtt) = (format!("{address}:443"), format!("{address}:8883"));
        let (device_ca, containers) = (device_ca.to_string_lossy(), containers.to_string_lossy());
        let address = address.to_string();
        let mut args = vec!["--https", &https, "--mqtt", &mqtt, "--host-name", &address];
        args.extend(["--device-ca", &device_ca, "--blob-folder", &containers]);
        Self::start_with(station, data, &args)
    }

    /// Serves a hub and a DPS on the standard ports of device SDKs, each on a loopback address that
    /// no other test uses.
    pub fn start_with_dps(station: &Station, data: &str) -> Result<Self> {
        let (hub, dps) = (free_loopback_address()?.to_string(), free_loopback_address()?.to_string());
        let addresses = [&hub, &dps].map(|address| (format!("{address}:443"), format!("{address}:8883")));
        let [(https, mqtt), (dps_https, dps_mqtt)] = &addresses;
        let mut args = vec!["--https", https, "--mqtt", mqtt, "--host-name", &hub];
        args.extend(["--dps", "--dps-https", dps_https, "--dps-mqtt", dps_mqtt, "--dps-host-name", &dps]);
        Self::start_with(station, data, &args)
    }

    /// Serves with these arguments, and waits until the hub is ready.
    pub fn start_with(station: &Station, data: &str, args: &[&str]) -> Result<Self> {
        Self::start_command(station, data, args, station.command("local-hub")?)
    }

    /// Serves with an answer that never comes to its end: that to the bulk call after the first `skip`.
    pub fn start_with_unanswered_bulk(station: &Station, data: &str, skip: usize) -> Result<Self> {
        let faults = format!(
            "[[fault]]\noperation = 'BulkRegistry'\neffect = 'drip'\nbytes_per_second = 1\nskip = {skip}\ncount = 1\n"
        );
        let faults = station.write("faults.toml", &faults)?.to_string_lossy().into_owned();
        let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--faults", &faults];
        Self::start_with(station, data, &args)
    }

    /// Runs a command and kills it with SIGKILL when the hub has carried out `calls` calls in bulk in all.
    pub fn kill_at_bulk(&self, command: &mut Command, calls: usize) -> Result<()> {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let is_bulk = |request: &LoggedRequest| request.operation() == "BulkRegistry";
        while self.requests()?.iter().filter(|request| is_bulk(request)).count() < calls {
            if let Some(status) = process.try_wait()? {
                bail!("it ended before it was killed: {status}");
            }
            std::thread::yield_now();
        }
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Serves with all log lines (level `trace`) in a file of the station.
    pub fn start_loud(station: &Station, data: &str, args: &[&str], log: &str) -> Result<Self> {
        let mut command = station.command("local-hub")?;
        command.env("RUST_LOG", "trace").stderr(std::fs::File::create(station.path(log))?);
        Self::start_command(station, data, args, command)
    }

    fn start_command(station: &Station, data: &str, args: &[&str], mut command: Command) -> Result<Self> {
        let (data, log) = (station.path(data), station.path("requests.jsonl"));
        let mut process = command
            .arg("serve")
            .args(args)
            .arg("--data")
            .arg(&data)
            .arg("--request-log")
            .arg(&log)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().context("the hub has no stdout")?;
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready)?;
        if !ready.contains("ready") {
            let status = process.wait()?;
            bail!("the hub did not get ready: {status}");
        }
        let connection_string = std::fs::read_to_string(data.join("connection-string"))?.trim().to_owned();
        Ok(Self { process, data, log, connection_string, ready })
    }

    /// The connection string of the owner.
    pub fn connection_string(&self) -> &str {
        &self.connection_string
    }

    /// The connection string of the owner of the DPS.
    pub fn dps_connection_string(&self) -> Result<String> {
        self.read_text("dps-connection-string")
    }

    /// The name of the DPS for devices.
    pub fn id_scope(&self) -> Result<String> {
        self.read_text("dps-id-scope")
    }

    fn read_text(&self, file: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.data.join(file))?.trim().to_owned())
    }

    /// The name by which clients call the hub, with the port if it is not the standard one.
    pub fn host(&self) -> Result<String> {
        let access: ServiceConnectionString = self.connection_string.parse()?;
        Ok(access.host.as_str().to_owned())
    }

    /// The address of the MQTT listener, as `host:port`.
    pub fn mqtt(&self) -> Result<&str> {
        let (_, address) = self.ready.split_once("mqtts://").context("the hub takes no devices")?;
        Ok(address.split(';').next().unwrap_or(address))
    }

    /// The certificate that clients must trust.
    pub fn ca_file(&self) -> PathBuf {
        self.data.join("ca.pem")
    }

    /// The folder that the hub serves from.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The requests so far. A request is logged before its response is sent.
    pub fn requests(&self) -> Result<Vec<LoggedRequest>> {
        let text = std::fs::read_to_string(&self.log)?;
        // The last line may be half-written yet.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| Ok(LoggedRequest(serde_json::from_str(line)?))).collect()
    }

    /// Reads the twin of `device` or `device/modules/module`.
    pub fn twin(&self, path: &str) -> Result<Value> {
        let answer = self.call(reqwest::Method::GET, &format!("/twins/{path}"), None)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Reads `/devices/…` or another path, as JSON.
    pub fn get(&self, path: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.call(reqwest::Method::GET, path, None)?)?)
    }

    /// Patches the twin of `device` or `device/modules/module`.
    pub fn patch_twin(&self, path: &str, patch: &str) -> Result<()> {
        self.call(reqwest::Method::PATCH, &format!("/twins/{path}"), Some(patch)).map(drop)
    }

    /// A token of the owner.
    pub fn token(&self) -> Result<String> {
        let access: ServiceConnectionString = self.connection_string.parse()?;
        let token = SasToken::sign(access.host.as_str(), Some(&access.policy), &access.key, FAR_FUTURE);
        Ok(token.expose_text().to_string())
    }

    #[expect(clippy::disallowed_methods, reason = "it calls the hub of a test")]
    fn call(&self, method: reqwest::Method, path: &str, body: Option<&str>) -> Result<String> {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(self.ca_file())?)?;
        let client = reqwest::blocking::Client::builder().tls_certs_only([ca]).no_proxy().build()?;
        let url = format!("https://{}{path}?api-version=2021-04-12", self.host()?);
        let request = client.request(method, url).header("Authorization", self.token()?);
        let request = body.iter().fold(request, |request, body| {
            request.header("Content-Type", "application/json; charset=utf-8").body((*body).to_owned())
        });
        Ok(request.send()?.error_for_status()?.text()?)
    }

    /// The id of its process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the hub with SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

/// A loopback address on which ports 443 and 8883 are free. Tests that run at the same time get
/// different addresses.
fn free_loopback_address() -> Result<Ipv4Addr> {
    for _ in 0..100 {
        let [a, b, c] = random_bytes();
        // 127.0.0.x is where people and other programs listen.
        let address = Ipv4Addr::new(127, 1 | a, b, 1 | c);
        match [443, 8883].map(|port| TcpListener::bind((address, port))) {
            [Ok(_), Ok(_)] => return Ok(address),
            [Err(error), _] if error.kind() == ErrorKind::PermissionDenied => bail!(
                "port 443 of {address} can't be bound ({error}), and Microsoft's SDKs know no other: run the \
                 tests as root, or allow it with `sysctl net.ipv4.ip_unprivileged_port_start=443`"
            ),
            [Err(error), _] | [_, Err(error)] if error.kind() == ErrorKind::AddrNotAvailable => {
                bail!("{address} is no address of this machine ({error}); on Linux all of 127.0.0.0/8 is")
            }
            _ => {}
        }
    }
    bail!("no loopback address has ports 443 and 8883 free")
}

/// Random bytes that differ in every process and at every call.
fn random_bytes() -> [u8; 3] {
    let [a, b, c, ..] = RandomState::new().hash_one(std::process::id()).to_ne_bytes();
    [a, b, c]
}

impl Drop for ServedHub {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl LoggedRequest {
    /// The number of identities or twins that the request wrote.
    pub fn writes(&self) -> u64 {
        ["created", "updated", "deleted"].iter().filter_map(|name| self.0.get(name)?.as_u64()).sum()
    }

    /// The number of identities that the request created.
    pub fn created(&self) -> u64 {
        self.0.get("created").and_then(Value::as_u64).unwrap_or_default()
    }

    /// The number of identities or twins of a bulk call that were refused.
    pub fn refused(&self) -> u64 {
        self.0.get("failed").and_then(Value::as_u64).unwrap_or_default()
    }

    /// The HTTP method.
    pub fn method(&self) -> &str {
        self.text("method")
    }

    /// The operation's name; empty if the request has no known operation.
    pub fn operation(&self) -> &str {
        self.text("operation")
    }

    /// The client's name for itself; empty if it sent none.
    pub fn agent(&self) -> &str {
        self.text("agent")
    }

    /// The status of the response; 0 if there was no response.
    pub fn status(&self) -> u64 {
        self.0.get("status").and_then(Value::as_u64).unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

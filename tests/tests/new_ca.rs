//! A fleet of devices moves from an old CA to a new one (`docs/new-ca.md`). At every step every device connects with
//! Microsoft's own client, `azure-iot-device`, so there is no day on which one is refused.
//!
//! `FLEET_DEVICES` makes the fleet larger than it is by default. `scripts/install-test-needs` installs the client.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::Range;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::{Ended, ServedHub, Station, repository};

/// A fleet, and the hub that it connects to.
struct Fleet {
    station: Station,
    host: String,
    hub: Option<ServedHub>,
}

impl Fleet {
    /// Devices with certificates of an old CA, whose root the hub trusts.
    fn with_old_ca(count: usize) -> Result<Self> {
        let station = Station::new()?;
        cert_tool(&station, "ca init old --name Plant")?;
        let mut batch = "device_id,auth\n".to_owned();
        (0..count).try_for_each(|number| writeln!(batch, "{},x509_ca", device(number)))?;
        station.write("devices.csv", &batch)?;
        cert_tool(&station, "issue --ca old --from devices.csv --out with-old --sink folder")?;
        let blobs = station.path("blobs");
        std::fs::create_dir(&blobs)?;
        let hub = ServedHub::start_for_devices(&station, "hub", &station.path("old/root.pem"), &blobs)?;
        station.provision(&hub, ["apply", "devices.csv"])?.expect_code(0)?;
        Ok(Self { station, host: hub.host()?, hub: Some(hub) })
    }

    /// Has the hub trust other roots from now on; it keeps its address and its devices.
    fn trust(&mut self, roots: &[&str]) -> Result<()> {
        self.hub.take().context("there is a hub")?.kill()?;
        let (https, mqtt) = (format!("{}:443", self.host), format!("{}:8883", self.host));
        let mut args = vec!["--https", &https, "--mqtt", &mqtt, "--host-name", &self.host];
        roots.iter().for_each(|root| args.extend(["--device-ca", root]));
        self.hub = Some(ServedHub::start_with(&self.station, "hub", &args)?);
        Ok(())
    }

    /// Rows for devices that connect with what a folder has for them.
    fn rows(&self, devices: Range<usize>, folder: &str, chain: &str) -> String {
        devices.fold(String::new(), |rows, number| {
            let device = device(number);
            let own = format!("{folder}/devices/{device}");
            rows + &format!("{device},{own}/{chain},{own}/key.pem\n")
        })
    }

    /// Has devices connect, each of which must be let in, or refused where its row says so.
    fn connect(&self, rows: &str) -> Result<()> {
        let hub = self.hub.as_ref().context("there is a hub")?;
        let mut judge = Command::new(repository().join(".venv/bin/python"))
            .arg(repository().join("scripts/device-judge/fleet.py"))
            .arg(&self.host)
            .arg(hub.ca_file())
            .current_dir(self.station.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("run scripts/install-test-needs first, or all tests with scripts/test")?;
        judge.stdin.take().context("the judge listens")?.write_all(rows.as_bytes())?;
        let ended = Ended::of(judge.wait_with_output()?)?.expect_code(0)?;
        let wanted = format!("{} as expected, 0 not", rows.lines().count());
        ensure!(ended.stdout.contains(&wanted), "{}", ended.stdout);
        Ok(())
    }
}

fn device(number: usize) -> String {
    format!("pump-{number:04}")
}

fn cert_tool(station: &Station, words: &str) -> Result<Ended> {
    station.run("cert-tool", words.split(' '))?.expect_code(0)
}

#[test]
fn a_fleet_moves_to_a_new_ca_and_no_device_is_refused_on_the_way() -> Result<()> {
    let count = match std::env::var("FLEET_DEVICES") {
        Ok(count) => count.parse()?,
        Err(_) => 12,
    };
    let (half, last) = (count / 2, count - 1);
    let mut fleet = Fleet::with_old_ca(count)?;
    fleet.connect(&fleet.rows(0..count, "with-old", "chain.pem"))?;

    // The new CA, before the hub knows of it: what its devices present leads to the old root too.
    cert_tool(&fleet.station, "ca rekey old new")?;
    cert_tool(&fleet.station, "issue --ca new --from devices.csv --out with-new --sink folder")?;
    let half_moved =
        fleet.rows(0..half, "with-new", "chain.pem") + &fleet.rows(half..count, "with-old", "chain.pem");
    fleet.connect(&half_moved)?;

    // The hub trusts both roots, for as long as the devices need.
    fleet.trust(&["old/root.pem", "new/root.pem"])?;
    fleet.connect(&half_moved)?;
    fleet.connect(&fleet.rows(0..count, "with-new", "chain.pem"))?;

    // The hub trusts the new root only. One device has not moved: with the cross-certificate in its chain it is let
    // in, and without it is not.
    fleet.trust(&["new/root.pem"])?;
    let old = format!("with-old/devices/{}", device(last));
    let longer = [format!("{old}/chain.pem"), "new/old-by-new.pem".to_owned()]
        .map(|file| std::fs::read_to_string(fleet.station.path(&file)));
    let [chain, cross] = longer;
    fleet.station.write(&format!("{old}/longer.pem"), &(chain? + &cross?))?;
    let unmoved = fleet.rows(last..count, "with-old", "longer.pem");
    let refused = fleet.rows(last..count, "with-old", "chain.pem").replace("key.pem\n", "key.pem,refused\n");
    fleet.connect(&(fleet.rows(0..last, "with-new", "chain.pem") + &unmoved))?;
    fleet.connect(&refused)?;
    fleet.connect(&fleet.rows(last..count, "with-new", "chain.pem"))?;
    Ok(())
}

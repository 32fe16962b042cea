//! The proof of shipped credentials: devices and modules connect as themselves, and `verify`
//! reports those that can't connect, extra identities, and different certificates.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use e2e::{Ended, ServedHub, Station};
use serde_json::Value;

/// Two pumps with a module each, one disabled, one with a given key, one with keys that the hub
/// generates.
const BATCH: &str = "device_id,module_id,auth,status,primary_key,secondary_key,tags.order,desired.interval\n\
    pump-1,,,,,,4711,60\n\
    pump-1,telemetry,x509_ca,,,,4711,5\n\
    pump-2,,x509_ca,,,,4711,60\n\
    pump-2,telemetry,,,,,4711,5\n\
    pump-3,,,disabled,,,4711,60\n\
    pump-4,,sas,,AQEBAQEBAQEBAQEBAQEBAQ==,AgICAgICAgICAgICAgICAg==,4711,60\n\
    pump-5,,sas,,,,4711,60\n";

/// A station with a CA that its hub knows, and the batch applied.
struct Line {
    station: Station,
    hub: ServedHub,
}

impl Line {
    fn applied() -> Result<Self> {
        let station = Station::new()?;
        station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
        let ca = station.path("pki/root.pem");
        let ca = ca.to_str().context("a path of text")?;
        let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--device-ca", ca];
        let hub = ServedHub::start_with(&station, "hub", &args)?;
        station.write("batch.csv", BATCH)?;
        station.provision(&hub, ["apply", "batch.csv", "--issue", "pki"])?.expect_code(0)?;
        Ok(Self { station, hub })
    }

    fn verify(&self, more: &[&str]) -> Result<Ended> {
        let args = [&["verify", "batch.csv", "--issue", "pki"], more].concat();
        self.station.provision(&self.hub, args)
    }

    fn connect(&self, sample: &str, more: &[&str]) -> Result<Ended> {
        self.verify(&[&["--connect", sample, "--mqtt", self.hub.mqtt()?], more].concat())
    }

    fn run(&self, command: &str) -> Result<Ended> {
        self.station.provision(&self.hub, command.split(' '))?.expect_code(0)
    }
}

#[test]
fn devices_and_modules_of_a_good_batch_connect_and_nobody_is_silently_left_out() -> Result<()> {
    let line = Line::applied()?;
    let all = line.connect("all", &[])?.expect_code(0)?;
    assert_eq!(
        all.text(),
        "line 8: pump-5: not tried to connect: no key available\n\
         7 checked: 7 equal, 0 missing, 0 different, 0 extra\n\
         5 connected, 0 failed, 1 not tried, 1 disabled: not tried\n"
    );
    let connected: Vec<_> =
        line.hub.requests()?.into_iter().filter(|one| one.operation() == "DeviceGetTwin").collect();
    assert_eq!(connected.len(), 5);
    assert!(connected.iter().all(|one| one.agent().starts_with("provisioner/") && one.status() == 200));

    let some = line.connect("2", &["--format", "json"])?.expect_code(0)?;
    let some: Value = serde_json::from_str(&some.stdout)?;
    assert_eq!(some["connections"]["connected"], 2, "pump-2 with its module: {some}");
    assert_eq!(some["connections"]["untried"][0]["identity"], "pump-5");
    Ok(())
}

#[test]
fn who_can_not_connect_is_named_with_the_reason() -> Result<()> {
    let line = Line::applied()?;
    // The hub learns another thumbprint, a device is disabled, a module is forgotten, a twin is another.
    line.run(&format!("device update --device-id pump-1 --primary-thumbprint {}", "AB".repeat(32)))?;
    line.run("device update --device-id pump-2 --status disabled")?;
    let ended = line.connect("all", &["--format", "json"])?.expect_code(1)?;
    let verified: Value = serde_json::from_str(&ended.stdout)?;
    let connections = &verified["connections"];
    assert_eq!((&connections["connected"], &connections["failed"]), (&2.into(), &1.into()), "{verified}");
    assert_eq!(connections["disabled"], 3, "pump-2 with its module, and pump-3: {verified}");
    let failed: Vec<_> = connections["failures"].as_array().context("a list")?.iter().collect();
    let who: Vec<_> = failed.iter().map(|one| one["identity"].as_str().unwrap_or_default()).collect();
    assert_eq!(who, ["pump-1"]);
    assert_eq!(failed[0]["reason"], "the hub refused the connection: not authorised");
    assert!(failed[0]["remedy"].as_str().is_some_and(|remedy| remedy.contains("thumbprint")));
    let certificate = verified["deviations"][0]["certificate"].as_str().unwrap_or_default();
    assert!(certificate.starts_with("pki/issued/certificates.pem#"), "{certificate}");

    let text = line.connect("all", &[])?.expect_code(1)?;
    assert!(
        text.stdout.contains("line 2: pump-1: did not connect as the batch wants: the hub refused"),
        "{}",
        text.stdout
    );
    assert!(
        text.text().ends_with("2 connected, 1 failed, 1 not tried, 3 disabled: not tried\n"),
        "{}",
        text.stdout
    );
    assert_eq!(text.stderr.matches("hint: see that the identity").count(), 1, "{}", text.stderr);
    let csv = line.connect("all", &["--format", "csv"])?.expect_code(1)?;
    assert!(
        csv.stdout
            .contains("\n2,pump-1,connection,connects,the hub refused the connection: not authorised\n")
    );
    Ok(())
}

#[test]
fn without_a_hub_for_devices_nobody_is_blamed() -> Result<()> {
    let line = Line::applied()?;
    let mqtt = line.hub.mqtt()?.to_owned();
    let nobody = line.verify(&["--connect", "1", "--mqtt", "127.0.0.1:1"])?.expect_code(3)?;
    assert!(nobody.stderr.contains("no connection to 127.0.0.1:1"), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("hint: let connections to this port"), "{}", nobody.stderr);
    let no_port = line.verify(&["--connect", "1", "--mqtt", "localhost"])?.expect_code(2)?;
    assert!(no_port.stderr.contains("must have the form HOST:PORT"), "{}", no_port.stderr);
    line.verify(&["--mqtt", &mqtt])?.expect_code(2)?;
    Ok(())
}

#[test]
fn what_is_on_the_hub_and_not_in_the_batch_is_extra() -> Result<()> {
    let line = Line::applied()?;
    line.run("module create --device-id pump-1 --module-id rogue")?;
    line.station.write(
        "other.csv",
        "device_id,module_id,auth,tags.order\npump-9,,sas,4711\npump-9,m,sas,4712\npump-8,,sas,4712\n",
    )?;
    line.run("apply other.csv")?;

    let verified = line.verify(&[])?.expect_code(1)?;
    assert_eq!(
        verified.text(),
        "pump-1/rogue: extra: it has no row in the batch\n7 checked: 7 equal, 0 missing, 0 different, 1 extra\n"
    );
    let within = line.verify(&["--within", "tags.order = 4711"])?.expect_code(1)?;
    assert_eq!(
        within.text(),
        "pump-1/rogue: extra: it has no row in the batch\npump-9: extra: it has no row in the batch\n\
         7 checked: 7 equal, 0 missing, 0 different, 2 extra\n"
    );
    let wrong = line.verify(&["--within", "tags.order = = 4711"])?.expect_code(3)?;
    assert!(wrong.stderr.contains("the hub refused: 400"), "{}", wrong.stderr);
    Ok(())
}

#[test]
fn a_certificate_that_was_exchanged_is_noticed_and_its_file_named() -> Result<()> {
    let line = Line::applied()?;
    let path = line.station.path("pki/issued/certificates.pem");
    let bundle = fs::read_to_string(&path)?;
    let certificates: Vec<_> = bundle.split_inclusive("-----END CERTIFICATE-----\n").collect();
    // The module's is longer by its name: so what comes after it stays where it is.
    let (pump, module) = (certificates[0], certificates[3]);
    let offset = bundle.find(module).context("it is in there")?;
    let exchanged = format!("{pump:\n<length$}", length = module.len());
    fs::write(&path, bundle.replacen(module, &exchanged, 1))?;

    let ended = line.verify(&["--format", "json"])?.expect_code(1)?;
    let verified: Value = serde_json::from_str(&ended.stdout)?;
    let deviation = &verified["deviations"][0];
    assert_eq!(verified["different"], 1, "{verified}");
    assert_eq!(deviation["certificate"], format!("pki/issued/certificates.pem#{offset}"));
    assert!(
        deviation["exchanged"]
            .as_str()
            .is_some_and(|why| why.starts_with("the certificate in it is for `pump-1`"))
    );
    let connected = line.connect("all", &[])?.expect_code(1)?;
    assert!(connected.stdout.contains("is not the key of the certificate"), "{}", connected.stdout);

    // A bundle that was cut off is no reason to stop.
    fs::write(&path, &bundle[..bundle.len() / 2])?;
    let cut = line.verify(&[])?.expect_code(1)?;
    assert!(cut.stdout.contains("certificate: pki/issued/certificates.pem#"), "{}", cut.stdout);
    Ok(())
}

#[test]
#[cfg(unix)]
fn ctrl_c_stops_connecting_at_once() -> Result<()> {
    let line = Line::applied()?;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?.to_string();
    let mut verify = line.station.provisioner(&line.hub)?;
    verify.args(["verify", "batch.csv", "--issue", "pki", "--connect", "all", "--mqtt", &address]);
    let verify = verify.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let _connection = silent.accept()?;
    assert!(Command::new("kill").args(["-INT", &verify.id().to_string()]).status()?.success());
    let ended = Ended::of(verify.wait_with_output()?)?.expect_code(4)?;
    assert!(ended.stderr.contains("stopped; run the same command again"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn the_embedded_hub_lets_the_devices_of_its_ca_in() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", "device_id,module_id,auth\npump-1,,\npump-1,telemetry,x509_ca\n")?;
    station.run("provisioner", ["apply", "batch.csv", "--issue", ".local-hub/pki"])?.expect_code(0)?;
    let verify = ["verify", "batch.csv", "--issue", ".local-hub/pki", "--connect", "1"];
    let verified = station.run("provisioner", verify)?.expect_code(0)?;
    assert!(verified.text().ends_with("2 connected, 0 failed, 0 not tried\n"), "{}", verified.stdout);

    // What was issued is a batch itself, whose rows name certificates and keys.
    let issued = ["verify", ".local-hub/pki/issued/issued.csv", "--connect", "all", "--format", "json"];
    let issued: Value = serde_json::from_str(&station.run("provisioner", issued)?.expect_code(0)?.stdout)?;
    assert_eq!(issued["connections"]["connected"], 2);
    Ok(())
}

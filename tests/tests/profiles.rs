//! Certificate profiles: `check`, `plan` and `apply` with the column `profile`, and with `--profile`
//! for rows that leave it empty.

use anyhow::Result;
use e2e::{Ended, ServedHub, Station};

const PROFILES: &str = "[gateway]\nsubject = \"OU=Plant 7,serialNumber={{ x_serial }}\"\n\n\
    [pump]\nsubject = \"OU=Pumps\"\n";

fn station(batch: &str) -> Result<Station> {
    let station = Station::new()?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("pki/profile.toml", PROFILES)?;
    station.write("batch.csv", batch)?;
    Ok(station)
}

fn subject(station: &Station, device: &str) -> Result<String> {
    let out = format!("{device}-files");
    station
        .run("cert-tool", ["extract", "pki/issued", "--device-id", device, "--out", &out])?
        .expect_code(0)?;
    let shown = station.run("cert-tool", ["show", &format!("{out}/cert.pem"), "--format", "json"])?;
    let shown: serde_json::Value =
        serde_json::from_str(shown.expect_code(0)?.stdout.lines().next().unwrap_or(""))?;
    Ok(shown.get("subject").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned())
}

#[test]
fn the_column_and_the_option_choose_the_profile() -> Result<()> {
    let station = station("device_id,profile,x_serial\ngw-1,gateway,SN-1\npump-1,,\n")?;
    let hub = ServedHub::start(&station, "hub")?;
    let options = ["--issue", "pki", "--profile", "pump"];
    let run = |verb: &str, more: &[&str]| -> Result<Ended> {
        let args = [&[verb, "batch.csv"], options.as_slice(), more].concat();
        station.provision(&hub, args)
    };
    run("check", &[])?.expect_code(0)?;
    // A plan keeps the profile, and is carried out with it.
    run("plan", &["--output", "batch.plan"])?.expect_code(0)?;
    station.provision(&hub, ["apply", "batch.plan"])?.expect_code(0)?;
    for (device, part, other) in [("gw-1", "SN-1", "Pumps"), ("pump-1", "OU=Pumps", "Plant 7")] {
        let subject = subject(&station, device)?;
        assert!(subject.contains(part) && !subject.contains(other), "{subject}");
    }
    let again = run("apply", &[])?.expect_code(0)?;
    assert!(again.stderr.contains("0 issued, 2 there already"), "{}", again.stderr);
    station
        .provision(&hub, ["apply", "batch.plan", "--profile", "pump", "--issue", "pki"])?
        .expect_code(2)?;
    let other = station
        .provision(&hub, ["apply", "batch.csv", "--issue", "pki", "--profile", "pomp"])?
        .expect_code(2)?;
    assert!(
        other.stderr.contains("there is no profile `pomp`; the CA has `gateway`, `pump`"),
        "{}",
        other.stderr
    );
    let report = station.run("provisioner", ["report", "--html", "report.html"])?.expect_code(0)?;
    assert!(!report.stdout.is_empty());
    let page = std::fs::read_to_string(station.path("report.html"))?;
    assert!(page.contains("profile pump for rows that name none"), "{page}");
    Ok(())
}

#[test]
fn a_plan_refuses_what_an_apply_refuses_because_of_a_profile() -> Result<()> {
    let station = station(
        "device_id,profile,x_serial\ngw-1,gateway,SN-1\ngw-2,gateway,\ngw-3,gatewai,SN-3\npump-1,pump,\nvalve-1,,\n",
    )?;
    let hub = ServedHub::start(&station, "hub")?;
    let plan = |more: &[&str], code| -> Result<Ended> {
        let args = [&["plan", "batch.csv", "--output", "batch.plan", "--format", "json"], more].concat();
        station.provision(&hub, args)?.expect_code(code)
    };
    let unknown = plan(&["--issue", "pki", "--profile", "pomp"], 2)?;
    assert!(
        unknown.stderr.contains("there is no profile `pomp`; the CA has `gateway`, `pump`"),
        "{}",
        unknown.stderr
    );
    let missing = plan(&["--issue", "pky"], 3)?;
    assert!(missing.stderr.contains("there is no CA in `pky`"), "{}", missing.stderr);
    station.write("pki/policy.toml", "subjects = 'OU=Plant.*'\n")?;
    let forbidden = plan(&["--issue", "pki"], 3)?;
    assert!(forbidden.stderr.contains("`OU=Pumps` does not match `OU=Plant.*`"), "{}", forbidden.stderr);
    assert!(!station.path("batch.plan").exists(), "there is no plan to carry out");
    station.write("pki/policy.toml", "identities = '(gw|pump)-[0-9]+'\n")?;

    let planned: serde_json::Value = serde_json::from_str(&plan(&["--issue", "pki"], 1)?.stdout)?;
    station.provision(&hub, ["apply", "batch.plan"])?.expect_code(1)?;
    let report = station.run("provisioner", ["report", "--format", "json"])?.expect_code(1)?;
    let report: serde_json::Value = serde_json::from_str(&report.stdout)?;
    for (row, part) in planned["rows"].as_array().into_iter().flatten().zip(REFUSED) {
        let mut done = report["rows"].as_array().into_iter().flatten();
        let done = done.find(|done| done["device_id"] == row["identity"]).cloned().unwrap_or_default();
        assert_eq!(row["action"] == "refuse", !part.is_empty(), "{row}");
        assert!(row["reason"].as_str().unwrap_or_default().contains(part), "{row}");
        assert_eq!(done["state"] == "failed", !part.is_empty(), "{done}");
    }
    Ok(())
}

/// A part of the reason why each row is refused; empty for rows that are not.
const REFUSED: [&str; 5] =
    ["", "`serialNumber` yields nothing", "there is no profile `gatewai`", "", "rule `identities`"];

#[test]
fn check_tells_which_rows_their_profile_can_not_serve() -> Result<()> {
    let station = station("device_id,profile,x_serial\ngw-1,gateway,\ngw-2,gatewai,SN-2\npump-1,,\n")?;
    let clean = station.run("provisioner", ["check", "batch.csv"])?.expect_code(0)?;
    assert!(clean.stdout.contains("; clean"), "{}", clean.stdout);
    let told = station.run("provisioner", ["check", "batch.csv", "--issue", "pki"])?.expect_code(2)?;
    let lines: Vec<&str> = told.stdout.lines().filter(|line| line.starts_with("batch.csv:")).collect();
    assert!(lines[0].contains(":2") && lines[0].contains("profile.toml:2"), "{}", told.stdout);
    assert!(
        told.stdout.contains("there is no profile `gatewai`; the CA has `gateway`, `pump`"),
        "{}",
        told.stdout
    );
    assert!(told.stdout.contains("2 bad rows"), "{}", told.stdout);
    let told = station.run("provisioner", ["check", "batch.csv", "--issue", "nowhere"])?;
    assert_ne!(told.code, Some(0));
    assert!(told.stderr.contains("nowhere"), "{}", told.stderr);
    // `apply` refuses the same rows, and none of the others.
    let hub = ServedHub::start(&station, "hub")?;
    let applied = station.provision(&hub, ["apply", "batch.csv", "--issue", "pki"])?.expect_code(1)?;
    assert!(applied.stderr.contains("1 issued, 0 there already, 2 refused"), "{}", applied.stderr);
    Ok(())
}

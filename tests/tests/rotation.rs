//! `rotate`: certificates of devices are renewed in two steps, taken back, cut off and gone on with.

#![expect(clippy::indexing_slicing, reason = "in a test a panic is a failure")]

use std::net::TcpListener;
use std::process::Stdio;

use anyhow::{Result, ensure};
use e2e::{ServedHub, Station};
use serde_json::Value;

#[test]
fn a_rotation_that_was_killed_and_reverted_gives_no_thumbprint_to_a_second_unit() -> Result<()> {
    let rows = |name: &str, first: usize| -> String {
        let rows = (0..300).map(|row| format!("{name}-{row:03},{:064X}\n", first + row));
        std::iter::once("device_id,primary_thumbprint\n".to_owned()).chain(rows).collect()
    };
    let renewed = rows("dev", 0x5000);
    let (station, hub) = ServedHub::with_batch(&rows("dev", 0x1000))?;
    station.write("renewed.csv", &renewed)?;
    // The same rows in a different file: the ledger does not know that it reverts the rotation.
    station.write("same.csv", &format!("{renewed}\n"))?;
    station.write("other.csv", &rows("unit", 0x5000))?;
    let calls = hub.requests()?.iter().filter(|request| request.operation() == "BulkRegistry").count();
    hub.kill_at_bulk(
        station.provisioner(&hub)?.args(["rotate", "renewed.csv", "--workers", "1"]),
        calls + 2,
    )?;
    station.provision(&hub, ["rotate", "same.csv", "--revert"])?.expect_code(0)?;
    station.provision(&hub, ["apply", "other.csv"])?.expect_code(0)?;
    let resumed = station.provision(&hub, ["resume", "2"])?.expect_code(1)?;
    ensure!(resumed.text().contains("belongs to"), "{resumed:?}");
    for row in 0..300 {
        let (_, second) = slots(&hub, &format!("dev-{row:03}"))?;
        ensure!(second.is_null(), "dev-{row:03} has a thumbprint of another unit: {second}");
    }
    let report = station.run("provisioner", ["report", "2", "--format", "json"])?.expect_code(1)?;
    ensure!(report.stdout.contains("credential_taken"), "{report:?}");
    Ok(())
}

#[test]
fn a_rotation_that_was_killed_and_reverted_is_not_continued() -> Result<()> {
    let rows = |first: usize| -> String {
        let rows = (0..1500).map(|row| format!("dev-{row:04},{:064X}\n", first + row));
        std::iter::once("device_id,primary_thumbprint\n".to_owned()).chain(rows).collect()
    };
    let (station, hub) = ServedHub::with_batch(&rows(0x1000))?;
    station.write("renewed.csv", &rows(0x5000))?;
    let calls = hub.requests()?.iter().filter(|request| request.operation() == "BulkRegistry").count();
    hub.kill_at_bulk(
        station.provisioner(&hub)?.args(["rotate", "renewed.csv", "--workers", "1"]),
        calls + 2,
    )?;
    station.provision(&hub, ["rotate", "renewed.csv", "--revert"])?.expect_code(0)?;
    let refused = station.provision(&hub, ["resume", "2"])?.expect_code(2)?;
    ensure!(refused.stderr.contains("run 2 was undone by run 3, and is not continued"), "{refused:?}");
    for row in [0, 150, 1499] {
        let (_, second) = slots(&hub, &format!("dev-{row:04}"))?;
        ensure!(second.is_null(), "dev-{row:04} has the thumbprint that was taken out: {second}");
    }
    station.provision(&hub, ["rotate", "renewed.csv"])?.expect_code(0)?;
    Ok(())
}

fn renewed() -> Result<(Station, ServedHub)> {
    let station = Station::new()?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", "device_id,module_id\npump-1,\npump-1,telemetry\npump-2,\n")?;
    station.provision(&hub, ["apply", "batch.csv", "--issue", "pki"])?.expect_code(0)?;
    let renew = ["renew", "--ca", "pki", "--from", "batch.csv", "--out", "renewed"];
    station.run("cert-tool", renew)?.expect_code(0)?;
    Ok((station, hub))
}

fn slots(hub: &ServedHub, path: &str) -> Result<(Value, Value)> {
    let twin = hub.twin(path)?;
    let slots = &twin["x509Thumbprint"];
    Ok((slots["primaryThumbprint"].clone(), slots["secondaryThumbprint"].clone()))
}

#[test]
fn certificates_are_rotated_in_two_steps_and_the_old_ones_go_only_when_the_new_ones_are_let_in() -> Result<()>
{
    let (station, hub) = renewed()?;
    let finish = ["rotate", "renewed/issued.csv", "--finish", "--mqtt", hub.mqtt()?];
    let early = station.provision(&hub, finish)?.expect_code(1)?;
    ensure!(early.stdout.contains("its new thumbprint is not on the hub"), "{early:?}");

    let (old, _) = slots(&hub, "pump-1")?;
    let added = station.provision(&hub, ["rotate", "renewed/issued.csv"])?.expect_code(0)?;
    ensure!(added.stdout.contains("3 updated"), "{added:?}");
    let undo = station.provision(&hub, ["undo", "3"])?.expect_code(2)?;
    ensure!(undo.stderr.contains("run 3 created nothing: it rotated thumbprints"), "{undo:?}");
    ensure!(undo.stderr.contains("`provisioner rotate FILE --revert --dry-run`"), "{undo:?}");
    let (kept, new) = slots(&hub, "pump-1")?;
    ensure!(kept == old && new.is_string() && new != old, "{kept} {new}");
    let both = station.provision(&hub, ["verify", "renewed/issued.csv"])?.expect_code(0)?;
    ensure!(both.stdout.contains("3 equal"), "{both:?}");

    // A key that is lost: its unit stays as it is, and is told.
    let keys = station.path("renewed/private-keys.pem");
    let saved = std::fs::read(&keys)?;
    std::fs::remove_file(&keys)?;
    let lost = station.provision(&hub, finish)?.expect_code(1)?;
    ensure!(lost.stdout.contains("pump-2: failed: its new certificate can't be tried"), "{lost:?}");
    ensure!(slots(&hub, "pump-1")?.1 == new);
    std::fs::write(&keys, saved)?;

    let finished = station.provision(&hub, finish)?.expect_code(0)?;
    ensure!(finished.stdout.contains("3 updated"), "{finished:?}");
    ensure!(slots(&hub, "pump-1")? == (new.clone(), Value::Null));
    let connected: Vec<_> =
        hub.requests()?.into_iter().filter(|one| one.operation() == "DeviceGetTwin").collect();
    ensure!(connected.len() == 3, "{} connected", connected.len());
    let verify = ["verify", "batch.csv", "--issue", "pki", "--out", "renewed"];
    let alone = station.provision(&hub, verify)?.expect_code(0)?;
    ensure!(alone.stdout.contains("3 equal"), "{alone:?}");
    // There is nothing left to do, and no way back but another rotation.
    let dry = station.provision(&hub, [&finish[..], &["--dry-run"]].concat())?.expect_code(0)?;
    ensure!(dry.stdout.starts_with("0 to change, 0 to delete, 3 to keep"), "{dry:?}");
    ensure!(dry.stderr.contains("does not check whether units can connect"), "{dry:?}");
    let again = station.provision(&hub, finish)?.expect_code(0)?;
    ensure!(again.stdout.contains("3 unchanged"), "{again:?}");
    let revert = station.provision(&hub, ["rotate", "renewed/issued.csv", "--revert"])?.expect_code(1)?;
    ensure!(revert.stdout.contains("the unit is locked out"), "{revert:?}");
    Ok(())
}

#[test]
fn a_rotation_is_not_finished_on_devices_that_are_disabled_and_says_that_they_were_not_tried() -> Result<()> {
    let (station, hub) = renewed()?;
    station.provision(&hub, ["rotate", "renewed/issued.csv"])?.expect_code(0)?;
    let disable = ["device", "update", "-d", "pump-1", "--status", "disabled"];
    station.provision(&hub, disable)?.expect_code(0)?;
    let before = [slots(&hub, "pump-1")?, slots(&hub, "pump-1/modules/telemetry")?];
    let finish = ["rotate", "renewed/issued.csv", "--finish", "--mqtt", hub.mqtt()?];
    let finished = station.provision(&hub, finish)?.expect_code(1)?;
    for said in [
        "pump-1: skipped: it is disabled: its new certificate was not tried",
        "pump-1/telemetry: skipped: its device is disabled: its new certificate was not tried",
        "1 updated",
        "2 skipped",
    ] {
        ensure!(finished.stdout.contains(said), "{said}: {finished:?}");
    }
    ensure!(!finished.stdout.contains("did not accept"), "{finished:?}");
    ensure!([slots(&hub, "pump-1")?, slots(&hub, "pump-1/modules/telemetry")?] == before);
    ensure!(slots(&hub, "pump-2")?.1.is_null(), "the other one has its new thumbprint alone");
    let report = station.run("provisioner", ["report", "--format", "json"])?.expect_code(1)?;
    let report: Value = serde_json::from_str(&report.stdout)?;
    ensure!(report["causes"][0]["reason"] == "device_disabled", "{report}");
    // Enabled again, they are tried and finished.
    station.provision(&hub, ["device", "update", "-d", "pump-1", "--status", "enabled"])?.expect_code(0)?;
    let again = station.provision(&hub, finish)?.expect_code(0)?;
    ensure!(again.stdout.contains("2 updated") && again.stdout.contains("1 unchanged"), "{again:?}");
    Ok(())
}

#[test]
fn certificates_that_would_outlive_their_ca_are_told_of_once_with_the_date() -> Result<()> {
    let station = Station::new()?;
    station.run("cert-tool", ["ca", "init", "pki", "--days", "30"])?.expect_code(0)?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", "device_id\npump-1\npump-2\n")?;
    let apply = ["apply", "batch.csv", "--issue", "pki"];
    let issued = station.provision(&hub, apply)?.expect_code(0)?;
    let note = "note: the CA ends on ";
    ensure!(issued.stderr.matches(note).count() == 1, "{issued:?}");
    ensure!(issued.stderr.contains("and what it signs now ends with it, not after 365 days"), "{issued:?}");
    // Where nothing is issued there is nothing to say.
    let again = station.provision(&hub, apply)?.expect_code(0)?;
    ensure!(!again.stderr.contains(note), "{again:?}");
    Ok(())
}

#[test]
fn a_rotation_that_was_cut_off_goes_on_where_devices_find_the_hub_elsewhere() -> Result<()> {
    let (station, hub) = renewed()?;
    station.provision(&hub, ["rotate", "renewed/issued.csv"])?.expect_code(0)?;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?.to_string();
    let mut finish = station.provisioner(&hub)?;
    finish.args(["rotate", "renewed/issued.csv", "--finish", "--mqtt", &address]);
    let mut finish = finish.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let _connection = silent.accept()?;
    finish.kill()?;
    finish.wait()?;
    let resumed = station.provision(&hub, ["resume", "--mqtt", hub.mqtt()?])?.expect_code(0)?;
    ensure!(resumed.stdout.contains("3 updated"), "{resumed:?}");
    Ok(())
}

#[test]
fn a_rotation_is_taken_back() -> Result<()> {
    let (station, hub) = renewed()?;
    let before = slots(&hub, "pump-1/modules/telemetry")?;
    station.provision(&hub, ["rotate", "renewed/issued.csv"])?.expect_code(0)?;
    ensure!(slots(&hub, "pump-1/modules/telemetry")? != before);
    let reverted = station.provision(&hub, ["rotate", "renewed/issued.csv", "--revert"])?.expect_code(0)?;
    ensure!(reverted.stdout.contains("3 updated"), "{reverted:?}");
    ensure!(slots(&hub, "pump-1/modules/telemetry")? == before);
    Ok(())
}

#[test]
fn the_embedded_hub_lets_renewed_units_in_too() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", "device_id,module_id\npump-1,\npump-1,telemetry\n")?;
    station.run("provisioner", ["apply", "batch.csv", "--issue", "pki"])?.expect_code(0)?;
    let renew = ["renew", "--ca", "pki", "--from", "batch.csv", "--out", "renewed"];
    station.run("cert-tool", renew)?.expect_code(0)?;
    station.run("provisioner", ["rotate", "renewed/issued.csv"])?.expect_code(0)?;
    let finished =
        station.run("provisioner", ["rotate", "renewed/issued.csv", "--finish"])?.expect_code(0)?;
    ensure!(finished.stdout.contains("2 updated"), "{finished:?}");
    Ok(())
}

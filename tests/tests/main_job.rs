//! The main job: a batch becomes identities and twins on a hub, exactly once.

use anyhow::{Result, ensure};
use e2e::{ServedHub, Station, repository};
use serde_json::Value;

fn pump_line() -> String {
    repository().join("fixtures/batches/pump-line.csv").to_string_lossy().into_owned()
}

/// The first command of the README, and the same command again.
#[test]
fn a_new_user_sees_a_batch_provisioned_and_verified_and_nothing_done_twice() -> Result<()> {
    let station = Station::new()?;
    let batch = pump_line();
    let command = ["apply", &batch, "--issue", ".local-hub/pki", "--format", "json"];

    let first = station.run("provisioner", command)?.expect_code(0)?;
    assert!(
        first.stderr.starts_with("hub: the embedded local hub, with its data in .local-hub\n"),
        "{}",
        first.stderr
    );
    let outcome: Value = serde_json::from_str(&first.stdout)?;
    assert_eq!(outcome["totals"]["rows"], 1920);
    assert_eq!(outcome["totals"]["created"], 1920);
    assert_eq!(outcome["verified"]["equal"], 1920);

    let issued = std::fs::read_to_string(station.path(".local-hub/pki/issued/issued.csv"))?;
    let second = station.run("provisioner", command)?.expect_code(0)?;
    let outcome: Value = serde_json::from_str(&second.stdout)?;
    assert_eq!(outcome["totals"]["unchanged"], 1920);
    assert_eq!(std::fs::read_to_string(station.path(".local-hub/pki/issued/issued.csv"))?, issued);

    let verify =
        station.run("provisioner", ["verify", &batch, "--issue", ".local-hub/pki"])?.expect_code(0)?;
    assert_eq!(verify.text(), "1920 checked: 1920 equal, 0 missing, 0 different, 0 extra\n");
    Ok(())
}

#[test]
fn a_second_apply_writes_nothing_as_counted_at_the_hub() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let ca = station.run("cert-tool", ["ca", "init", "pki"])?;
    ca.expect_code(0)?;
    let batch = pump_line();
    let command = ["apply", &batch, "--issue", "pki"];

    station.provision(&hub, command)?.expect_code(0)?;
    let first = hub.requests()?;
    assert_eq!(first.iter().map(|request| request.created()).sum::<u64>(), 1920);

    station.provision(&hub, command)?.expect_code(0)?;
    let second = hub.requests()?.split_off(first.len());
    assert!(second.len() >= 1920, "every identity is looked at");
    assert_eq!(second.iter().map(|request| request.writes()).sum::<u64>(), 0);
    assert!(second.iter().all(|request| request.method() == "GET"));
    Ok(())
}

#[test]
fn the_file_as_excel_saves_it_is_the_same_batch() -> Result<()> {
    let station = Station::new()?;
    let excel = repository().join("fixtures/batches/pump-line-excel.csv").to_string_lossy().into_owned();
    station.run("provisioner", ["apply", &pump_line(), "--issue", ".local-hub/pki"])?.expect_code(0)?;
    let again =
        station.run("provisioner", ["apply", &excel, "--issue", ".local-hub/pki", "--format", "json"])?;
    let outcome: Value = serde_json::from_str(&again.expect_code(0)?.stdout)?;
    assert_eq!(outcome["totals"]["unchanged"], 1920);
    Ok(())
}

#[test]
fn what_was_issued_is_a_batch_itself_and_the_same_one() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", "device_id,module_id,auth\npump-1,,\npump-1,telemetry,x509_ca\n")?;
    let apply = ["apply", "batch.csv", "--issue", ".local-hub/pki"];
    let first = station.run("provisioner", apply)?.expect_code(0)?;
    assert!(first.stderr.contains("certificates: 2 issued"), "{}", first.stderr);
    let again = station.run("provisioner", apply)?.expect_code(0)?;
    assert!(again.stderr.contains("0 issued, 2 there already"), "{}", again.stderr);

    let issued = station.run("provisioner", ["apply", ".local-hub/pki/issued/issued.csv"])?.expect_code(0)?;
    assert!(issued.stdout.contains("2 rows = 0 created + 0 updated + 2 unchanged"), "{}", issued.stdout);
    let twin =
        station.run("provisioner", ["twin", "show", "--device-id", "pump-1", "--module-id", "telemetry"])?;
    assert!(twin.stdout.contains("\"authenticationType\": \"certificateAuthority\""), "{}", twin.stdout);
    Ok(())
}

#[test]
fn a_plan_tells_what_apply_will_do_and_for_how_long_and_does_nothing() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let batch = pump_line();
    let plan =
        station.provision(&hub, ["plan", &batch, "--issue", "pki", "--format", "json"])?.expect_code(0)?;
    let plan: Value = serde_json::from_str(&plan.stdout)?;
    assert_eq!(plan["create"], 1920);
    assert_eq!(plan["issue"], 1920);
    // One registry operation each, and a second one for the 12 devices that are disabled when their modules
    // are there; at the 100 a minute of S1 with one unit.
    assert_eq!(plan["operations"]["registry"]["count"], 1932);
    assert_eq!(plan["operations"]["registry"]["seconds"].as_f64().map(f64::round), Some(1159.0));
    assert!(hub.requests()?.iter().all(|request| request.writes() == 0));
    assert!(!station.path("provisioner.ledger").exists());
    Ok(())
}

/// PowerShell writes UTF-16, and Notepad a byte order mark.
#[cfg(unix)]
#[test]
fn every_text_file_is_read_in_any_encoding_that_has_a_mark() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    type Encoder = fn(&str) -> Vec<u8>;
    const PASSPHRASE: &str = "Grüße aus Köln\n";
    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{FEFF}{text}").encode_utf16().flat_map(bytes).collect()
    }
    let encodings: [(&str, Encoder); 3] = [
        ("UTF-8", |text| format!("\u{FEFF}{text}").into_bytes()),
        ("UTF-16LE", |text| utf16(text, u16::to_le_bytes)),
        ("UTF-16BE", |text| utf16(text, u16::to_be_bytes)),
    ];
    for (name, encoded) in encodings {
        let station = Station::new()?;
        let hub = ServedHub::start(&station, "hub")?;
        let plain = station.write("plain-passphrase", PASSPHRASE)?;
        std::fs::set_permissions(plain, std::fs::Permissions::from_mode(0o600))?;
        let init = ["ca", "init", "pki", "--passphrase-file", "plain-passphrase"];
        station.run("cert-tool", init)?.expect_code(0)?;
        let ca_file = hub.ca_file();
        let files = [
            ("batch.csv", "device_id,auth,twin\nd1,x509_ca,twin.json\nd2,,\n".to_owned()),
            ("twin.json", "{\"tags\": {\"site\": \"Köln\"}}\n".to_owned()),
            (
                "provisioner.toml",
                format!(
                    "[hubs.line-3]\nconnection_string_file = 'line-3.secret'\nca_file = '{}'\n",
                    ca_file.to_string_lossy()
                ),
            ),
            ("line-3.secret", format!("{}\n", hub.connection_string())),
            ("passphrase", PASSPHRASE.to_owned()),
        ];
        for (file, text) in files {
            let path = station.path(file);
            std::fs::write(&path, encoded(&text))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        }
        let issue = ["--issue", "pki", "--passphrase-file", "passphrase"];
        let apply = [&["apply", "batch.csv", "--hub", "line-3"][..], &issue].concat();
        let applied = station.run("provisioner", apply)?.expect_code(0)?;
        ensure!(applied.stdout.contains("2 created"), "{name}: {applied:?}");
        ensure!(hub.twin("d1")?["tags"]["site"] == "Köln", "{name}: {}", hub.twin("d1")?);
    }
    Ok(())
}

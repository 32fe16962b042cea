//! Errors are reported clearly, no work is left half-done, and exit codes serve scripts.

use anyhow::Result;
use e2e::{ServedHub, Station, repository};

const BATCH: &str = "device_id,primary_thumbprint\npump-1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";

/// All mistakes of the fixture are found in one pass. The report is a golden file.
#[test]
fn every_mistake_of_a_batch_is_reported_at_once_and_nothing_is_sent() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let batch = repository().join("fixtures/batches/mistakes/mistakes.csv").to_string_lossy().into_owned();

    let check = station.run("provisioner", ["check", &batch])?.expect_code(2)?;
    let report = check.stdout.replace(&repository().to_string_lossy().into_owned(), "");
    insta::assert_snapshot!("mistakes", report);

    let apply = station.provision(&hub, ["apply", &batch, "--issue", "pki"])?;
    assert!(apply.code == Some(2) || apply.code == Some(3), "{apply:?}");
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    let apply = station.provision(&hub, ["apply", &batch, "--issue", "pki"])?.expect_code(2)?;
    assert!(apply.stderr.contains("nothing was sent"), "{}", apply.stderr);
    assert!(hub.requests()?.is_empty());
    station.run("provisioner", ["runs"])?.expect_code(0)?;
    assert_eq!(station.run("provisioner", ["runs"])?.stdout, "", "there is no run");
    Ok(())
}

#[test]
fn requests_and_keys_that_rows_bring_are_looked_at_before_anything_is_sent() -> Result<()> {
    let station = Station::new()?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    // One key, and requests with it for two devices.
    let csr = |id: &str, key: &str, out: &str| {
        let made = station.run("cert-tool", ["csr", "--device-id", id, key, "key.pem", "--out", out]);
        made.and_then(|made| made.expect_code(0))
    };
    csr("pump-1", "--key-out", "one.csr")?;
    csr("pump-2", "--key", "two.csr")?;
    station.write(
        "damaged.csr",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    )?;
    station.write("batch.csv", "device_id,csr,public_key\npump-1,gone.csr,\npump-2,damaged.csr,\npump-3,,gone.pem\npump-4,two.csr,\n")?;
    let check = station.run("provisioner", ["check", "batch.csv"])?.expect_code(2)?;
    for said in [
        "batch.csv:2: column csr: \"gone.csr\": its request can't be read: can't open `gone.csr`",
        "batch.csv:3: column csr: \"damaged.csr\": its request can't be read",
        "batch.csv:4: column public_key: \"gone.pem\": its public key can't be read: can't open `gone.pem`",
        "batch.csv:5: column csr: \"two.csr\": its request is for `pump-2`",
    ] {
        assert!(check.stdout.contains(said), "{said}\n{}", check.stdout);
    }
    let apply = station.run("provisioner", ["apply", "batch.csv", "--issue", "pki"])?.expect_code(2)?;
    assert!(apply.stderr.contains("nothing was sent"), "{}", apply.stderr);

    station.write("both.csv", "device_id,csr\npump-1,one.csr\npump-2,two.csr\n")?;
    let said = "both.csv:3: column csr: `pump-1` has the same public key";
    let check = station.run("provisioner", ["check", "both.csv"])?.expect_code(2)?;
    assert!(check.stdout.contains(said), "{}", check.stdout);
    let plan = station.run("provisioner", ["plan", "both.csv", "--issue", "pki"])?.expect_code(2)?;
    assert!(plan.stderr.contains(said), "{}", plan.stderr);

    station.write("first.csv", "device_id,csr\npump-1,one.csr\n")?;
    station.write("second.csv", "device_id,csr\npump-2,two.csr\n")?;
    station.run("provisioner", ["apply", "first.csv", "--issue", "pki"])?.expect_code(0)?;
    let taken = station.run("provisioner", ["apply", "second.csv", "--issue", "pki"])?.expect_code(2)?;
    let said = "second.csv:2: column csr: this public key belongs to `pump-1` since run 1";
    assert!(taken.stderr.contains(said), "{}", taken.stderr);
    let plan = station.run("provisioner", ["plan", "second.csv", "--issue", "pki"])?.expect_code(2)?;
    assert!(plan.stderr.contains(said), "{}", plan.stderr);
    Ok(())
}

#[test]
fn the_good_rows_go_on_when_asked_and_the_bad_ones_are_counted() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", &format!("{BATCH}pump 2,{}\n", "B".repeat(40)))?;
    station.run("provisioner", ["apply", "batch.csv"])?.expect_code(2)?;
    let applied = station.run("provisioner", ["apply", "batch.csv", "--skip-bad-rows"])?.expect_code(1)?;
    assert!(applied.stdout.contains("2 rows = 1 created"), "{}", applied.stdout);
    assert!(applied.stdout.contains("1 rejected"), "{}", applied.stdout);
    Ok(())
}

#[test]
fn a_hub_that_is_down_is_named_and_leaves_no_run() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let hub = ServedHub::start(&station, "hub")?;
    let mut command = station.provisioner(&hub)?;
    let host = hub.connection_string().split(';').next().unwrap_or_default().replace("HostName=", "");
    hub.kill()?;
    let ended = e2e::Ended::of(command.args(["apply", "batch.csv"]).output()?)?.expect_code(3)?;
    assert!(ended.stderr.contains(&format!("no connection to the hub at {host}")), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    assert_eq!(station.run("provisioner", ["runs"])?.stdout, "");
    Ok(())
}

#[test]
fn a_wrong_key_is_refused_by_the_hub_and_not_repeated() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let hub = ServedHub::start(&station, "hub")?;
    let wrong = "c29tZWJvZHkgZWxzZSdzIGtleSwgMzIgYnl0ZXMgbG8=";
    let (front, _) = hub.connection_string().split_once("SharedAccessKey=").unwrap_or_default();
    let mut command = station.provisioner(&hub)?;
    command.env("IOTHUB_CONNECTION_STRING", format!("{front}SharedAccessKey={wrong}"));
    let ended = e2e::Ended::of(command.args(["apply", "batch.csv"]).output()?)?.expect_code(3)?;
    assert!(ended.stderr.contains("401"), "{}", ended.stderr);
    assert!(ended.stderr.contains("policy and key"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(wrong));
    assert_eq!(hub.requests()?.len(), 1, "one try, then the end");
    Ok(())
}

#[test]
fn a_hub_that_nobody_vouches_for_is_not_called() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let hub = ServedHub::start(&station, "hub")?;
    let mut command = station.provisioner(&hub)?;
    command.env_remove("IOTHUB_CA_FILE");
    let ended = e2e::Ended::of(command.args(["apply", "batch.csv"]).output()?)?.expect_code(3)?;
    assert!(ended.stderr.contains("--ca-file"), "{}", ended.stderr);
    // The hub writes down the handshake that failed, and nothing else.
    assert!(hub.requests()?.iter().all(|line| line.operation() == "RefusedConnection"));
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_ca_that_others_can_read_is_refused_with_the_remedy() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let station = Station::new()?;
    station.write("batch.csv", "device_id\npump-1\n")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    std::fs::set_permissions(station.path("pki"), std::fs::Permissions::from_mode(0o755))?;
    let ended = station.run("provisioner", ["apply", "batch.csv", "--issue", "pki"])?.expect_code(3)?;
    assert!(ended.stderr.contains("chmod"), "{}", ended.stderr);
    assert!(!station.path("pki/issued").exists());
    Ok(())
}

#[test]
fn a_second_writer_to_the_same_hub_folder_is_told_how_to_share_it() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let _hub = ServedHub::start(&station, ".local-hub")?;
    let ended = station.run("provisioner", ["apply", "batch.csv"])?.expect_code(3)?;
    assert!(ended.stderr.contains("IOTHUB_CONNECTION_STRING"), "{}", ended.stderr);
    Ok(())
}

/// Files that can't be a batch at all, with the reason.
const NO_BATCHES: &[(&str, &[u8], &str)] = &[
    ("empty.csv", b"", "the file is empty"),
    ("mark.csv", b"\xEF\xBB\xBF", "the file is empty"),
    ("utf16.csv", b"d\0e\0v\0i\0c\0e\0", "UTF-16 without a byte order mark"),
    ("latin.csv", b"device_id,tags.l\xF6sung\n", "line 1, character 17 is not UTF-8"),
    ("book.xlsx", b"PK\x03\x04\0\0", "ZIP"),
    ("no-id.csv", b"status\nenabled\n", "column device_id: the header has no such column"),
    ("array.json", b"[{\"device_id\":\"a\"}]", "JSON array"),
];

#[test]
fn what_is_no_batch_at_all_is_refused_with_the_reason_by_every_verb() -> Result<()> {
    let station = Station::new()?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    for (name, bytes, reason) in NO_BATCHES {
        std::fs::write(station.path(name), bytes)?;
        for verb in ["check", "plan", "apply", "verify"] {
            let ended = station.run("provisioner", [verb, name])?.expect_code(2)?;
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains(reason) && said.contains("hint: "), "{verb} {name}: {said}");
        }
        let issue = ["issue", "--ca", "pki", "--out", "issued", "--from", name];
        let issue = station.run("cert-tool", issue)?.expect_code(2)?;
        assert!(issue.stderr.contains(reason), "{name}: {}", issue.stderr);
    }
    let json = station.run("provisioner", ["check", "utf16.csv", "--format", "json"])?.expect_code(2)?;
    let json: serde_json::Value = serde_json::from_str(&json.stdout)?;
    assert_eq!(json["problems"][0]["severity"], "error");
    Ok(())
}

/// Runs the provisioner with a file size limit in KiB, which simulates a full disk.
#[cfg(unix)]
fn on_a_full_disk(station: &Station, hub: &ServedHub, kib: u32, args: &[&str]) -> Result<e2e::Ended> {
    let provisioner = station.provisioner(hub)?;
    let mut limited = std::process::Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(provisioner.get_program()).args(args).current_dir(station.folder());
    limited.envs(provisioner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    e2e::Ended::of(limited.output()?)
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_stops_the_run_with_the_path_and_nothing_is_sent() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let rows = (0..5_000).map(|n| format!("pump-{n},{n:040}\n")).collect::<String>();
    station.write("batch.csv", &format!("device_id,primary_thumbprint\n{rows}"))?;
    let apply = ["apply", "batch.csv", "--ledger", "line.ledger"];
    let ended = on_a_full_disk(&station, &hub, 200, &apply)?.expect_code(4)?;
    assert!(ended.stderr.contains("line.ledger"), "{}", ended.stderr);
    assert!(ended.stderr.contains("free space"), "{}", ended.stderr);
    assert_eq!(hub.requests()?.iter().map(|request| request.writes()).sum::<u64>(), 0);
    Ok(())
}

#[cfg(unix)]
#[test]
fn files_that_do_not_fit_onto_the_disk_are_not_half_there() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let batch = |site: &str| {
        let note = "long ".repeat(100);
        let row = |number: usize| format!("pump-{number},x509_ca,{site},{note}\n");
        format!("device_id,auth,tags.site,x_note\n{}", (0..300).map(row).collect::<String>())
    };
    station.write("ulm.csv", &batch("Ulm"))?;
    let planned =
        on_a_full_disk(&station, &hub, 4, &["plan", "ulm.csv", "-o", "ulm.plan"])?.expect_code(2)?;
    assert!(planned.stderr.contains("ulm.plan") && planned.stderr.contains("free space"), "{planned:?}");
    station.provision(&hub, ["apply", "ulm.csv"])?.expect_code(0)?;

    let exported = on_a_full_disk(&station, &hub, 4, &["export", "--out", "hub.csv"])?.expect_code(2)?;
    assert!(exported.stderr.contains("hub.csv") && exported.stderr.contains("free space"), "{exported:?}");

    // Every row is in conflict. The run is accounted for all the same, and the file can be had later.
    station.write("kiel.csv", &batch("Kiel"))?;
    station.provision(&hub, ["apply", "kiel.csv", "--no-verify"])?.expect_code(1)?;
    std::fs::remove_file(station.path("kiel.run-2-failed.csv"))?;
    let report = ["report", "2", "--failed-rows", "failed.csv"];
    // The ledger itself still needs its 32 KiB of shared memory.
    let reported = on_a_full_disk(&station, &hub, 64, &report)?.expect_code(4)?;
    assert!(reported.stderr.contains("failed.csv") && reported.stderr.contains("large"), "{reported:?}");
    for name in ["ulm.plan", "hub.csv", "failed.csv"] {
        assert!(!station.path(name).exists(), "{name}");
    }
    station.provision(&hub, report)?.expect_code(1)?;
    assert_eq!(std::fs::read_to_string(station.path("failed.csv"))?, batch("Kiel"));
    Ok(())
}

#[test]
fn a_report_replaces_neither_the_ledger_nor_the_batch_nor_notes() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let batch = |site: &str| format!("device_id,auth,tags.site\na,x509_ca,{site}\n");
    station.write("ulm.csv", &batch("Ulm"))?;
    station.provision(&hub, ["apply", "ulm.csv"])?.expect_code(0)?;
    station.write("kiel.csv", &batch("Kiel"))?;
    station.write("kiel.run-2-failed.csv", "my notes\n")?;
    let applied = station.provision(&hub, ["apply", "kiel.csv", "--no-verify"])?.expect_code(1)?;
    assert!(applied.stderr.contains("kiel.run-2-failed-2.csv"), "{applied:?}");
    assert_eq!(std::fs::read_to_string(station.path("kiel.run-2-failed.csv"))?, "my notes\n");
    for (option, file, said) in [
        ("--html", "provisioner.ledger", "exists already"),
        ("--html", "kiel.csv", "exists already"),
        ("--failed-rows", "provisioner.ledger", "has no rows of this batch"),
        ("--failed-rows", "kiel.csv", "is the batch of the run"),
        ("--failed-rows", "kiel.run-2-failed.csv", "has no rows of this batch"),
    ] {
        let before = std::fs::read(station.path(file))?;
        let refused = station.run("provisioner", ["report", "2", option, file])?.expect_code(2)?;
        assert!(refused.stderr.contains(said), "{option} {file}: {refused:?}");
        assert!(std::fs::read(station.path(file))? == before, "{option} {file}");
    }
    // A page, and rows of the same batch, are replaced.
    for _ in 0..2 {
        station
            .run("provisioner", ["report", "2", "--html", "page.html", "--failed-rows", "rows.csv"])?
            .expect_code(1)?;
    }
    Ok(())
}

#[test]
fn bad_usage_is_2_and_help_is_0() -> Result<()> {
    let station = Station::new()?;
    station.run("provisioner", ["frobnicate"])?.expect_code(2)?;
    station.run("provisioner", ["apply", "absent.csv"])?.expect_code(2)?;
    station.run("provisioner", ["report", "7"])?.expect_code(2)?;
    for binary in ["provisioner", "cert-tool", "local-hub"] {
        station.run(binary, ["--help"])?.expect_code(0)?;
        station.run(binary, ["--version"])?.expect_code(0)?;
    }
    Ok(())
}

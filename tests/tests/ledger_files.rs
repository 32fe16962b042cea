//! Unusable ledgers, each with its own cause, message and exit code; and addresses that hold a
//! secret.

use anyhow::{Result, ensure};
use e2e::{Ended, ServedHub, Station, devices_with_modules};

/// A station with a batch on the hub and in the ledger `line.ledger`.
fn provisioned() -> Result<(Station, ServedHub)> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &devices_with_modules(2))?;
    apply(&station, &hub)?.expect_code(0)?;
    Ok((station, hub))
}

fn apply(station: &Station, hub: &ServedHub) -> Result<Ended> {
    station.provision(hub, ["apply", "batch.csv", "--ledger", "line.ledger"])
}

#[test]
fn a_damaged_ledger_is_moved_away_and_the_hub_is_compared() -> Result<()> {
    let (station, hub) = provisioned()?;
    let mut bytes = std::fs::read(station.path("line.ledger"))?;
    bytes.iter_mut().skip(4_096).for_each(|byte| *byte = 0x5A);
    std::fs::write(station.path("line.ledger"), bytes)?;
    // A plan of rows without credentials has nothing to ask the ledger.
    for args in [&["apply", "batch.csv"][..], &["resume"], &["runs"], &["report"]] {
        let refused =
            station.provision(&hub, args.iter().chain(&["--ledger", "line.ledger"]))?.expect_code(2)?;
        ensure!(refused.stderr.contains("the ledger line.ledger is damaged"), "{}", refused.stderr);
        ensure!(refused.stderr.contains("move it away"), "{}", refused.stderr);
        ensure!(!refused.stderr.contains("run the same command again"), "{}", refused.stderr);
    }
    // The advice is followed.
    for file in ["line.ledger", "line.ledger-wal", "line.ledger-shm"] {
        let _ = std::fs::rename(station.path(file), station.path(&format!("away.{file}")));
    }
    let again = apply(&station, &hub)?.expect_code(0)?;
    ensure!(again.stdout.contains("0 created") && again.stdout.contains("6 unchanged"), "{}", again.stdout);
    let created: u64 = hub.requests()?.iter().map(|request| request.created()).sum();
    ensure!(created == 6, "{created}");
    Ok(())
}

/// A ledger of a newer version: a run with an unknown verb must not be resumed as an `apply`.
#[test]
fn a_run_that_is_not_understood_is_listed_and_nothing_acts_on_it() -> Result<()> {
    let (station, hub) = provisioned()?;
    let on_ledger = |args: &[&str]| station.provision(&hub, args.iter().chain(&["--ledger", "line.ledger"]));
    apply(&station, &hub)?.expect_code(0)?;
    let ledger = rusqlite::Connection::open(station.path("line.ledger"))?;
    let options = r#"{"alteration":{"no_such_verb":{}}}"#;
    ledger.execute(
        "UPDATE run SET options = ?1, state = 'interrupted', tool_version = '9.9.9' WHERE id = 2",
        [options],
    )?;
    let calls = hub.requests()?.len();
    for args in [
        &["resume"][..],
        &["resume", "2"],
        &["work", "2"],
        &["undo", "2"],
        &["status", "2"],
        &["report", "2"],
    ] {
        let refused = on_ledger(args)?.expect_code(2)?;
        for said in ["line.ledger", "run 2, column `options`", "provisioner 9.9.9 wrote it", "newer version"]
        {
            ensure!(refused.stderr.contains(said), "{args:?}: {said}: {}", refused.stderr);
        }
    }
    ensure!(hub.requests()?.len() == calls, "the hub was called");
    let runs = on_ledger(&["runs"])?.expect_code(1)?;
    ensure!(
        runs.stdout.contains("run 1: batch.csv") && runs.stdout.contains("run 2, column `options`"),
        "{}",
        runs.stdout
    );
    let runs = on_ledger(&["runs", "--format", "json"])?.expect_code(1)?;
    let runs: serde_json::Value = serde_json::from_str(&runs.stdout)?;
    ensure!(runs[0]["id"] == 2 && runs[0]["tool_version"] == "9.9.9" && runs[1]["id"] == 1, "{runs}");
    on_ledger(&["status", "1"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn what_is_no_ledger_is_named_and_left_as_it_is() -> Result<()> {
    let (station, hub) = provisioned()?;
    std::fs::create_dir(station.path("folder"))?;
    station.write("empty", "")?;
    for (file, said) in [
        ("batch.csv", "batch.csv is not a ledger: it does not begin as an SQLite file does"),
        ("folder", "folder is not a ledger: it is a folder"),
        ("empty", "empty is empty: no run was ever written into it"),
        ("missing", "there is no ledger at missing"),
    ] {
        let before = std::fs::metadata(station.path(file)).ok().map(|file| file.len());
        let refused = station.provision(&hub, ["runs", "--ledger", file])?.expect_code(2)?;
        ensure!(refused.stderr.contains(said), "{}", refused.stderr);
        ensure!(!station.path(&format!("{file}.lock")).exists());
        ensure!(std::fs::metadata(station.path(file)).ok().map(|file| file.len()) == before);
    }
    Ok(())
}

#[test]
fn an_address_with_a_secret_is_refused_by_every_verb_and_never_shown() -> Result<()> {
    let station = Station::new()?;
    for ledger in [
        "host=db.example user=line3 password=hunter2 dbname=units",
        "postgres://line3:hunter2@db.example/units",
        "postgres:/line3:hunter2@db.example/units",
        "HostName=h.azure-devices.net;SharedAccessKeyName=n;SharedAccessKey=hunter2",
    ] {
        for verb in [&["runs"][..], &["doctor"], &["apply", "batch.csv"]] {
            let refused =
                station.run("provisioner", verb.iter().chain(&["--ledger", ledger]))?.expect_code(2)?;
            ensure!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
            let is_said = ["PGPASSWORD", "holds a secret"].iter().any(|text| refused.stderr.contains(text));
            ensure!(is_said, "{}", refused.stderr);
        }
    }
    let left: Vec<_> = std::fs::read_dir(station.folder())?.collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

//! The predictions of a plan, and the agreement of the later apply with them.

use anyhow::{Context, Result};
use e2e::{ServedHub, Station};
use serde_json::Value;

const HEADER: &str = "device_id,module_id,auth,status,tags.site,desired.interval\n";

fn modules(device: &str, numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("{device},m{number:02},x509_ca,,,60\n")).collect()
}

fn plan(station: &Station, hub: &ServedHub, args: &[&str], code: i32) -> Result<Value> {
    let planned = station.provision(hub, [&["plan", "--format", "json"], args].concat())?;
    Ok(serde_json::from_str(&planned.expect_code(code)?.stdout)?)
}

/// The row of an identity. Rows without a change are not listed.
fn row<'p>(plan: &'p Value, identity: &str) -> Result<&'p Value> {
    let rows = plan["rows"].as_array().context("a plan has rows")?;
    rows.iter().find(|row| row["identity"] == identity).with_context(|| format!("no {identity} in {plan}"))
}

#[test]
fn a_plan_reads_its_batch_with_the_pattern_that_it_was_made_with() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", "device_id,auth\nPMP-0001,sas\nPMP-2,sas\n")?;
    let make = ["batch.csv", "--id-pattern", r"PMP-\d{4}", "--skip-bad-rows", "--output", "batch.plan"];
    let planned = plan(&station, &hub, &make, 1)?;
    assert_eq!((&planned["create"], &planned["rejected"]), (&1.into(), &1.into()), "{planned}");
    // Neither the lack of a pattern nor another one in the settings makes another batch of it.
    for settings in ["", "[batch]\nid_pattern = 'X-.*'\n"] {
        station.write("provisioner.toml", settings)?;
        let applied = station.provision(&hub, ["apply", "batch.plan"])?.expect_code(1)?;
        assert!(applied.stdout.contains("1 rejected"), "{applied:?}");
        assert!(!applied.stderr.contains("was changed since"), "{applied:?}");
    }
    let again = station.provision(&hub, ["apply", "batch.plan", "--id-pattern", "X"])?.expect_code(2)?;
    assert!(again.stderr.contains("--id-pattern"), "{again:?}");
    // The pattern of the settings is kept with a run, too.
    station.write("provisioner.toml", "[batch]\nid_pattern = 'PMP-.*'\n")?;
    station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    let runs = station.run("provisioner", ["runs", "--format", "json"])?.expect_code(0)?;
    let runs: Value = serde_json::from_str(&runs.stdout)?;
    let patterns: Vec<_> =
        runs.as_array().into_iter().flatten().map(|run| &run["options"]["id_pattern"]).collect();
    assert!(patterns.contains(&&Value::from("PMP-.*")), "{patterns:?}");
    assert!(patterns.contains(&&Value::from(r"PMP-\d{4}")), "{patterns:?}");
    Ok(())
}

/// The totals of a plan equal those of the later apply.
#[test]
fn the_modes_and_policies_of_apply_are_planned_as_they_are_applied() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let old = "kept,,x509_ca,,Ulm,60\nother,,x509_ca,disabled,Ulm,60\nwritten,,x509_ca,,Ulm,60\n";
    station.write("old.csv", &format!("{HEADER}{old}"))?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;
    hub.patch_twin("written", r#"{"properties":{"desired":{"interval":5}}}"#)?;
    let new =
        "kept,,x509_ca,,Ulm,60\nother,,x509_ca,,Kiel,60\nwritten,,x509_ca,,Ulm,60\nnew,,x509_ca,,Ulm,60\n";
    station.write("new.csv", &format!("{HEADER}{new}other,m,x509_ca,,,60\n"))?;

    let sums =
        |plan: &Value| ["create", "update", "keep", "conflict", "refuse"].map(|name| plan[name].as_u64());
    let create = plan(&station, &hub, &["new.csv"], 1)?;
    assert_eq!(sums(&create), [1, 0, 2, 1, 1].map(Some), "{create}");
    assert_eq!(row(&create, "other")?["action"], "conflict");
    assert!(row(&create, "other/m")?["reason"].as_str().is_some_and(|reason| reason.contains("`other`")));

    let update = plan(&station, &hub, &["new.csv", "--mode", "update", "--twin", "merge"], 1)?;
    // `other` and `written` would be changed; what is not there stays so.
    assert_eq!(sums(&update), [0, 2, 1, 0, 2].map(Some), "{update}");

    let args = ["new.csv", "--mode", "upsert", "--twin", "merge"];
    let upsert = plan(&station, &hub, &args, 0)?;
    assert_eq!(sums(&upsert), [2, 2, 1, 0, 0].map(Some), "{upsert}");
    // Both what is to be changed of the identity and what is to be changed of its twin is shown.
    let paths: Vec<_> = row(&upsert, "other")?["differences"].as_array().into_iter().flatten().collect();
    assert!(paths.iter().any(|difference| difference["path"] == "status"), "{paths:?}");
    assert!(paths.iter().any(|difference| difference["path"] == "tags.site"), "{paths:?}");
    assert!(hub.requests()?.iter().all(|request| request.method() != "DELETE"));

    let before = hub.requests()?.len();
    let applied = station.provision(&hub, [&["apply", "--format", "json"][..], &args].concat())?;
    let applied: Value = serde_json::from_str(&applied.expect_code(0)?.stdout)?;
    assert_eq!(applied["totals"]["created"], upsert["create"]);
    assert_eq!(applied["totals"]["updated"], upsert["update"]);
    assert_eq!(applied["totals"]["unchanged"], upsert["keep"]);
    let writes: u64 = hub.requests()?.split_off(before).iter().map(|request| request.writes()).sum();
    // Two creations, two twins, and the status of `other`.
    assert_eq!(writes, 5);
    Ok(())
}

#[test]
fn a_fifty_first_module_is_refused_before_anything_is_sent_counting_those_on_the_hub() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("old.csv", &format!("{HEADER}it's,,x509_ca,,,60\n{}", modules("it's", 0..48)))?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;

    // The device has no row of its own, and nor has one that is not there at all.
    let absent = modules("absent", 0..1);
    station.write("new.csv", &format!("{HEADER}{}{absent}", modules("it's", 47..52)))?;
    let before = hub.requests()?.len();
    let planned = plan(&station, &hub, &["new.csv"], 1)?;
    assert_eq!(planned["create"], 2);
    assert_eq!(planned["keep"], 1);
    for (identity, reason) in [
        ("it's/m50", "more than 50 modules"),
        ("it's/m51", "more than 50 modules"),
        ("absent/m00", "not on the hub"),
    ] {
        let row = row(&planned, identity)?;
        assert_eq!(row["action"], "refuse");
        assert!(row["reason"].as_str().is_some_and(|text| text.contains(reason)), "{row}");
    }
    assert!(hub.requests()?.split_off(before).iter().all(|request| request.writes() == 0));
    Ok(())
}

#[test]
fn a_plan_tells_that_a_hub_may_deny_access_to_the_modules_of_a_disabled_device() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let devices = "rowless,,x509_ca,disabled,,60\nsame,,x509_ca,disabled,,60\n";
    station.write("old.csv", &format!("{HEADER}{devices}"))?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;
    let new = "rowless,m,x509_ca,,,60\nsame,,x509_ca,disabled,,60\nsame,m,x509_ca,,,60\nnew,,x509_ca,disabled,,60\nnew,m,x509_ca,,,60\n";
    station.write("new.csv", &format!("{HEADER}{new}"))?;

    let planned = plan(&station, &hub, &["new.csv"], 0)?;
    for (module, is_told) in [("rowless/m", true), ("same/m", true), ("new/m", false)] {
        let row = row(&planned, module)?;
        assert_eq!(row["action"], "create", "{row}");
        let reason = row["reason"].as_str();
        assert_eq!(reason.is_some_and(|reason| reason.contains("is disabled")), is_told, "{row}");
    }
    let text = station.provision(&hub, ["plan", "new.csv"])?.expect_code(0)?;
    assert!(text.stdout.contains("line 2: rowless/m: create: its device `rowless` is disabled"), "{text:?}");
    Ok(())
}

#[test]
fn a_twin_that_would_grow_too_large_is_refused_and_a_quarantine_is_reckoned() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("old.csv", &format!("{HEADER}full,,x509_ca,,Ulm,60\n"))?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;
    let tags: String = (0..7).map(|n| format!(r#""t{n}":"{}","#, "x".repeat(1000))).collect();
    hub.patch_twin("full", &format!(r#"{{"tags":{{{}"site":"Ulm"}}}}"#, tags))?;
    let long = "y".repeat(1500);
    station.write(
        "new.csv",
        &format!("{HEADER}full,,x509_ca,,{long},60\nnew,,x509_ca,,,60\nnew,m,x509_ca,,,60\n"),
    )?;
    let merged = plan(&station, &hub, &["new.csv", "--twin", "merge"], 1)?;
    let full = row(&merged, "full")?;
    assert_eq!(full["action"], "refuse");
    assert!(full["reason"].as_str().is_some_and(|reason| reason.contains("tags")), "{full}");
    assert_eq!(merged["operations"]["registry"]["count"], 2);
    // Replaced, it is as small as the batch's own. In quarantine each device is disabled at last.
    let replaced =
        plan(&station, &hub, &["new.csv", "--mode", "upsert", "--twin", "replace", "--quarantine"], 0)?;
    assert_eq!(replaced["update"], 1);
    assert_eq!(replaced["operations"]["registry"]["count"], 4);
    Ok(())
}

#[test]
fn bad_rows_that_are_left_out_are_counted_and_the_exit_code_is_that_of_the_apply() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &format!("{HEADER}good,,x509_ca,,Ulm,60\nno id,,x509_ca,,Ulm,60\n"))?;
    let planned = plan(&station, &hub, &["batch.csv", "--skip-bad-rows"], 1)?;
    assert_eq!((&planned["create"], &planned["rejected"]), (&Value::from(1), &Value::from(1)));
    let text = station.provision(&hub, ["plan", "batch.csv", "--skip-bad-rows"])?.expect_code(1)?;
    assert!(text.stdout.contains("\n1 row rejected: bad, and left out\n"), "{}", text.stdout);
    station.provision(&hub, ["apply", "batch.csv", "--skip-bad-rows"])?.expect_code(1)?;
    Ok(())
}

fn pumps(names: &[&str], interval: u32) -> String {
    let rows: String = names.iter().map(|name| format!("{name},,x509_ca,,Ulm,{interval}\n")).collect();
    format!("{HEADER}{rows}")
}

#[test]
fn a_plan_file_is_carried_out_as_it_is_and_what_changed_since_is_refused() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("old.csv", &pumps(&["a", "b", "c"], 60))?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;
    station.write("new.csv", &pumps(&["a", "b", "c", "d", "e"], 90))?;
    let make = ["plan", "new.csv", "--twin", "merge", "--output", "new.plan"];
    station.provision(&hub, make)?.expect_code(0)?;
    let again = station.provision(&hub, make)?.expect_code(2)?;
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);

    // Two units are touched between plan and apply: one is written, one is created by somebody else.
    hub.patch_twin("b", r#"{"tags":{"owner":"cloud team"}}"#)?;
    station.write("early.csv", &pumps(&["e"], 90))?;
    station.provision(&hub, ["apply", "early.csv"])?.expect_code(0)?;

    let applied = station.provision(&hub, ["apply", "new.plan", "--format", "json"])?.expect_code(1)?;
    let outcome: Value = serde_json::from_str(&applied.stdout)?;
    let totals = ["created", "updated", "unchanged", "failed"].map(|name| outcome["totals"][name].as_u64());
    assert_eq!(totals, [1, 2, 0, 2].map(Some), "{outcome}");
    let report = station.provision(&hub, ["report"])?.expect_code(1)?;
    for identity in ["b", "e"] {
        let said = format!("{identity}: failed: it was changed since the plan was made");
        assert!(report.stdout.contains(&said), "{}", report.stdout);
    }
    assert_eq!(hub.twin("b")?["properties"]["desired"]["interval"], 60);
    assert_eq!(hub.twin("a")?["properties"]["desired"]["interval"], 90);
    // The failed rows are a batch of their own, beside the batch.
    assert!(station.path("new.run-3-failed.csv").exists());
    Ok(())
}

#[test]
fn a_plan_is_refused_for_another_hub_another_batch_other_files_and_when_it_was_edited() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let header = "device_id,auth,twin\n";
    station.write("batch.csv", &format!("{header}a,x509_ca,twin.json\n"))?;
    station.write("twin.json", r#"{"tags":{"site":"Ulm"}}"#)?;
    station.provision(&hub, ["plan", "batch.csv", "-o", "batch.plan"])?.expect_code(0)?;
    let plan = std::fs::read_to_string(station.path("batch.plan"))?;
    let refused = |args: &[&str], why: &str| -> Result<()> {
        let ended = station.provision(&hub, args)?.expect_code(2)?;
        anyhow::ensure!(ended.stderr.contains(why), "{}", ended.stderr);
        anyhow::ensure!(!station.path("provisioner.ledger").exists() || no_runs(&station)?, "there is a run");
        Ok(())
    };

    let elsewhere = station.run("provisioner", ["apply", "batch.plan"])?.expect_code(2)?;
    assert!(elsewhere.stderr.contains("the plan is for the hub"), "{}", elsewhere.stderr);
    refused(&["apply", "batch.plan", "--mode", "upsert"], "with the options that it was made with")?;
    refused(&["apply", "batch.csv", "--batch", "batch.csv"], "is not a plan")?;

    station.write("twin.json", r#"{"tags":{"site":"Kiel"}}"#)?;
    refused(&["apply", "batch.plan"], "a file that the batch names")?;
    station.write("twin.json", r#"{"tags":{"site":"Ulm"}}"#)?;

    station.write("batch.csv", &format!("{header}a,x509_ca,twin.json\nb,x509_ca,\n"))?;
    refused(&["apply", "batch.plan"], "was changed since the plan was made")?;
    std::fs::remove_file(station.path("batch.csv"))?;
    refused(&["apply", "batch.plan"], "--batch FILE")?;
    station.write("moved.csv", &format!("{header}a,x509_ca,twin.json\n"))?;

    station.write("edited.plan", &plan.replacen("create", "keep", 1))?;
    refused(&["apply", "edited.plan", "--batch", "moved.csv"], "has changed since it was written")?;
    let (cut, _) = plan.trim_end().rsplit_once('\n').context("a plan has lines")?;
    station.write("cut.plan", &format!("{cut}\n"))?;
    refused(&["apply", "cut.plan", "--batch", "moved.csv"], "cut off")?;

    station.provision(&hub, ["apply", "batch.plan", "--batch", "moved.csv"])?.expect_code(0)?;
    assert_eq!(hub.twin("a")?["tags"]["site"], "Ulm");
    Ok(())
}

fn no_runs(station: &Station) -> Result<bool> {
    let runs = station.run("provisioner", ["runs", "--format", "json"])?.expect_code(0)?;
    let runs: Value = serde_json::from_str(&runs.stdout)?;
    Ok(runs.as_array().is_some_and(Vec::is_empty))
}

/// An interrupted run of a plan is resumed with the same plan.
#[test]
fn a_planned_run_is_resumed_as_planned() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let names: Vec<String> = (0..600).map(|number| format!("dev-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    station.write("batch.csv", &pumps(&names, 60))?;
    station.provision(&hub, ["plan", "batch.csv", "-o", "batch.plan"])?.expect_code(0)?;
    let mut apply = station.provisioner(&hub)?;
    let mut apply = apply.args(["apply", "batch.plan", "--workers", "1"]).spawn()?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while hub.requests()?.iter().map(|request| request.created()).sum::<u64>() == 0 {
        anyhow::ensure!(std::time::Instant::now() < deadline, "nothing was created");
        std::thread::yield_now();
    }
    apply.kill()?;
    apply.wait()?;
    // Somebody takes one of those that were not there yet, if any are left; either way all is accounted for.
    let taken = hub.get("/devices/dev-599").is_err();
    if taken {
        station.write("other.csv", &pumps(&["dev-599"], 60))?;
        let other = ["--ledger", "other.ledger", "apply", "other.csv"];
        station.provision(&hub, other)?.expect_code(0)?;
    }
    let resumed = station.provision(&hub, ["resume", "--format", "json"])?;
    let outcome: Value = serde_json::from_str(&resumed.stdout)?;
    let changed = u64::from(taken);
    assert_eq!(outcome["totals"]["created"], 600 - changed, "{outcome} {}", resumed.stderr);
    assert_eq!(outcome["totals"]["failed"], changed);
    assert_eq!(hub.requests()?.iter().map(|request| request.created()).sum::<u64>(), 600);
    Ok(())
}

/// A parent must be an edge device before its children are created, on the hub or by an earlier
/// valid row.
#[test]
fn parents_that_are_missing_or_no_edge_devices_are_refused_before_anything_is_sent() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let header = "device_id,auth,edge,parent\n";
    station.write("old.csv", &format!("{header}old-gw,x509_ca,true,\nplain,x509_ca,,\n"))?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;
    let good = "gw,x509_ca,true,\nleaf,x509_ca,,gw\nchild,x509_ca,,old-gw\n";
    let bad =
        "lost,x509_ca,,nowhere\nunder,x509_ca,,plain\ninner,x509_ca,true,nowhere\ndeep,x509_ca,,inner\n";
    station.write("new.csv", &format!("{header}{good}{bad}"))?;

    let before = hub.requests()?.len();
    let planned = plan(&station, &hub, &["new.csv"], 1)?;
    for (identity, reason) in [
        ("lost", "its parent `nowhere` is not on the hub and has no row of its own"),
        ("under", "its parent `plain` is not an edge device"),
        ("inner", "its parent `nowhere` is not on the hub"),
        ("deep", "its parent `inner` is not an edge device on the hub, and nothing can be done"),
    ] {
        let row = row(&planned, identity)?;
        assert_eq!(row["action"], "refuse", "{row}");
        assert!(row["reason"].as_str().is_some_and(|text| text.contains(reason)), "{row}");
    }
    assert_eq!((&planned["create"], &planned["operations"]["registry"]["count"]), (&3.into(), &3.into()));
    // Each of the five parents is asked for once, and each of the seven rows.
    assert_eq!(planned["operations"]["twin read"]["count"], 12);
    assert!(hub.requests()?.split_off(before).iter().all(|request| request.writes() == 0));

    let applied = station.provision(&hub, ["apply", "new.csv", "--format", "json"])?.expect_code(1)?;
    let applied: Value = serde_json::from_str(&applied.stdout)?;
    assert_eq!(applied["totals"]["created"], planned["create"]);
    assert_eq!(applied["totals"]["failed"], planned["refuse"]);
    Ok(())
}

#[test]
fn a_plan_refuses_what_an_apply_would_not_issue_a_certificate_to() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", "device_id,module_id,auth\npump-1,,\npump-1,m,sas\npump-2,,\npump-3,,\n")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.write("first.csv", "device_id\npump-1\n")?;
    station
        .run("cert-tool", ["issue", "--ca", "pki", "--from", "first.csv", "--out", "first"])?
        .expect_code(0)?;
    station.write("second.csv", "device_id\npump-2\n")?;
    let second = ["issue", "--ca", "pki", "--from", "second.csv", "--out", "pki/issued"];
    station.run("cert-tool", second)?.expect_code(0)?;
    station.run("cert-tool", ["revoke", "--ca", "pki", "--device-id", "pump-2"])?.expect_code(0)?;
    let index = std::fs::read(station.path("pki/index.db"))?;
    let planned = plan(&station, &hub, &["batch.csv", "--issue", "pki"], 1)?;
    assert_eq!(std::fs::read(station.path("pki/index.db"))?, index, "the plan has written to the index");
    assert_eq!((&planned["refuse"], &planned["create"]), (&3.into(), &1.into()), "{planned}");
    assert_eq!(planned["issue"], 1, "{planned}");
    let applied = station.provision(&hub, ["apply", "batch.csv", "--issue", "pki", "--format", "json"])?;
    let applied: Value = serde_json::from_str(&applied.expect_code(1)?.stdout)?;
    assert_eq!(applied["totals"]["created"], 1, "{applied}");
    let report = station.run("provisioner", ["report", "--format", "json"])?.expect_code(1)?;
    let report: Value = serde_json::from_str(&report.stdout)?;
    let rows = report["rows"].as_array().context("a report has rows")?;
    let reported =
        |device: &str| rows.iter().find(|row| row["device_id"] == device && row["module_id"].is_null());
    for identity in ["pump-1", "pump-2"] {
        let reported = reported(identity).context("a report has every row")?;
        assert_eq!(row(&planned, identity)?["action"], "refuse", "{planned}");
        assert_eq!(row(&planned, identity)?["reason"], reported["error"], "{report}");
    }
    assert_eq!(reported("pump-1").context("it has")?["reason"], "certificate_elsewhere");
    Ok(())
}

#[test]
fn a_plan_counts_the_certificates_that_the_ca_may_issue() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    station.run("cert-tool", ["ca", "policy", "pki", "--max-certificates", "3"])?.expect_code(0)?;
    station.write("first.csv", "device_id\npump-1\n")?;
    let first = ["issue", "--ca", "pki", "--from", "first.csv", "--out", "pki/issued"];
    station.run("cert-tool", first)?.expect_code(0)?;
    station.write("batch.csv", "device_id\npump-1\npump-2\npump-3\npump-4\n")?;
    let planned = plan(&station, &hub, &["batch.csv", "--issue", "pki"], 1)?;
    assert_eq!((&planned["create"], &planned["refuse"]), (&3.into(), &1.into()), "{planned}");
    let applied = station.provision(&hub, ["apply", "batch.csv", "--issue", "pki"])?.expect_code(1)?;
    assert!(applied.stdout.contains("3 created") && applied.stdout.contains("1 failed"), "{applied:?}");
    let report = station.run("provisioner", ["report", "--format", "json"])?.expect_code(1)?;
    let report: Value = serde_json::from_str(&report.stdout)?;
    let rows = report["rows"].as_array().context("a report has rows")?;
    let refused = rows.iter().find(|row| row["device_id"] == "pump-4").context("it is refused")?;
    assert_eq!(row(&planned, "pump-4")?["reason"], refused["error"], "{planned}");
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("and may issue 3")), "{report}");
    Ok(())
}

//! Enrolment groups, and settings of enrolments that no row has.

use anyhow::{Result, ensure};
use e2e::{ServedHub, Station};
use serde_json::{Value, json};

fn issue(station: &Station, ca: &str, ids: &[&str]) -> Result<()> {
    station.run("cert-tool", ["ca", "init", ca])?.expect_code(0)?;
    station.write("units.csv", &format!("device_id\n{}\n", ids.join("\n")))?;
    let issue = ["issue", "--ca", ca, "--out", "issued", "--from", "units.csv"];
    station.run("cert-tool", issue)?.expect_code(0)?;
    Ok(())
}

fn group(hub: &ServedHub, id: &str) -> Result<Value> {
    let (status, body) = hub.call_dps(reqwest::Method::GET, &format!("/enrollmentGroups/{id}"), None)?;
    Ok(if status == 200 { body } else { Value::Null })
}

#[test]
fn a_batch_gets_one_group_and_its_devices_register_by_it() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    issue(&station, "pki", &["pump-1", "pump-2"])?;
    let apply = ["apply", "issued/issued.csv", "--dps", "--group", "factory", "--format", "json"];
    let applied = station.provision_dps(&hub, &apply, 0)?.json()?;
    let totals = &applied["totals"];
    ensure!(totals["created"] == 1 && totals["waiting"] == 2, "{applied}");
    ensure!(applied["verified"]["equal"] == 1 && hub.count_requests("BulkEnrollments")? == 0, "{applied}");
    ensure!(hub.enrollment("pump-1")?.is_null() && !group(&hub, "factory")?.is_null());
    ensure!(hub.register(&station, "pump-1")?.0 == 202);
    ensure!(hub.get("/devices/pump-1")?["deviceId"] == "pump-1");
    let again = station.provision_dps(&hub, &apply, 0)?.json()?;
    ensure!(again["totals"]["unchanged"] == 1 && again["totals"]["waiting"] == 2, "{again}");
    let report = station.run("provisioner", ["report", "1", "--format", "json"])?.expect_code(0)?.json()?;
    ensure!(report["options"]["entries"]["group"]["id"] == "factory", "{report}");
    // A device is on a hub by the group, so the undo leaves it.
    let undone = station.provision_dps(&hub, &["undo", "1", "--dps"], 1)?;
    ensure!(undone.stdout.contains("a device of it has registered since run 1"), "{}", undone.stdout);
    ensure!(!group(&hub, "factory")?.is_null());
    Ok(())
}

#[test]
fn a_group_of_another_ca_is_a_conflict_and_an_unused_one_is_undone() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    issue(&station, "pki", &["pump-1"])?;
    station.run("cert-tool", ["ca", "init", "other"])?.expect_code(0)?;
    let apply = ["apply", "issued/issued.csv", "--dps", "--group", "factory"];
    station.provision_dps(&hub, &apply, 0)?;
    let undone = station.provision_dps(&hub, &["undo", "1", "--dps", "--format", "json"], 0)?.json()?;
    ensure!(undone["totals"]["deleted"] == 1 && group(&hub, "factory")?.is_null(), "{undone}");

    station.write("any.csv", "device_id,auth\npump-1,x509_ca\n")?;
    let others = ["apply", "any.csv", "--dps", "--group", "factory", "--group-ca", "other/issuing.pem"];
    station.provision_dps(&hub, &others, 0)?;
    let conflict = station.provision_dps(&hub, &apply, 1)?;
    ensure!(conflict.stdout.contains("primary_thumbprint: batch has"), "{}", conflict.stdout);
    ensure!(conflict.stdout.contains("the enrolment group `factory` is `conflict`"), "{}", conflict.stdout);
    ensure!(!station.path("issued/issued.run-4-failed.csv").exists() || conflict.stdout.contains("skipped"));
    let replaced = [&apply[..], &["--mode", "upsert", "--format", "json"]].concat();
    let replaced = station.provision_dps(&hub, &replaced, 0)?.json()?;
    ensure!(replaced["totals"]["updated"] == 1 && replaced["verified"]["equal"] == 1, "{replaced}");
    Ok(())
}

#[test]
fn a_group_is_planned_as_planned_applied_and_verified_while_devices_need_no_enrolments() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    issue(&station, "pki", &["pump-1", "pump-2"])?;
    let of_group = |verb: &str, more: &[&str], code: i32| {
        let args = [&[verb, "issued/issued.csv", "--dps", "--group", "factory"], more].concat();
        station.provision_dps(&hub, &args, code)
    };
    let planned = of_group("plan", &["--output", "factory.plan", "--format", "json"], 0)?.json()?;
    ensure!(planned["create"] == 1 && planned["wait"] == 2, "{planned}");
    ensure!(
        planned["rows"][0]["identity"] == "group=factory" && planned["rows"][0]["line"] == 0,
        "{planned}"
    );
    let missing = of_group("verify", &["--format", "json"], 1)?.json()?;
    ensure!(missing["checked"] == 1 && missing["missing"] == 1, "{missing}");
    let applied =
        station.provision_dps(&hub, &["apply", "factory.plan", "--dps", "--format", "json"], 0)?.json()?;
    ensure!(applied["totals"]["created"] == 1 && applied["totals"]["waiting"] == 2, "{applied}");
    ensure!(hub.enrollment("pump-1")?.is_null() && !group(&hub, "factory")?.is_null());

    let again = of_group("plan", &["--format", "json"], 0)?.json()?;
    ensure!(again["keep"] == 1 && again["wait"] == 2, "{again}");
    let verified = of_group("verify", &["--format", "json"], 0)?.json()?;
    ensure!(verified["checked"] == 1 && verified["equal"] == 1, "{verified}");

    // The group of a different CA, on the DPS by somebody else's hand.
    station.run("cert-tool", ["ca", "init", "other"])?.expect_code(0)?;
    station.write("any.csv", "device_id,auth\npump-1,x509_ca\n")?;
    let other = ["any.csv", "--dps", "--group", "factory", "--group-ca", "other/issuing.pem"];
    let conflict = station.provision_dps(&hub, &[&["plan"], &other[..]].concat(), 1)?;
    ensure!(conflict.stdout.contains("the row `group=factory` is `conflict`"), "{}", conflict.stdout);
    let different = station.provision_dps(&hub, &[&["verify"], &other[..]].concat(), 1)?;
    ensure!(different.stdout.contains("group=factory: different"), "{}", different.stdout);
    ensure!(different.stdout.contains("primary_thumbprint: batch has"), "{}", different.stdout);
    Ok(())
}

#[test]
fn rows_and_cas_that_a_group_has_no_place_for_are_told() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    issue(&station, "pki", &["pump-1", "pump-2"])?;
    let apply = |batch: &str, more: &[&str]| {
        let args = [&["apply", batch, "--dps", "--group", "factory"], more].concat();
        station.provision_dps(&hub, &args, 2)
    };
    let rows = "device_id,auth,status,edge\npump-1,sas,,\npump-2,x509_ca,disabled,\n";
    station.write("rows.csv", rows)?;
    let refused = apply("rows.csv", &["--group-ca", "pki/issuing.pem"])?;
    ensure!(refused.stderr.contains("none with symmetric keys"), "{}", refused.stderr);
    ensure!(refused.stderr.contains("an enrolment group lets all its devices in"), "{}", refused.stderr);
    station.write("mixed.csv", "device_id,auth,edge\npump-1,x509_ca,true\npump-2,x509_ca,\n")?;
    let mixed = apply("mixed.csv", &["--group-ca", "pki/issuing.pem"])?;
    ensure!(mixed.stderr.contains("1 of 2 devices of the batch have `edge`"), "{}", mixed.stderr);
    let unnamed = apply("mixed.csv", &[])?;
    ensure!(unnamed.stderr.contains("no CA for the enrolment group is named"), "{}", unnamed.stderr);

    let twins = apply("issued/issued.csv", &["--twin", "merge"])?;
    ensure!(twins.stderr.contains("cannot be used with"), "a group has no twins of rows: {}", twins.stderr);

    // The certificate of another CA does not lead to the group's.
    station.run("cert-tool", ["ca", "init", "other", "--name", "Other"])?.expect_code(0)?;
    let foreign = apply("issued/issued.csv", &["--group-ca", "other/issuing.pem"])?;
    ensure!(
        foreign.stderr.contains("it does not lead to the CA of the enrolment group"),
        "{}",
        foreign.stderr
    );
    // Nor does one of a CA with the same name and a different key.
    station.run("cert-tool", ["ca", "init", "twin"])?.expect_code(0)?;
    let twin = apply("issued/issued.csv", &["--group-ca", "twin/issuing.pem"])?;
    ensure!(
        twin.stderr.contains("a CA of the same name with a different key has signed it"),
        "{}",
        twin.stderr
    );
    station.write("new.csv", "device_id\npump-3\n")?;
    for group_ca in ["twin/issuing.pem", "other/root.pem"] {
        let issued = apply("new.csv", &["--issue", "pki", "--group-ca", group_ca])?;
        let told =
            format!("the CA in `pki` is neither the CA of the enrolment group, `{group_ca}`, nor below it");
        ensure!(issued.stderr.contains(&told), "{}", issued.stderr);
    }
    ensure!(hub.requests()?.is_empty(), "nothing was sent");
    // The root above the CA will do.
    let args =
        ["apply", "new.csv", "--dps", "--group", "factory", "--issue", "pki", "--group-ca", "pki/root.pem"];
    station.provision_dps(&hub, &args, 0)?;
    Ok(())
}

#[test]
fn settings_that_no_row_has_are_written_compared_and_kept() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", "device_id,auth,edge\npump-1,sas,true\n")?;
    station.write("function.secret", "https://allocate.example/api?code=very-secret\n")?;
    let settings =
        ["--reprovision", "reset", "--allocation", "custom", "--iot-hub", "a.example", "--iot-hub"];
    let settings = [&settings[..], &["b.example", "--webhook-file", "function.secret"]].concat();
    let apply = |more: &[&str], code: i32| {
        let args = [&["apply", "pumps.csv", "--dps", "--format", "json"], more].concat();
        station.provision_dps(&hub, &args, code)?.json()
    };
    let applied = apply(&settings, 0)?;
    ensure!(applied["totals"]["created"] == 1 && applied["verified"]["equal"] == 1, "{applied}");
    let entry = hub.enrollment("pump-1")?;
    let policy = json!({"updateHubAssignment": true, "migrateDeviceData": false});
    ensure!(entry["reprovisionPolicy"] == policy && entry["allocationPolicy"] == "custom", "{entry}");
    ensure!(entry["iotHubs"] == json!(["a.example", "b.example"]), "{entry}");
    ensure!(entry["capabilities"]["iotEdge"] == true && entry["provisioningStatus"] == "enabled", "{entry}");
    let url = &entry["customAllocationDefinition"]["webhookUrl"];
    ensure!(url == "https://allocate.example/api?code=very-secret", "{entry}");

    // Without options the settings are kept; others are a conflict, which shows no key.
    ensure!(apply(&[], 0)?["totals"]["unchanged"] == 1);
    let conflict = ["apply", "pumps.csv", "--dps", "--reprovision", "never", "--allocation", "hashed"];
    let conflict = station.provision_dps(&hub, &conflict, 1)?;
    ensure!(conflict.stdout.contains("reprovision: batch has"), "{}", conflict.stdout);
    ensure!(conflict.stdout.contains("allocation: batch has \"hashed\""), "{}", conflict.stdout);
    ensure!(!format!("{conflict:?}").contains("very-secret"), "{conflict:?}");
    let changed = apply(&["--allocation", "hashed", "--mode", "upsert"], 0)?;
    ensure!(changed["totals"]["updated"] == 1, "{changed}");
    let entry = hub.enrollment("pump-1")?;
    ensure!(entry["customAllocationDefinition"].is_null() && entry["reprovisionPolicy"] == policy, "{entry}");
    let ledger = std::fs::read(station.path("provisioner.ledger"))?;
    ensure!(!ledger.windows(11).any(|part| part == b"very-secret"), "the ledger holds the key");
    let missing = ["apply", "pumps.csv", "--dps", "--allocation", "custom"];
    let missing = station.provision_dps(&hub, &missing, 2)?;
    ensure!(missing.stderr.contains("needs the address of its function"), "{}", missing.stderr);
    Ok(())
}

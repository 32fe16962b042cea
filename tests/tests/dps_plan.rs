//! Plans for a DPS, and runs that carry them out.

use anyhow::{Context, Result, ensure};
use e2e::{ServedHub, Station};
use serde_json::Value;

/// Three pumps with keys, of which one has a module.
fn pumps(interval: u32) -> String {
    let row = |id: &str, module: &str| format!("{id},{module},sas,{interval}\n");
    let rows = [("pump-1", ""), ("pump-1", "valve"), ("pump-2", ""), ("pump-3", "")];
    let rows: String = rows.iter().map(|(id, module)| row(id, module)).collect();
    format!("device_id,module_id,auth,desired.interval\n{rows}")
}

fn row<'p>(plan: &'p Value, identity: &str) -> Result<&'p Value> {
    let rows = plan["rows"].as_array().context("a plan has rows")?;
    rows.iter().find(|row| row["identity"] == identity).with_context(|| format!("no {identity} in {plan}"))
}

#[test]
fn a_plan_tells_what_an_apply_does_with_the_enrolments_of_a_dps() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", &pumps(60))?;
    let plan = |args: &[&str], code: i32| -> Result<Value> {
        let args = [&["plan", "--dps", "--format", "json"], args].concat();
        station.provision_dps(&hub, &args, code)?.json()
    };
    let planned = plan(&["pumps.csv"], 0)?;
    ensure!(planned["create"] == 3 && planned["wait"] == 1, "{planned}");
    ensure!(planned["dps"] == hub.dps_host()? && planned["hub"].is_null(), "{planned}");
    // One call writes all of them, and each is read back.
    ensure!(planned["operations"]["enrolment"]["count"] == 4, "{planned}");
    ensure!(planned["tier"].is_null() && hub.count_requests("BulkEnrollments")? == 0, "{planned}");
    let text = station.provision_dps(&hub, &["plan", "pumps.csv", "--dps"], 0)?;
    ensure!(text.stdout.contains("1 to wait for the registration of their device"), "{}", text.stdout);
    ensure!(text.stdout.contains("at the rate of a DPS"), "{}", text.stdout);
    ensure!(text.stdout.ends_with("TEST DPS: nothing of this is on a DPS of Azure\n"), "{}", text.stdout);

    station.provision_dps(&hub, &["apply", "pumps.csv", "--dps"], 0)?;
    let same = plan(&["pumps.csv"], 0)?;
    ensure!(same["keep"] == 3 && same["rows"].as_array().is_some_and(Vec::is_empty), "{same}");
    station.write("faster.csv", &pumps(30))?;
    let conflict = plan(&["faster.csv"], 1)?;
    ensure!(conflict["conflict"] == 3 && conflict["refuse"] == 1, "{conflict}");
    ensure!(row(&conflict, "pump-2")?["differences"][0]["path"] == "desired.interval", "{conflict}");
    ensure!(row(&conflict, "pump-1/valve")?["action"] == "refuse", "{conflict}");
    let update = plan(&["faster.csv", "--mode", "upsert"], 0)?;
    ensure!(update["update"] == 3 && update["wait"] == 1, "{update}");
    let refused = station.provision_dps(&hub, &["plan", "pumps.csv", "--dps", "--quarantine"], 2)?;
    ensure!(refused.stderr.contains("a quarantine can't be planned for a DPS"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn rows_that_cant_become_enrolments_are_told_one_by_one_by_a_plan() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    let thumbprint = "AB".repeat(32);
    let batch = format!(
        "device_id,auth,primary_thumbprint\npump-1,,{thumbprint}\npump#2,sas,\npump-3,sas,\npump-4,x509_ca,\n"
    );
    station.write("pumps.csv", &batch)?;
    let refused = station.provision_dps(&hub, &["plan", "pumps.csv", "--dps"], 2)?;
    for told in [
        "pumps.csv:2: column primary_thumbprint: an enrolment holds the certificate itself",
        "pumps.csv:3: column device_id: \"pump#2\": a DPS refuses it",
        "pumps.csv:5: column auth: an enrolment of one device holds its certificate",
    ] {
        ensure!(refused.stderr.contains(told), "{told}: {}", refused.stderr);
    }
    let skip = ["plan", "pumps.csv", "--dps", "--skip-bad-rows", "--format", "json"];
    let planned = station.provision_dps(&hub, &skip, 1)?.json()?;
    ensure!(planned["create"] == 1 && planned["rejected"] == 3, "{planned}");
    Ok(())
}

#[test]
fn a_plan_file_is_carried_out_on_its_dps_only_and_only_on_what_was_seen() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("old.csv", "device_id,auth,desired.interval\npump-2,sas,10\n")?;
    station.provision_dps(&hub, &["apply", "old.csv", "--dps"], 0)?;
    station.write("pumps.csv", &pumps(60))?;
    let make = ["plan", "pumps.csv", "--dps", "--mode", "upsert", "--output", "pumps.plan"];
    let made = station.provision_dps(&hub, &make, 0)?;
    ensure!(
        made.stderr.contains("plan: pumps.plan (`provisioner apply pumps.plan --dps`)"),
        "{}",
        made.stderr
    );
    let on_hub = station.provision(&hub, ["apply", "pumps.plan"])?.expect_code(2)?;
    let message = format!("the plan is for the DPS {}, not for the hub", hub.dps_host()?);
    ensure!(on_hub.stderr.contains(&message), "{}", on_hub.stderr);
    ensure!(on_hub.stderr.contains("nothing was sent"), "{}", on_hub.stderr);

    // Somebody changes one enrolment and creates another after the plan.
    station.write("others.csv", "device_id,auth,desired.interval\npump-2,sas,20\npump-3,sas,60\n")?;
    station.provision_dps(&hub, &["apply", "others.csv", "--dps", "--mode", "upsert"], 0)?;
    let apply = ["apply", "pumps.plan", "--dps", "--format", "json"];
    let applied = station.provision_dps(&hub, &apply, 1)?.json()?;
    let totals = &applied["totals"];
    ensure!(totals["created"] == 1 && totals["waiting"] == 1 && totals["failed"] == 2, "{applied}");
    let left = hub.enrollment("pump-2")?;
    ensure!(left["initialTwin"]["properties"]["desired"]["interval"] == 20, "{left}");

    // A plan for a hub is not carried out on a DPS.
    let of_hub = ["plan", "pumps.csv", "--output", "hub.plan"];
    station.provision(&hub, of_hub)?.expect_code(0)?;
    let refused = station.provision_dps(&hub, &["apply", "hub.plan", "--dps"], 2)?;
    ensure!(refused.stderr.contains("the plan is for the hub"), "{}", refused.stderr);
    Ok(())
}

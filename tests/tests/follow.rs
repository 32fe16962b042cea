//! Devices register, and `follow` gives them their twins and modules: by the built binaries and a
//! local DPS.

#![expect(clippy::indexing_slicing, reason = "a JSON document yields null for what it lacks")]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use e2e::{DATABASE_PASSWORD, Database, Ended, Registrant, ServedHub, Station, Terminal, signal, wait_until};
use hub_types::symmetric_key::SymmetricKey;
use serde_json::{Value, json};

const PUMPS: usize = 12;
const MODULES: [&str; 2] = ["m1", "m2"];

fn key(pump: usize) -> SymmetricKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&pump.to_be_bytes());
    SymmetricKey::from_bytes(&bytes)
}

fn id(pump: usize) -> String {
    format!("pump-{pump:04}")
}

/// Pumps with symmetric keys of their own, two modules each, and twins.
fn batch(pumps: usize) -> String {
    let mut batch =
        "device_id,module_id,auth,primary_key,secondary_key,tags.line,desired.interval\n".to_owned();
    for pump in 0..pumps {
        let (id, key) = (id(pump), key(pump));
        let key = key.expose_text();
        batch += &format!("{id},,sas,{key},{key},L{},{pump}\n", pump % 3);
        for module in MODULES {
            batch += &format!("{id},{module},sas,,,L{},30\n", pump % 3);
        }
    }
    batch
}

/// A row of the batch without its keys.
fn without_keys(row: &str) -> String {
    let cells: Vec<&str> = row.split(',').collect();
    match cells.as_slice() {
        ["device_id", ..] => row.to_owned(),
        [device, module, auth, _, _, rest @ ..] => {
            format!("{device},{module},{auth},,,{}", rest.join(","))
        }
        _ => row.to_owned(),
    }
}

fn follow(station: &Station, hub: &ServedHub, args: &[&str], code: i32) -> Result<Ended> {
    Ended::of(station.provisioner_beside_dps(hub)?.args(args).output()?)?.expect_code(code)
}

fn json(ended: &Ended) -> Result<Value> {
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// Each device and module of these pumps is on the hub, once, with its twin.
fn check_units(hub: &ServedHub, pumps: impl Iterator<Item = usize>) -> Result<()> {
    for pump in pumps {
        let id = id(pump);
        let twin = hub.twin(&id)?;
        ensure!(twin["properties"]["desired"]["interval"] == pump, "{twin}");
        let modules = hub.get(&format!("/devices/{id}/modules"))?;
        let modules = modules.as_array().context("a list of modules")?;
        let names: Vec<_> = modules.iter().map(|module| module["moduleId"].clone()).collect();
        ensure!(names == MODULES, "{id}: {names:?}");
        for module in MODULES {
            let twin = hub.twin(&format!("{id}/modules/{module}"))?;
            ensure!(twin["properties"]["desired"]["interval"] == 30, "{twin}");
            ensure!(twin["tags"]["line"] == format!("L{}", pump % 3), "{twin}");
        }
    }
    Ok(())
}

#[test]
fn each_device_of_a_run_on_a_dps_gets_its_modules_when_it_has_registered() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", &batch(PUMPS))?;
    follow(&station, &hub, &["apply", "pumps.csv", "--dps"], 0)?;
    let devices = Registrant::new(&hub)?;
    for pump in 0..4 {
        devices.register_by_key(&id(pump), &key(pump))?;
    }
    let args = ["follow", "1", "--dps", "--interval", "1s"];
    let stopped = follow(&station, &hub, &[&args[..], &["--until", "3s"]].concat(), 4)?;
    ensure!(stopped.stderr.contains("registered: 4 devices; 8 waited for"), "{}", stopped.stderr);
    ensure!(
        stopped.stderr.contains("stopped; `provisioner follow 2 --dps` does the rest"),
        "{}",
        stopped.stderr
    );
    ensure!(stopped.stdout.contains("24 waiting"), "{}", stopped.stdout);
    ensure!(
        stopped.stdout.contains("8 created") && stopped.stdout.contains("4 unchanged"),
        "{}",
        stopped.stdout
    );
    check_units(&hub, 0..4)?;

    // Only `follow` continues it, and with the same DPS.
    let refused = follow(&station, &hub, &["resume", "2"], 2)?;
    ensure!(refused.stderr.contains("`provisioner follow 2 --dps` continues it"), "{}", refused.stderr);
    let refused = follow(&station, &hub, &["follow", "2"], 2)?;
    ensure!(refused.stderr.contains("run 2 follows the DPS localhost:"), "{}", refused.stderr);

    for pump in 4..PUMPS {
        devices.register_by_key(&id(pump), &key(pump))?;
    }
    let args = ["follow", "2", "--dps", "--format", "json"];
    let outcome = json(&follow(&station, &hub, &args, 0)?)?;
    let totals = &outcome["totals"];
    ensure!(totals["created"] == 2 * PUMPS && totals["unchanged"] == PUMPS, "{outcome}");
    ensure!(outcome["verified"]["equal"] == 3 * PUMPS, "{outcome}");
    check_units(&hub, 0..PUMPS)?;
    let again = follow(&station, &hub, &args, 0)?;
    ensure!(again.stderr.contains("run 2 is finished"), "{}", again.stderr);
    ensure!(json(&again)?["totals"] == *totals, "{}", again.stdout);

    // The modules are the work of this run, the devices are not.
    let undone = json(&follow(&station, &hub, &["undo", "2", "--format", "json"], 0)?)?;
    ensure!(undone["totals"]["deleted"] == 2 * PUMPS, "{undone}");
    ensure!(hub.get("/statistics/devices")?["totalDeviceCount"] == PUMPS);
    Ok(())
}

#[test]
fn without_a_dps_the_hub_is_watched_and_no_device_is_created() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("pumps.csv", &batch(PUMPS))?;
    let args = ["follow", "pumps.csv", "--interval", "1s", "--until", "2s", "--format", "json"];
    let outcome = json(&station.provision(&hub, args)?.expect_code(4)?)?;
    ensure!(outcome["totals"]["waiting"] == 3 * PUMPS && outcome["state"] == "interrupted", "{outcome}");
    ensure!(hub.get("/statistics/devices")?["totalDeviceCount"] == 0);

    let devices: Vec<String> = batch(PUMPS)
        .lines()
        .filter(|line| !line.contains(",m1,") && !line.contains(",m2,"))
        .map(str::to_owned)
        .collect();
    station.write("devices.csv", &devices.join("\n"))?;
    station.provision(&hub, ["apply", "devices.csv"])?.expect_code(0)?;
    let outcome = json(&station.provision(&hub, ["follow", "1", "--format", "json"])?.expect_code(0)?)?;
    ensure!(
        outcome["totals"]["created"] == 2 * PUMPS && outcome["totals"]["unchanged"] == PUMPS,
        "{outcome}"
    );
    check_units(&hub, 0..PUMPS)?;
    let refused = station.provision(&hub, ["follow", "2"])?.expect_code(2)?;
    ensure!(refused.stderr.contains("run 2 has created its devices itself"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn a_dps_needs_a_hub_of_its_own() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", &batch(1))?;
    let mut command = station.provisioner_beside_dps(&hub)?;
    command.env_remove("IOTHUB_CONNECTION_STRING").args(["follow", "pumps.csv", "--dps"]);
    let refused = Ended::of(command.output()?)?.expect_code(2)?;
    ensure!(refused.stderr.contains("no hub is configured here"), "{}", refused.stderr);
    ensure!(!station.path(".local-hub").exists());
    Ok(())
}

#[test]
fn it_is_stopped_by_ctrl_c_while_it_waits() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", &batch(2))?;
    follow(&station, &hub, &["apply", "pumps.csv", "--dps"], 0)?;
    Registrant::new(&hub)?.register_by_key(&id(1), &key(1))?;
    let mut terminal = Terminal::start(station.provisioner_beside_dps(&hub)?.args([
        "follow",
        "1",
        "--dps",
        "--interval",
        "1h",
    ]))?;
    terminal.wait_for("registered: 1 device; 1 waited for")?;
    wait_until("the modules are there", || {
        Ok(hub.get(&format!("/devices/{}/modules", id(1)))?.as_array().is_some_and(|all| all.len() == 2))
    })?;
    terminal.interrupt()?;
    let (code, screen) = terminal.end()?;
    ensure!(code == 4, "exit code {code}\n{screen}");
    ensure!(screen.contains("`provisioner follow 2 --dps` does the rest"), "{screen}");
    Ok(())
}

#[test]
fn stations_follow_one_run_and_one_that_dies_is_replaced() -> Result<()> {
    let pumps = 60;
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    let database = Database::start()?;
    database.create("units")?;
    station.write("pumps.csv", &batch(pumps))?;
    let command = |args: &[&str]| -> Result<_> {
        let mut command = station.provisioner_beside_dps(&hub)?;
        command.args(args).args(["--ledger", &database.url("units"), "--lease", "2"]);
        command.env("PGPASSWORD", DATABASE_PASSWORD);
        Ok(command)
    };
    Ended::of(command(&["apply", "pumps.csv", "--dps"])?.output()?)?.expect_code(0)?;
    let devices = Registrant::new(&hub)?;
    let waiting = |most: i64| -> Result<bool> {
        let sql = "SELECT count(*) FROM provisioner.row WHERE run = 2 AND state = 'waiting'";
        Ok(database.sql("units", sql)?.parse::<i64>()? <= most)
    };
    let follow = ["follow", "1", "--dps", "--interval", "1s"];
    let first = command(&follow)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    for pump in 0..20 {
        devices.register_by_key(&id(pump), &key(pump))?;
    }
    wait_until("the run is begun and has rows", || {
        let sql = "SELECT count(*) FROM provisioner.row WHERE run = 2";
        Ok(database.sql("units", sql)?.parse::<usize>()? == 3 * pumps)
    })?;
    wait_until("the first devices have woken their rows", || waiting(3 * 40))?;
    // It sleeps, perhaps with chunks in hand, and the others do all.
    signal(&first, "STOP")?;
    let join = ["follow", "2", "--dps", "--interval", "1s", "--no-verify"];
    let mut doomed = command(&join)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let second = command(&join)?.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    for pump in 20..40 {
        devices.register_by_key(&id(pump), &key(pump))?;
    }
    wait_until("more rows are woken", || waiting(3 * 20))?;
    doomed.kill()?;
    doomed.wait()?;
    for pump in 40..pumps {
        devices.register_by_key(&id(pump), &key(pump))?;
    }
    let ended = Ended::of(second.wait_with_output()?)?.expect_code(0)?;
    signal(&first, "CONT")?;
    Ended::of(first.wait_with_output()?)?.expect_code(0)?;
    let created = format!("{} rows = {} created", 3 * pumps, 2 * pumps);
    ensure!(ended.stdout.contains(&created), "{}", ended.stdout);
    check_units(&hub, 0..pumps)?;
    let created: u64 = hub.requests()?.iter().map(|request| request.created()).sum();
    // Those of the devices are the work of the DPS.
    ensure!(created == (pumps + 2 * pumps) as u64, "{created} creations of enrolments and modules");
    Ok(())
}

/// The address that a `follow` listens at for allocations. It never tells its key.
fn allocation_url(lines: &mut impl Iterator<Item = std::io::Result<String>>, secret: &str) -> Result<String> {
    loop {
        let line = lines.next().context("it ended before it listened")??;
        ensure!(!line.contains(secret), "{line}");
        if let Some((_, rest)) = line.split_once("custom allocation: ") {
            return Ok(rest.split('?').next().unwrap_or_default().to_owned());
        }
    }
}

#[test]
fn allocations_are_answered_over_tls_to_whoever_has_the_key() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    station.write("pumps.csv", &batch(1))?;
    let secret = "0123456789abcdef0123456789abcdef";
    station.write("allocation.key", secret)?;
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    station.write("server.pem", &certified.cert.pem())?;
    let key = station.write("server.key", &certified.signing_key.serialize_pem())?;
    #[cfg(unix)]
    std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let mut command = station.provisioner_beside_dps(&hub)?;
    command.args(["follow", "pumps.csv", "--dps", "--interval", "1s", "--listen", "127.0.0.1:0"]);
    command.args(["--listen-key-file", "allocation.key", "--listen-certificate", "server.pem"]);
    command.args(["--listen-private-key", "server.key"]);
    let mut following = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(following.stderr.take().context("stderr")?).lines();
    let url = allocation_url(&mut lines, secret)?.replace("127.0.0.1", "localhost");
    ensure!(url.starts_with("https://"), "{url}");
    let root = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes())?;
    #[expect(clippy::disallowed_methods, reason = "it follows no redirects")]
    let client = reqwest::blocking::Client::builder()
        .tls_certs_only([root])
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let status = |url: &str| -> Result<u16> { Ok(client.post(url).body("{}").send()?.status().as_u16()) };
    ensure!(status(&format!("{url}?code=wrong"))? == 401 && status(&url)? == 401);
    ensure!(status(&format!("{url}?code={secret}"))? == 400, "the request names no device");
    // Who speaks no TLS gets no answer.
    let plain = url.replace("https://", "http://");
    ensure!(client.post(format!("{plain}?code={secret}")).body("{}").send().is_err());
    following.kill()?;
    following.wait()?;
    Ok(())
}

#[test]
fn devices_of_a_group_get_twins_of_their_own_by_custom_allocation() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_free_dps(&station, &[])?;
    // Their keys follow from that of the group.
    let rows: Vec<String> = batch(3).lines().map(without_keys).collect();
    station.write("pumps.csv", &rows.join("\n"))?;
    let secret = "0123456789abcdef0123456789abcdef";
    station.write("allocation.key", secret)?;
    let mut command = station.provisioner_beside_dps(&hub)?;
    command.args(["follow", "pumps.csv", "--dps", "--interval", "1s", "--format", "json"]);
    command.args(["--listen", "127.0.0.1:0", "--listen-key-file", "allocation.key"]);
    let mut following = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(following.stderr.take().context("stderr")?).lines();
    let url = allocation_url(&mut lines, secret)?;
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));

    let devices = Registrant::new(&hub)?;
    let group_key = key(99);
    let group = |id: &str, code: &str| {
        json!({
            "enrollmentGroupId": id,
            "attestation": {"type": "symmetricKey", "symmetricKey": {
                "primaryKey": group_key.expose_text(), "secondaryKey": key(98).expose_text()}},
            "allocationPolicy": "custom",
            "customAllocationDefinition": {
                "webhookUrl": format!("{url}?code={code}"), "apiVersion": "2019-03-31"},
        })
    };
    // With a wrong key nobody is assigned.
    devices.service(reqwest::Method::PUT, "/enrollmentGroups/pumps", &group("pumps", "wrong"))?;
    let derived = |pump: usize| -> Result<_> {
        Ok(hub_types::dps::device_token::device_key(&group_key, &id(pump).parse()?))
    };
    devices.register_by_key(&id(0), &derived(0)?)?;
    let state = |pump: usize| -> Result<Value> {
        devices.service(reqwest::Method::GET, &format!("/registrations/{}", id(pump)), &Value::Null)
    };
    wait_until(
        "the registration has failed",
        || Ok(state(0).is_ok_and(|state| state["status"] == "failed")),
    )?;
    ensure!(state(0)?["errorCode"] == 400_207, "{}", state(0)?);
    devices.service(reqwest::Method::DELETE, "/enrollmentGroups/pumps", &Value::Null)?;

    devices.service(reqwest::Method::PUT, "/enrollmentGroups/pumps", &group("pumps", secret))?;
    for pump in 0..4 {
        devices.register_by_key(&id(pump), &derived(pump)?)?;
    }
    // The fourth is not in the batch.
    wait_until("it is refused", || Ok(state(3).is_ok_and(|state| state["status"] == "failed")))?;
    let text = state(3)?["errorMessage"].to_string();
    ensure!(text.contains("404"), "{text}");
    for pump in 0..3 {
        wait_until("it is assigned", || Ok(state(pump).is_ok_and(|state| state["status"] == "assigned")))?;
        let twin = hub.twin(&id(pump))?;
        ensure!(twin["properties"]["desired"]["interval"] == pump, "{twin}");
        ensure!(twin["tags"]["line"] == format!("L{}", pump % 3), "{twin}");
    }
    let ended = Ended::of(following.wait_with_output()?)?;
    let notes = rest.join().unwrap_or_default();
    ensure!(ended.code == Some(0), "{ended:?}\n{notes}");
    ensure!(json(&ended)?["totals"]["created"] == 6, "{ended:?}");
    check_units(&hub, 0..3)
}

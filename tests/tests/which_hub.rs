//! The hub of a command is always unambiguous, and a test hub is always marked as one.

use anyhow::{Result, ensure};
use e2e::{Ended, ServedHub, Station, TEST_HUB};
use serde_json::Value;

const BATCH: &str = "device_id,auth\nd1,x509_ca\nd2,x509_ca\n";

fn station() -> Result<Station> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    Ok(station)
}

/// Checks that no work was begun: there is no hub, no CA and no ledger.
fn ensure_untouched(station: &Station) -> Result<()> {
    for name in [".local-hub", "pki", "provisioner.ledger"] {
        ensure!(!station.path(name).exists(), "{name} was made");
    }
    Ok(())
}

#[test]
fn an_empty_connection_string_is_refused_by_every_verb_that_calls_a_hub() -> Result<()> {
    let station = station()?;
    let verbs: [&[&str]; 9] = [
        &["apply", "batch.csv", "--issue", "pki"],
        &["plan", "batch.csv"],
        &["verify", "batch.csv"],
        &["retire", "batch.csv"],
        &["rotate", "batch.csv"],
        &["export"],
        &["doctor"],
        &["device", "show", "--device-id", "d1"],
        &["twin", "show", "--device-id", "d1"],
    ];
    for args in verbs {
        let mut command = station.command("provisioner")?;
        let ended =
            Ended::of(command.args(args).env("IOTHUB_CONNECTION_STRING", "").output()?)?.expect_code(2)?;
        ensure!(
            ended.stderr.contains("IOTHUB_CONNECTION_STRING is set but empty"),
            "{args:?}: {}",
            ended.stderr
        );
        ensure!(ended.stderr.contains("`--local`"), "{args:?}: {}", ended.stderr);
        ensure_untouched(&station)?;
    }
    Ok(())
}

#[test]
fn a_file_that_lists_hubs_asks_for_a_name() -> Result<()> {
    let station = station()?;
    station.write("provisioner.toml", "[hubs.line-3]\nconnection_string_file = 'line-3.secret'\n")?;
    let ended = station.run("provisioner", ["apply", "batch.csv", "--issue", "pki"])?.expect_code(2)?;
    ensure!(ended.stderr.contains("lists `line-3`, and none was named"), "{}", ended.stderr);
    ensure!(ended.stderr.contains("name one with `--hub NAME`"), "{}", ended.stderr);
    ensure_untouched(&station)?;
    station.run("provisioner", ["apply", "batch.csv", "--local"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn each_result_as_json_names_hub_ledger_and_input() -> Result<()> {
    let station = station()?;
    let json = |args: &[&str]| -> Result<Value> {
        let ended = station.run("provisioner", [args, &["--format", "json"]].concat())?;
        Ok(serde_json::from_str(&ended.stdout)?)
    };
    let folder = station.path(".local-hub").to_string_lossy().into_owned();
    let results = [
        json(&["apply", "batch.csv"])?,
        json(&["plan", "batch.csv"])?,
        json(&["verify", "batch.csv"])?,
        json(&["report"])?,
        json(&["status"])?,
        json(&["undo", "1", "--dry-run"])?,
        json(&["retire", "batch.csv", "--dry-run"])?,
        json(&["resume"])?,
    ];
    for result in &results {
        ensure!(result["test_hub"] == true && result["hub"] == folder.as_str(), "{result}");
        ensure!(result["input"] == "batch.csv", "{result}");
        ensure!(result.get("ledger").is_some(), "{result}");
    }
    ensure!(results[0]["ledger"] == "provisioner.ledger", "{}", results[0]);
    let check = json(&["check", "batch.csv"])?;
    ensure!(check["hub"].is_null() && check["test_hub"] == false && check["input"] == "batch.csv", "{check}");
    let runs = json(&["runs"])?;
    ensure!(runs[0]["test_hub"] == true, "{runs}");
    Ok(())
}

#[test]
fn text_ends_with_the_test_hub_and_audit_pack_and_page_name_it() -> Result<()> {
    let station = station()?;
    let verbs: [&[&str]; 6] = [
        &["apply", "batch.csv"],
        &["plan", "batch.csv"],
        &["verify", "batch.csv"],
        &["report"],
        &["status"],
        &["undo", "1", "--dry-run"],
    ];
    for args in verbs {
        let ended = station.run("provisioner", args)?;
        ensure!(ended.stdout.ends_with(TEST_HUB), "{args:?}: {}", ended.stdout);
    }
    // The hub's own documents are data; the word is for people.
    let shown = station.run("provisioner", ["twin", "show", "--device-id", "d1"])?.expect_code(0)?;
    ensure!(!shown.stdout.contains("TEST HUB") && shown.stderr.ends_with(TEST_HUB), "{}", shown.stderr);
    let pack = station.run("provisioner", ["audit"])?.expect_code(0)?.stdout;
    ensure!(pack.lines().next().is_some_and(|run| run.contains("\"test_hub\":true")), "{pack}");
    Ok(())
}

#[test]
fn a_hub_on_this_machine_is_a_test_hub_too() -> Result<()> {
    let station = station()?;
    let hub = ServedHub::start(&station, "hub")?;
    let ended = station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    ensure!(ended.stdout.ends_with(TEST_HUB), "{}", ended.stdout);
    Ok(())
}

/// A name of `/etc/hosts` that leads to this machine and does not say so, if there is one.
fn name_of_this_machine() -> Result<String> {
    let hosts = std::fs::read_to_string("/etc/hosts")?;
    let names = hosts.lines().filter_map(|line| line.strip_prefix("127.0.0.1"));
    let name = names.flat_map(str::split_whitespace).find(|name| *name != "localhost");
    Ok(name.unwrap_or("localhost").to_owned())
}

#[test]
fn a_hub_whose_host_resolves_to_this_machine_is_a_test_hub_for_every_verb() -> Result<()> {
    let station = station()?;
    let address = "127.0.0.1:0";
    let name = name_of_this_machine()?;
    let args = ["--https", address, "--mqtt", address, "--host-name", &name];
    let hub = ServedHub::start_with(&station, "hub", &args)?;
    ensure!(hub.connection_string().contains(&format!("HostName={name}:")), "the hub has a different name");
    let verbs: [&[&str]; 7] = [
        &["apply", "batch.csv"],
        &["plan", "batch.csv"],
        &["verify", "batch.csv"],
        &["undo", "1", "--dry-run"],
        &["resume"],
        &["report"],
        &["status"],
    ];
    for args in verbs {
        let text = station.provision(&hub, args)?.stdout;
        ensure!(text.ends_with(TEST_HUB), "{args:?}: {text}");
        let json = station.provision(&hub, [args, &["--format", "json"]].concat())?.stdout;
        ensure!(serde_json::from_str::<Value>(&json)?["test_hub"] == true, "{args:?}: {json}");
    }
    let runs: Value =
        serde_json::from_str(&station.run("provisioner", ["runs", "--format", "json"])?.stdout)?;
    ensure!(runs[0]["test_hub"] == true, "{runs}");
    let shown = station.provision(&hub, ["twin", "show", "--device-id", "d1"])?.expect_code(0)?;
    ensure!(shown.stderr.ends_with(TEST_HUB), "{}", shown.stderr);
    let pack = station.run("provisioner", ["audit"])?.expect_code(0)?.stdout;
    ensure!(pack.contains("\"test_hub\":true"), "{pack}");
    Ok(())
}

#[test]
fn a_secret_among_the_arguments_is_refused_and_not_repeated() -> Result<()> {
    let station = station()?;
    let secret = "HostName=h.example;SharedAccessKeyName=o;SharedAccessKey=aHVudGVyMg==";
    for option in ["--hub", "--host", "--local", "--ledger", "--issue"] {
        let ended = station.run("provisioner", ["apply", "batch.csv", option, secret])?.expect_code(2)?;
        ensure!(ended.stderr.contains("argument 4 holds a secret"), "{}", ended.stderr);
        ensure!(!format!("{}{}", ended.stdout, ended.stderr).contains("aHVudGVyMg"), "{}", ended.stderr);
    }
    // A bare symmetric key, in a text that would be stored and sent.
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    for reason in [key.to_owned(), format!("broken, {key}"), format!("--reason={key}")] {
        let args = ["retire", "batch.csv", "--reason", &reason];
        let ended = station.run("provisioner", args)?.expect_code(2)?;
        ensure!(ended.stderr.contains("argument 4 holds a secret"), "{}", ended.stderr);
        ensure!(!ended.text().contains("QUJDREVGR0hJ"), "{}", ended.stderr);
    }
    ensure_untouched(&station)
}

#[cfg(unix)]
#[test]
fn a_secret_that_others_can_read_is_warned_of_once_with_the_remedy() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let station = station()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("line.secret", hub.connection_string())?;
    let config = "[hubs.line]\nconnection_string_file = 'line.secret'\nca_file = 'hub/ca.pem'\n";
    station.write("provisioner.toml", config)?;
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    station.write("key.secret", key)?;
    let create = ["device", "create", "-d", "k", "--hub", "line"];
    let keys = ["--primary-key-file", "key.secret", "--secondary-key-file", "key.secret"];
    let apply = || station.run("provisioner", ["apply", "batch.csv", "--hub", "line"]);
    let warning = |file: &str| format!("can read it; run `chmod 600 {file}`");
    for (mode, times) in [(0o644, 1), (0o640, 1), (0o600, 0)] {
        for file in ["line.secret", "key.secret"] {
            std::fs::set_permissions(station.path(file), std::fs::Permissions::from_mode(mode))?;
        }
        let ended = apply()?.expect_code(0)?;
        ensure!(ended.stderr.matches(&warning("./line.secret")).count() == times, "{}", ended.stderr);
    }
    std::fs::set_permissions(station.path("key.secret"), std::fs::Permissions::from_mode(0o644))?;
    let created = station.run("provisioner", [&create[..], &keys].concat())?.expect_code(0)?;
    ensure!(created.stderr.matches(&warning("key.secret")).count() == 1, "{}", created.stderr);
    ensure!(!created.stderr.contains(&warning("./line.secret")), "{}", created.stderr);
    ensure!(!created.stderr.contains(key), "{}", created.stderr);
    Ok(())
}

#[test]
fn a_secret_in_the_configuration_is_refused_and_not_repeated() -> Result<()> {
    let station = station()?;
    let secret = "HostName=h.example;SharedAccessKeyName=o;SharedAccessKey=aHVudGVyMg==";
    for key in ["connection_string", "connection_string_file", "host"] {
        station.write("provisioner.toml", &format!("[hubs.line]\n{key} = '{secret}'\n"))?;
        let ended = station.run("provisioner", ["doctor", "--hub", "line"])?.expect_code(2)?;
        ensure!(ended.stderr.contains("line 2, column 1: this line holds a secret"), "{}", ended.stderr);
        ensure!(!ended.stderr.contains("aHVudGVyMg"), "{}", ended.stderr);
    }
    let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=";
    station.write("provisioner.toml", &format!("[hubs.line]\nprimary_key = '{key}'\n"))?;
    let ended = station.run("provisioner", ["doctor", "--hub", "line"])?.expect_code(2)?;
    ensure!(ended.stderr.contains("line 2, column 1: this line holds a secret"), "{}", ended.stderr);
    ensure!(!ended.stderr.contains("QUJDREVGR0hJ"), "{}", ended.stderr);
    Ok(())
}

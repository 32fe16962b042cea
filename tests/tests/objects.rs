//! One device, one module, one twin: the verbs for scripts, on a served hub.

use anyhow::Result;
use e2e::{Ended, ServedHub, Station};
use serde_json::{Value, json};

fn run(station: &Station, hub: &ServedHub, line: &[&str]) -> Result<Ended> {
    station.provision(hub, line)
}

fn document(ended: Ended) -> Result<Value> {
    Ok(serde_json::from_str(&ended.expect_code(0)?.stdout)?)
}

#[test]
fn a_device_and_its_module_live_and_die() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let thumbprint = "AB".repeat(32);
    let spaced = format!("{} {}", &thumbprint[..32], &thumbprint[32..]).to_lowercase();

    let create =
        ["device", "create", "-d", "pump-1", "--primary-thumbprint", &spaced, "--status-reason", "line 4"];
    let device = document(run(&station, &hub, &create)?)?;
    assert_eq!(device["authentication"]["type"], "selfSigned");
    assert_eq!(device["authentication"]["x509Thumbprint"]["primaryThumbprint"], thumbprint);
    let again = run(&station, &hub, &create)?.expect_code(3)?;
    assert!(again.stderr.contains("`pump-1` exists already"), "{}", again.stderr);

    let secondary = "CD".repeat(20);
    let update =
        ["device", "update", "-d", "pump-1", "--status", "disabled", "--secondary-thumbprint", &secondary];
    let changed = document(run(&station, &hub, &update)?)?;
    assert_eq!(changed["status"], "disabled");
    assert_eq!(changed["statusReason"], "line 4", "what is not named is kept");
    assert_eq!(
        changed["authentication"]["x509Thumbprint"],
        json!({"primaryThumbprint": thumbprint, "secondaryThumbprint": secondary})
    );
    let stale = ["--etag", device["etag"].as_str().unwrap_or_default()];
    let refused = run(&station, &hub, &[&update[..], &stale].concat())?.expect_code(3)?;
    assert!(refused.stderr.contains("changed by somebody else"), "{}", refused.stderr);

    document(run(&station, &hub, &["device", "update", "-d", "pump-1", "--status", "enabled"])?)?;
    let module = ["module", "create", "-d", "pump-1", "-m", "telemetry"];
    let made = run(&station, &hub, &module)?.expect_code(0)?;
    assert!(made.stderr.contains("--show-keys"), "{}", made.stderr);
    let made: Value = serde_json::from_str(&made.stdout)?;
    assert_eq!(made["authentication"]["symmetricKey"]["primaryKey"], Value::Null);
    let shown = ["module", "show", "-d", "pump-1", "-m", "telemetry", "--show-keys"];
    let key = document(run(&station, &hub, &shown)?)?["authentication"]["symmetricKey"]["primaryKey"].clone();
    assert_eq!(key.as_str().map(str::len), Some(44));
    let managed =
        ["module", "update", "-d", "pump-1", "-m", "telemetry", "--managed-by", "line", "--show-keys"];
    let managed = document(run(&station, &hub, &managed)?)?;
    assert_eq!(managed["managedBy"], "line");
    assert_eq!(managed["authentication"]["symmetricKey"]["primaryKey"], key, "an update keeps the keys");

    let list = run(&station, &hub, &["module", "list", "-d", "pump-1", "--format", "csv"])?.expect_code(0)?;
    assert!(
        list.stdout.lines().nth(1).is_some_and(|line| line.starts_with("pump-1,telemetry,sas,")),
        "{}",
        list.stdout
    );

    run(&station, &hub, &["module", "delete", "-d", "pump-1", "-m", "telemetry"])?.expect_code(0)?;
    let gone = run(&station, &hub, &["module", "show", "-d", "pump-1", "-m", "telemetry"])?.expect_code(3)?;
    assert!(gone.stderr.contains("there is no `pump-1/telemetry` on the hub"), "{}", gone.stderr);
    run(&station, &hub, &["device", "delete", "-d", "pump-1"])?.expect_code(0)?;
    run(&station, &hub, &["device", "delete", "-d", "pump-1"])?.expect_code(3)?;
    Ok(())
}

#[test]
fn twins_are_merged_replaced_and_found() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    for device in ["a", "b", "c"] {
        run(&station, &hub, &["device", "create", "-d", device])?.expect_code(0)?;
        let tags = json!({ "site": if device == "c" { "Oulu" } else { "Ulm" } }).to_string();
        run(&station, &hub, &["twin", "update", "-d", device, "--tags", &tags, "--desired", r#"{"x":1}"#])?
            .expect_code(0)?;
    }
    let replaced =
        document(run(&station, &hub, &["twin", "replace", "-d", "a", "--desired", r#"{"y":2}"#])?)?;
    assert_eq!(replaced["tags"], json!({}), "a section that is not given becomes empty");
    assert_eq!(replaced["properties"]["desired"]["x"], Value::Null);
    assert_eq!(replaced["properties"]["desired"]["y"], 2);

    let found = run(&station, &hub, &["twin", "list", "--where", "tags.site = 'Ulm'", "--format", "json"])?;
    let found = document(found)?;
    assert_eq!(found.as_array().map(Vec::len), Some(1));
    assert_eq!(found[0]["deviceId"], "b");
    let two = run(&station, &hub, &["device", "list", "--top", "2", "--format", "csv"])?.expect_code(0)?;
    assert_eq!(two.stdout.lines().count(), 3, "{}", two.stdout);
    let none = run(&station, &hub, &["twin", "list", "--modules", "--format", "json"])?.expect_code(0)?;
    assert_eq!(none.stdout.trim(), "[]");

    let bad =
        run(&station, &hub, &["twin", "update", "-d", "a", "--desired", r#"{"a.b":1}"#])?.expect_code(2)?;
    assert!(bad.stderr.contains("a.b"), "{}", bad.stderr);
    let wrong = run(&station, &hub, &["twin", "list", "--where", "tags.site == 1"])?.expect_code(3)?;
    assert!(wrong.stderr.contains("400"), "{}", wrong.stderr);
    Ok(())
}

#[test]
fn what_does_not_fit_together_is_refused_before_the_hub_is_asked() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let create = ["device", "create", "-d", "d"];
    for (wrong, said) in [
        (vec!["--auth-method", "x509_thumbprint"], "needs --primary-thumbprint"),
        (vec!["--auth-method", "x509_ca", "--primary-thumbprint", &"a".repeat(40)], "thumbprints go with"),
        (vec!["--primary-thumbprint", "12"], "40"),
        (vec!["--certificate", "missing.pem"], "missing.pem"),
        (vec!["--status-reason", &"r".repeat(129)], "128"),
    ] {
        let ended = run(&station, &hub, &[&create[..], &wrong].concat())?.expect_code(2)?;
        assert!(ended.stderr.contains(said), "{}", ended.stderr);
    }
    station.write("key", "hunter2hunter2\n")?;
    let keys = ["--primary-key-file", "key", "--secondary-key-file", "key"];
    let ended = run(&station, &hub, &[&create[..], &keys].concat())?.expect_code(2)?;
    assert!(ended.stderr.contains("`key`") && !ended.stderr.contains("hunter2"), "{}", ended.stderr);
    Ok(())
}

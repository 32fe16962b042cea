//! A hub exported as a batch equals the batch that was applied.

use anyhow::Result;
use e2e::{ServedHub, Station, repository};

fn sorted_lines(station: &Station, name: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(station.path(name))?;
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn an_export_of_one_hub_makes_another_that_is_equal() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let batch = repository().join("fixtures/batches/pump-line.csv");
    let pki = station.path("pki");
    let ca = station.run("cert-tool", ["ca", "init", "pki"])?.expect_code(0)?;
    assert_eq!(ca.code, Some(0));
    let apply = ["apply".as_ref(), batch.as_os_str(), "--issue".as_ref(), pki.as_os_str()];
    station.provision(&hub, apply)?.expect_code(0)?;
    station
        .provision(
            &hub,
            ["twin", "update", "-d", "PMP-26-00001", "--tags", r#"{"odd":"","n":"007","a:b":[1,"x"]}"#],
        )?
        .expect_code(0)?;

    for name in ["export.csv", "export.jsonl"] {
        let exported = station.provision(&hub, ["export", "--out", name])?.expect_code(0)?;
        assert!(exported.stderr.contains("480 devices, 1440 modules"), "{}", exported.stderr);
        // The hub is what the export says, and another hub made of it exports the same.
        let verified = station.provision(&hub, ["verify", name])?.expect_code(0)?;
        assert!(verified.stdout.contains("1920 equal"), "{}{}", verified.stdout, verified.stderr);
        let copy = ServedHub::start(&station, &format!("hub-of-{name}"))?;
        station.provision(&copy, ["apply", name, "--ledger", &format!("{name}.ledger")])?.expect_code(0)?;
        let again = format!("again-{name}");
        station.provision(&copy, ["export", "--out", &again])?.expect_code(0)?;
        // In whatever order: a hub answers in the order of creation.
        assert!(sorted_lines(&station, name)? == sorted_lines(&station, &again)?, "{name} is not its copy");
        station.provision(&hub, ["export", "--out", name])?.expect_code(2)?;
    }
    let part = station.provision(&hub, ["export", "--where", "deviceId = 'PMP-26-00001'"])?.expect_code(0)?;
    assert_eq!(part.stdout.lines().count(), 4, "a device and its modules: {}", part.stdout);
    Ok(())
}

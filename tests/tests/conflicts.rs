//! Existing identities on the hub are never overwritten.

use anyhow::Result;
use e2e::{ServedHub, Station};
use serde_json::Value;

const HEADER: &str = "device_id,module_id,primary_thumbprint,desired.interval\n";

fn thumbprint(digit: char) -> String {
    digit.to_string().repeat(64)
}

#[test]
fn another_thumbprint_is_a_conflict_with_both_values_and_the_hub_keeps_its_own() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let (old, new) = (thumbprint('A'), thumbprint('B'));
    station.write("old.csv", &format!("{HEADER}pump-1,,{old},60\npump-2,,{},60\n", thumbprint('C')))?;
    station.write(
        "new.csv",
        &format!(
            "{HEADER}pump-1,,{new},60\npump-1,m,{},5\npump-2,,{},60\n",
            thumbprint('D'),
            thumbprint('C')
        ),
    )?;
    station.provision(&hub, ["apply", "old.csv"])?.expect_code(0)?;

    let applied = station.provision(&hub, ["apply", "new.csv"])?.expect_code(1)?;
    assert!(
        applied.stdout.contains(&format!("primary_thumbprint: batch has \"{new}\", hub has \"{old}\"")),
        "{}",
        applied.stdout
    );
    assert!(applied.stdout.contains("pump-1/m: skipped: nothing was done"), "{}", applied.stdout);
    let report = station.provision(&hub, ["report", "--format", "json"])?.expect_code(1)?;
    let report: Value = serde_json::from_str(&report.stdout)?;
    assert_eq!(report["totals"]["conflict"], 1);
    assert_eq!(report["totals"]["skipped"], 1);
    assert_eq!(report["totals"]["unchanged"], 1);
    station.provision(&hub, ["verify", "old.csv"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_twin_that_somebody_has_written_since_is_kept_and_reported() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &format!("{HEADER}pump-1,,{},60\n", thumbprint('A')))?;
    station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;

    hub.patch_twin("pump-1", r#"{"properties":{"desired":{"interval":5}}}"#)?;
    let again = station.provision(&hub, ["apply", "batch.csv"])?.expect_code(0)?;
    assert!(again.stdout.contains("desired.interval: batch has 60, hub has 5"), "{}", again.stdout);
    assert!(again.stdout.contains("1 unchanged"), "{}", again.stdout);
    assert_eq!(hub.twin("pump-1")?["properties"]["desired"]["interval"], 5);
    Ok(())
}

#[test]
fn a_thumbprint_of_another_identity_is_refused_even_in_another_batch() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("first.csv", &format!("{HEADER}pump-1,,{},60\n", thumbprint('A')))?;
    station.write("second.csv", &format!("{HEADER}pump-9,,{},60\n", thumbprint('a')))?;
    station.provision(&hub, ["apply", "first.csv"])?.expect_code(0)?;
    let before = hub.requests()?.len();
    let refused = station.provision(&hub, ["apply", "second.csv"])?.expect_code(2)?;
    assert!(
        refused.stderr.contains(
            "second.csv:2: column primary_thumbprint: this thumbprint belongs to `pump-1` since run 1"
        ),
        "{}",
        refused.stderr
    );
    assert_eq!(hub.requests()?.len(), before);
    Ok(())
}

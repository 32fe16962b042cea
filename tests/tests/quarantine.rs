//! Devices that are kept disabled on purpose, by `apply --quarantine` or `retire`, and are released
//! later.

#![expect(clippy::indexing_slicing, reason = "in a test a panic is a failure")]

use std::process::Stdio;

use anyhow::{Result, ensure};
use e2e::{Ended, LoggedRequest, ServedHub, Station, devices_with_modules};
use serde_json::Value;

const DEVICES: usize = 40;
const QUARANTINE: &str = "provisioner: in quarantine until it is released";

struct Factory {
    station: Station,
    hub: ServedHub,
}

impl Factory {
    /// A hub with a batch of devices with two modules each, in quarantine by run 1.
    fn in_quarantine(devices: usize) -> Result<Self> {
        let station = Station::new()?;
        let hub = ServedHub::start(&station, "hub")?;
        station.write("batch.csv", &devices_with_modules(devices))?;
        let factory = Self { station, hub };
        factory.run("apply batch.csv --quarantine", 0)?;
        Ok(factory)
    }

    fn run(&self, command: &str, code: i32) -> Result<Ended> {
        self.station.provision(&self.hub, command.split(' '))?.expect_code(code)
    }

    fn json(&self, command: &str, code: i32) -> Result<Value> {
        let ended = self.run(&format!("{command} --format json"), code)?;
        Ok(serde_json::from_str(&ended.stdout)?)
    }

    /// The status of a device, and its reason.
    fn status(&self, device: usize) -> Result<(String, Value)> {
        let device = self.hub.get(&format!("/devices/dev-{device:05}"))?;
        Ok((device["status"].as_str().unwrap_or_default().to_owned(), device["statusReason"].clone()))
    }

    fn count(&self, status: &str) -> Result<usize> {
        let all = (0..DEVICES).map(|device| self.status(device));
        let mut count = 0;
        for one in all {
            count += usize::from(one?.0 == status);
        }
        Ok(count)
    }
}

#[test]
fn a_quarantine_is_told_wherever_the_run_is() -> Result<()> {
    let factory = Factory::in_quarantine(DEVICES)?;
    ensure!(factory.status(1)? == ("disabled".to_owned(), QUARANTINE.into()));
    let report = factory.run("report", 0)?;
    ensure!(report.stdout.starts_with("run 1: in quarantine, batch.csv on "), "{report:?}");
    let note = "40 devices were left disabled, in quarantine of run 1: `provisioner release --run 1` enables those that still are";
    ensure!(report.stdout.contains(note), "{report:?}");
    let json = factory.json("report", 0)?;
    ensure!(json["options"]["quarantine"] == true && json["totals"]["held"] == 40, "{json}");
    ensure!(json["rows"][0]["held_by"] == 1 && json["rows"][1].get("held_by").is_none(), "{json}");
    factory.run("report --html page.html", 0)?;
    let page = std::fs::read_to_string(factory.station.path("page.html"))?;
    ensure!(page.contains("All 40 devices are created and left disabled."), "{page}");
    ensure!(!page.contains("are ready"), "{page}");
    ensure!(page.contains("writes twins only once, devices left disabled, in quarantine"), "{page}");
    let audit = factory.run("audit", 0)?;
    ensure!(audit.stdout.contains("\"quarantine\":true"), "{audit:?}");
    ensure!(audit.stdout.contains("\"held_by\":1") && audit.stdout.contains("\"held\":40"), "{audit:?}");
    // The apply itself says it as well, in each form, and a plan beforehand.
    let plan = factory.json("plan batch.csv --quarantine", 0)?;
    ensure!(plan["keep"] == 120 && plan["held"] == 40, "{plan}");
    let again = factory.json("apply batch.csv --quarantine", 0)?;
    ensure!(again["quarantine"] == true && again["totals"]["unchanged"] == 120, "{again}");
    ensure!(again["totals"]["held"] == 40, "{again}");
    Ok(())
}

#[test]
fn the_same_batch_again_leaves_the_devices_disabled_and_says_so() -> Result<()> {
    let factory = Factory::in_quarantine(3)?;
    let again = factory.run("apply batch.csv", 0)?;
    ensure!(again.stdout.contains("9 unchanged + 0 conflict"), "{again:?}");
    ensure!(
        again
            .stdout
            .contains("3 devices were left disabled, in quarantine of run 1: `provisioner release --run 1`"),
        "{again:?}"
    );
    ensure!(factory.status(1)?.0 == "disabled");
    let report = factory.json("report", 0)?;
    ensure!(report["rows"][0]["held_by"] == 1 && report["rows"][0]["reason"] == "kept_disabled", "{report}");
    factory.run("report --html page.html", 0)?;
    let page = std::fs::read_to_string(factory.station.path("page.html"))?;
    ensure!(page.contains("All 3 devices are there and left disabled."), "{page}");
    // Not even a mode that changes what is there enables them.
    let upsert = factory.json("apply batch.csv --mode upsert", 0)?;
    ensure!(upsert["totals"]["unchanged"] == 9, "{upsert}");
    ensure!(factory.status(1)?.0 == "disabled");
    let verified = factory.run("verify batch.csv", 0)?;
    ensure!(
        verified.stdout.contains("9 equal")
            && verified.stdout.contains("(3 of the equal ones were disabled by a run, and stay so)"),
        "{verified:?}"
    );
    let plan = factory.run("plan batch.csv", 0)?;
    ensure!(plan.stdout.contains("3 of those to keep were disabled by a run, and stay so"), "{plan:?}");
    // After a `retire`, too.
    factory.run("release --run 1", 0)?;
    ensure!(factory.status(1)? == ("enabled".to_owned(), Value::Null));
    factory.run("retire batch.csv --reason scrapped", 0)?;
    let again = factory.json("apply batch.csv", 0)?;
    ensure!(again["totals"]["unchanged"] == 9 && again["totals"]["held"] == 3, "{again}");
    ensure!(factory.status(1)? == ("disabled".to_owned(), "scrapped".into()));
    Ok(())
}

/// Each command in a text that a user may copy.
fn commands(text: &str) -> Vec<&str> {
    text.split('`').filter(|quoted| quoted.starts_with("provisioner ")).collect()
}

#[test]
fn no_command_that_is_advised_enables_a_unit_that_was_retired() -> Result<()> {
    let factory = Factory::in_quarantine(4)?;
    // Two pass a test and are released, and later one of them is scrapped.
    factory.station.write("tested.csv", "device_id\ndev-00000\ndev-00001\n")?;
    factory.run("release tested.csv", 0)?;
    factory.station.write("scrapped.csv", "device_id\ndev-00001\n")?;
    factory.run("retire scrapped.csv --reason scrapped", 0)?;
    let again = factory.run("apply batch.csv", 0)?;
    let retired = "1 device was left disabled, retired by run 3: if that was a mistake, `release` enables it if it still is, with a file of the device ids";
    let quarantine = "2 devices were left disabled, in quarantine of run 1: `provisioner release --run 1` enables those that still are";
    let report = factory.run("report 4", 0)?;
    factory.run("report 4 --html page.html", 0)?;
    let page = std::fs::read_to_string(factory.station.path("page.html"))?;
    for text in [&again.stdout, &report.stdout, &page.replace("<code>", "`").replace("</code>", "`")] {
        ensure!(text.contains(retired) && text.contains(quarantine), "{text}");
    }
    let json = factory.json("report 4", 0)?;
    ensure!(json["left_disabled"][1]["run"] == 3 && json["left_disabled"][1]["retired"] == true, "{json}");
    let audit = factory.run("audit 4", 0)?;
    ensure!(audit.stdout.contains("\"reason\":\"kept_retired\""), "{audit:?}");
    ensure!(audit.stdout.contains("\"reason\":\"kept_disabled\""), "{audit:?}");
    // Whatever is advised is done.
    let runs = factory.run("runs", 0)?;
    for command in commands(&(again.stdout + &report.stdout + &runs.stdout)) {
        let words = command.split(' ').skip(1);
        let done = factory.station.provision(&factory.hub, words)?;
        for advised in commands(&done.stdout) {
            ensure!(
                !advised.contains("release --run 3") && !advised.contains("release scrapped"),
                "{done:?}"
            );
        }
    }
    ensure!(factory.status(1)? == ("disabled".to_owned(), "scrapped".into()));
    ensure!(factory.status(2)?.0 == "enabled" && factory.status(3)?.0 == "enabled");
    Ok(())
}

#[test]
fn a_released_unit_stays_as_a_whole_when_its_run_is_undone() -> Result<()> {
    let factory = Factory::in_quarantine(3)?;
    factory.station.write("tested.csv", "device_id\ndev-00001\n")?;
    factory.run("release tested.csv", 0)?;
    let undone = factory.run("undo 1", 1)?;
    for line in [
        "dev-00001: conflict: it was changed since run 1 created it, last by run 2",
        "dev-00001/m1: skipped: nothing was done, because its device `dev-00001` stays",
        "6 deleted + 0 unchanged + 1 conflict + 0 rejected + 0 failed + 2 skipped",
    ] {
        ensure!(undone.stdout.contains(line), "{line}: {undone:?}");
    }
    ensure!(!undone.stdout.contains("batch has") && !undone.stdout.contains("etag"), "{undone:?}");
    factory.hub.twin("dev-00001/modules/m1")?;
    factory.hub.twin("dev-00001/modules/m2")?;
    Ok(())
}

#[test]
fn what_somebody_else_disabled_is_a_conflict_and_its_modules_are_skipped() -> Result<()> {
    let factory = Factory::in_quarantine(3)?;
    factory.run("release batch.csv", 0)?;
    factory.run("device update --device-id dev-00001 --status disabled --status-reason stolen", 0)?;
    let again = factory.run("apply batch.csv", 1)?;
    ensure!(
        again.stdout.contains("6 unchanged + 1 conflict + 0 rejected + 0 failed + 2 skipped + 0 pending"),
        "{again:?}"
    );
    let skipped =
        "dev-00001/m1: skipped: nothing was done, because the row of its device `dev-00001` is `conflict`";
    ensure!(again.stdout.contains(skipped), "{again:?}");
    let failed = std::fs::read_to_string(factory.station.path("batch.run-3-failed.csv"))?;
    ensure!(failed.lines().count() == 4, "the modules belong to it: {failed}");
    let totals = &factory.json("report", 1)?["totals"];
    ensure!(totals["conflict"] == 1 && totals["skipped"] == 2 && totals["failed"] == 0, "{totals}");
    Ok(())
}

#[test]
fn a_release_that_is_killed_is_resumed_and_can_be_undone() -> Result<()> {
    let factory = Factory::in_quarantine(DEVICES)?;
    let dry = factory.run("release --run 1 --dry-run", 0)?;
    ensure!(dry.stdout.contains("40 to change, 0 to delete, 0 to keep"), "{dry:?}");
    ensure!(factory.count("disabled")? == DEVICES, "a dry run wrote something");

    let before = factory.hub.requests()?.len();
    let mut release = factory.station.provisioner(&factory.hub)?;
    release.args(["release", "--run", "1", "--workers", "1"]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut release = release.spawn()?;
    let is_under_way = || -> Result<bool> { Ok(factory.hub.requests()?.len() > before + DEVICES) };
    while !is_under_way()? && release.try_wait()?.is_none() {
        std::thread::yield_now();
    }
    release.kill()?;
    release.wait()?;
    let resumed = factory.json("resume", 0)?;
    ensure!(resumed["totals"]["updated"] == DEVICES && resumed["verified"]["equal"] == DEVICES, "{resumed}");
    ensure!(factory.count("enabled")? == DEVICES);
    let report = factory.run("report", 0)?;
    ensure!(report.stdout.starts_with("run 2: release of run 1, batch.csv on "), "{report:?}");
    factory.run("report --html page.html", 0)?;
    let page = std::fs::read_to_string(factory.station.path("page.html"))?;
    ensure!(page.contains("All 40 devices are enabled."), "{page}");
    // Ready now, for a repeated apply and for `verify`.
    let again = factory.json("apply batch.csv", 0)?;
    ensure!(again["totals"]["unchanged"] == 3 * DEVICES && again["totals"]["held"] == 0, "{again}");
    let nothing = factory.json("release batch.csv", 0)?;
    ensure!(nothing["totals"]["unchanged"] == 3 * DEVICES, "{nothing}");

    let undone = factory.json("undo 2", 0)?;
    ensure!(undone["totals"]["updated"] == DEVICES && undone["totals"]["held"] == DEVICES, "{undone}");
    ensure!(factory.count("disabled")? == DEVICES);
    ensure!(factory.status(7)? == ("disabled".to_owned(), QUARANTINE.into()));
    let report = factory.run("report", 0)?;
    let note = "40 devices were left disabled, in quarantine of run 1: `provisioner release --run 1`";
    ensure!(report.stdout.contains(note), "{report:?}");
    let runs = factory.station.run("provisioner", ["runs"])?.expect_code(0)?;
    ensure!(runs.stdout.starts_with("run 5: undo of run 2, batch.csv on"), "{runs:?}");
    Ok(())
}

#[test]
fn a_release_touches_what_this_ledger_disabled_and_nothing_else() -> Result<()> {
    let factory = Factory::in_quarantine(4)?;
    factory.run("device create --device-id foreign --auth-method sas --status disabled", 0)?;
    factory.run("device update --device-id dev-00002 --status-reason stolen", 0)?;
    factory.station.write("tested.csv", "device_id\ndev-00000\ndev-00002\nforeign\nnobody\n")?;
    let released = factory.run("release tested.csv", 1)?;
    for line in [
        "dev-00002: conflict: its status reason was changed since run 1 disabled it",
        "foreign: conflict: no run of this ledger has put it into quarantine or retired it",
        "nobody: conflict: it is not on the hub",
        "4 rows = 0 created + 1 updated + 0 unchanged + 3 conflict",
    ] {
        ensure!(released.stdout.contains(line), "{line}: {released:?}");
    }
    ensure!(factory.status(0)? == ("enabled".to_owned(), Value::Null));
    ensure!(factory.status(1)?.0 == "disabled", "it was not named");
    ensure!(factory.status(2)? == ("disabled".to_owned(), "stolen".into()));
    ensure!(factory.hub.get("/devices/foreign")?["status"] == "disabled");
    let csv = factory.run("release tested.csv --dry-run --format csv", 1)?;
    ensure!(csv.stdout.lines().count() >= 4, "{csv:?}");
    Ok(())
}

#[test]
fn a_retired_unit_is_released_as_it_was() -> Result<()> {
    let factory = Factory::in_quarantine(2)?;
    factory.run("release --run 1", 0)?;
    factory.run("device update --device-id dev-00001 --status-reason tested", 0)?;
    factory.station.write("scrapped.csv", "device_id\ndev-00000\ndev-00001\n")?;
    factory.run("retire scrapped.csv --reason scrapped", 0)?;
    let refused = factory.run("undo 3", 2)?;
    ensure!(refused.stderr.contains("`provisioner release --run 3` enables again"), "{refused:?}");
    let released = factory.json("release --run 3", 0)?;
    ensure!(released["totals"]["updated"] == 2, "{released}");
    ensure!(factory.status(0)? == ("enabled".to_owned(), Value::Null));
    ensure!(factory.status(1)? == ("enabled".to_owned(), "tested".into()));
    let nothing = factory.run("release --run 2", 2)?;
    ensure!(nothing.stderr.contains("run 2 disabled nothing"), "{nothing:?}");
    Ok(())
}

#[test]
fn a_unit_that_is_retired_in_quarantine_is_not_released_with_the_others() -> Result<()> {
    let factory = Factory::in_quarantine(3)?;
    factory.station.write("scrapped.csv", "device_id\ndev-00001\n")?;
    let retired = factory.json("retire scrapped.csv --reason scrapped", 0)?;
    ensure!(retired["totals"]["updated"] == 1, "{retired}");
    ensure!(factory.status(1)? == ("disabled".to_owned(), "scrapped".into()));
    let again = factory.json("retire scrapped.csv --reason scrapped", 0)?;
    ensure!(again["totals"]["unchanged"] == 1, "{again}");

    let released = factory.run("release --run 1", 1)?;
    ensure!(released.stdout.contains("run 2 retired it since: it stays disabled"), "{released:?}");
    ensure!(factory.status(0)?.0 == "enabled" && factory.status(2)?.0 == "enabled");
    ensure!(factory.status(1)? == ("disabled".to_owned(), "scrapped".into()));
    // By name it is released, and is then as it was before the quarantine.
    factory.run("release scrapped.csv", 0)?;
    ensure!(factory.status(1)? == ("enabled".to_owned(), Value::Null));
    Ok(())
}

#[test]
fn a_quarantine_that_was_planned_is_one() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", &devices_with_modules(2))?;
    let factory = Factory { station, hub };
    factory.run("plan batch.csv --quarantine --output batch.plan", 0)?;
    let applied = factory.json("apply batch.plan", 0)?;
    ensure!(applied["quarantine"] == true && applied["totals"]["held"] == 2, "{applied}");
    ensure!(factory.status(1)? == ("disabled".to_owned(), QUARANTINE.into()));
    Ok(())
}

#[test]
fn devices_that_a_killed_quarantine_has_still_to_disable_are_left_to_it() -> Result<()> {
    const STAGED: &str = "provisioner: to be disabled when its modules are there";
    let station = Station::new()?;
    let hub = ServedHub::start_with_unanswered_bulk(&station, "hub", 1)?;
    station.write("batch.csv", &devices_with_modules(5))?;
    let mut apply = station.provisioner(&hub)?;
    hub.kill_at_bulk(apply.args(["apply", "batch.csv", "--quarantine", "--workers", "1"]), 2)?;
    let factory = Factory { station, hub };
    let staged = ("enabled".to_owned(), Value::from(STAGED));
    ensure!(factory.status(0)? == staged, "{:?}", factory.status(0));
    let note = "5 devices may be enabled until the run is resumed: `provisioner resume 1`";
    for command in ["status", "report"] {
        let told = factory.station.run("provisioner", [command])?;
        ensure!(told.stdout.contains(note), "{told:?}");
    }
    let calls = factory.hub.requests()?.iter().map(LoggedRequest::writes).sum::<u64>();
    let reason = "dev-00003: conflict: run 1 has not ended and is still to disable it: wait for it, or `provisioner resume 1`";
    for command in
        ["release batch.csv", "release --run 1", "apply batch.csv", "apply batch.csv --mode upsert"]
    {
        let refused = factory.run(command, 1)?;
        ensure!(refused.stdout.contains(reason) && refused.stdout.contains("5 conflict"), "{refused:?}");
        ensure!(factory.status(3)? == staged, "{command}");
    }
    let plan = factory.run("plan batch.csv", 1)?;
    ensure!(plan.stdout.contains(reason), "{plan:?}");
    let dry = factory.run("release batch.csv --dry-run", 1)?;
    ensure!(dry.stdout.contains(reason), "{dry:?}");
    let later = factory.hub.requests()?.iter().map(LoggedRequest::writes).sum::<u64>();
    ensure!(later == calls, "{} writes", later - calls);
    let resumed = factory.json("resume 1", 0)?;
    ensure!(resumed["totals"]["held"] == 5 && resumed["totals"].get("to_disable").is_none(), "{resumed}");
    ensure!(factory.status(3)? == ("disabled".to_owned(), QUARANTINE.into()));
    factory.run("release batch.csv", 0)?;
    ensure!(factory.status(3)? == ("enabled".to_owned(), Value::Null));
    Ok(())
}

/// Checks that devices that a quarantine could not disable are named in each output, and that the commands that
/// are printed disable them.
#[test]
fn devices_that_a_quarantine_could_not_disable_are_told_of_and_disabled_by_the_printed_commands() -> Result<()>
{
    let station = Station::new()?;
    // The calls about the devices and about their modules are answered; those that disable the devices are not.
    let faults = "[[fault]]\noperation = 'BulkRegistry'\neffect = 'status'\nstatus = 400\ncode = 'ArgumentInvalid'\n\
                  skip = 2\ncount = 5\n";
    let faults = station.write("faults.toml", faults)?.to_string_lossy().into_owned();
    let args = ["--https", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--faults", &faults];
    let hub = ServedHub::start_with(&station, "hub", &args)?;
    station.write("batch.csv", &devices_with_modules(3))?;
    let factory = Factory { station, hub };
    let applied = factory.run("apply batch.csv --quarantine --format json", 1)?;
    let document: Value = serde_json::from_str(&applied.stdout)?;
    ensure!(document["totals"]["left_enabled"] == 3 && document["totals"]["failed"] == 3, "{document}");
    ensure!(factory.status(0)?.0 == "enabled");
    let report = factory.json("report", 1)?;
    ensure!(
        report["totals"]["left_enabled"] == 3 && report["rows"][0]["reason"] == "left_enabled",
        "{report}"
    );
    factory.run("report --html page.html", 1)?;
    let page = std::fs::read_to_string(factory.station.path("page.html"))?;
    let note = "3 devices of this run were left ENABLED and can connect, although the run was to leave them disabled";
    for text in [&factory.run("report", 1)?.stdout, &factory.run("status", 0)?.stdout, &page] {
        ensure!(text.contains(note), "{text}");
    }
    let csv = factory.run("report --format csv", 1)?.stdout;
    ensure!(
        csv.matches("left_enabled").count() == 3 && csv.contains("it is ENABLED and can connect"),
        "{csv}"
    );
    let status = factory.run("status", 0)?.stdout;
    let note = status.lines().find(|line| line.contains("left ENABLED")).unwrap_or_default();
    let advised = commands(note);
    ensure!(advised.len() == 2, "{note}");
    for command in advised {
        // A report of a run with failed rows exits with 1.
        factory.run(command.trim_start_matches("provisioner "), i32::from(command.contains(" report ")))?;
    }
    ensure!(
        (0..3).all(|device| factory.status(device).is_ok_and(|(status, _)| status == "disabled")),
        "{status}"
    );
    let resumed = factory.json("status", 0)?;
    ensure!(resumed["totals"]["held"] == 3 && resumed["totals"].get("left_enabled").is_none(), "{resumed}");
    Ok(())
}

#[test]
fn what_a_killed_retirement_has_disabled_is_released_after_it_is_resumed() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start_with_unanswered_bulk(&station, "hub", 1)?;
    let devices: String = (0..5).map(|device| format!("dev-{device:05},x509_ca\n")).collect();
    station.write("batch.csv", &format!("device_id,auth\n{devices}"))?;
    let factory = Factory { station, hub };
    factory.run("apply batch.csv", 0)?;
    let mut retire = factory.station.provisioner(&factory.hub)?;
    factory.hub.kill_at_bulk(retire.args(["retire", "batch.csv", "--reason", "scrapped"]), 2)?;
    for command in ["release batch.csv", "release --run 2"] {
        let refused = factory.run(command, 1)?;
        let reason = "dev-00003: conflict: run 2 has not ended and is still to disable it";
        ensure!(refused.stdout.contains(reason), "{refused:?}");
        ensure!(factory.status(3)? == ("disabled".to_owned(), "scrapped".into()), "{command}");
    }
    let resumed = factory.run("resume 2", 0)?;
    ensure!(resumed.stdout.contains("5 devices were left disabled, retired by run 2"), "{resumed:?}");
    let released = factory.json("release --run 2", 0)?;
    ensure!(released["totals"]["updated"] == 5, "{released}");
    ensure!(factory.status(3)? == ("enabled".to_owned(), Value::Null));
    Ok(())
}

//! The report as a page, in a real browser: it can be searched, it makes no requests, and text of a
//! batch or a hub is harmless in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use e2e::{Browser, HostileHub, Reply, ServedHub, Station};

/// Text that must not be interpreted as HTML or script, nor change the direction of the text around
/// it.
const HOSTILE: &str = r#"</script><script>document.title="owned"</script><img src=x onerror="document.title='owned'">'&{{7*7}}"#;

/// A run of 150 devices, two of them on the hub already, one with a hostile note.
fn run(station: &Station) -> Result<ServedHub> {
    let hub = ServedHub::start(station, "hub")?;
    let mut batch = String::from("device_id,auth,status_reason,status\n");
    for device in 0..150 {
        batch += &format!("pump-{device:03},x509_ca,,enabled\n");
    }
    station.write("batch.csv", &batch)?;
    let quoted = HOSTILE.replace('"', "\"\"");
    station.write("before.csv", &format!("device_id,auth,status,status_reason\npump-007,x509_ca,disabled,\"{quoted}\"\npump-008,sas,enabled,\n"))?;
    station.provision(&hub, ["apply", "before.csv"])?.expect_code(0)?;
    let operator = format!("--operator={}", &HOSTILE[..90]);
    station.provision(&hub, ["apply", "batch.csv", &operator, "--station", "line-3"])?.expect_code(1)?;
    station.run("provisioner", ["report", "--html", "page.html"])?.expect_code(1)?;
    Ok(hub)
}

#[test]
fn the_page_can_be_searched_asks_for_nothing_and_no_text_does_harm() -> Result<()> {
    let station = Station::new()?;
    let _hub = run(&station)?;
    let browser = Browser::start()?;
    let page = station.path("page.html");
    browser.open(&page)?;
    let text = |selector: &str| -> Result<String> {
        let found = browser.script(&format!("return document.querySelector('{selector}').innerText"))?;
        Ok(found.as_str().unwrap_or_default().to_owned())
    };
    let rows = "document.querySelectorAll('#body tr').length";

    assert_eq!(text("h1")?, "148 devices are ready. 2 need attention.");
    browser.until(&format!("{rows} === 2"))?;
    assert!(text("#body")?.contains("pump-007") && text("#body")?.contains("pump-008"));

    // All rows, page by page, and a search over all of them.
    browser.click("input[name=kind][value='']")?;
    browser.until(&format!("{rows} === 100"))?;
    browser.click("#next")?;
    browser.until(&format!("{rows} === 50"))?;
    assert_eq!(text("#page")?, "101 to 150 of 150");
    browser.type_into("#search", "PUMP-14 created")?;
    browser.until("document.getElementById('count').textContent === '10 rows found'")?;
    assert!(text("#body")?.contains("pump-149"));
    browser.type_into("#search", " nowhere")?;
    browser.until("document.getElementById('count').textContent === '0 rows found'")?;

    // What came from elsewhere is there as text, and only as text.
    assert!(text("dl")?.contains(&HOSTILE[..60]));
    assert!(
        browser.script("return document.title")?.as_str().is_some_and(|title| title.starts_with("Run 2"))
    );
    assert_eq!(browser.script("return document.scripts.length + document.images.length * 10")?, 2);
    assert_eq!(browser.console()?, Vec::<String>::new());
    let requests = browser.requests(&page)?;
    assert_eq!(requests, [format!("file://{}", page.to_string_lossy())], "the page asks for nothing");

    // Even a page that somebody has tampered with runs no script but its own.
    let forged =
        r#"<main><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>"#;
    let forged = std::fs::read_to_string(&page)?.replacen("<main>", forged, 1);
    browser.open(&station.write("forged.html", &forged)?)?;
    assert!(
        browser.script("return document.title")?.as_str().is_some_and(|title| title.starts_with("Run 2"))
    );
    assert!(browser.console()?.iter().any(|line| line.contains("Content Security Policy")));
    Ok(())
}

#[test]
fn the_text_says_why_rows_are_not_as_asked_and_what_to_do() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("before.csv", "device_id,auth\npump-2,sas\n")?;
    station.provision(&hub, ["apply", "before.csv"])?.expect_code(0)?;
    station.write(
        "batch.csv",
        "device_id,module_id,auth\npump-1,,x509_ca\npump-2,,x509_ca\npump-2,m,x509_ca\n",
    )?;
    let apply = ["apply", "batch.csv", "--operator", "Ada Lovelace", "--station", "line-3"];
    station.provision(&hub, apply)?.expect_code(1)?;
    let report = station.run("provisioner", ["report"])?.expect_code(1)?.stdout;
    insta::assert_snapshot!(without_times(&report));
    let json = station.run("provisioner", ["report", "--format", "json"])?.expect_code(1)?.stdout;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(3));
    assert_eq!(json["rows"][1]["state"], "conflict");
    assert_eq!(json["rows"][0]["station"], "line-3");
    assert_eq!(json["causes"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["verification"]["equal"], 1);
    Ok(())
}

#[test]
fn the_text_says_who_worked_on_a_run_that_was_interrupted_and_resumed() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let hostile = HostileHub::before(&station, &hub, move |call| {
        match call.names_modules() && down.load(Ordering::Relaxed) {
            true => Reply::error(503, "ServiceUnavailable"),
            false => Reply::Forward,
        }
    })?;
    station
        .write("batch.csv", "device_id,module_id,auth\npump-1,,x509_ca\npump-1,m,x509_ca\npump-2,,sas\n")?;
    let run = |args: &[&str], code: i32| -> Result<String> {
        let ended = e2e::Ended::of(hostile.provisioner(&station)?.args(args).output()?)?.expect_code(code)?;
        Ok(without_times(&ended.stdout))
    };
    let apply =
        ["apply", "batch.csv", "--wait-for-hub", "0", "--operator", "Ada Lovelace", "--station", "line-3"];
    run(&apply, 3)?;
    let interrupted = run(&["report"], 1)?;
    is_down.store(false, Ordering::Relaxed);
    run(&["resume", "--operator", "Grace Hopper", "--station", "line-4"], 0)?;
    let resumed = run(&["report"], 0)?;
    insta::assert_snapshot!(format!("{interrupted}\n\n--- resumed\n\n{resumed}"));
    let json = station.run("provisioner", ["report", "--format", "json"])?.expect_code(0)?.stdout;
    let json: serde_json::Value = serde_json::from_str(&json)?;
    let stations: Vec<_> = json["rows"].as_array().into_iter().flatten().map(|row| &row["station"]).collect();
    assert_eq!(stations, ["line-3", "line-4", "line-3"]);
    Ok(())
}

/// The text with each time, and the hub's address, replaced by a placeholder.
fn without_times(text: &str) -> String {
    let word = |word: &str| match word {
        time if time.starts_with("20") && time.trim_end_matches(':').ends_with('Z') => "TIME".to_owned(),
        hub if hub.starts_with("localhost:") || hub.starts_with("127.0.0.1:") => "HUB:".to_owned(),
        other => other.to_owned(),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

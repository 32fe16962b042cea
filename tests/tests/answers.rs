//! Servers that respond in a hub's place, and failing hubs: each class of responses on the built
//! binaries, over real sockets. The table of the classes is `provisioner/src/hub/classes.rs`.

#![expect(clippy::indexing_slicing, reason = "a JSON document yields null for what it lacks")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::{Call, Ended, HostileHub, JSON, Reply, ServedHub, Shown, Station, devices_with_modules};
use serde_json::Value;

const BATCH: &str = "device_id,auth,primary_key,secondary_key\n\
     pump-1,sas,Y2FuYXJ5IG9mIHRoZSBmaXJzdCBrZXkgMzEgYnl0ZXM=,Y2FuYXJ5IG9mIHRoZSBvdGhlciBrZXkgMzEgYnl0ZXM=\n";
const ONE: [&str; 4] = ["device", "show", "--device-id", "pump-1"];
/// The bound for a prompt end on a busy machine; waiting for an outage takes a minute.
const AT_ONCE: Duration = Duration::from_secs(20);

fn run(command: &mut Command, args: &[&str]) -> Result<Ended> {
    Ended::of(command.args(args).output()?)
}

/// The number of rows of the last run in this state.
fn rows(station: &Station, state: &str) -> Result<u64> {
    let status = station.run("provisioner", ["status", "--format", "json"])?.expect_code(0)?;
    let status: Value = serde_json::from_str(&status.stdout)?;
    status["totals"][state].as_u64().with_context(|| format!("{state}: {status}"))
}

fn created(hub: &ServedHub) -> Result<u64> {
    Ok(hub.requests()?.iter().map(e2e::LoggedRequest::created).sum())
}

/// Gives this reply to all bulk calls from the second on, and forwards other calls to the hub.
fn in_mid_run(reply: Reply) -> impl Fn(&Call) -> Reply + Send + Sync + 'static {
    let is_first = AtomicBool::new(true);
    move |call: &Call| match call.is_bulk() && !is_first.swap(false, Ordering::SeqCst) {
        true => reply.clone(),
        false if call.is_bulk() => Reply::Forward,
        false => Reply::Forward,
    }
}

#[test]
fn a_redirect_leads_nowhere_and_creates_nothing() -> Result<()> {
    let elsewhere = TcpListener::bind(("127.0.0.1", 0))?;
    elsewhere.set_nonblocking(true)?;
    let target = format!("localhost:{}", elsewhere.local_addr()?.port());
    for status in [301, 302, 303, 307, 308] {
        let station = Station::new()?;
        station.write("batch.csv", BATCH)?;
        let hub = ServedHub::start(&station, "hub")?;
        let location = format!("https://{target}/devices");
        let hostile = HostileHub::before(&station, &hub, move |call| match call.is_bulk() {
            true => Reply::redirect(status, &location),
            false => Reply::Forward,
        })?;
        let ended = run(&mut hostile.provisioner(&station)?, &["apply", "batch.csv", "--no-verify"])?;
        let ended = ended.expect_code(3)?;
        let said = format!("{status}, a redirect to {target}, which was not followed");
        ensure!(ended.stderr.contains(&said), "{}", ended.stderr);
        ensure!(!format!("{ended:?}").contains("Y2FuYXJ5"), "{ended:?}");
        ensure!(rows(&station, "created")? == 0 && rows(&station, "failed")? == 0);
        ensure!(created(&hub)? == 0);
        // Every other verb is led nowhere too.
        let location = format!("https://{target}/twins");
        hostile.set_script(move |_| Reply::redirect(status, &location));
        for args in
            [&ONE[..], &["twin", "show", "-d", "pump-1"], &["export"], &["verify", "batch.csv"], &["resume"]]
        {
            let ended = run(&mut hostile.provisioner(&station)?, args)?.expect_code(3)?;
            ensure!(ended.stderr.contains(&said), "{args:?}: {}", ended.stderr);
        }
        let doctor = run(&mut hostile.provisioner(&station)?, &["doctor"])?.expect_code(3)?;
        ensure!(doctor.stdout.contains(&said), "{}", doctor.stdout);
    }
    ensure!(elsewhere.accept().is_err(), "nobody was to come here");
    Ok(())
}

/// Responses with 200 that do not come from a hub: the rows of a bulk call do not count as created.
#[test]
fn a_success_that_is_not_a_hubs_counts_for_nothing() -> Result<()> {
    for reply in [
        Reply::page("200 OK"),
        Reply::with("200 OK", JSON, "", ""),
        Reply::with("200 OK", JSON, "", "{}"),
        Reply::with("200 OK", JSON, "", r#"{"ok":true}"#),
        Reply::with("200 OK", JSON, "", r#"{"isSuccessful":tr"#),
        Reply::with("200 OK", "text/plain", "", r#"{"isSuccessful":true,"errors":[],"warnings":[]}"#),
        Reply::with("200 OK", JSON, "Content-Encoding: gzip\r\n", r#"{"isSuccessful":true}"#),
        Reply::with("204 No Content", JSON, "", ""),
        Reply::page("404 Not Found"),
        Reply::page("400 Bad Request"),
    ] {
        let station = Station::new()?;
        station.write("batch.csv", BATCH)?;
        let hub = ServedHub::start(&station, "hub")?;
        let shown = format!("{reply:?}");
        let is_first = AtomicBool::new(true);
        let hostile = HostileHub::before(&station, &hub, move |call| {
            match call.is_bulk() && is_first.swap(false, Ordering::SeqCst) {
                true => reply.clone(),
                false => Reply::Forward,
            }
        })?;
        let args = ["apply", "batch.csv", "--no-verify", "--format", "json"];
        let ended = run(&mut hostile.provisioner(&station)?, &args)?.expect_code(0)?;
        let outcome: Value = serde_json::from_str(&ended.stdout)?;
        ensure!(outcome["totals"]["created"] == 1, "{shown}: {outcome}");
        ensure!(created(&hub)? == 1, "{shown}: what was said to be created was not");
    }
    Ok(())
}

/// A page in response to every later call: nothing is created, the run ends and can be resumed.
#[test]
fn a_login_page_in_mid_run_is_named_and_fails_no_row() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", &devices_with_modules(20))?;
    let hub = ServedHub::start(&station, "hub")?;
    let hostile = HostileHub::before(&station, &hub, |call| match call.number {
        0 => Reply::Forward,
        _ => Reply::page("200 OK"),
    })?;
    let args = ["apply", "batch.csv", "--wait-for-hub", "0"];
    let ended = run(&mut hostile.provisioner(&station)?, &args)?.expect_code(3)?;
    ensure!(ended.stderr.contains("login page"), "{}", ended.stderr);
    ensure!(rows(&station, "created")? == 0 && rows(&station, "failed")? == 0);
    hostile.set_script(|_| Reply::Forward);
    run(&mut hostile.provisioner(&station)?, &["resume"])?.expect_code(0)?;
    ensure!(created(&hub)? == 60);
    Ok(())
}

/// Reads pass and changes do not: no row fails, the run ends by itself and can be resumed.
#[test]
fn a_run_whose_changes_are_answered_by_something_else_ends_although_reads_pass() -> Result<()> {
    for (reply, said) in [
        (Reply::page("200 OK"), "such as a proxy"),
        (Reply::Close, "such as a proxy"),
        (Reply::with("503 Service Unavailable", "text/html", "", "<html>busy</html>"), "such as a proxy"),
        (Reply::error(503, "ServiceUnavailable"), "the hub refused: 503 ServiceUnavailable"),
    ] {
        let station = Station::new()?;
        station.write("batch.csv", &devices_with_modules(250))?;
        let hub = ServedHub::start(&station, "hub")?;
        let hostile = HostileHub::before(&station, &hub, move |call| match call.is_bulk() {
            true => reply.clone(),
            false => Reply::Forward,
        })?;
        let args = ["apply", "batch.csv", "--wait-for-hub", "0"];
        let ended = run(&mut hostile.provisioner(&station)?, &args)?.expect_code(3)?;
        ensure!(ended.stderr.contains("has confirmed a change for"), "{}", ended.stderr);
        let error = ended.stderr.split_once("error: ").map_or("", |(_, error)| error);
        ensure!(error.contains(said), "{}", ended.stderr);
        ensure!(error.contains("proxy") != error.contains("it fails itself"), "{}", ended.stderr);
        ensure!(ended.stderr.contains("`provisioner resume 1` does the rest"), "{}", ended.stderr);
        ensure!(!ended.stderr.contains(" 0 s"), "{}", ended.stderr);
        ensure!(rows(&station, "created")? == 0 && rows(&station, "failed")? == 0);
        // Nor does any row say that it was created, as long as nobody knows.
        let report = station.run("provisioner", ["report", "--format", "csv"])?.stdout;
        let pack = station.run("provisioner", ["audit"])?.expect_code(0)?.stdout;
        ensure!(report.contains(",sent,,") && !report.contains(",created,"), "{report}");
        ensure!(pack.contains(r#""state":"sent""#) && !pack.contains(r#""effect":"created""#), "{pack}");
        hostile.set_script(|_| Reply::Forward);
        run(&mut hostile.provisioner(&station)?, &["resume"])?.expect_code(0)?;
        ensure!(created(&hub)? == 750);
    }
    Ok(())
}

/// With `--wait-for-hub 0` a damaged answer is not read again, and the message has no words of a library.
#[test]
fn a_damaged_answer_ends_a_run_that_is_not_to_wait() -> Result<()> {
    for (body, said) in [
        (r#"{"deviceId":tr"#, "its JSON is damaged: the JSON ends too early at line 1, column"),
        (r#"{"deviceId" 1}"#, "its JSON is damaged: there is no `:` at line 1, column"),
        (r#"{"deviceId":1}"#, "it does not hold what was asked for: the wrong type: integer `1`"),
    ] {
        let station = Station::new()?;
        station.write("batch.csv", BATCH)?;
        let hub = ServedHub::start(&station, "hub")?;
        let hostile =
            HostileHub::before(&station, &hub, move |call| match call.path.starts_with("/twins/") {
                true => Reply::with("200 OK", JSON, "", body),
                false => Reply::Forward,
            })?;
        let args = ["apply", "batch.csv", "--wait-for-hub", "0"];
        let ended = run(&mut hostile.provisioner(&station)?, &args)?.expect_code(3)?;
        ensure!(ended.stderr.contains(said), "{}", ended.stderr);
        let reads = hostile.calls().iter().filter(|call| call.path.starts_with("/twins/")).count();
        ensure!(reads == 1, "{reads} reads: {}", ended.stderr);
    }
    Ok(())
}

/// The first call of a run, and of a verb for one object, is retried like every other.
#[test]
fn what_may_pass_is_read_again_from_the_first_call_on() -> Result<()> {
    let station = Station::new()?;
    let hub = ServedHub::start(&station, "hub")?;
    station.write("batch.csv", BATCH)?;
    run(&mut station.provisioner(&hub)?, &["apply", "batch.csv"])?.expect_code(0)?;
    let hostile = HostileHub::before(&station, &hub, |_| Reply::Forward)?;
    for reply in [
        Reply::Close,
        Reply::error(500, "ServerError"),
        Reply::error(503, "ServiceUnavailable"),
        Reply::with("502 Bad Gateway", "text/html", "", "<html>bad gateway</html>"),
        Reply::error(429, "ThrottlingException"),
        Reply::page("200 OK"),
        Reply::page("404 Not Found"),
        Reply::with("200 OK", JSON, "", ""),
        Reply::with("200 OK", JSON, "", r#"{"totalDeviceCo"#),
        Reply::with("200 OK", JSON, "", r#"{"deviceId":"another","totalDevices":1}"#),
        Reply::with("200 OK", JSON, "", r#"["totalDevices"]"#),
    ] {
        for args in [&["verify", "batch.csv"][..], &ONE] {
            let shown = format!("{args:?} after {reply:?}");
            let (reply, is_first) = (reply.clone(), AtomicBool::new(true));
            hostile.set_script(move |_| match is_first.swap(false, Ordering::SeqCst) {
                true => reply.clone(),
                false => Reply::Forward,
            });
            let ended = run(&mut hostile.provisioner(&station)?, args)?;
            ended.expect_code(0).with_context(|| shown)?;
        }
    }
    Ok(())
}

/// A query that is answered with a document of another kind is repeated, as one that is answered with a page is.
#[test]
fn a_query_that_is_answered_with_no_list_is_repeated() -> Result<()> {
    for reply in [Reply::page("200 OK"), Reply::with("200 OK", JSON, "", r#"{"a":1}"#)] {
        let station = Station::new()?;
        let hub = ServedHub::start(&station, "hub")?;
        station.write("batch.csv", BATCH)?;
        let queries = AtomicUsize::new(0);
        let hostile = HostileHub::before(&station, &hub, |_| Reply::Forward)?;
        run(&mut hostile.provisioner(&station)?, &["apply", "batch.csv"])?.expect_code(0)?;
        let shown = format!("{reply:?}");
        hostile.set_script(move |call| match call.path == "/devices/query" {
            true if queries.fetch_add(1, Ordering::SeqCst) < 5 => reply.clone(),
            _ => Reply::Forward,
        });
        run(&mut hostile.provisioner(&station)?, &["undo", "1"])?.expect_code(0).context(shown)?;
        ensure!(hostile.calls().iter().filter(|call| call.path == "/devices/query").count() > 5);
    }
    Ok(())
}

/// A response that waiting can't improve stops the run at once; no row fails, and `resume` does the
/// rest.
#[test]
fn what_never_gets_better_stops_a_run_at_once_and_its_rows_wait() -> Result<()> {
    for (reply, said) in [
        (Reply::error(403, "IotHubQuotaExceeded"), "midnight UTC"),
        (Reply::error(403, "IpFilterDenied"), "the hub's IP filter blocks this address"),
        (Reply::error(403, "NeverHeardOf"), "403 NeverHeardOf"),
        (Reply::page("403 Forbidden"), "the hub refused: 403"),
        (Reply::error(401, "IotHubUnauthorizedAccess"), "401 IotHubUnauthorizedAccess"),
        (Reply::error(401, "IotHubNotFound"), "there is no hub of this name"),
        (Reply::error(402, "PaymentRequired"), "402"),
        (Reply::error(403, "IotHubSuspended"), "the hub is suspended"),
        (Reply::with("501 Not Implemented", "text/plain", "", "no"), "has no such operation"),
    ] {
        let station = Station::new()?;
        station.write("batch.csv", &devices_with_modules(400))?;
        let hub = ServedHub::start(&station, "hub")?;
        let hostile = HostileHub::before(&station, &hub, in_mid_run(reply))?;
        let ended = run(&mut hostile.provisioner(&station)?, &["apply", "batch.csv"])?.expect_code(3)?;
        ensure!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
        ensure!(ended.stderr.contains("hint: "), "{said}: {}", ended.stderr);
        let calls = hostile.calls().len();
        ensure!(calls <= 20, "{said}: {calls} calls");
        ensure!(rows(&station, "failed")? == 0 && rows(&station, "conflict")? == 0, "{said}");
        hostile.set_script(|_| Reply::Forward);
        run(&mut hostile.provisioner(&station)?, &["resume"])?.expect_code(0)?;
        ensure!(created(&hub)? == 1200, "{said}");
    }
    Ok(())
}

#[test]
fn one_single_401_in_mid_run_is_worth_a_new_token() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", &devices_with_modules(20))?;
    let hub = ServedHub::start(&station, "hub")?;
    let is_first = AtomicBool::new(true);
    let hostile = HostileHub::before(&station, &hub, move |call| {
        match call.is_bulk() && is_first.swap(false, Ordering::SeqCst) {
            true => Reply::error(401, "IotHubUnauthorizedAccess"),
            false => Reply::Forward,
        }
    })?;
    let ended = run(&mut hostile.provisioner(&station)?, &["apply", "batch.csv"])?.expect_code(0)?;
    ensure!(ended.stdout.contains("60 created"), "{}", ended.stdout);
    Ok(())
}

#[test]
fn a_certificate_that_will_not_pass_is_no_outage_for_any_verb() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let hub = ServedHub::start(&station, "hub")?;
    let hostile = HostileHub::before(&station, &hub, |_| Reply::Forward)?;
    let verbs = [
        &ONE[..],
        &["twin", "show", "-d", "pump-1"],
        &["export"],
        &["apply", "batch.csv"],
        &["plan", "batch.csv"],
    ];
    for (shown, said) in [
        (Shown::Expired, "its certificate expired on 2021-01-01"),
        (Shown::OtherName, "its certificate is for a different name"),
        (Shown::Unknown, "its certificate has no root that is trusted here"),
    ] {
        hostile.show(shown);
        for args in verbs {
            let begun = Instant::now();
            let ended = run(&mut hostile.provisioner(&station)?, args)?.expect_code(3)?;
            ensure!(ended.stderr.contains(said), "{args:?}: {}", ended.stderr);
            ensure!(!ended.stderr.contains("tried again"), "{args:?}: {}", ended.stderr);
            ensure!(begun.elapsed() < AT_ONCE, "{args:?}: {:?}", begun.elapsed());
        }
    }
    ensure!(hostile.calls().is_empty(), "nothing was sent");
    Ok(())
}

#[test]
fn a_certificate_that_ends_in_mid_run_stops_it_at_once() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", &devices_with_modules(400))?;
    let hub = ServedHub::start(&station, "hub")?;
    let (send, receive) = std::sync::mpsc::sync_channel(0);
    let send = std::sync::Mutex::new(send);
    // The third call waits until the certificate was changed.
    let hostile = HostileHub::before(&station, &hub, move |call| {
        if call.number == 3 {
            let send = send.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // Who waited no more would have failed the test already.
            let _ = send.send(()).and_then(|()| send.send(()));
        }
        Reply::Forward
    })?;
    let mut command = hostile.provisioner(&station)?;
    let running =
        command.args(["apply", "batch.csv"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    receive.recv()?;
    hostile.show(Shown::Expired);
    let begun = Instant::now();
    receive.recv()?;
    let ended = Ended::of(running.wait_with_output()?)?.expect_code(3)?;
    ensure!(ended.stderr.contains("its certificate expired on 2021-01-01"), "{}", ended.stderr);
    ensure!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    ensure!(rows(&station, "failed")? == 0);
    Ok(())
}

#[test]
fn nobody_there_is_said_at_once_by_every_verb() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let closed = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    for host in [format!("localhost:{closed}"), "no-such-hub.invalid".to_owned()] {
        for args in [
            &ONE[..],
            &["twin", "show", "-d", "pump-1"],
            &["export"],
            &["apply", "batch.csv"],
            &["plan", "batch.csv"],
        ] {
            let mut command = station.command("provisioner")?;
            let access = format!(
                "HostName={host};SharedAccessKeyName=iothubowner;SharedAccessKey=AQEBAQEBAQEBAQEBAQEBAQ=="
            );
            command.env("IOTHUB_CONNECTION_STRING", access);
            let begun = Instant::now();
            let ended = run(&mut command, args)?.expect_code(3)?;
            ensure!(
                ended.stderr.contains(&format!("no connection to the hub at {host}")),
                "{args:?}: {}",
                ended.stderr
            );
            ensure!(!ended.stderr.contains("tried again"), "{args:?}: {}", ended.stderr);
            ensure!(begun.elapsed() < AT_ONCE, "{args:?}: {:?}", begun.elapsed());
        }
    }
    Ok(())
}

/// Waits of minutes are reported when they begin.
#[test]
fn a_long_wait_is_said_with_its_length() -> Result<()> {
    for (status, more) in [(429, "Retry-After: 200\r\n"), (503, "Retry-After: 200\r\n")] {
        let station = Station::new()?;
        let hub = ServedHub::start(&station, "hub")?;
        let hostile = HostileHub::before(&station, &hub, move |_| {
            Reply::with(&format!("{status} x"), JSON, more, r#"{"Message":"wait"}"#)
        })?;
        let mut command = hostile.provisioner(&station)?;
        let mut running = command.args(ONE).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let begun = Instant::now();
        let lines = BufReader::new(running.stderr.take().context("piped")?).lines();
        let mut said = Vec::new();
        for line in lines {
            said.push(line?);
            if said.last().is_some_and(|line| line.contains("asks to wait")) {
                break;
            }
        }
        running.kill()?;
        running.wait()?;
        ensure!(said.last().is_some_and(|line| line.contains("3 min")), "{said:?}");
        ensure!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    }
    Ok(())
}

#[test]
fn an_answer_without_end_is_cut_off_and_said() -> Result<()> {
    let station = Station::new()?;
    station.write("batch.csv", BATCH)?;
    let hub = ServedHub::start(&station, "hub")?;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let hostile = HostileHub::before(&station, &hub, move |_| Reply::Endless(head.clone()))?;
    for args in [&ONE[..], &["apply", "batch.csv"]] {
        let ended = run(&mut hostile.provisioner(&station)?, args)?.expect_code(3)?;
        ensure!(ended.stderr.contains("larger than"), "{args:?}: {}", ended.stderr);
    }
    // What was on its way comes on top of the bounds, which are some megabytes.
    ensure!(hostile.sent() < 100 << 20, "{} bytes", hostile.sent());
    Ok(())
}

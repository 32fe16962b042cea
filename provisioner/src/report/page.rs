//! The report as one HTML page that needs nothing but itself.
//!
//! Every text of a batch, a hub or a person is escaped by the template engine, or is in a block of
//! JSON that the page's script shows as text. The page's policy allows only its own style and its
//! own script, by their hashes: it makes no request, wherever it is opened.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::causes::Cause;
use super::chart::Chart;
use super::notes::{held_note, left_enabled_note, undone_note};
use super::options::options;
use super::run_summary::{RowKind, RunSummary, Shown, ShownRow};
use super::text;
use super::timeline::Timeline;
use crate::ledger::{Ledger, LedgerError, ProgressSample, Run, RunState, Session, Totals};
use crate::model::maintenance::Maintenance;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;

/// The reason why a page could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PageError {
    /// The ledger can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The rows can't be put into the page; this is a bug.
    #[error("the page can't hold the rows")]
    Data(#[from] serde_json::Error),
    /// The page can't be made; this is a bug.
    #[error("the page can't be made")]
    Template(#[from] minijinja::Error),
    /// The page can't be written.
    #[error("the page can't be written")]
    Write(#[from] io::Error),
}

/// Writes the page of a run.
pub(crate) fn write_page(ledger: &mut Ledger, run: RunId, out: &mut impl Write) -> Result<(), PageError> {
    let run = ledger.run(Some(run))?;
    let totals = ledger.totals(run.id)?;
    let mut sessions = Vec::new();
    for session in ledger.sessions(run.id)? {
        let samples = ledger.progress_samples(run.id, session.number)?;
        sessions.push((session, samples));
    }
    let summary = RunSummary::of(ledger, &run, totals.rows - totals.rejected, MOST_ROWS)?;
    let held = ledger.held_devices(run.id)?;
    let mut notes: Vec<String> = undone_note(ledger.undone_by(&run)?).into_iter().collect();
    notes.extend(left_enabled_note(&run, &totals));
    notes.extend(held.iter().map(held_note));
    let page = Page::new(&run, &totals, notes, &sessions, &summary)?;
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("thousands", text::thousands);
    environment.add_filter("code", code);
    environment.add_template("page.html", TEMPLATE)?;
    let html = environment.get_template("page.html")?.render(Serde(page))?;
    out.write_all(html.as_bytes())?;
    Ok(out.flush()?)
}

/// The values for the template.
#[derive(Serialize)]
struct Page<'a> {
    title: String,
    headline: Headline,
    run: &'a Run,
    /// The mark of a run on a service for tests.
    test_mark: Option<&'static str>,
    state: &'static str,
    subject: Vec<String>,
    parts: Vec<BarPart>,
    rows: u64,
    chart: Option<Chart>,
    causes: Vec<Cause>,
    attention: u64,
    kept: u64,
    first_rows: Vec<FirstRow<'a>>,
    has_serials: bool,
    shown: u64,
    only_remarkable: bool,
    is_cut: bool,
    facts: Vec<(&'static str, String)>,
    data: String,
    style: &'static str,
    script: &'static str,
    style_hash: String,
    script_hash: String,
}

/// The answer to the question that the page is opened with.
#[derive(Serialize)]
struct Headline {
    /// `good`, `bad` or `open`.
    tone: &'static str,
    first: String,
    /// The later run that has undone it, the devices that it left enabled by a failure, and those that it left
    /// disabled, by the run that disabled them.
    notes: Vec<String>,
    then: Option<String>,
    also: Option<String>,
}

/// A part of the rows: a segment of the bar.
#[derive(Serialize)]
struct BarPart {
    name: &'static str,
    count: u64,
    x: f64,
    width: f64,
}

/// A row that is there without the script.
#[derive(Serialize)]
struct FirstRow<'a> {
    line: u64,
    identity: &'a str,
    end: &'static str,
    more: &'a str,
    ended: String,
    serial: &'a str,
}

impl<'a> Page<'a> {
    fn new(
        run: &'a Run,
        totals: &Totals,
        notes: Vec<String>,
        sessions: &[(Session, Vec<ProgressSample>)],
        summary: &'a RunSummary,
    ) -> serde_json::Result<Self> {
        let shown = &summary.shown;
        Ok(Self {
            title: format!("Run {}: {}", run.id, run.input),
            headline: Headline::of(run, totals, notes, summary),
            run,
            test_mark: run.is_on_test_hub().then(|| run.options.service.test_mark()),
            state: state(run.state),
            subject: subject(totals, summary),
            parts: parts(totals),
            rows: totals.rows,
            chart: Timeline::of(sessions, BUCKETS).map(|timeline| Chart::of(&timeline)),
            causes: summary.causes.sorted(run),
            attention: summary.attention,
            kept: summary.kept,
            first_rows: first_rows(shown, summary.attention > 0),
            has_serials: shown.rows.iter().any(|row| !row.6.is_empty()),
            shown: shown.rows.len() as u64,
            only_remarkable: shown.only_remarkable,
            is_cut: shown.is_cut,
            facts: facts(run, sessions),
            data: data(shown)?,
            style: STYLE,
            script: SCRIPT,
            style_hash: hash(STYLE),
            script_hash: hash(SCRIPT),
        })
    }
}

impl Headline {
    fn of(run: &Run, totals: &Totals, notes: Vec<String>, summary: &RunSummary) -> Self {
        let (well, not_well, done) = (summary.well, summary.not_well, done(run, summary));
        let first = match (well, not_well) {
            _ if totals.rows == 0 => "There is nothing in this batch.".into(),
            (0, 0) => "No row of this batch could be used.".into(),
            (1, 0) => format!("The device is {done}."),
            (_, 0) => format!("All {} are {done}.", text::counted(well, "device")),
            (0, 1) => format!("The device is not {done}."),
            (0, _) => format!("None of the {} is {done}.", text::counted(not_well, "device")),
            (1, _) => format!("1 device is {done}."),
            _ => format!("{} are {done}.", text::counted(well, "device")),
        };
        let then = match (run.state, not_well) {
            (_, 0) => None,
            (RunState::Finished, 1) => Some("1 needs attention.".to_owned()),
            (RunState::Finished, _) => Some(format!("{} need attention.", text::thousands(not_well))),
            _ => Some(format!("{} not yet: the run did not come to its end.", text::thousands(not_well))),
        };
        let also = match totals.rejected {
            0 => None,
            1 => Some("1 row of the batch is bad and was left out.".to_owned()),
            rejected => {
                Some(format!("{} rows of the batch are bad and were left out.", text::thousands(rejected)))
            }
        };
        let first = match run.is_unread() {
            true => first.trim_end_matches('.').to_owned() + ", not read back.",
            false => first,
        };
        let tone = match (run.state, not_well + totals.rejected) {
            _ if totals.rows == 0 => "open",
            (RunState::Finished, 0) => "good",
            (RunState::Finished, _) => "bad",
            _ => "open",
        };
        Self { tone, first, notes, then, also }
    }
}

/// The word for devices on which the run succeeded.
fn done(run: &Run, summary: &RunSummary) -> &'static str {
    match run.options.maintenance {
        None if summary.held == 0 => "ready",
        None if summary.held < summary.well => "as asked",
        None if summary.held_created == summary.held => "created and left disabled",
        None => "there and left disabled",
        Some(Maintenance::Release { .. }) => "enabled",
        Some(Maintenance::UndoRelease { .. }) => "disabled again",
        Some(Maintenance::Delete | Maintenance::Undo { .. }) => "gone",
        Some(Maintenance::Disable { .. }) => "disabled",
        Some(_) => "as asked",
    }
}

/// The text as HTML, with the parts between backticks as code.
fn code(text: &str) -> minijinja::Value {
    let escaped = |part: &str| minijinja::HtmlEscape(part).to_string();
    let parts = text.split('`').enumerate().map(|(index, part)| match index % 2 {
        0 => escaped(part),
        _ => format!("<code>{}</code>", escaped(part)),
    });
    minijinja::Value::from_safe_string(parts.collect())
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Finished => "finished",
        RunState::Interrupted => "interrupted",
        RunState::Running => "in progress, or interrupted without notice",
    }
}

/// The subject of the run, in numbers.
fn subject(totals: &Totals, summary: &RunSummary) -> Vec<String> {
    let counts = [(totals.rows, "row"), (summary.devices, "device"), (summary.modules, "module")];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let presumed = (totals.presumed > 0).then(|| format!("{} only presumably by this run", totals.presumed));
    counts.map(|(count, what)| text::counted(count, what)).chain(presumed).collect()
}

/// The segments of the bar, in proportion to their parts, and never too short to be visible.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
fn parts(totals: &Totals) -> Vec<BarPart> {
    let counts: Vec<_> = totals.parts().into_iter().filter(|(_, count)| *count > 0).collect();
    let least = |count: u64| (count as f64 / totals.rows as f64 * BAR).max(LEAST_SEGMENT);
    let sum: f64 = counts.iter().map(|(_, count)| least(*count)).sum();
    let mut x = 0.0;
    let part = |(name, count): (&'static str, u64)| {
        let part = BarPart { name, count, x, width: least(count) / sum * BAR };
        x += part.width;
        part
    };
    counts.into_iter().map(part).collect()
}

fn first_rows<'s>(shown: &'s Shown, only_attention: bool) -> Vec<FirstRow<'s>> {
    let text = |number: usize| shown.texts.get(number).map_or("", String::as_str);
    let selected = shown.rows.iter().filter(|row| !only_attention || row.3 == RowKind::Attention);
    let row = |row: &'s ShownRow| FirstRow {
        line: row.0,
        identity: &row.1,
        end: row.2,
        more: text(row.4),
        ended: text::time(text(row.5)),
        serial: &row.6,
    };
    selected.take(FIRST_ROWS).map(row).collect()
}

fn facts(run: &Run, sessions: &[(Session, Vec<ProgressSample>)]) -> Vec<(&'static str, String)> {
    let sessions = || sessions.iter().map(|(session, _)| session);
    let operators = each_once(&run.by.name, sessions().map(|session| session.by.name.as_str()));
    let stations = each_once(&run.by.station, sessions().map(|session| session.by.station.as_str()));
    let versions = each_once(&run.tool_version, sessions().map(|session| session.tool_version.as_str()));
    let mark = run.is_on_test_hub().then(|| run.options.service.test_mark());
    let service = match run.options.service {
        ServiceKind::Dps => "DPS",
        ServiceKind::Hub => "Hub",
    };
    let facts = [
        (service, mark.map_or_else(|| run.hub.clone(), |mark| format!("{mark}: {}", run.hub))),
        ("Batch", run.input.clone()),
        ("SHA-256 of the batch", run.input_sha256.to_string()),
        ("Operator", operators),
        ("Station", stations),
        ("Begun", text::time(run.started.as_str())),
        ("Ended", run.finished.as_ref().map(|time| text::time(time.as_str())).unwrap_or_default()),
        ("Provisioner", versions),
        ("Options", options(&run.options)),
        ("Read back", verification(run)),
    ];
    let known = |(name, fact): (_, String)| (name, if fact.is_empty() { "not known".into() } else { fact });
    facts.into_iter().map(known).collect()
}

/// The first text and the others, without empty ones.
fn each_once<'t>(first: &'t str, others: impl Iterator<Item = &'t str>) -> String {
    let mut texts = vec![first];
    texts.extend(others);
    texts.sort_unstable();
    texts.dedup();
    texts.retain(|text| !text.is_empty());
    texts.join(", ")
}

fn verification(run: &Run) -> String {
    let Some(seen) = &run.verification else { return "it was not read back".into() };
    let count = |count: u64, what: &str| (count > 0).then(|| format!("{} {what}", text::thousands(count)));
    let parts = [
        count(seen.equal, "as asked"),
        count(seen.missing, "missing"),
        count(seen.different, "different"),
        count(seen.twin_written_since, "with a twin that was written since, which counts as asked"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!(
        "{} read at {}: {}",
        text::thousands(seen.checked),
        text::time(seen.at.as_str()),
        parts.join(", ")
    )
}

/// The rows as JSON that ends no element and begins none.
fn data(shown: &Shown) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Data<'a> {
        texts: &'a [String],
        rows: &'a [ShownRow],
    }
    let json = serde_json::to_string(&Data { texts: &shown.texts, rows: &shown.rows })?;
    Ok(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// The hash by which the page's policy knows its own parts.
fn hash(part: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(part)))
}

/// The beginning of each page.
pub(crate) const PAGE_BEGIN: &str = "<!doctype html";
const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
/// The largest number of rows on a page, which browsers open quickly and mails can carry.
const MOST_ROWS: usize = 50_000;
/// The number of rows that are shown without the script, and on paper.
const FIRST_ROWS: usize = 500;
/// Parts that a timeline is drawn in.
const BUCKETS: u32 = 240;
const BAR: f64 = 1_000.0;
const LEAST_SEGMENT: f64 = 6.0;

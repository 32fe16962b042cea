//! The one place that prints: data to stdout, everything for people to stderr.
//!
//! Each line is printed when its row is found, because a reader may wait for it and a run may take
//! hours.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{Stdout, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cli_support::exit::Exit;
use cli_support::progress::Progress;
use cli_support::stderr;
use cli_support::terminal::{self, TerminalSafe};
use hub_types::shown::ShownLines;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::Format;
use super::failure::Failure;
use super::object::List;
use super::stop::Stop;
use crate::hub::lasting;
use crate::model::observer::{Activity, ActivityProgress, RunObserver};
use crate::model::service::ServiceKind;
use crate::model::service_status::{Service, ServiceStatus, StatusListener, WaitReason};

pub(super) struct Printer {
    pub(super) format: Format,
    /// The requests to stop of whoever reads what is printed.
    pub(super) stop: Stop,
    /// True if the command works on a hub or a DPS for tests.
    is_for_tests: AtomicBool,
    /// True if the command works on a DPS.
    is_on_dps: Arc<AtomicBool>,
    /// True if CSV cells must not be formulas for a spreadsheet.
    is_spreadsheet_safe: bool,
}

impl Printer {
    pub(super) fn new(format: Format, stop: Stop) -> Self {
        Self {
            format,
            stop,
            is_for_tests: AtomicBool::new(false),
            is_on_dps: Arc::default(),
            is_spreadsheet_safe: false,
        }
    }

    /// Makes cells of CSV harmless for spreadsheets, if asked to.
    pub(super) fn spreadsheet_safe(self, is_spreadsheet_safe: bool) -> Self {
        Self { is_spreadsheet_safe, ..self }
    }

    /// Remembers the kind of the service that a command tells of, and for the last line whether it is one for
    /// tests.
    pub(super) fn remember_service(&self, kind: ServiceKind, is_for_tests: bool) {
        self.is_on_dps.fetch_or(kind == ServiceKind::Dps, Ordering::Relaxed);
        self.is_for_tests.fetch_or(is_for_tests, Ordering::Relaxed);
    }

    /// The kind of the service that the command works on.
    pub(super) fn service(&self) -> ServiceKind {
        kind(&self.is_on_dps)
    }

    /// Ends what is printed: the last line tells of a hub or a DPS for tests that it is one, so that nobody takes
    /// it for a real one. `documents` says that the text is data for programs, which nothing may follow.
    pub(super) fn end(&self, documents: bool) {
        let azures = match self.service() {
            ServiceKind::Dps => "a DPS of Azure",
            ServiceKind::Hub => "an IoT Hub of Azure",
        };
        let text = format_args!("{}: nothing of this is on {azures}", self.service().test_mark());
        match self.format {
            _ if !self.is_for_tests.load(Ordering::Relaxed) => {}
            Format::Text if !documents => self.data(text),
            Format::Text | Format::Json | Format::Csv => self.note(text),
        }
    }

    /// Data. A reader that has gone away, as `head` does, is no error.
    pub(super) fn data(&self, text: impl Display) {
        let _ = match self.format {
            // Texts of a batch or a hub may hold what a terminal obeys.
            Format::Text => writeln!(terminal::stdout(), "{}", ShownLines(&text.to_string())),
            Format::Json | Format::Csv => writeln!(terminal::stdout(), "{text}"),
        };
    }

    /// Data as JSON.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.data(pretty_json(value)?);
        Ok(())
    }

    /// Rows as CSV under a header.
    pub(super) fn csv<const N: usize>(&self, header: [&str; N], rows: impl Iterator<Item = [String; N]>) {
        let mut printed = self.csv_rows(header);
        rows.for_each(|row| printed.push(row));
    }

    /// Begins rows of CSV under a header.
    pub(super) fn csv_rows<const N: usize>(&self, header: [&str; N]) -> CsvRows<'_, N> {
        let mut rows = CsvRows { printer: self, writer: csv::Writer::from_writer(terminal::stdout()) };
        rows.push(header);
        rows
    }

    /// Begins a list of documents: as CSV, with the header.
    pub(super) fn list<const N: usize>(&self, header: [&str; N]) -> List<'_, N> {
        if self.format == Format::Csv {
            self.csv_row(header);
        }
        List { printer: self, first: true }
    }

    /// One row of CSV.
    pub(super) fn csv_row<const N: usize>(&self, row: [impl AsRef<[u8]>; N]) {
        let writer = csv::Writer::from_writer(terminal::stdout());
        CsvRows { printer: self, writer }.push(row);
    }

    /// A cell of CSV: on request with an apostrophe before what a spreadsheet takes for a formula.
    ///
    /// Source: OWASP, "CSV Injection".
    fn cell<'c>(&self, cell: &'c [u8]) -> Cow<'c, [u8]> {
        match cell.first() {
            Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r') if self.is_spreadsheet_safe => {
                Cow::Owned([b"'", cell].concat())
            }
            _ => Cow::Borrowed(cell),
        }
    }

    /// A line for people.
    pub(super) fn note(&self, text: impl Display) {
        stderr::line(text);
    }

    /// Prints that a service is unavailable, or available again, or that it is waited for.
    fn service_status(kind: ServiceKind, status: ServiceStatus) {
        let name = |service| match service {
            Service::Hub => kind.to_string(),
            Service::Ledger => "ledger's database".to_owned(),
        };
        match status {
            ServiceStatus::Recovered(service, away) => {
                stderr::line(format_args!("the {} is back after {} s", name(service), away.as_secs()));
            }
            ServiceStatus::Unavailable(service) => {
                stderr::line(format_args!("the {} does not answer; it is tried again", name(service)));
            }
            ServiceStatus::Lagged(service) => stderr::line(format_args!(
                "the {} has lost what was written to it last, as when a standby takes over that lagged behind: what \
                 this run did is found again by looking at the {kind}, and such rows end as `unchanged` or `presumed`",
                name(service)
            )),
            ServiceStatus::Unanswered(time) => {
                stderr::line(format_args!(
                    "the {kind} has not answered for {}; it is waited for",
                    lasting(time)
                ));
            }
            ServiceStatus::Waiting(reason @ WaitReason::RateLimited, time) => {
                let reason = reason.told_of(kind);
                stderr::line(format_args!("{reason}: the next one leaves in {}", lasting(time)));
            }
            ServiceStatus::Waiting(reason, time) => {
                let reason = reason.told_of(kind);
                stderr::line(format_args!("{reason}: it is tried again in {}", lasting(time)));
            }
        }
    }

    /// Prints the reason for a failure, with all causes and the remedy.
    pub(super) fn failure(&self, failure: &Failure) {
        stderr::error(if failure.exit == Exit::Bug { "bug" } else { "error" }, &*failure.error);
        if let Some(hint) = &failure.hint {
            stderr::line("");
            stderr::hint(hint);
        }
    }
}

/// Rows of CSV with the same number of cells. Its end brings the last of them out.
pub(super) struct CsvRows<'p, const N: usize> {
    printer: &'p Printer,
    writer: csv::Writer<TerminalSafe<Stdout>>,
}

impl<const N: usize> CsvRows<'_, N> {
    /// Prints a row.
    pub(super) fn push(&mut self, row: [impl AsRef<[u8]>; N]) {
        // As for `data`, a reader that has gone away is no error.
        let _ = self.writer.write_record(row.each_ref().map(|cell| self.printer.cell(cell.as_ref())));
    }
}

impl RunObserver for Printer {
    fn service(&self, kind: ServiceKind, service: &dyn Display, is_for_tests: bool) {
        Self::note(self, format_args!("{kind}: {service}"));
        self.remember_service(kind, is_for_tests);
    }

    fn note(&self, note: &dyn Display) {
        Self::note(self, note);
    }

    fn status_listener(&self) -> StatusListener {
        let is_on_dps = self.is_on_dps.clone();
        StatusListener::new(move |status| Self::service_status(kind(&is_on_dps), status))
    }

    fn begin(&self, activity: Activity, rows: u64) -> Arc<dyn ActivityProgress> {
        Arc::new(Progress::new(activity.as_str(), "rows", rows))
    }

    fn stop(&self) -> CancellationToken {
        self.stop.token()
    }

    fn set_watches_stop(&self, watches: bool) {
        self.stop.set_careful(watches);
    }

    fn advise(&self, advice: String) {
        self.stop.advise(advice);
    }
}

impl ActivityProgress for Progress {
    fn add(&self, rows: usize) {
        self.add(rows as u64).iter().for_each(stderr::line);
    }

    fn note(&self, note: &dyn Display) {
        stderr::line(note);
    }

    fn finish(&self) {
        self.finish();
    }
}

/// A value as JSON of one line.
pub(super) fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(unprintable)
}

/// A value as JSON of several lines.
pub(super) fn pretty_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(unprintable)
}

fn unprintable(error: serde_json::Error) -> Failure {
    let error = anyhow::Error::from(error).context("what was done can't be written as JSON");
    Failure::new(Exit::Bug, error).hint("the same command without `--format json` prints it as text")
}

/// The kind of the service that a command works on.
fn kind(is_on_dps: &AtomicBool) -> ServiceKind {
    match is_on_dps.load(Ordering::Relaxed) {
        true => ServiceKind::Dps,
        false => ServiceKind::Hub,
    }
}

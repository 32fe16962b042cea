//! [`Output`]: the one place that prints. Data goes to stdout, all else to stderr.
//!
//! Unlike the printer of `provisioner`, it buffers data, because there may be millions of records,
//! and a record is the same in every format.

use std::fmt::Display;
use std::io::{self, BufWriter, Stdout, Write};

use cert_tool::Refusal;
use cli_support::causes::with_causes;
use cli_support::progress::Progress;
use cli_support::stderr;
use cli_support::terminal::{self, TerminalSafe};
use hub_types::shown::{ShownBare, ShownLines};
use serde::Serialize;

use super::args::Format;
use super::failure::Failure;

/// One unit of data: it shows itself as text, and has flat fields for JSON and CSV.
pub(crate) trait Record: Serialize + Display {}

impl<T: Serialize + Display> Record for T {}

/// The places to which data and notes are printed.
pub(crate) struct Output {
    data: Data,
}

enum Data {
    Csv(Box<csv::Writer<TerminalSafe<Stdout>>>),
    Json(BufWriter<TerminalSafe<Stdout>>),
    Text(BufWriter<TerminalSafe<Stdout>>),
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let buffered = || BufWriter::with_capacity(BUFFER_BYTES, terminal::stdout());
        Self {
            data: match format {
                Format::Csv => {
                    let mut csv = csv::WriterBuilder::new();
                    csv.buffer_capacity(BUFFER_BYTES);
                    Data::Csv(Box::new(csv.from_writer(terminal::stdout())))
                }
                Format::Json => Data::Json(buffered()),
                Format::Text | Format::Base64Der | Format::Der => Data::Text(buffered()),
            },
        }
    }

    /// Returns whether data is printed as text for people.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.data, Data::Text(_))
    }

    /// Returns whether data is printed as CSV.
    pub(crate) fn is_csv(&self) -> bool {
        matches!(self.data, Data::Csv(_))
    }

    /// Prints one unit of data. That nobody reads any more is no failure of ours.
    pub(crate) fn record(&mut self, record: &impl Record) {
        let _ = match &mut self.data {
            Data::Csv(csv) => csv.serialize(record).map_err(io::Error::from),
            Data::Json(out) => {
                serde_json::to_writer(&mut *out, record).map_err(io::Error::from).and_then(|()| writeln!(out))
            }
            // Texts of certificates, requests and batches may hold what a terminal obeys.
            Data::Text(out) => writeln!(out, "{}", ShownLines(&record.to_string())),
        };
    }

    /// Tells people something.
    pub(crate) fn note(&mut self, message: &str) {
        self.flush();
        stderr::line(message);
    }

    /// Counts an entry that is complete.
    pub(crate) fn progress(&mut self, progress: &Progress) {
        if let Some(line) = progress.add(1) {
            self.note(&line);
        }
    }

    /// Says that something is wrong with one of many, and goes on.
    pub(crate) fn refused(&mut self, subject: &str, refusal: &Refusal) {
        self.flush();
        let (causes, rule) = (with_causes(refusal), refusal.rule());
        stderr::line(format_args!("refused: {}: {causes} (rule {rule})", ShownBare(subject)));
        refusal.hint().iter().for_each(stderr::hint);
    }

    /// Says that a file can't be used, and goes on.
    pub(crate) fn error(&mut self, error: &cert_tool::Error) {
        self.flush();
        stderr::error("error", error);
        error.hint().iter().for_each(stderr::hint);
    }

    /// Says why nothing more is done.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        match failure {
            Failure::Bug => self.note("error: this is a bug in cert-tool"),
            Failure::Batch => {}
            Failure::Refused(error) | Failure::Typed(error) => self.error(error),
            Failure::Open(error) => self.note(&format!("error: {}", with_causes(error))),
            // Arguments and files may hold a line end, behind which they could forge a message of ours.
            Failure::Usage(error) => self.note(&format!("error: {}", ShownBare(&format!("{error:#}")))),
        }
    }

    fn flush(&mut self) {
        let _ = match &mut self.data {
            Data::Csv(csv) => csv.flush(),
            Data::Json(out) | Data::Text(out) => out.flush(),
        };
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

/// More than the system's usual piece of a file: what is printed may be of millions of certificates.
const BUFFER_BYTES: usize = 64 * 1024;

//! The one place that writes to stdout (data) and stderr (everything for people).

use std::error::Error;
use std::io::{self, Write};

use hub_types::shown::ShownLines;
use tracing_subscriber::EnvFilter;

use crate::error::Result;

/// One line of data.
#[expect(clippy::print_stdout, reason = "this is the one place that prints")]
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A document of data, and an end of line.
pub(crate) fn data(document: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written =
        stdout.write_all(document).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    written.map_err(|source| crate::error::Error::File { action: "write to", path: "stdout".into(), source })
}

/// An error with everything that led to it.
#[expect(clippy::print_stderr, reason = "this is the one place that prints")]
pub(crate) fn error(error: &dyn Error) {
    eprintln!("error: {}", ShownLines(&error.to_string()));
    let mut cause = error.source();
    while let Some(error) = cause {
        eprintln!("  because: {}", ShownLines(&error.to_string()));
        cause = error.source();
    }
}

/// Sends log lines to stderr: warnings, or what `RUST_LOG` asks for.
pub(crate) fn log_to_stderr() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
}

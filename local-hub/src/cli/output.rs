//! The one place that writes to stdout (data) and stderr (everything for people).

use std::error::Error;
use std::io::{self, Write};

use hub_types::shown::ShownLines;
use tracing_subscriber::EnvFilter;

use crate::error::Result;

/// Writes one line of data.
pub(crate) fn line(text: &str) -> Result<()> {
    data(text.as_bytes())
}

/// Writes a document of data, and an end of line.
pub(crate) fn data(document: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    let written =
        stdout.write_all(document).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    written.map_err(|source| crate::error::Error::File { action: "write to", path: "stdout".into(), source })
}

/// Writes an error with its chain of causes. If stderr can't be written, only the exit code
/// remains.
pub(crate) fn error(error: &dyn Error) {
    let mut text = format!("error: {}\n", ShownLines(&error.to_string()));
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  because: {}\n", ShownLines(&error.to_string())));
        cause = error.source();
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Sends log lines to stderr: warnings, or those that `RUST_LOG` selects.
pub(crate) fn log_to_stderr() {
    let asked = std::env::var_os(EnvFilter::DEFAULT_ENV).map(|_| EnvFilter::try_from_default_env());
    let is_understood = !matches!(asked, Some(Err(_)));
    let filter = asked.and_then(std::result::Result::ok).unwrap_or_else(|| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    if !is_understood {
        tracing::warn!("RUST_LOG is no filter such as `local_hub=debug`; warnings are logged");
    }
}

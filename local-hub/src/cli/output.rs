//! Data on stdout, and the log on stderr.
//!
//! Unlike in the other programs, data that cannot be written is an error: an exported state that was
//! cut off must not look like a success.

use std::io::Write;

use cli_support::stderr;
use cli_support::terminal;
use tracing_subscriber::EnvFilter;

use crate::error::{Error, Result};

/// Writes one line of data.
pub(crate) fn line(text: &str) -> Result<()> {
    data(text.as_bytes())
}

/// Writes a document of data, and an end of line.
pub(crate) fn data(document: &[u8]) -> Result<()> {
    let mut stdout = terminal::stdout();
    let written =
        stdout.write_all(document).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush());
    written.map_err(|source| Error::File { action: "write to", path: "stdout".into(), source })
}

/// Sends log lines to stderr: warnings, or those that `RUST_LOG` selects.
pub(crate) fn log_to_stderr() {
    let asked = std::env::var_os(EnvFilter::DEFAULT_ENV).map(|_| EnvFilter::try_from_default_env());
    let is_understood = !matches!(asked, Some(Err(_)));
    let filter = asked.and_then(std::result::Result::ok).unwrap_or_else(|| EnvFilter::new("warn"));
    stderr::log(filter);
    if !is_understood {
        tracing::warn!("RUST_LOG is no filter such as `local_hub=debug`; warnings are logged");
    }
}

//! The standard error: lines for people, in which foreign text can't move the cursor.
//!
//! That nobody reads a line must not stop the work, so a failure to write one is ignored.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use hub_types::shown::{ShownLines, without_os_codes};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::causes::{causes, with_causes};

/// Writes a line.
pub fn line(text: impl Display) {
    let _ = writeln!(io::stderr(), "{}", ShownLines(&without_os_codes(&text.to_string())));
}

/// Writes a word such as `error`, an error and all its causes on one line.
pub fn error(word: &str, error: &dyn Error) {
    line(format_args!("{word}: {}", with_causes(error)));
}

/// Writes an error, and each of its causes on a line of its own.
pub fn error_with_lines(error: &dyn Error) {
    let causes = causes(error).map(|cause| format!("\n  because: {cause}"));
    line(format_args!("error: {error}{}", causes.collect::<String>()));
}

/// Writes the remedy of an error.
pub fn hint(remedy: impl Display) {
    line(format_args!("  hint: {remedy}"));
}

/// Writes a line while the last line may be unfinished: a terminal shows `^C`, and perhaps a
/// progress bar.
pub fn line_of_its_own(text: impl Display) {
    let start = if io::stderr().is_terminal() { "\n" } else { "" };
    line(format_args!("{start}{text}"));
}

/// Sends the log lines that pass a filter to stderr, with colours only on a terminal.
pub fn log(filter: EnvFilter) {
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    to_stderr.with_ansi(io::stderr().is_terminal()).init();
}

/// Returns true if there may be log lines.
pub fn is_logging() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

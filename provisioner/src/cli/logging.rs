//! Log lines, for people who look for the reason of something: none unless they are asked for.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Sends log lines to stderr: what `-v` asks for or, without it, `RUST_LOG`.
pub(super) fn begin(verbosity: u8) {
    let filter = match verbosity {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")),
        1 => EnvFilter::new("off,provisioner=info"),
        2 => EnvFilter::new("off,provisioner=debug"),
        _ => EnvFilter::new("trace"),
    };
    let to_stderr = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    to_stderr.with_ansi(io::stderr().is_terminal()).init();
}

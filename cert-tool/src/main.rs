//! `cert-tool`: from a list of devices to certificates. See `cert-tool --help`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}

//! The `local-hub` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    local_hub::cli::run()
}

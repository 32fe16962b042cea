//! The `local-hub` command.

use std::process::ExitCode;

/// Requests and rows are made of many short texts, which glibc's allocator takes longer to give out; see docs/benchmarks.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    local_hub::cli::run()
}

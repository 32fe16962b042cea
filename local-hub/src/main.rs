//! The `local-hub` command.

use std::process::ExitCode;

/// The allocator. Requests and rows consist of many short texts, which glibc allocates more slowly;
/// see docs/benchmarks.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    local_hub::cli::run()
}

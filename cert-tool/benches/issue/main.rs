//! Compares issuing with the operations that it cannot do without: each case runs beside its bare
//! operation, in turns, in one process. `cargo bench -p cert-tool --bench issue [-- CASE…]`, cases:
//! generate, profile, requests, weak-keys, token, folders.
//!
//! `taskset -c 0` before it shows what one core does, writing and all. `BENCH_COUNT` (20,000) is how many
//! certificates a round makes, `BENCH_ROUNDS` (5) how many rounds there are; medians are shown.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench may panic, and prints")]

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod bare;
mod compare;
mod folders;
mod generate;
mod profile;
mod requests;
mod shop;
mod token;
mod weak_keys;

fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let cases: [(&str, fn()); 6] = [
        ("generate", generate::run),
        ("profile", profile::run),
        ("requests", requests::run),
        ("weak-keys", weak_keys::run),
        ("token", token::run),
        ("folders", folders::run),
    ];
    if !token::is_child() {
        compare::print_header();
    }
    for (name, run) in cases {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            run();
        }
    }
}

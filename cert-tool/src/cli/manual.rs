//! `man` and `completions`: made of the same model as `--help`.

use hub_types::shown::ShownPath;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;
use cli_support::exit::Exit;

use super::args::Cli;
use super::failure::Failure;

/// A manual page for the program and each verb, as `cert-tool-ca-init.1`.
pub(crate) fn write_pages(dir: &Path) -> Result<Exit, Failure> {
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.with_context(|| format!("can't write to `{}`", ShownPath(dir))).map_err(Failure::Usage)?;
    Ok(Exit::Done)
}

/// Prints the script with which a shell completes command lines.
pub(crate) fn print_completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "cert-tool", &mut script);
    // That nobody reads any more is no failure of ours.
    let _ = io::Write::write_all(&mut io::stdout(), &script);
    Exit::Done
}

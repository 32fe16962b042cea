//! The command line: what was typed, the calls it stands for, and what is printed of their results.

use std::process::ExitCode;

use cli_support::exit::Exit;
use cli_support::{memory, panic, stderr, usage};
use hub_types::secret_text::{holds_secret, holds_symmetric_key};
use tracing_subscriber::EnvFilter;

use args::{Cli, Format, Verb};
use failure::Failure;
use printer::Printer;
use stop::Stop;

mod apply;
mod args;
mod audit;
mod check;
mod context;
mod device;
mod doctor;
mod explain;
mod export;
mod failure;
mod follow;
mod maintain;
mod module;
mod new_file;
mod object;
mod outcome;
mod plan;
mod printer;
mod release;
mod report;
mod resume;
mod retire;
mod rotate;
mod row_list;
mod runs;
mod stop;
mod twin;
mod undo;
mod verify;
mod work;

/// Parses what somebody could type.
#[cfg(test)]
pub(crate) fn check_command(words: &[&str]) -> Result<(), clap::Error> {
    <Cli as clap::Parser>::try_parse_from(words).map(drop)
}

/// Runs the program and answers its exit code.
pub fn run() -> ExitCode {
    memory::keep_private();
    if let Some(refused) = refuse_secret_arguments() {
        return refused;
    }
    let cli: Cli = match usage::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    stderr::log(log_filter(cli.verbose));
    let printer = Printer::new(cli.format, Stop::listen()).spreadsheet_safe(cli.spreadsheet_safe);
    let exit = panic::catch(|| dispatch(&cli, &printer)).unwrap_or(Ok(Exit::Bug));
    if exit.is_ok() {
        printer.end(cli.verb.prints_documents());
    }
    let exit = exit.unwrap_or_else(|failure| {
        printer.failure(&failure);
        failure.exit
    });
    exit.into()
}

/// The log lines that `-v` asks for or, without it, those that `RUST_LOG` selects.
fn log_filter(verbosity: u8) -> EnvFilter {
    match verbosity {
        0 => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")),
        1 => EnvFilter::new("off,provisioner=info"),
        2 => EnvFilter::new("off,provisioner=debug"),
        _ => EnvFilter::new("trace"),
    }
}

fn dispatch(cli: &Cli, printer: &Printer) -> Result<Exit, Failure> {
    let ledger = &cli.ledger()?;
    match &cli.verb {
        Verb::Check(args) => check::run(args, printer),
        Verb::Plan(args) => block_on(plan::run(args, ledger, printer)),
        Verb::Apply(args) => block_on(apply::run(args, ledger, printer)),
        Verb::Resume(args) => block_on(resume::run(args, ledger, printer)),
        Verb::Work(args) => block_on(work::run(args, ledger, printer)),
        Verb::Follow(args) => block_on(follow::run(args, ledger, printer)),
        Verb::Rotate(args) => block_on(rotate::run(args, ledger, printer)),
        Verb::Retire(args) => block_on(retire::run(args, ledger, printer)),
        Verb::Release(args) => block_on(release::run(args, ledger, printer)),
        Verb::Undo(args) => block_on(undo::run(args, ledger, printer)),
        Verb::Verify(args) => block_on(verify::run(args, ledger, printer)),
        Verb::Runs => runs::list(ledger, printer),
        Verb::Status(args) => runs::status(args.run, ledger, printer),
        Verb::Report(args) => report::run(args, ledger, printer),
        Verb::Audit(args) => audit::run(args, ledger, printer),
        Verb::Doctor(args) => block_on(doctor::run(args, ledger, printer)),
        Verb::Explain(args) => block_on(explain::run(args, printer)),
        Verb::Export(args) => block_on(export::run(args, printer)),
        Verb::Device(verb) => block_on(device::run(verb, printer)),
        Verb::Module(verb) => block_on(module::run(verb, printer)),
        Verb::Twin(verb) => block_on(twin::run(verb, printer)),
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Interrupted, error))?.block_on(work)
}

/// Refuses a key or a connection string among the arguments before any message can repeat it.
fn refuse_secret_arguments() -> Option<ExitCode> {
    let is_secret = |text: &str| holds_secret(text) || holds_symmetric_key(text);
    let mut arguments = std::env::args_os().enumerate().skip(1);
    let (number, _) = arguments.find(|(_, argument)| is_secret(&argument.to_string_lossy()))?;
    let text = format!(
        "argument {number} holds a secret, which is not repeated here: everybody on this machine can read arguments"
    );
    let hint = "hand a connection string over in IOTHUB_CONNECTION_STRING, or in a file of mode 0600 that \
                `provisioner.toml` names; renew the key if others work on this machine";
    Printer::new(Format::Text, Stop::default()).failure(&Failure::new(Exit::BadInput, text).hint(hint));
    Some(Exit::BadInput.into())
}

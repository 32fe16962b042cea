//! The command line: what was typed (`args`), one module for each verb, one for what is printed.

mod args;
mod batch;
mod bundle;
mod ca;
mod convert;
mod csr;
mod expiring;
mod extract;
mod failure;
mod index;
mod input;
mod inspect;
mod interrupt;
mod issue;
mod manual;
mod origin;
mod output;
mod pattern;
mod pfx;
mod record;
mod renew;
mod sign;
mod test_pki;
mod unlock;
mod verify;
mod within;

use std::process::ExitCode;

use anyhow::anyhow;
use cert_tool::CsrEncoding;
use cli_support::exit::Exit;
use cli_support::{memory, panic, usage};

use args::{Cli, Format, Verb};
use failure::Failure;
use output::Output;

/// Runs the verb of the command line and returns its exit code.
pub(crate) fn run() -> ExitCode {
    memory::keep_private();
    let cli: Cli = match usage::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit,
    };
    let (format, request_encoding) = match cli.format {
        Format::Base64Der => (Format::Text, Some(CsrEncoding::Base64Der)),
        Format::Der => (Format::Text, Some(CsrEncoding::Der)),
        data => (data, None),
    };
    let mut output = Output::new(format);
    let result = panic::catch(|| dispatch(cli.verb, request_encoding, &mut output));
    let exit = result.unwrap_or(Err(Failure::Bug)).unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit()
    });
    if exit == Exit::Interrupted {
        output.note("interrupted; run the same command again to continue");
    }
    exit.into()
}

fn dispatch(verb: Verb, request_encoding: Option<CsrEncoding>, output: &mut Output) -> Result<Exit, Failure> {
    if request_encoding.is_some() && !matches!(verb, Verb::Csr(_)) {
        return Err(Failure::Usage(anyhow!(
            "--format der and base64-der are for requests (the verb `csr`); data is text, json or csv"
        )));
    }
    match verb {
        Verb::Bundle(args) => bundle::run(&args, output),
        Verb::Ca(args) => ca::run(&args, output),
        Verb::Completions { shell } => Ok(manual::print_completions(shell)),
        Verb::Convert(args) => convert::run(&args, output),
        Verb::Csr(args) => csr::run(&args, request_encoding, output),
        Verb::Extract(args) => extract::run(&args, output),
        Verb::Expiring(args) => expiring::run(&args, output),
        Verb::Find(args) => index::find(&args, output),
        Verb::Issue(args) => issue::run(&args, output),
        Verb::Man { dir } => manual::write_pages(&dir),
        Verb::List(args) => index::list(&args, output),
        Verb::Pfx(args) => pfx::run(&args, output),
        Verb::Renew(args) => renew::run(&args, output),
        Verb::Revoke(args) => index::revoke(&args, output),
        Verb::Show(args) => inspect::show(&args, output),
        Verb::Sign(args) => sign::run(&args, output),
        Verb::TestPki(args) => test_pki::run(&args, output),
        Verb::Thumbprint(args) => inspect::thumbprint(&args, output),
        Verb::Verify(args) => verify::run(&args, output),
    }
}

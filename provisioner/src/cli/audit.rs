//! `audit`: a run as a chain of hashes, and whether such a chain is whole.

use hub_types::shown::ShownPath;
use std::io::BufWriter;
use std::path::Path;

use cli_support::exit::Exit;
use cli_support::new_file::Existing;
use cli_support::terminal;

use super::args::{AuditArgs, Format};
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::new_file::{self, unwritable};
use super::printer::Printer;
use crate::audit::{AuditError, Broken, CheckError, OpenAudit, Sealed, check_file};
use crate::ledger::LedgerLocation;

pub(super) fn run(args: &AuditArgs, ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    if let Some(pack) = &args.check {
        return examine(pack, args.hash.as_deref(), printer);
    }
    let audit = OpenAudit::open(ledger, args.run, printer)?;
    let Some(path) = &args.out else {
        let sealed = audit.write(&mut BufWriter::new(terminal::stdout()))?;
        printer.note(format_args!("{} rows, last hash {:x}", sealed.rows, sealed.hash));
        return Ok(Exit::Done);
    };
    let mut file = new_file::create(path, Existing::Kept)?;
    let sealed = audit.write(&mut file)?;
    file.finish().map_err(|error| unwritable(path, error))?;
    print(path, &sealed, ResultContext::of_run(audit.run(), ledger), printer)?;
    Ok(Exit::Done)
}

fn examine(pack: &Path, hash: Option<&str>, printer: &Printer) -> Result<Exit, Failure> {
    let sealed = check_file(pack)?;
    print(pack, &sealed, ResultContext::default().input(pack), printer)?;
    match hash {
        Some(hash) if hash.parse() != Ok(sealed.hash) => {
            let text = format!(
                "`{}` is unchanged, but it is a different pack: its last hash is not {hash}",
                ShownPath(pack)
            );
            Err(Failure::new(Exit::SomeFailed, text))
        }
        _ => Ok(Exit::Done),
    }
}

fn print(pack: &Path, sealed: &Sealed, context: ResultContext, printer: &Printer) -> Result<(), Failure> {
    let Sealed { rows, hash } = sealed;
    match printer.format {
        Format::Json => printer.json(&InContext { context, result: sealed })?,
        Format::Csv => printer.csv(["rows", "hash"], [[rows.to_string(), format!("{hash:x}")]].into_iter()),
        Format::Text => {
            printer.data(format_args!("{}: {rows} rows, whole, last hash {hash:x}", ShownPath(pack)))
        }
    }
    Ok(())
}

impl From<CheckError> for Failure {
    fn from(error: CheckError) -> Self {
        let exit = match &error {
            CheckError::Broken { source: Broken::Line { .. }, .. } => Exit::SomeFailed,
            _ => Exit::BadInput,
        };
        Self::new(exit, error)
    }
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Ledger(error) => error.into(),
            other => Self::new(Exit::BadInput, other).hint("check the path, its rights and the free space"),
        }
    }
}

//! `audit`: a run as a chain of hashes, and whether such a chain is whole.

use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;

use cli_support::exit::Exit;
use cli_support::new_file::Existing;

use super::args::{AuditArgs, Format};
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::new_file::{self, unwritable};
use super::printer::Printer;
use crate::audit::{AuditError, Broken, Sealed, check, write};
use crate::ledger::{LedgerLocation, RunReader};

pub(super) fn run(args: &AuditArgs, ledger: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
    if let Some(pack) = &args.check {
        return examine(pack, args.hash.as_deref(), printer);
    }
    let reader = RunReader::open(ledger, args.run, printer)?;
    let context = ResultContext::of_run(reader.run(), ledger);
    let (mut ledger, run) = (reader.lock(), reader.run().id);
    let Some(path) = &args.out else {
        let sealed = write(&mut ledger, run, &mut BufWriter::new(io::stdout()))?;
        printer.note(format_args!("{} rows, last hash {:x}", sealed.rows, sealed.hash));
        return Ok(Exit::Done);
    };
    let mut file = new_file::create(path, Existing::Kept)?;
    let sealed = write(&mut ledger, run, &mut file)?;
    file.finish().map_err(|error| unwritable(path, error))?;
    print(path, &sealed, context, printer)?;
    Ok(Exit::Done)
}

fn examine(pack: &Path, hash: Option<&str>, printer: &Printer) -> Result<Exit, Failure> {
    let file = File::open(pack)
        .map_err(|error| Failure::new(Exit::BadInput, format!("can't read `{}`: {error}", pack.display())))?;
    let sealed = check(BufReader::new(file)).map_err(|error| broken(pack, error))?;
    print(pack, &sealed, ResultContext::default().input(pack), printer)?;
    match hash {
        Some(hash) if hash.parse() != Ok(sealed.hash) => {
            let text = format!(
                "`{}` is unchanged, but it is a different pack: its last hash is not {hash}",
                pack.display()
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
            printer.data(format_args!("{}: {rows} rows, whole, last hash {hash:x}", pack.display()))
        }
    }
    Ok(())
}

fn broken(pack: &Path, error: Broken) -> Failure {
    let exit = match error {
        Broken::Line { .. } => Exit::SomeFailed,
        _ => Exit::BadInput,
    };
    Failure::new(
        exit,
        anyhow::Error::from(error).context(format!("`{}` is not a complete audit pack", pack.display())),
    )
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Ledger(error) => error.into(),
            other => Self::new(Exit::BadInput, other).hint("check the path, its rights and the free space"),
        }
    }
}

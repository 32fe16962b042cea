//! `export`: a hub as a batch.

use std::io::{self, BufWriter};
use std::path::Path;

use cli_support::exit::Exit;
use cli_support::new_file::Existing;
use cli_support::terminal;

use super::args::{ExportArgs, Format};
use super::failure::Failure;
use super::new_file::{self, unwritable};
use super::printer::Printer;
use crate::export::{ExportError, ExportFormat, Exported};
use crate::objects::{Objects, on_hub};

pub(super) async fn run(args: &ExportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let export = async |objects: Objects<'_>| match &args.out {
        Some(path) => to_file(&objects, args, path).await,
        None => {
            let format = match printer.format {
                Format::Csv => ExportFormat::Csv,
                Format::Json | Format::Text => ExportFormat::JsonLines,
            };
            let mut out = BufWriter::new(terminal::stdout());
            Ok(objects.export(args.condition.as_deref(), format, &mut out).await?)
        }
    };
    let exported = on_hub(args.target.choice(), printer, export).await;
    let Exported { devices, modules, without_keys, not_understood, changed_number, .. } = exported?;
    printer.note(format_args!("exported: {devices} devices, {modules} modules"));
    if without_keys > 0 {
        printer.note(format_args!(
            "{without_keys} of them have symmetric keys, which are not exported: a different hub would make new ones"
        ));
    }
    if not_understood > 0 {
        printer.note(format_args!(
            "{not_understood} of them have an authentication or a parent that a batch can't hold: `provisioner check` shows \
             their rows"
        ));
    }
    if let Some(error) = changed_number {
        printer.note(format_args!(
            "warning: numbers of the hub with too many digits are rounded in the batch; the first is {error}"
        ));
    }
    Ok(Exit::Done)
}

async fn to_file(objects: &Objects<'_>, args: &ExportArgs, path: &Path) -> Result<Exported, Failure> {
    let format = ExportFormat::of_file(path)
        .ok_or_else(|| Failure::new(Exit::BadInput, "the name of the file must end in .csv or .jsonl"))?;
    let mut out = new_file::create(path, Existing::Kept)?;
    let exported = objects.export(args.condition.as_deref(), format, &mut out).await;
    let exported = exported.map_err(|error| match error {
        ExportError::Write(error) => unwritable(path, error),
        other => other.into(),
    })?;
    out.finish().map_err(|error| unwritable(path, error))?;
    Ok(exported)
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Hub(error) => error.into(),
            // Whoever reads the pipe, as `head` does, has seen enough.
            ExportError::Write(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Self::new(Exit::Interrupted, error)
            }
            other => Self::new(Exit::Refused, other),
        }
    }
}

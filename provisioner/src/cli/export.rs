//! `export`: a hub or the enrolments of a DPS as a batch.

use std::io::{self, BufWriter};
use std::path::Path;

use cli_support::exit::Exit;
use cli_support::new_file::Existing;
use cli_support::terminal;

use super::args::{ExportArgs, Format};
use super::failure::Failure;
use super::new_file::{self, unwritable};
use super::printer::Printer;
use crate::export::{ExportError, ExportFormat, ExportSource, Exported, export};
use crate::model::service::ServiceKind;
use crate::objects::{Objects, PATIENCE, on_hub};
use crate::target::{OpenDps, ServiceChoice, with_dps};
use cli_support::counted::counted;

pub(super) async fn run(args: &ExportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let exported = match args.dps.choice(&args.target) {
        ServiceChoice::Hub(hub) => {
            let export = async |objects: Objects<'_>| {
                write(objects.to_export(args.condition.as_deref()), args, printer).await
            };
            on_hub(hub, printer, export).await
        }
        ServiceChoice::Dps(dps) => {
            let export = async |dps: &OpenDps| write(ExportSource::Dps(&dps.client), args, printer).await;
            with_dps(dps, PATIENCE, printer, export).await
        }
    };
    note(&exported?, printer);
    Ok(Exit::Done)
}

/// Writes the batch to a file, or to the standard output.
async fn write(source: ExportSource<'_>, args: &ExportArgs, printer: &Printer) -> Result<Exported, Failure> {
    match &args.out {
        Some(path) => to_file(source, path).await,
        None => {
            let format = match printer.format {
                Format::Csv => ExportFormat::Csv,
                Format::Json | Format::Text => ExportFormat::JsonLines,
            };
            let mut out = BufWriter::new(terminal::stdout());
            Ok(export(source, format, &mut out).await?)
        }
    }
}

async fn to_file(source: ExportSource<'_>, path: &Path) -> Result<Exported, Failure> {
    let format = ExportFormat::of_file(path)
        .ok_or_else(|| Failure::new(Exit::BadInput, "the name of the file must end in .csv or .jsonl"))?;
    let mut out = new_file::create(path, Existing::Kept)?;
    let exported = export(source, format, &mut out).await;
    let exported = exported.map_err(|error| match error {
        ExportError::Write(error) => unwritable(path, error),
        other => other.into(),
    })?;
    out.finish().map_err(|error| unwritable(path, error))?;
    Ok(exported)
}

/// Notes what was exported, and what a batch can't hold.
fn note(exported: &Exported, printer: &Printer) {
    let Exported { devices, modules, without_keys, not_understood, .. } = exported;
    let Exported { other_ids, with_certificates, groups, changed_number, .. } = exported;
    let service = printer.service();
    match service {
        ServiceKind::Dps => printer.note(format_args!("exported: {}", counted(*devices, "enrolment"))),
        ServiceKind::Hub => printer.note(format_args!("exported: {devices} devices, {modules} modules")),
    }
    if *without_keys > 0 {
        printer.note(format_args!(
            "{without_keys} of them have symmetric keys, which are not exported: a different {service} would make new ones"
        ));
    }
    if *with_certificates > 0 {
        printer.note(format_args!(
            "{with_certificates} of them have certificates, of which a DPS shows only the thumbprints: to enrol them \
             elsewhere, name their files in the column `certificate`"
        ));
    }
    if *other_ids > 0 {
        printer.note(format_args!(
            "warning: {other_ids} of them give their device a different id from the one that it registers by; the batch \
             has the latter"
        ));
    }
    if *not_understood > 0 {
        printer.note(format_args!(
            "{not_understood} of them have an authentication or a parent that a batch can't hold: `provisioner check` shows \
             their rows"
        ));
    }
    if *groups > 0 {
        printer.note(format_args!(
            "{} not exported: a batch has no place for groups",
            counted(*groups, "enrolment group")
        ));
    }
    if let Some(error) = changed_number {
        printer.note(format_args!(
            "warning: numbers of the {service} with too many digits are rounded in the batch; the first is {error}"
        ));
    }
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

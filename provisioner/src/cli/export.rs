//! `export`: a hub as a batch.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use super::args::{ExportArgs, Format};
use super::failure::{Exit, Failure};
use super::object;
use super::printer::Printer;
use crate::export::{ExportError, ExportFormat, Exported, export};
use crate::hub::HubClient;

pub(super) async fn run(args: &ExportArgs, printer: &Printer) -> Result<Exit, Failure> {
    let hub = object::open(&args.target, printer).await?;
    let exported = match &args.out {
        Some(path) => to_file(&hub.client, args, path).await,
        None => {
            let format = match printer.format {
                Format::Csv => ExportFormat::Csv,
                Format::Json | Format::Text => ExportFormat::JsonLines,
            };
            let mut out = BufWriter::new(io::stdout());
            Ok(export(&hub.client, args.condition.as_deref(), format, &mut out).await?)
        }
    };
    hub.close().await;
    let Exported { devices, modules, without_keys, .. } = exported?;
    printer.note(format_args!("exported: {devices} devices, {modules} modules"));
    if without_keys > 0 {
        printer.note(format_args!(
            "{without_keys} of them have symmetric keys, which are not exported: another hub would make new ones"
        ));
    }
    Ok(Exit::Done)
}

/// Writes the batch beside its place and puts it there when it is whole.
async fn to_file(hub: &HubClient, args: &ExportArgs, path: &Path) -> Result<Exported, Failure> {
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => ExportFormat::Csv,
        Some("jsonl" | "ndjson") => ExportFormat::JsonLines,
        _ => return Err(object::usage("the name of the file must end in .csv or .jsonl")),
    };
    if path.exists() {
        return Err(object::usage(format!("`{}` exists already; choose another name", path.display())));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = tempfile::NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new(".")));
    let mut out = BufWriter::new(file.map_err(|error| unwritable(path, error))?);
    let exported = export(hub, args.condition.as_deref(), format, &mut out).await?;
    let file = out.into_inner().map_err(|error| unwritable(path, error.into_error()))?;
    file.as_file().sync_all().map_err(|error| unwritable(path, error))?;
    file.persist_noclobber(path).map_err(|error| unwritable(path, error.error))?;
    sync_folder(folder).map_err(|error| unwritable(path, error))?;
    Ok(exported)
}

fn unwritable(path: &Path, error: io::Error) -> Failure {
    Failure::new(Exit::BadInput, format!("can't write `{}`: {error}", path.display()))
}

/// The name of a new file lasts only when its folder has reached the disk.
fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    if cfg!(unix) { File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all() } else { Ok(()) }
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

//! The rows that failed or are in conflict, as a batch file of their own: correct it and apply it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use batch_file::{BatchReader, BatchWriter};

use super::failure::{Exit, Failure};
use super::printer::Printer;
use crate::batch::sha256_of_file;
use crate::ledger::{Ledger, RowFilter, Run};
use crate::model::causes::with_causes;
use crate::model::text::counted;

/// Writes the file beside the batch, where the files that rows name are found, and says so. Writes
/// nothing where no row failed.
pub(super) fn write_beside(
    batch: &Path,
    ledger: &mut Ledger,
    run: &Run,
    printer: &Printer,
) -> Result<(), Failure> {
    let lines = failed_lines(ledger, run)?;
    if lines.is_empty() {
        return Ok(());
    }
    let stem = batch.file_stem().unwrap_or_default().to_string_lossy();
    let ending = batch.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    let out = batch.with_file_name(format!("{stem}.run-{}-failed{ending}", run.id));
    match write(batch, &out, &lines, run) {
        Ok(()) => printer.note(format_args!(
            "{} failed or in conflict: {}",
            counted(lines.len(), "row"),
            out.display()
        )),
        // The run itself is not worse for it, and `report` can write the file later.
        Err(failure) => {
            let why = with_causes(&*failure.error);
            printer.note(format_args!("the failed rows could not be written: {why}"));
        }
    }
    Ok(())
}

/// Writes the file where the user wants it.
pub(super) fn write_to(out: &Path, ledger: &mut Ledger, run: &Run, printer: &Printer) -> Result<(), Failure> {
    let lines = failed_lines(ledger, run)?;
    let batch: PathBuf = run.input.clone().into();
    write(&batch, out, &lines, run)?;
    printer.note(format_args!("{}: {}", out.display(), counted(lines.len(), "row")));
    Ok(())
}

fn write(batch: &Path, out: &Path, lines: &BTreeSet<u64>, run: &Run) -> Result<(), Failure> {
    let unusable = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::BadInput, format!("can't read `{}`: {error}", batch.display()))
            .hint("the failed rows are copied from the run's batch file: put it back where it was")
    };
    if sha256_of_file(batch).map_err(|error| unusable(&error))? != run.input_sha256 {
        let text = format!("{} was changed since run {} began", batch.display(), run.id);
        return Err(Failure::new(Exit::BadInput, text)
            .hint("the failed rows are copied from the run's batch file: put the old one back"));
    }
    let file = std::fs::File::open(batch).map_err(|error| unusable(&error))?;
    let base = batch.parent().unwrap_or_else(|| Path::new(""));
    let options = run.options.read_options();
    let mut reader = BatchReader::from_read(file, &batch.display().to_string(), base, &options)
        .map_err(|error| unusable(&error))?;
    let mut writer = BatchWriter::create(out, reader.format()).map_err(cant_write)?;
    for row in (&mut reader).flatten() {
        if lines.contains(&row.line) {
            writer.write(&row.cells).map_err(cant_write)?;
        }
    }
    writer.finish().map_err(cant_write)?;
    Ok(())
}

fn cant_write(error: batch_file::WriteError) -> Failure {
    Failure::new(Exit::Interrupted, error).hint("check the folder's rights and free space")
}

fn failed_lines(ledger: &mut Ledger, run: &Run) -> Result<BTreeSet<u64>, Failure> {
    Ok(ledger.rows(run.id, RowFilter::Failed).map(|row| row.map(|row| row.line)).collect::<Result<_, _>>()?)
}

//! The rows that failed or are in conflict, as a batch file of their own: correct it and apply it.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};

use batch_file::{BatchReader, BatchWriter, WriteError};

use super::load::sha256_of_file;
use crate::ledger::{LedgerError, RowFilter, Run, RunReader};
use crate::model::run_id::RunId;

/// The reason why the failed rows could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FailedRowsError {
    /// The run's batch file was changed since the run began.
    #[error("{} was changed since run {run} began", path.display())]
    BatchChanged {
        /// The file.
        path: PathBuf,
        /// The run.
        run: RunId,
    },
    /// The run's batch file can't be read.
    #[error("can't read the failed rows in `{}`, the run's batch", path.display())]
    BatchUnreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The ledger can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The file can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Writes the file beside the batch, where the files that rows name are found, and returns the file and
/// the number of rows. Writes nothing if no row failed.
pub(crate) fn write_failed_rows_beside(
    batch: &Path,
    reader: &RunReader,
) -> Result<Option<(PathBuf, usize)>, FailedRowsError> {
    let lines = failed_lines(reader)?;
    if lines.is_empty() {
        return Ok(None);
    }
    let stem = batch.file_stem().unwrap_or_default().to_string_lossy();
    let ending = batch.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    let out = batch.with_file_name(format!("{stem}.run-{}-failed{ending}", reader.run().id));
    write(batch, &out, &lines, reader.run())?;
    Ok(Some((out, lines.len())))
}

/// Writes the file to a path, and returns the number of rows.
pub(crate) fn write_failed_rows(out: &Path, reader: &RunReader) -> Result<usize, FailedRowsError> {
    let lines = failed_lines(reader)?;
    write(reader.run().input.as_ref(), out, &lines, reader.run())?;
    Ok(lines.len())
}

fn write(batch: &Path, out: &Path, lines: &BTreeSet<u64>, run: &Run) -> Result<(), FailedRowsError> {
    let unreadable = |source: Box<dyn Error + Send + Sync>| FailedRowsError::BatchUnreadable {
        path: batch.to_owned(),
        source,
    };
    if sha256_of_file(batch).map_err(|error| unreadable(error.into()))? != run.input_sha256 {
        return Err(FailedRowsError::BatchChanged { path: batch.to_owned(), run: run.id });
    }
    let file = std::fs::File::open(batch).map_err(|error| unreadable(error.into()))?;
    let base = batch.parent().unwrap_or_else(|| Path::new(""));
    let options = run.options.read_options();
    let mut reader = BatchReader::from_read(file, &batch.display().to_string(), base, &options)
        .map_err(|error| unreadable(error.into()))?;
    let mut writer = BatchWriter::create(out, reader.format())?;
    for row in (&mut reader).flatten() {
        if lines.contains(&row.line) {
            writer.write(&row.cells)?;
        }
    }
    Ok(writer.finish().map(drop)?)
}

fn failed_lines(reader: &RunReader) -> Result<BTreeSet<u64>, LedgerError> {
    let mut ledger = reader.lock();
    ledger.rows(reader.run().id, RowFilter::Failed).map(|row| row.map(|row| row.line)).collect()
}

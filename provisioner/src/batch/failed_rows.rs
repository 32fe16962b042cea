//! The rows that failed or are in conflict, as a batch file of their own: correct it and apply it.

use hub_types::shown::ShownPath;
use std::collections::BTreeSet;
use std::error::Error;
use std::io::{BufRead, BufReader, Read};
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
    #[error("{} was changed since run {run} began", ShownPath(path))]
    BatchChanged {
        /// The file.
        path: PathBuf,
        /// The run.
        run: RunId,
    },
    /// The run's batch file can't be read.
    #[error("can't read the failed rows in `{}`, the run's batch", ShownPath(path))]
    BatchUnreadable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The ledger can't be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The output would take the place of a file that is no such file.
    #[error("`{}` is already there, and {what}; it stays as it is", ShownPath(path))]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The file that it is.
        what: &'static str,
    },
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
    let run = reader.run().id;
    // A run of another ledger may have the same number, and its file may have been corrected by hand.
    let numbers = std::iter::once(String::new()).chain((2_u32..).map(|number| format!("-{number}")));
    let mut names =
        numbers.map(|number| batch.with_file_name(format!("{stem}.run-{run}-failed{number}{ending}")));
    let Some(out) = names.find(|path| path.symlink_metadata().is_err()) else { return Ok(None) };
    write(batch, &out, &lines, reader.run())?;
    Ok(Some((out, lines.len())))
}

/// Writes the file to a path, and returns the number of rows. An older file of failed rows is replaced, and no
/// other one.
pub(crate) fn write_failed_rows(out: &Path, reader: &RunReader) -> Result<usize, FailedRowsError> {
    let lines = failed_lines(reader)?;
    if let Some(what) = other_kind(out, reader.run().input.as_ref()) {
        return Err(FailedRowsError::OtherFile { path: out.to_owned(), what });
    }
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
    let mut reader = BatchReader::from_read(file, &batch.to_string_lossy(), base, &run.options.read)
        .map_err(|error| unreadable(error.into()))?;
    let mut writer = BatchWriter::create(out, reader.format())?;
    let mut written = None;
    for row in (&mut reader).flatten() {
        // The modules of an expanded row follow its device, whose cells are all of them.
        if lines.contains(&row.line) && written != Some(row.line) {
            writer.write(&row.cells)?;
            written = Some(row.line);
        }
    }
    Ok(writer.finish().map(drop)?)
}

/// The kind of the file at a path, if that must not become a file with rows of a batch. A file of failed rows
/// begins with the first line of its batch.
fn other_kind(out: &Path, batch: &Path) -> Option<&'static str> {
    let first_line = |path: &Path| {
        let mut line = Vec::new();
        let file = std::fs::File::open(path)
            .and_then(|file| BufReader::new(file.take(MAX_HEADER_BYTES)).read_until(b'\n', &mut line));
        file.map(|_| line)
    };
    if !out.is_file() {
        return None;
    }
    if out.canonicalize().ok() == batch.canonicalize().ok() {
        return Some("is the batch of the run");
    }
    let (there, header) = (first_line(out).unwrap_or_default(), first_line(batch).unwrap_or_default());
    let is_alike = there == header || (there.starts_with(b"{") && header.starts_with(b"{"));
    (!there.is_empty() && !is_alike).then_some("has no rows of this batch")
}

/// The maximum length of the first line of a batch that is compared.
const MAX_HEADER_BYTES: u64 = 1 << 20;

fn failed_lines(reader: &RunReader) -> Result<BTreeSet<u64>, LedgerError> {
    let mut ledger = reader.lock();
    let lines = ledger.rows(reader.run().id, RowFilter::Failed).map(|row| row.map(|row| row.line));
    // The row of an enrolment group has no line.
    lines.filter(|line| !matches!(line, Ok(0))).collect()
}

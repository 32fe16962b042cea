//! Batch files: first everything that is wrong with one, in one pass, then its rows.

use hub_types::shown::ShownPath;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use batch_file::{BatchReader, Problem, ReadOptions, Row, RowAuth};
use cert_tool::{Error, IssuedAuth, IssuedCertificate, IssuedList};
use cli_support::counted::counted;
use cli_support::exit::Exit;
use hub_types::IdentityId;

use super::args::BatchArgs;
use super::failure::Failure;
use super::output::Output;
use super::record::absent;

/// A batch file, and how it is read.
#[derive(Debug, Clone)]
pub(crate) struct BatchFile<'a> {
    pub(crate) path: &'a Path,
    options: ReadOptions,
}

impl<'a> BatchFile<'a> {
    pub(crate) fn new(path: &'a Path, args: &BatchArgs) -> Self {
        Self { path, options: args.options() }
    }

    fn open(&self) -> Result<BatchReader, Failure> {
        BatchReader::open(self.path, &self.options).map_err(Failure::Open)
    }
}

/// Reads a batch to its end and shows `visit` every row; what is wrong is printed, and if that stands
/// in the way nothing else is done.
pub(crate) fn check(
    batch: &BatchFile<'_>,
    output: &mut Output,
    mut visit: impl FnMut(&Row),
) -> Result<(), Failure> {
    let mut reader = batch.open()?;
    let (mut errors, mut told) = (0_u64, 0_u64);
    let mut print = |problems: &[Problem], output: &mut Output| {
        for problem in problems {
            errors += u64::from(problem.is_error());
            told += 1;
            if told <= MAX_SHOWN {
                output.note(&problem.to_string());
            }
        }
    };
    for row in &mut reader {
        match row {
            Ok(row) => {
                print(&row.warnings, output);
                visit(&row);
            }
            Err(bad) => print(&bad.problems, output),
        }
    }
    print(reader.file_problems(), output);
    if told > MAX_SHOWN {
        output.note(&format!("{}: {} more problems are not listed", ShownPath(batch.path), told - MAX_SHOWN));
    }
    if errors == 0 {
        return Ok(());
    }
    output.note(&format!("error: nothing was done, the batch has {}", counted(errors, "problem")));
    Err(Failure::Batch)
}

/// The rows of a batch that was checked before. Should it have been changed since, the rows end
/// there, and [`Rows::is_changed`] says so.
pub(crate) struct Rows {
    reader: BatchReader,
    is_changed: Arc<AtomicBool>,
}

impl Rows {
    pub(crate) fn open(batch: &BatchFile<'_>) -> Result<Self, Failure> {
        Ok(Self { reader: batch.open()?, is_changed: Arc::default() })
    }

    pub(crate) fn is_changed(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_changed)
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        match self.reader.next()? {
            Ok(row) => Some(row),
            Err(_) => {
                self.is_changed.store(true, Ordering::Relaxed);
                None
            }
        }
    }
}

/// Does something with the certificates of a folder that belong to the rows of a batch, and tells of which rows
/// there is none.
pub(crate) fn for_listed(
    batch: &BatchFile<'_>,
    list: &IssuedList,
    folder: &Path,
    output: &mut Output,
    work: impl FnOnce(&mut Listed<'_>, u64, &mut Output) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let mut rows = 0;
    check(batch, output, |_| rows += 1)?;
    let rows_of_batch = Rows::open(batch)?;
    let is_changed = rows_of_batch.is_changed();
    let mut missing = Vec::new();
    let mut wanted = rows_of_batch.filter_map(|row| match list.find(&row.identity) {
        Ok(Some(record)) => Some(Ok((row.identity, record))),
        Ok(None) => {
            missing.push(row.identity);
            None
        }
        Err(error) => Some(Err(error)),
    });
    let done = work(&mut wanted, rows, output)?;
    for identity in &missing {
        output.note(&absent(identity, folder));
    }
    let done = if missing.is_empty() || done == Exit::Interrupted { done } else { Exit::SomeFailed };
    Ok(done_unless(&is_changed, done, output))
}

/// Certificates of a folder.
pub(crate) type Listed<'a> = dyn Iterator<Item = Result<(IdentityId, IssuedCertificate), Error>> + Send + 'a;

/// Returns how a verb ends after it read a batch: a batch that changed meanwhile is not finished.
pub(crate) fn done_unless(is_changed: &AtomicBool, exit: Exit, output: &mut Output) -> Exit {
    if !is_changed.load(Ordering::Relaxed) {
        return exit;
    }
    output.note("error: the batch was changed while it was read; run the command again");
    Exit::SomeFailed
}

/// Returns the way in which a hub is to trust the certificate of a row.
pub(crate) fn auth(row: &Row) -> IssuedAuth {
    match row.auth {
        RowAuth::X509Ca => IssuedAuth::X509Ca,
        _ => IssuedAuth::X509Thumbprint,
    }
}

/// A damaged file can have a problem for each of its lines.
const MAX_SHOWN: u64 = 1_000;

//! The user's view of the crate: whole files as input, rows and problems as output.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod expansion;
mod fixtures;
mod hostile;
mod no_header;
mod round_trip;
mod rows;
mod secrets;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use batch_file::{Batch, BatchReader, OpenError, Problem, ReadOptions};

/// Reads a batch from memory, as the file `batch.csv` in the folder `lot`.
fn open(text: impl Into<Vec<u8>>) -> Result<BatchReader, OpenError> {
    BatchReader::from_read(Cursor::new(text.into()), "batch.csv", Path::new("lot"), &ReadOptions::default())
}

fn read(text: impl Into<Vec<u8>>) -> Batch {
    open(text).unwrap().read_all()
}

/// Everything that is wrong with a batch, as it is printed.
fn report(batch: &Batch) -> Vec<String> {
    let of_good = batch.rows.iter().flat_map(|row| row.warnings.iter().map(|problem| (row.line, problem)));
    let of_bad = batch.bad_rows.iter().flat_map(|row| row.problems.iter().map(|problem| (row.line, problem)));
    let mut by_line: Vec<_> = of_good.chain(of_bad).collect();
    by_line.sort_by_key(|(line, _)| *line);
    let of_rows = by_line.into_iter().map(|(_, problem)| problem.to_string());
    batch.file_problems.iter().map(Problem::to_string).chain(of_rows).collect()
}

/// The one message that a batch which can't be opened gets.
fn refusal(text: impl Into<Vec<u8>>) -> String {
    match open(text) {
        Err(OpenError::NoBatch { problems, .. }) => {
            problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
        }
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("not refused"),
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/batches").join(name)
}

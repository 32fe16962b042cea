//! Prints everything that is wrong with a batch: `cargo run --example check_batch -- batch.csv`.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::process::ExitCode;

use batch_file::{BatchReader, OpenError, Problem, ReadOptions};

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        println!("name a batch file");
        return ExitCode::from(2);
    };
    let mut reader = match BatchReader::open(path, &ReadOptions::default()) {
        Ok(reader) => reader,
        Err(OpenError::NoBatch { problems, .. }) => {
            print(&problems);
            return ExitCode::from(2);
        }
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    let (mut good, mut bad) = (0, 0);
    for row in &mut reader {
        match row {
            Ok(row) => {
                good += 1;
                print(&row.warnings);
            }
            Err(row) => {
                bad += 1;
                print(&row.problems);
            }
        }
    }
    print(reader.file_problems());
    println!("{good} rows are good, {bad} are bad");
    let is_clean = bad == 0 && !reader.file_problems().iter().any(Problem::is_error);
    ExitCode::from(if is_clean { 0 } else { 2 })
}

fn print(problems: &[Problem]) {
    for problem in problems {
        println!("{problem}");
    }
}

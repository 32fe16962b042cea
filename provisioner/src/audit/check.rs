//! The check of an audit pack: every record is unchanged and in its place, and there are no others.

use hub_types::shown::ShownPath;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use cli_support::wrong_form::JsonMistake;
use serde_json::{Map, Value};

use super::{Chain, FORMAT, HASH, Sealed};

/// The reason why a pack is incomplete or damaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Broken {
    /// A line was changed, or is not in its place.
    #[error("line {line} has changed since it was written: {what}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// The fault.
        what: String,
    },
    /// The file can't be read.
    #[error("the audit pack can't be read")]
    Read(#[from] io::Error),
}

/// The reason why a file is not a complete pack.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CheckError {
    /// The file can't be opened.
    #[error("can't read `{}`", ShownPath(path))]
    Open {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The pack is incomplete or damaged.
    #[error("`{}` is not a complete audit pack", ShownPath(path))]
    Broken {
        /// The file.
        path: PathBuf,
        /// The place and the fault.
        source: Broken,
    },
}

/// Checks the pack in a file.
pub(crate) fn check_file(path: &Path) -> Result<Sealed, CheckError> {
    let file = File::open(path).map_err(|source| CheckError::Open { path: path.to_owned(), source })?;
    check(BufReader::new(file)).map_err(|source| CheckError::Broken { path: path.to_owned(), source })
}

/// Checks a pack from its first line to its last, and returns its last hash.
pub(crate) fn check(mut pack: impl BufRead) -> Result<Sealed, Broken> {
    let mut checker = Checker::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line of ours is far shorter; what is longer need not be held in memory to be refused.
        let length = io::Read::take(&mut pack, MAX_LINE).read_until(b'\n', &mut line)?;
        if length == 0 {
            return checker.end();
        }
        let number = checker.lines + 1;
        checker.line(&line).map_err(|what| Broken::Line { line: number, what })?;
    }
}

#[derive(Default)]
struct Checker {
    chain: Chain,
    lines: u64,
    rows: u64,
    is_ended: bool,
}

impl Checker {
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if self.is_ended {
            return Err("it comes after the last record".into());
        }
        let text = line.strip_suffix(b"\n").ok_or("it is cut off")?;
        let text = str::from_utf8(text).map_err(|_| "it is not UTF-8")?;
        let mut record: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| format!("it is not a record: {}", JsonMistake::new(&error)))?;
        let canonical = |record: &Map<String, Value>| {
            serde_json::to_string(record).map_err(|error| format!("it can't be written as a record: {error}"))
        };
        // Another text of the same record would have another hash; so there is only this one.
        if canonical(&record)? != text {
            return Err("it is not written as records are".into());
        }
        let Some(Value::String(hash)) = record.remove(HASH) else { return Err("it has no hash".into()) };
        let expected = self.chain.add(&canonical(&record)?);
        if hash != format!("{expected:x}") {
            return Err(format!(
                "its hash should be {expected:x}; or a line before it was taken out or swapped"
            ));
        }
        self.lines += 1;
        self.place(&record)
    }

    /// Returns an error if the record may not be at its position.
    fn place(&mut self, record: &Map<String, Value>) -> Result<(), String> {
        let kind = record.get("record").and_then(Value::as_str).ok_or("it does not say what record it is")?;
        match (self.lines, kind) {
            (1, "run") if record.get("format").and_then(Value::as_str) == Some(FORMAT) => {}
            (1, _) => return Err(format!("it is not the first record of a `{FORMAT}`")),
            (_, "row") => self.rows += 1,
            (_, "end") if record.get("rows").and_then(Value::as_u64) == Some(self.rows) => {
                self.is_ended = true
            }
            _ => return Err(format!("a record `{kind}` does not belong here, after {} rows", self.rows)),
        }
        Ok(())
    }

    fn end(self) -> Result<Sealed, Broken> {
        match self.chain.last {
            Some(hash) if self.is_ended => Ok(Sealed { rows: self.rows, hash }),
            _ => Err(Broken::Line { line: self.lines + 1, what: "the last record is missing".into() }),
        }
    }
}

/// The maximum length of a line in bytes: twins are bounded by the hub, and so are differences in
/// them.
const MAX_LINE: u64 = 16 * 1024 * 1024;

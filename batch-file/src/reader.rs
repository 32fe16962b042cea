//! [`BatchReader`]: a batch file, read row by row.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::dialect::Format;
use crate::digits::Digits;
use crate::header::{MapError, NameMap, ReadOptions};
use crate::interpret::{RowPlace, interpret};
use crate::parents::Parents;
use crate::problem::{Findings, Flaw, Problem};
use crate::row::{BadRow, Row};
use crate::seen::Seen;
use crate::source::{Opened, RawCells, Source};

/// Reads a batch file row by row, in bounded memory.
///
/// Every row comes out good or with everything that is wrong with it; a bad row does not stop the
/// reading. What is wrong with the file rather than with a row is in [`Self::file_problems`]: with an
/// error there, nothing in the file may be used.
pub struct BatchReader {
    name: String,
    base: PathBuf,
    format: Format,
    source: Source,
    seen: Seen,
    digits: Digits,
    parents: Parents,
    rows: u64,
    file_problems: Vec<Problem>,
    is_done: bool,
}

/// A whole batch in memory.
#[derive(Debug, Default)]
pub struct Batch {
    /// The good rows.
    pub rows: Vec<Row>,
    /// The bad ones.
    pub bad_rows: Vec<BadRow>,
    /// What is wrong with the file as a whole.
    pub file_problems: Vec<Problem>,
}

/// Why a file can't be read as a batch at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file can't be opened or read.
    #[error("can't read `{file}`")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A pair of [`ReadOptions::map`] leads nowhere.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It is no batch: no text, no header, no `device_id`.
    #[error("`{file}` is no batch file{}", listed(problems))]
    NoBatch {
        /// The file.
        file: String,
        /// What is wrong with it: at least one error.
        problems: Vec<Problem>,
    },
}

impl BatchReader {
    /// Opens a file. Paths in it are relative to its folder.
    pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let file = File::open(path).map_err(|source| OpenError::Io { file: name.clone(), source })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        Self::from_read(file, &name, base, options)
    }

    /// Reads from anywhere; `name` stands in problems, and paths are relative to `base`.
    pub fn from_read(
        input: impl Read + Send + 'static,
        name: &str,
        base: &Path,
        options: &ReadOptions,
    ) -> Result<Self, OpenError> {
        let map = NameMap::new(options)?;
        let Opened { source, format, problems } = Source::open(input, map, name)?;
        Ok(Self {
            name: name.to_owned(),
            base: base.to_owned(),
            format,
            source,
            seen: Seen::new(),
            digits: Digits::default(),
            parents: Parents::default(),
            rows: 0,
            file_problems: problems,
            is_done: false,
        })
    }

    /// How the file is written down, for writing rows of it to another.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// What is wrong with the file as a whole, as far as it was read: the header's problems are here
    /// from the start.
    pub fn file_problems(&self) -> &[Problem] {
        &self.file_problems
    }

    /// Reads to the end and keeps everything.
    pub fn read_all(mut self) -> Batch {
        let mut batch = Batch::default();
        for row in &mut self {
            match row {
                Ok(row) => batch.rows.push(row),
                Err(bad) => batch.bad_rows.push(bad),
            }
        }
        batch.file_problems = self.file_problems;
        batch
    }

    fn next_row(&mut self) -> io::Result<Option<Result<Row, BadRow>>> {
        let mut findings = Findings::new(&self.name, None);
        let Some(raw) = self.source.next(&mut findings)? else {
            return Ok(None);
        };
        self.rows += 1;
        let place = RowPlace { line: raw.line, base: &self.base };
        let (row, cells) = match raw.cells {
            RawCells::Aligned(cells) => {
                self.digits.look_at(&cells, raw.line);
                let row = interpret(&cells, &place, &mut self.seen, &mut findings);
                (row, Some(cells))
            }
            RawCells::Misaligned(cells) => (None, Some(cells)),
            RawCells::Broken => (None, None),
        };
        let problems = findings.into_problems();
        Ok(Some(match row {
            Some(row) => {
                self.parents.note(&row);
                Ok(Row { warnings: problems, ..row })
            }
            None => Err(BadRow { line: raw.line, cells, problems }),
        }))
    }

    /// Notes what can only be known at the end.
    fn end(&mut self, failure: Option<io::Error>) {
        self.is_done = true;
        let mut findings = Findings::new(&self.name, None);
        if let Some(error) = failure {
            findings.error(Flaw::new(
                format!("reading stopped: {error}"),
                "see whether the file's disk or share can still be reached",
            ));
        } else if self.rows == 0 {
            findings.warning(Flaw::new("the batch has a header but no rows", "add a row for each identity"));
        }
        self.digits.report(&mut findings);
        self.parents.report(&mut self.seen, &mut findings);
        self.file_problems.extend(findings.into_problems());
    }
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n{problem}")).collect()
}

impl Iterator for BatchReader {
    type Item = Result<Row, BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        match self.next_row() {
            Ok(Some(row)) => Some(row),
            Ok(None) => {
                self.end(None);
                None
            }
            Err(error) => {
                self.end(Some(error));
                None
            }
        }
    }
}

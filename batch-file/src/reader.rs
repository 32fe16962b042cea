//! [`BatchReader`]: a batch file, read row by row.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hub_types::ModuleId;
use hub_types::limits::MAX_IDENTITIES_PER_HUB;
use hub_types::shown::without_os_codes;
use serde::Serialize;

use crate::across::blanks::Blanks;
use crate::across::duplicates::Duplicates;
use crate::across::lost_zeros::LostZeros;
use crate::across::parents::Parents;
use crate::header::column::Field;
use crate::header::{ColumnPattern, NameMap};
use crate::problem::{Findings, Flaw, Problem};
use crate::row::expansion::{Expansion, complete};
use crate::row::id_pattern::IdPattern;
use crate::row::source::{MAX_ROWS_AHEAD, OpenError, OpenedSource, RawCells, RawRow, Source};
use crate::row::twins::Twins;
use crate::row::{BadRow, Row};
use crate::row::{RowContext, interpret};
use crate::text::dialect::Format;

/// Reads a batch file row by row, in bounded memory.
///
/// Every row is returned either valid or with all its problems; a bad row does not stop the
/// reading. Problems of the file rather than of a row are in [`Self::file_problems`]: if there is
/// an error, nothing in the file may be used.
pub struct BatchReader {
    name: String,
    base: PathBuf,
    format: Format,
    source: Source,
    /// Rows that were read and not yet returned.
    ahead: VecDeque<Result<Row, BadRow>>,
    /// The result of the source, once it has ended.
    end: Option<io::Result<()>>,
    twins: Twins,
    duplicates: Duplicates,
    lost_zeros: LostZeros,
    blanks: Blanks,
    id_pattern: Option<IdPattern>,
    /// Makes the rows of modules, if rows are devices with their modules.
    expansion: Option<Expansion>,
    parents: Parents,
    rows: u64,
    file_problems: Vec<Problem>,
    is_done: bool,
}

/// Options for reading a file, in addition to its own content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReadOptions {
    /// Pairs of a name in the file and its name in our vocabulary.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub map: Vec<(String, String)>,
    /// The required form of each device id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_pattern: Option<IdPattern>,
    /// The modules that each row of a device stands for as well, with the columns
    /// `modules.<id>.<column>`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<ModuleId>,
    /// The names of columns that are not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<ColumnPattern>,
    /// The names of the columns of a CSV file without a header; empty if the file has one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// A whole batch in memory.
#[derive(Debug, Default)]
pub struct Batch {
    /// The good rows.
    pub rows: Vec<Row>,
    /// The bad rows.
    pub bad_rows: Vec<BadRow>,
    /// The problems of the file as a whole.
    pub file_problems: Vec<Problem>,
}

impl BatchReader {
    /// Opens a file. Paths in it are relative to its folder.
    pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let name = path.to_string_lossy().into_owned();
        let file = File::open(path).map_err(|source| OpenError::Io { file: name.clone(), source })?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        Self::from_read(file, &name, base, options)
    }

    /// Reads from any source; `name` is shown in problems, and paths are relative to `base`.
    pub fn from_read(
        input: impl Read + Send + 'static,
        name: &str,
        base: &Path,
        options: &ReadOptions,
    ) -> Result<Self, OpenError> {
        let map = NameMap::new(&options.map, &options.modules, &options.ignore, &options.columns)?;
        let OpenedSource { source, format, problems } = Source::open(input, map, name)?;
        Ok(Self {
            name: name.to_owned(),
            base: base.to_owned(),
            format,
            source,
            twins: Twins::default(),
            duplicates: Duplicates::new(),
            lost_zeros: LostZeros::default(),
            blanks: Blanks::default(),
            id_pattern: options.id_pattern.clone(),
            expansion: Expansion::new(&options.modules),
            parents: Parents::default(),
            rows: 0,
            file_problems: problems,
            ahead: VecDeque::new(),
            end: None,
            is_done: false,
        })
    }

    /// The syntax of the file, for writing its rows to a different one.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The problems of the file as a whole, as far as it was read. Those of the header are included
    /// from the start.
    pub fn file_problems(&self) -> &[Problem] {
        &self.file_problems
    }

    /// Reads to the end and returns everything.
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

    /// Reads a few rows, and only then compares them with earlier ones: several table lookups at
    /// once cost hardly more than one.
    fn read_ahead(&mut self) {
        let mut bytes = 0;
        while self.end.is_none() && self.ahead.len() < MAX_ROWS_AHEAD && bytes < MAX_BYTES_AHEAD {
            let mut findings = Findings::new(&self.name, None);
            match self.source.next(&mut findings) {
                Ok(Some(raw)) => {
                    bytes += raw.bytes;
                    let problems = findings.into_problems();
                    let row = self.read(raw, problems);
                    self.ahead.push_back(row);
                    if self.expansion.is_some() {
                        bytes += self.expand();
                    }
                }
                Ok(None) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
        }
        self.duplicates.prefetch();
        for row in &mut self.ahead {
            compare(row, &mut self.duplicates, &self.name);
        }
        if self.expansion.is_some() {
            self.complete_expansions();
        }
        for row in self.ahead.iter().flatten() {
            self.parents.note(row.line, &row.identity, row.parent.as_ref(), &mut self.duplicates.keys);
        }
    }

    /// Makes the rows of the modules of the device that was read last, and returns their length in bytes,
    /// approximately.
    fn expand(&mut self) -> usize {
        let (
            Some(Ok(Row { line, cells, .. }) | Err(BadRow { line, cells: Some(cells), .. })),
            Some(expansion),
        ) = (self.ahead.back(), &mut self.expansion)
        else {
            return 0;
        };
        if cells.pairs().next().is_none() || cells.get(MODULE_ID).is_some_and(|id| !id.trim().is_empty()) {
            return 0;
        }
        let (line, cells) = (*line, cells.clone());
        for number in 0..expansion.count() {
            let Some(cells) = expansion.cells(number, &cells) else { continue };
            self.rows += 1;
            let findings = Findings::new(&self.name, Some(line));
            let id_pattern = self.id_pattern.as_ref();
            let place = RowContext { line, base: &self.base, id_pattern, part: number + 1 };
            let known = (&mut self.duplicates, &mut self.blanks);
            self.ahead.push_back(interpret(cells, &place, &mut self.twins, known, findings));
        }
        expansion.count() * BYTES_PER_MODULE
    }

    /// Completes the rows of each device with its modules, which were compared with earlier ones.
    fn complete_expansions(&mut self) {
        let mut rows = std::mem::take(&mut self.ahead).into_iter().peekable();
        while let Some(device) = rows.next() {
            let line = line_of(&device);
            let modules = std::iter::from_fn(|| rows.next_if(|row| line_of(row) == line)).collect();
            self.ahead.extend(complete(device, modules));
        }
    }

    /// Reads a row by itself, with the problems of its text.
    fn read(&mut self, raw: RawRow, problems: Vec<Problem>) -> Result<Row, BadRow> {
        let RawRow { line, cells, .. } = raw;
        self.rows += 1;
        let cells = match cells {
            RawCells::Aligned(cells) => {
                self.lost_zeros.observe(&cells, line);
                let findings = Findings::of_row(&self.name, line, problems);
                let id_pattern = self.id_pattern.as_ref();
                let place = RowContext { line, base: &self.base, id_pattern, part: 0 };
                let known = (&mut self.duplicates, &mut self.blanks);
                return interpret(cells, &place, &mut self.twins, known, findings);
            }
            RawCells::Misaligned(cells) => Some(cells),
            RawCells::Broken => None,
        };
        self.duplicates.queue_without_keys();
        Err(BadRow { line, cells, problems })
    }

    /// Adds the problems that can only be found at the end.
    fn finish(&mut self) {
        let Some(end) = self.end.take() else { return };
        self.is_done = true;
        let mut findings = Findings::new(&self.name, None);
        if let Err(error) = end {
            findings.error(Flaw::new(
                format!("reading stopped: {}", without_os_codes(&error.to_string())),
                "see whether the file's disk or share can still be reached",
            ));
        } else if self.rows == 0 {
            findings.warning(Flaw::new("the batch has a header but no rows", "add a row for each identity"));
        }
        if self.rows > MAX_IDENTITIES_PER_HUB as u64 {
            findings.warning(Flaw::new(
                format!(
                    "the batch has {} rows; a hub takes {MAX_IDENTITIES_PER_HUB} devices and modules together",
                    self.rows
                ),
                "split it over several hubs, or have Azure's support raise the limit of yours",
            ));
        }
        self.lost_zeros.report(&mut findings);
        self.twins.report(&mut findings);
        self.blanks.report(&mut findings);
        self.source.report(&mut findings);
        self.parents.report(&mut self.duplicates, &mut findings);
        self.file_problems.extend(findings.into_problems());
    }
}

/// The line on which a row begins.
fn line_of(row: &Result<Row, BadRow>) -> u64 {
    match row {
        Ok(row) => row.line,
        Err(bad) => bad.line,
    }
}

/// Compares a row with earlier ones.
fn compare(row: &mut Result<Row, BadRow>, duplicates: &mut Duplicates, file: &str) {
    let (line, cells) = match row {
        Ok(row) => (row.line, Some(&row.cells)),
        Err(bad) => (bad.line, bad.cells.as_ref()),
    };
    let mut findings = Findings::new(file, Some(line));
    duplicates.check_next(line, cells, &mut findings);
    let is_bad = findings.has_errors();
    let found = findings.into_problems();
    match row {
        Ok(good) if is_bad => {
            let problems = good.warnings.drain(..).chain(found).collect();
            *row = Err(BadRow { line, cells: Some(good.cells.clone()), problems });
        }
        Ok(good) => good.warnings.extend(found),
        Err(bad) => bad.problems.extend(found),
    }
}

impl Iterator for BatchReader {
    type Item = Result<Row, BadRow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        if self.ahead.is_empty() {
            self.read_ahead();
        }
        if self.ahead.is_empty() {
            self.finish();
        }
        self.ahead.pop_front()
    }
}

/// The number of bytes after which reading ahead ends. Rows are usually far shorter.
const MAX_BYTES_AHEAD: usize = 64 * 1024;
/// The number of bytes that the row of a module counts for in reading ahead.
const BYTES_PER_MODULE: usize = 64;
/// The column of a module's id.
const MODULE_ID: &str = Field::ModuleId.name();

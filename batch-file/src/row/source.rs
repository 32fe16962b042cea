//! [`Source`]: the source of rows, CSV or JSON Lines, detected from the file's first line.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use csv::StringRecord;

use hub_types::shown::ShownBare;

use crate::header::cells::{Cells, CsvRow};
use crate::header::module_column::check_listed;
use crate::header::{Header, MAX_COLUMNS, MapError, NameMap};
use crate::problem::{Findings, Flaw, Problem};
use crate::row::json_lines::JsonRows;
use crate::text::dialect::{ByteOrderMark, Dialect, FirstLine, Format, delimiter_of_row};
use crate::text::lines::{Lines, LinesError, NextLine};
use crate::text::records::{NextRecord, Records, encoding_flaw, too_long};

/// The reason why a file can't be read as a batch at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file can't be opened or read.
    #[error("can't read `{}`", ShownBare(file))]
    Io {
        /// The file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// A pair of [`crate::ReadOptions::map`] has an unknown target.
    #[error(transparent)]
    Map(#[from] MapError),
    /// It is not a batch: no text, no header, or no `device_id`.
    #[error("`{}` is no batch file{}", ShownBare(file), listed(problems))]
    NoBatch {
        /// The file.
        file: String,
        /// Its problems, with at least one error.
        problems: Vec<Problem>,
    },
}

/// The source of rows.
pub(crate) enum Source {
    Csv(CsvRows),
    JsonLines { lines: Lines, rows: JsonRows, text: Vec<u8> },
}

pub(crate) struct CsvRows {
    records: Records,
    header: Arc<Header>,
    /// The rows that were read last. Their memory is reused unless it is still referenced.
    recent: VecDeque<Arc<CsvRow>>,
    /// True if the header ends in one or more delimiters without a name after them.
    has_nameless_end: bool,
    /// The unclosed quote whose lines are being read, if there is one.
    unclosed: Option<UnclosedQuote>,
    /// The first of the earlier unclosed quotes.
    first_unclosed: Option<UnclosedQuote>,
}

/// A quote that is never closed.
#[derive(Debug, Clone, Copy)]
struct UnclosedQuote {
    line: u64,
    /// The number of lines directly after it that are not valid rows: they may be the rest of its
    /// cell.
    passed_over: u64,
}

/// A row that is split into cells, as far as possible.
pub(crate) struct RawRow {
    /// The line on which the row begins.
    pub(crate) line: u64,
    /// The approximate length of the row, in bytes.
    pub(crate) bytes: usize,
    pub(crate) cells: RawCells,
}

/// The cells of a row, if there are any.
pub(crate) enum RawCells {
    /// The cells match the columns.
    Aligned(Cells),
    /// There are more or fewer cells than columns, so their assignment is unknown.
    Misaligned(Cells),
    /// The text can't be split.
    Broken,
}

/// A source, and the content of its header.
pub(crate) struct OpenedSource {
    pub(crate) source: Source,
    pub(crate) format: Format,
    pub(crate) problems: Vec<Problem>,
}

impl Source {
    /// Detects the dialect and reads the header. Problems of the header do not stop the reading, as
    /// long as the rows can be separated.
    pub(crate) fn open(
        input: impl Read + Send + 'static,
        map: NameMap,
        name: &str,
    ) -> Result<OpenedSource, OpenError> {
        let (mut lines, mark) = Lines::open(input).map_err(|error| match error {
            LinesError::Io(source) => io_error(name, source),
            LinesError::Refused(flaw) => refusal(name, flaw),
        })?;
        let (first, text) = first_line(&mut lines, name)?;
        match first {
            FirstLine::JsonLines | FirstLine::JsonArray if !map.columns().is_empty() => {
                Err(refusal(name, columns_of_json()))
            }
            FirstLine::JsonArray => Err(refusal(name, json_array())),
            FirstLine::JsonLines => Ok(OpenedSource::json_lines(lines, map, name)),
            FirstLine::Header(_) if !map.columns().is_empty() => {
                let delimiter = delimiter_of_row(&text, map.columns().len());
                OpenedSource::csv(lines, delimiter, mark, &map, name)
            }
            FirstLine::Header(delimiter) | FirstLine::Separator(delimiter) => {
                OpenedSource::csv(lines, delimiter, mark, &map, name)
            }
        }
    }

    /// Reads the next row that is not blank; `None` at the end.
    pub(crate) fn next(&mut self, findings: &mut Findings<'_>) -> io::Result<Option<RawRow>> {
        match self {
            Self::Csv(rows) => rows.next(findings),
            Self::JsonLines { lines, rows, text } => next_object(lines, rows, text, findings),
        }
    }

    /// Reports, at the end, problems that no single row shows.
    pub(crate) fn report(&self, findings: &mut Findings<'_>) {
        if let Self::Csv(rows) = self {
            rows.report(findings);
        }
    }
}

impl CsvRows {
    fn next(&mut self, findings: &mut Findings<'_>) -> io::Result<Option<RawRow>> {
        let mut row = self.spare();
        let due = self.header.cells.len();
        let record = &mut Arc::make_mut(&mut row).record;
        let found = loop {
            let Some(found) = self.records.next(record)? else {
                return Ok(None);
            };
            if found.broken.is_none() {
                // Spreadsheets leave rows of delimiters behind.
                if record.iter().all(str::is_empty) {
                    continue;
                }
                if self.has_nameless_end && record.iter().skip(due).all(str::is_empty) {
                    record.truncate(due);
                }
            }
            if let Some(unclosed) = &mut self.unclosed
                && (found.broken.is_some() || record.len() != due)
            {
                unclosed.passed_over += 1;
                continue;
            }
            break found;
        };
        let before = self.unclosed.take();
        self.first_unclosed =
            self.first_unclosed.or_else(|| before.filter(|unclosed| unclosed.passed_over > 0));
        self.unclosed = found.is_unclosed.then_some(UnclosedQuote { line: found.line, passed_over: 0 });
        findings.set_line(found.line);
        let bytes = record.as_slice().len() + record.len() * size_of::<usize>();
        let cells = match found.broken {
            Some(flaw) => {
                findings.error(flaw);
                RawCells::Broken
            }
            None => align(Arc::clone(&row), findings),
        };
        if bytes < MAX_KEPT_BYTES {
            self.recent.push_back(row);
        }
        Ok(Some(RawRow { line: found.line, bytes, cells }))
    }

    /// Reports, at the end, the lines that were taken for the rest of a cell.
    fn report(&self, findings: &mut Findings<'_>) {
        let unclosed = self.first_unclosed.or(self.unclosed).filter(|unclosed| unclosed.passed_over > 0);
        if let Some(UnclosedQuote { line, passed_over }) = unclosed {
            findings.set_line(line);
            findings.error(Flaw::new(
                format!(
                    "a quote on this line is never closed, and {passed_over} lines behind it are no rows by themselves: \
                     they were passed over with it"
                ),
                "close the quote, and read the file again: these lines may be rows",
            ));
        }
    }

    /// A row to read into: the oldest, if it is no longer referenced.
    fn spare(&mut self) -> Arc<CsvRow> {
        let is_full = self.recent.len() >= KEPT_ROWS;
        let oldest = is_full.then(|| self.recent.pop_front()).flatten();
        let spare = oldest.filter(|row| Arc::strong_count(row) == 1);
        let new = || CsvRow { header: Arc::clone(&self.header), record: StringRecord::new() };
        spare.unwrap_or_else(|| Arc::new(new()))
    }
}

fn align(row: Arc<CsvRow>, findings: &mut Findings<'_>) -> RawCells {
    let (own, due) = (row.record.len(), row.header.cells.len());
    let names = if row.header.is_given { "`--columns` names" } else { "the header has" };
    let cells = Cells::of_csv(row);
    if own == due {
        return RawCells::Aligned(cells);
    }
    findings.error(Flaw::new(
        format!("the row has {own} cells, {names} {due}"),
        "look for a missing or a needless delimiter; a cell that contains one must be in quotes",
    ));
    RawCells::Misaligned(cells)
}

fn next_object(
    lines: &mut Lines,
    rows: &mut JsonRows,
    text: &mut Vec<u8>,
    findings: &mut Findings<'_>,
) -> io::Result<Option<RawRow>> {
    loop {
        text.clear();
        let next = lines.append_next(text)?;
        let line = lines.number();
        findings.set_line(line);
        let flaw = match next {
            NextLine::End => return Ok(None),
            NextLine::Line if text.trim_ascii().is_empty() => continue,
            NextLine::Line => encoding_flaw(text, line, lines.encoding()),
            NextLine::NoRoom | NextLine::TooLong => Some(too_long()),
        };
        let cells = match flaw {
            None => rows.read(text, findings).map_or(RawCells::Broken, RawCells::Aligned),
            Some(flaw) => {
                findings.error(flaw);
                RawCells::Broken
            }
        };
        return Ok(Some(RawRow { line, bytes: text.len(), cells }));
    }
}

impl OpenedSource {
    fn json_lines(lines: Lines, map: NameMap, name: &str) -> Self {
        let mut findings = Findings::new(name, Some(lines.number() + 1));
        check_listed(map.modules(), &mut findings);
        Self {
            source: Source::JsonLines { lines, rows: JsonRows::new(map), text: Vec::new() },
            format: Format { dialect: Dialect::JsonLines, names: Vec::new(), has_header: false },
            problems: findings.into_problems(),
        }
    }

    fn csv(
        lines: Lines,
        delimiter: u8,
        mark: ByteOrderMark,
        map: &NameMap,
        name: &str,
    ) -> Result<Self, OpenError> {
        let mut records = Records::new(lines, delimiter);
        let mut record = StringRecord::new();
        let found = records.next(&mut record).map_err(|source| io_error(name, source))?;
        let found = found.ok_or_else(|| refusal(name, empty()))?;
        if !map.columns().is_empty() {
            return Self::csv_without_header(records, (&record, &found), delimiter, mark, map, name);
        }
        let mut findings = Findings::new(name, Some(found.line));
        let flaw = found.broken.or_else(|| too_many_columns(record.len()));
        if let Some(flaw) = flaw {
            findings.error(flaw);
            return Err(no_batch(name, findings));
        }
        let written = record.len();
        let nameless = record.iter().rev().take_while(|name| name.trim().is_empty()).count();
        let named = written - nameless;
        record.truncate(named);
        check_listed(map.modules(), &mut findings);
        let header = Header::parse(record.iter(), map, &mut findings);
        if !header.has_device_id() {
            return Err(no_batch(name, findings));
        }
        Ok(Self {
            format: Format {
                dialect: Dialect::Csv { delimiter, line_end: records.line_end(), mark },
                names: record.iter().map(str::to_owned).collect(),
                has_header: true,
            },
            source: Source::Csv(CsvRows {
                records,
                header: Arc::new(header),
                recent: VecDeque::new(),
                has_nameless_end: named < written,
                unclosed: None,
                first_unclosed: None,
            }),
            problems: findings.into_problems(),
        })
    }

    /// Opens a file of rows only, whose first was read to see what it is.
    fn csv_without_header(
        mut records: Records,
        (first, found): (&StringRecord, &NextRecord),
        delimiter: u8,
        mark: ByteOrderMark,
        map: &NameMap,
        name: &str,
    ) -> Result<Self, OpenError> {
        let line_end = records.line_end();
        let names = map.columns().to_vec();
        let mut findings = Findings::new(name, None);
        check_listed(map.modules(), &mut findings);
        let header = Header::parse(names.iter().map(String::as_str), map, &mut findings);
        if let Some(flaw) = too_many_columns(names.len()) {
            findings.error(flaw);
        }
        if header.is_repeated_by(first.iter()) && found.broken.is_none() {
            findings.set_line(found.line);
            findings.error(Flaw::new(
                "the file has a header, which `--columns` says it has not",
                "leave out `--columns`, or remove this line",
            ));
        }
        if findings.has_errors() {
            return Err(no_batch(name, findings));
        }
        records.unread();
        Ok(Self {
            format: Format { dialect: Dialect::Csv { delimiter, line_end, mark }, names, has_header: false },
            source: Source::Csv(CsvRows {
                records,
                header: Arc::new(header),
                recent: VecDeque::new(),
                has_nameless_end: true,
                unclosed: None,
                first_unclosed: None,
            }),
            problems: findings.into_problems(),
        })
    }
}

/// Reads the first line that is not blank, and gives it back unless it only names the delimiter.
fn first_line(lines: &mut Lines, name: &str) -> Result<(FirstLine, Vec<u8>), OpenError> {
    let mut text = Vec::new();
    loop {
        text.clear();
        match lines.append_next(&mut text).map_err(|source| io_error(name, source))? {
            NextLine::End => return Err(refusal(name, empty())),
            NextLine::NoRoom | NextLine::TooLong => return Err(refusal(name, too_long())),
            NextLine::Line if text.trim_ascii().is_empty() => continue,
            NextLine::Line => {}
        }
        let first = FirstLine::read(&text);
        if !matches!(first, FirstLine::Separator(_)) {
            lines.unread(&text);
        }
        return Ok((first, text));
    }
}

/// The number of lookups that a processor performs at the same time, approximately.
pub(crate) const MAX_ROWS_AHEAD: usize = 16;
/// The number of kept rows: those that are read ahead, the one before them, and the caller's
/// current one.
const KEPT_ROWS: usize = MAX_ROWS_AHEAD + 2;
/// The size in bytes above which a row's memory is released.
const MAX_KEPT_BYTES: usize = 64 * 1024;

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n{problem}")).collect()
}

fn io_error(name: &str, source: io::Error) -> OpenError {
    OpenError::Io { file: name.to_owned(), source }
}

fn refusal(name: &str, flaw: Flaw) -> OpenError {
    let mut findings = Findings::new(name, None);
    findings.error(flaw);
    no_batch(name, findings)
}

fn no_batch(name: &str, findings: Findings<'_>) -> OpenError {
    OpenError::NoBatch { file: name.to_owned(), problems: findings.into_problems() }
}

fn too_many_columns(count: usize) -> Option<Flaw> {
    (count > MAX_COLUMNS).then(|| {
        Flaw::new(
            format!("the header has {count} columns, more than {MAX_COLUMNS}"),
            "leave out what is no column of a batch",
        )
    })
}

fn empty() -> Flaw {
    Flaw::new("the file is empty", "begin it with a header that names `device_id`")
}

fn columns_of_json() -> Flaw {
    Flaw::new("the file is JSON, which has names of its own", "leave out `--columns`")
}

fn json_array() -> Flaw {
    Flaw::new(
        "the file is a JSON array; a batch in JSON has one object per line",
        "convert it, for instance with `jq -c '.[]'`",
    )
}

//! [`BatchWriter`]: a batch file, written row by row, that replaces its target only when it is
//! complete.

use hub_types::shown::ShownPath;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cli_support::new_file::{Existing, NewFile, Readers};
use serde::Serializer;

use crate::header::cells::{Cell, Cells};
use crate::text::dialect::{ByteOrderMark, Dialect, Format, LineEnd};

/// Writes a batch file.
///
/// Rows are written unchanged, keys included, so only its owner can read the file (mode 0600). It
/// replaces the target when [`Self::finish`] is called; until then an older file stays. Relative
/// paths in the rows are not changed: write beside the batch that they come from.
pub struct BatchWriter {
    path: PathBuf,
    rows: Rows,
}

enum Rows {
    Csv(Box<csv::Writer<NewFile>>),
    JsonLines(NewFile),
}

/// The error of a batch file that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write `{}`", ShownPath(path))]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

impl BatchWriter {
    /// Begins a file in this format, with its header.
    pub fn create(path: impl Into<PathBuf>, format: &Format) -> Result<Self, WriteError> {
        let path = path.into();
        match Rows::begin(&path, format) {
            Ok(rows) => Ok(Self { path, rows }),
            Err(source) => Err(WriteError { path, source }),
        }
    }

    /// Writes an unchanged row. It must come from a file of the same format.
    pub fn write(&mut self, cells: &Cells) -> Result<(), WriteError> {
        self.rows.write(cells).map_err(|source| self.error(source))
    }

    /// Writes a row of texts, one for each column.
    pub fn write_texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Result<(), WriteError> {
        let written = match &mut self.rows {
            Rows::Csv(csv) => csv.write_record(texts).map_err(io::Error::from),
            Rows::JsonLines(_) => Err(other_format()),
        };
        written.map_err(|source| self.error(source))
    }

    /// Makes the file durable and moves it to its target, replacing an older one.
    pub fn finish(self) -> Result<(), WriteError> {
        let path = self.path;
        self.rows.finish().map_err(|source| WriteError { path, source })
    }

    fn error(&self, source: io::Error) -> WriteError {
        WriteError { path: self.path.clone(), source }
    }
}

impl Rows {
    fn begin(path: &Path, format: &Format) -> io::Result<Self> {
        let mut file = NewFile::create(path, Existing::Replaced, Readers::Owner)?;
        let Dialect::Csv { delimiter, line_end, mark } = format.dialect else {
            return Ok(Self::JsonLines(file));
        };
        if mark == ByteOrderMark::Present {
            file.write_all("\u{FEFF}".as_bytes())?;
        }
        let terminator = match line_end {
            LineEnd::CrLf => csv::Terminator::CRLF,
            LineEnd::Lf => csv::Terminator::Any(b'\n'),
        };
        let mut builder = csv::WriterBuilder::new();
        builder.delimiter(delimiter).terminator(terminator).flexible(true);
        let mut csv = builder.from_writer(file);
        if format.has_header {
            csv.write_record(&format.names)?;
        }
        Ok(Self::Csv(Box::new(csv)))
    }

    fn write(&mut self, cells: &Cells) -> io::Result<()> {
        match self {
            Self::Csv(csv) => {
                for cell in cells.values() {
                    match cell {
                        Cell::Text(text) => csv.write_field(text)?,
                        Cell::Json(_) => return Err(other_format()),
                    }
                }
                csv.write_record(None::<&[u8]>).map_err(io::Error::from)
            }
            Self::JsonLines(file) => {
                let members = cells.headers().iter().zip(cells.values());
                let members = members.map(|(header, cell)| match cell {
                    Cell::Json(cell) => Ok((&header.written, cell.to_write(header))),
                    Cell::Text(_) => Err(other_format()),
                });
                let members = members.collect::<io::Result<Vec<_>>>()?;
                serde_json::Serializer::new(&mut *file).collect_map(members)?;
                file.write_all(b"\n")
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Csv(csv) => csv.into_inner().map_err(csv::IntoInnerError::into_error)?.finish(),
            Self::JsonLines(file) => file.finish(),
        }
    }
}

fn other_format() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the row comes from a file of another format")
}

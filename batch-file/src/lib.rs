//! The batch file: a list of devices and modules, as CSV or JSON Lines, one identity per row.
//!
//! This crate defines the columns, their combined meaning, and every message about their errors. It
//! reads only the batch itself: callers read the files that rows name (certificates, requests, twin
//! templates).
//!
//! | noun | module |
//! |---|---|
//! | reading: the reader, its results, the mapping of foreign names | [`BatchReader`], [`Row`], [`BadRow`], [`ReadOptions`] |
//! | errors: the fault, its place, and the remedy | [`Problem`] |
//! | the value of a twin's cell | [`untyped_value`] |
//! | writing rows back unchanged | [`BatchWriter`], [`Format`], [`Cells`] |
//!
//! | room | contents |
//! |---|---|
//! | `problem` | errors and warnings, without secrets |
//! | `text` | encoding, dialect, lines, quotes and records; damage by spreadsheets |
//! | `header` | columns and their names, and the cells of a row by column |
//! | `across` | the comparison of rows: duplicates, parents, lost zeros, types |
//! | `row` | a row: its source, CSV or JSON Lines, its values and their combinations, its expansion into modules |
//!
//! Each room uses only rooms above it in this table. `reader` and `writer` use all of them.

mod across;
mod header;
mod problem;
mod reader;
mod row;
mod text;
mod writer;

pub use header::cells::Cells;
pub use header::twin_column::untyped_value;
pub use header::{ColumnPattern, ColumnPatternError, MapError};
pub use problem::redact::redact;
pub use problem::{Problem, Severity};
pub use reader::{Batch, BatchReader, ReadOptions};
pub use row::id_pattern::{IdPattern, IdPatternError};
pub use row::source::OpenError;
pub use row::{BadRow, PemSource, Row, RowAuth};
pub use text::dialect::Format;
pub use writer::{BatchWriter, WriteError};

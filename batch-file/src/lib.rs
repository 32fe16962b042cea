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
//! A text passes through the modules in this order: `lines` (encoding, bounds), `quotes` and
//! `records` (CSV) or `json_lines`, `header` and `column` (names), `cells`, `draft`, `twins` and
//! `setting` (values), `rules` (combinations of values), `seen`, `digits`, `types`, `blanks` and
//! `parents` (comparison of rows).

mod blanks;
mod cells;
mod circles;
mod column;
mod dialect;
mod digits;
mod draft;
mod excel;
mod header;
mod id_pattern;
mod interpret;
mod json_lines;
mod lines;
mod links;
mod nearest;
mod parents;
mod problem;
mod quotes;
mod reader;
mod records;
mod row;
mod rules;
mod seen;
mod setting;
mod shown;
mod source;
mod spill;
mod table;
mod twins;
mod types;
mod writer;

pub use cells::Cells;
pub use dialect::{ByteOrderMark, Dialect, Format, LineEnd};
pub use header::{MapError, ReadOptions};
pub use id_pattern::{IdPattern, IdPatternError};
pub use problem::{Problem, Severity};
pub use reader::{Batch, BatchReader, OpenError};
pub use row::{BadRow, PemSource, Row, RowAuth};
pub use setting::untyped_value;
pub use shown::shown;
pub use writer::{BatchWriter, WriteError};

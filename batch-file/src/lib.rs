//! The batch file: a list of devices and modules, as CSV or JSON Lines, one identity per row.
//!
//! This crate owns the columns, what they mean together, and every message about what is wrong with
//! them. It reads the batch and nothing else: the files that rows name (certificates, requests, twin
//! templates) are the callers' affair.
//!
//! | noun | module |
//! |---|---|
//! | reading: the reader, what it yields, how it is told about other names | [`BatchReader`], [`Row`], [`BadRow`], [`ReadOptions`] |
//! | what is wrong, where, and what to do | [`Problem`] |
//! | what a cell of a twin's value is | [`untyped_value`] |
//! | writing rows back as they were | [`BatchWriter`], [`Format`], [`Cells`] |
//!
//! A text goes through the modules in this order: `lines` (encoding, bounds), `quotes` and `records`
//! (CSV) or `json_lines`, `header` and `column` (names), `cells`, `draft`, `twins` and `setting` (values),
//! `rules` (values together), `seen`, `digits`, `types`, `blanks` and `parents` (rows together).

mod blanks;
mod cells;
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

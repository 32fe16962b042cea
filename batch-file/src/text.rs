//! The text of a batch file: encoding, dialect, lines, quotes and records, and the damage that
//! spreadsheets do to values.

pub(crate) mod dialect;
pub(crate) mod excel;
pub(crate) mod lines;
pub(crate) mod quotes;
pub(crate) mod records;

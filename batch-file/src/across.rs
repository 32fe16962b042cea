//! The comparison of rows: duplicates, parents, and what only all values of a column show.

pub(crate) mod blanks;
mod circles;
pub(crate) mod digits;
mod links;
pub(crate) mod parents;
pub(crate) mod seen;
mod spill;
mod table;
pub(crate) mod types;

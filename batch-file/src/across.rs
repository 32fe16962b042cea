//! The comparison of rows: duplicates, parents, and what only all values of a column show.

pub(crate) mod blanks;
mod cycles;
pub(crate) mod duplicates;
mod links;
pub(crate) mod lost_zeros;
pub(crate) mod parents;
mod spill;
mod table;
pub(crate) mod types;

//! The supported part of IoT Hub's query language: text → tokens → [`Query`] → a scan.
//!
//! `SELECT [TOP n] *|items FROM devices|devices.modules|devices.jobs [WHERE …] [GROUP BY …]`.
//! Source: "IoT Hub query language for device and module twins". If that leaves the result of a
//! comparison open, it is as in Azure Cosmos DB, whose dialect this is: a comparison with a missing
//! value is neither true nor false.

pub(crate) use page::{PageRequest, count, identities, run};
pub(crate) use syntax::{Collection, Query};

use crate::jobs::Jobs;
use crate::registry::Registry;

mod aggregate;
mod condition;
mod cursor;
mod jobs;
mod lexer;
mod page;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;

/// The data that queries run over. A call may lock the data while `read` runs.
pub(crate) trait QuerySource {
    fn read_registry<T>(&self, read: impl FnOnce(&Registry) -> T) -> T;

    fn read_jobs<T>(&self, read: impl FnOnce(&Jobs) -> T) -> T;
}

/// The reason why a text is not a valid query, and its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query is wrong at column {column}: {problem}")]
pub(crate) struct QueryError {
    /// The column, counted in characters from 1.
    pub(crate) column: usize,
    pub(crate) problem: String,
}

//! The query language of IoT Hub, as far as the hub has it: text → tokens → [`Query`] → a scan.
//!
//! `SELECT [TOP n] *|items FROM devices|devices.modules|devices.jobs [WHERE …] [GROUP BY …]`. Source: "IoT Hub
//! query language for device and module twins". Where that leaves the result of a comparison open,
//! it is as in Azure Cosmos DB, whose dialect this is: what compares with something that is missing
//! is neither true nor false.

pub(crate) use configuration::{check_queries, condition_error, metric_query, query_errors, target_query};
pub(crate) use page::{PageRequest, count, identities, run};
pub(crate) use syntax::Query;

mod aggregate;
mod condition;
mod configuration;
mod cursor;
mod jobs;
mod lexer;
mod page;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;

/// Why a text is no query, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query is wrong at column {column}: {problem}")]
pub(crate) struct QueryError {
    /// Counted in characters from 1.
    pub(crate) column: usize,
    pub(crate) problem: String,
}

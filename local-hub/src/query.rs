//! The supported part of IoT Hub's query language: text → tokens → [`Query`] → a scan.
//!
//! `SELECT [TOP n] *|items FROM devices|devices.modules|devices.jobs [WHERE …] [GROUP BY …]`.
//! Source: "IoT Hub query language for device and module twins". If that leaves the result of a
//! comparison open, it is as in Azure Cosmos DB, whose dialect this is: a comparison with a missing
//! value is neither true nor false.

pub(crate) use configuration_queries::{
    check_queries, condition_error, metric_query, query_errors, target_query,
};
pub(crate) use page::{PageRequest, count, identities, run};
pub(crate) use syntax::Query;

mod aggregate;
mod condition;
mod configuration_queries;
mod cursor;
mod jobs;
mod lexer;
mod page;
mod parser;
mod syntax;
#[cfg(test)]
mod tests;

/// The reason why a text is not a valid query, and its position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query is wrong at column {column}: {problem}")]
pub(crate) struct QueryError {
    /// The column, counted in characters from 1.
    pub(crate) column: usize,
    pub(crate) problem: String,
}

//! The queries inside configurations: target conditions and custom metrics.

use std::collections::BTreeMap;

use hub_types::ErrorCode;
use serde_json::Value;

use super::Query;
use crate::documents::ConfigurationSpec;
use crate::refusal::Refusal;
use crate::registry::Answer;

/// Refuses a configuration that has a query which can't be asked.
pub(crate) fn check_queries(spec: &ConfigurationSpec) -> Answer<()> {
    if let Some(error) = condition_error(spec.target_condition.as_deref(), spec.content.as_ref()) {
        return Err(Refusal::new(ErrorCode::InvalidConfigurationTargetCondition, error));
    }
    if let Some((name, error)) = query_errors(spec.metric_queries()).into_iter().next() {
        let text = format!("the query of the metric `{name}`: {error}");
        return Err(Refusal::new(ErrorCode::InvalidConfigurationCustomMetricsQuery, text));
    }
    Ok(())
}

/// What is wrong with a target condition, if anything. One for modules brings its own `FROM`.
pub(crate) fn condition_error(condition: Option<&str>, content: Option<&Value>) -> Option<String> {
    let condition = condition?.trim();
    if condition.is_empty() || condition == "*" {
        return None;
    }
    let of_modules = content.is_some_and(|content| content.get("moduleContent").is_some());
    let brings_from = condition.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("from "));
    let query = match (brings_from, of_modules) {
        (true, _) => format!("SELECT * {condition}"),
        (false, true) => format!("SELECT * FROM devices.modules WHERE {condition}"),
        (false, false) => format!("SELECT * FROM devices WHERE {condition}"),
    };
    Query::parse(&query).err().map(|error| error.to_string())
}

/// What is wrong with queries, by the names of those that are wrong.
pub(crate) fn query_errors<'q>(
    queries: impl Iterator<Item = (&'q str, &'q str)>,
) -> BTreeMap<String, String> {
    let errors = queries.filter_map(|(name, query)| {
        Query::parse(query).err().map(|error| (name.to_owned(), error.to_string()))
    });
    errors.collect()
}

//! The queries inside configurations: target conditions and metrics.

use std::collections::BTreeMap;

use hub_types::ErrorCode;

use super::ConfigurationSpec;
use crate::api_error::{ApiError, ApiResult};
use crate::configuration_content::ContentKind;
use crate::query::{Collection, Query, QueryError};

/// Refuses a configuration that contains an invalid query.
pub(super) fn check_queries(spec: &ConfigurationSpec) -> ApiResult<()> {
    let kind = spec.content.as_ref().map_or(ContentKind::Device, ContentKind::of);
    if let Some(error) = condition_error(spec.target_condition.as_deref(), kind) {
        return Err(ApiError::new(ErrorCode::InvalidConfigurationTargetCondition, error));
    }
    if let Some((name, error)) = query_errors(spec.metric_queries()).into_iter().next() {
        let text = format!("the query of the metric `{name}`: {error}");
        return Err(ApiError::new(ErrorCode::InvalidConfigurationCustomMetricsQuery, text));
    }
    Ok(())
}

/// The query that selects a configuration's targets; `None` if it has no targets. A condition for
/// modules contains its own `FROM`.
pub(super) fn target_query(condition: Option<&str>, kind: ContentKind) -> Option<String> {
    let condition = condition?.trim();
    let brings_from = condition.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("from "));
    let (selected, devices) = match kind {
        ContentKind::Device => ("deviceId", "from devices"),
        ContentKind::Edge => ("deviceId", "from devices where capabilities.iotEdge = true"),
        ContentKind::Module => ("deviceId, moduleId", "from devices.modules"),
    };
    Some(match (condition, kind) {
        ("", _) => return None,
        ("*", _) => format!("select {selected} {devices}"),
        (condition, _) if brings_from => format!("select {selected} {condition}"),
        (condition, ContentKind::Edge) => format!("select {selected} {devices} and ({condition})"),
        (condition, _) => format!("select {selected} {devices} where {condition}"),
    })
}

/// The error in a target condition, if there is one.
pub(crate) fn condition_error(condition: Option<&str>, kind: ContentKind) -> Option<String> {
    Query::parse(&target_query(condition, kind)?).err().map(|error| error.to_string())
}

/// Parses the query of a metric. Microsoft's own tests have `select *` alone, which means all
/// devices.
pub(crate) fn metric_query(text: &str) -> Result<Query, QueryError> {
    let words: Vec<_> = text.split_whitespace().collect();
    let query = match words.as_slice() {
        [select, "*"] if select.eq_ignore_ascii_case("select") => Query::parse("select * from devices")?,
        _ => Query::parse(text)?,
    };
    match query.from {
        Collection::Devices | Collection::Modules => Ok(query),
        Collection::Jobs => {
            let problem = "a metric counts devices or devices.modules, not devices.jobs".to_owned();
            Err(QueryError { column: 1, problem })
        }
    }
}

/// The errors in queries, by the names of the invalid queries.
pub(crate) fn query_errors<'q>(
    queries: impl Iterator<Item = (&'q str, &'q str)>,
) -> BTreeMap<String, String> {
    let errors = queries.filter_map(|(name, query)| {
        metric_query(query).err().map(|error| (name.to_owned(), error.to_string()))
    });
    errors.collect()
}

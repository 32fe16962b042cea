//! Configurations (automatic device management and IoT Edge deployments) in the form of the API.
//!
//! [`crate::roll_out`] writes their content into twins.

use std::collections::BTreeMap;

use hub_types::{ErrorCode, Etag, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api_error::{ApiError, ApiResult};
use crate::configuration_content::{
    ContentKind, Deployment, TwinSettings, check_content, modules_content, read_modules, twin_settings,
};
use crate::ids;
use crate::ids::counter_etag::Counter;

use queries::{check_queries, target_query};
pub(crate) use queries::{condition_error, metric_query, query_errors};
pub(crate) use state_file::{ConfigurationsFile, ExportedConfigurations};

mod queries;
mod state_file;

/// All configurations of the hub, by id.
///
/// Like the registry, this is a plain structure without locks, I/O or a clock. There are few
/// configurations, so each is stored, and written, as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Configurations(BTreeMap<String, Configuration>);

/// A configuration as the hub returns it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Configuration {
    id: String,
    schema_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    content: Value,
    target_condition: Option<String>,
    created_time_utc: Timestamp,
    last_updated_time_utc: Timestamp,
    priority: i32,
    system_metrics: SystemMetrics,
    metrics: Metrics,
    etag: Counter,
}

/// The system metrics of every configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct SystemMetrics {
    #[serde(default)]
    results: BySystemMetric<u64>,
    #[serde(default)]
    queries: BySystemMetric<String>,
}

/// A value for each system metric, in the hub's order. The last two belong to IoT Edge deployments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BySystemMetric<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    targeted_count: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_count: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_successful_count: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_failed_count: Option<T>,
}

impl<T> Default for BySystemMetric<T> {
    fn default() -> Self {
        Self {
            targeted_count: None,
            applied_count: None,
            reported_successful_count: None,
            reported_failed_count: None,
        }
    }
}

/// The row counts of the queries of a configuration's metrics.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct MetricCounts {
    system: BySystemMetric<u64>,
    custom: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Metrics {
    #[serde(default)]
    results: BTreeMap<String, u64>,
    #[serde(default)]
    queries: BTreeMap<String, String>,
}

/// A configuration as a client writes it; members that only the hub writes are ignored.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigurationSpec {
    pub(crate) id: Option<String>,
    schema_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    pub(crate) content: Option<Value>,
    pub(crate) target_condition: Option<String>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    metrics: Option<MetricsSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct MetricsSpec {
    #[serde(default)]
    queries: Option<BTreeMap<String, String>>,
}

impl ConfigurationSpec {
    /// The queries of its own metrics, by name.
    pub(crate) fn metric_queries(&self) -> impl Iterator<Item = (&str, &str)> {
        let queries = self.metrics.iter().flat_map(|metrics| metrics.queries.iter().flatten());
        queries.map(|(name, query)| (name.as_str(), query.as_str()))
    }
}

/// The `If-Match` of a configuration. Here a live hub accepts only quoted etags: an unquoted or
/// empty one counts as absent, and so as a request to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EtagCondition {
    Any,
    Exactly(String),
}

impl EtagCondition {
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        if header == "*" {
            return Some(Self::Any);
        }
        match header.strip_prefix('"')?.strip_suffix('"')? {
            "" => None,
            "*" => Some(Self::Any),
            etag => Some(Self::Exactly(etag.to_owned())),
        }
    }

    fn check(&self, current: &Etag) -> ApiResult<()> {
        match self {
            Self::Exactly(etag) if etag != current.as_str() => Err(ApiError::etag_mismatch()),
            _ => Ok(()),
        }
    }
}

impl Configuration {
    pub(crate) fn etag(&self) -> Etag {
        self.etag.etag()
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn kind(&self) -> ContentKind {
        ContentKind::of(&self.content)
    }

    /// The query that selects its targets; `None` if it has no targets.
    pub(crate) fn target(&self) -> Option<String> {
        target_query(self.target_condition.as_deref(), self.kind())
    }

    /// The order that decides which of several configurations for one identity is applied: the
    /// greatest.
    pub(crate) fn rank(&self) -> (i32, Timestamp, &str) {
        (self.priority, self.created_time_utc, &self.id)
    }

    /// The ticks of its creation, which distinguish it from other configurations with its id.
    pub(crate) fn created(&self) -> u64 {
        self.created_time_utc.ticks()
    }

    /// The ticks of its last change.
    pub(crate) fn digest(&self) -> u64 {
        self.last_updated_time_utc.ticks()
    }

    /// The settings for each of its target twins; `None` for an IoT Edge deployment, and if there
    /// are none.
    pub(crate) fn settings(&self) -> ApiResult<Option<TwinSettings>> {
        match self.kind() {
            ContentKind::Edge => Ok(None),
            kind => twin_settings(&self.content, kind),
        }
    }

    /// The deployment in it; `None` if it is for devices or single modules.
    pub(crate) fn deployment(&self) -> ApiResult<Option<Deployment>> {
        let Some(modules) = modules_content(&self.content) else { return Ok(None) };
        let (id, created, digest) = (self.id.clone(), self.created(), self.digest());
        Ok(Some(Deployment { id, created, digest, modules: read_modules(modules)? }))
    }

    /// Returns true if its metrics show these counts.
    pub(crate) fn shows(&self, counts: &MetricCounts) -> bool {
        self.system_metrics.results == counts.system && self.metrics.results == counts.custom
    }

    /// The queries of its metrics.
    pub(crate) fn metric_queries(&self) -> MetricQueries {
        let queries = &self.system_metrics.queries;
        MetricQueries { system: queries.clone(), custom: self.metrics.queries.clone() }
    }

    /// Adds the queries of the system metrics, which follow from the other members.
    fn with_system_queries(mut self) -> Self {
        let applied = format!("configurations.[[{}]].status = 'Applied'", self.id);
        let of_agents =
            format!("select deviceId from devices.modules where moduleId = '$edgeAgent' and {applied}");
        let reported = |comparison: &str| {
            format!(
                "{of_agents} and properties.desired.$version = properties.reported.lastDesiredVersion \
                 and properties.reported.lastDesiredStatus.code {comparison} 200"
            )
        };
        let targeted_count = self.target();
        self.system_metrics.queries = match self.kind() {
            ContentKind::Device => BySystemMetric {
                targeted_count,
                applied_count: Some(format!("select deviceId from devices where {applied}")),
                ..BySystemMetric::default()
            },
            ContentKind::Module => BySystemMetric {
                targeted_count,
                applied_count: Some(format!(
                    "select deviceId, moduleId from devices.modules where {applied}"
                )),
                ..BySystemMetric::default()
            },
            ContentKind::Edge => BySystemMetric {
                targeted_count,
                reported_successful_count: Some(reported("=")),
                reported_failed_count: Some(reported("!=")),
                applied_count: Some(of_agents),
            },
        };
        self
    }

    fn new(id: &str, spec: ConfigurationSpec, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            schema_version: spec.schema_version,
            labels: spec.labels,
            content: spec.content.unwrap_or_default(),
            target_condition: spec.target_condition,
            created_time_utc: now,
            last_updated_time_utc: now,
            priority: spec.priority,
            system_metrics: SystemMetrics::default(),
            metrics: metrics(spec.metrics),
            etag: Counter::FIRST,
        }
        .with_system_queries()
    }

    /// Replaces a configuration. Its content never changes: different content in an update is
    /// ignored.
    fn replaced(&self, spec: ConfigurationSpec, now: Timestamp) -> Self {
        Self {
            labels: spec.labels,
            target_condition: spec.target_condition,
            priority: spec.priority,
            metrics: metrics(spec.metrics),
            last_updated_time_utc: now,
            etag: self.etag.next(),
            ..self.clone()
        }
        .with_system_queries()
    }
}

/// The queries of a configuration's metrics.
#[derive(Debug, Clone)]
pub(crate) struct MetricQueries {
    system: BySystemMetric<String>,
    custom: BTreeMap<String, String>,
}

impl MetricQueries {
    /// The texts of all queries.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let BySystemMetric {
            targeted_count,
            applied_count,
            reported_successful_count,
            reported_failed_count,
        } = &self.system;
        let system = [targeted_count, applied_count, reported_successful_count, reported_failed_count];
        system.into_iter().flatten().chain(self.custom.values()).map(String::as_str)
    }

    /// Builds the metric counts from counts in the order of [`MetricQueries::texts`].
    pub(crate) fn counted(&self, counts: &[u64]) -> MetricCounts {
        let mut counts = counts.iter().copied();
        let mut next = |query: &Option<String>| query.as_ref().and_then(|_| counts.next());
        let system = BySystemMetric {
            targeted_count: next(&self.system.targeted_count),
            applied_count: next(&self.system.applied_count),
            reported_successful_count: next(&self.system.reported_successful_count),
            reported_failed_count: next(&self.system.reported_failed_count),
        };
        MetricCounts { system, custom: self.custom.keys().cloned().zip(counts).collect() }
    }
}

fn metrics(spec: Option<MetricsSpec>) -> Metrics {
    Metrics { queries: spec.and_then(|spec| spec.queries).unwrap_or_default(), ..Metrics::default() }
}

impl Configurations {
    /// The configuration in its stored form; `None` if it does not exist.
    pub(crate) fn stored_form(&self, id: &str) -> serde_json::Result<Option<Vec<u8>>> {
        self.0.get(id).map(serde_json::to_vec).transpose()
    }

    /// Adds a configuration in its stored form.
    pub(crate) fn restore(&mut self, id: String, content: &[u8]) -> serde_json::Result<()> {
        let configuration: Configuration = serde_json::from_slice(content)?;
        self.0.insert(id, configuration.with_system_queries());
        Ok(())
    }

    /// Takes over the content of a snapshot or of an import.
    pub(crate) fn replace_with(&mut self, next: Self, touched: &mut Vec<String>) {
        touched.extend(self.0.keys().chain(next.0.keys()).cloned());
        *self = next;
    }

    /// Stores the counts of a configuration's metrics. That does not change the configuration's
    /// etag or times.
    pub(crate) fn record_metrics(&mut self, id: &str, counts: MetricCounts, touched: &mut Vec<String>) {
        let Some(configuration) = self.0.get_mut(id) else { return };
        configuration.system_metrics.results = counts.system;
        configuration.metrics.results = counts.custom;
        touched.push(id.to_owned());
    }

    /// The first `top` configurations by id.
    pub(crate) fn first(&self, top: usize) -> impl Iterator<Item = &Configuration> {
        self.0.values().take(top)
    }

    pub(crate) fn get(&self, id: &str) -> ApiResult<&Configuration> {
        self.0.get(id).ok_or_else(|| not_found(id))
    }

    /// Creates a configuration or, with a condition, replaces it.
    pub(crate) fn put(
        &mut self,
        id: &str,
        spec: ConfigurationSpec,
        demand: Option<&EtagCondition>,
        now: Timestamp,
        touched: &mut Vec<String>,
    ) -> ApiResult<Configuration> {
        check_configuration(id, &spec)?;
        let configuration = match (self.0.get(id), demand) {
            (None, None) if self.0.len() >= MAX_CONFIGURATIONS => {
                let text = format!("a hub has at most {MAX_CONFIGURATIONS} configurations");
                return Err(ApiError::new(ErrorCode::IotHubQuotaExceeded, text));
            }
            (None, None) => Configuration::new(id, spec, now),
            (None, Some(_)) => return Err(not_found(id)),
            (Some(_), None) => {
                let text = format!("a configuration with id '{id}' already exists.");
                return Err(ApiError::new(ErrorCode::ConfigurationAlreadyExists, text));
            }
            (Some(current), Some(demand)) => {
                demand.check(&current.etag())?;
                current.replaced(spec, now)
            }
        };
        self.0.insert(id.to_owned(), configuration.clone());
        touched.push(id.to_owned());
        Ok(configuration)
    }

    pub(crate) fn delete(
        &mut self,
        id: &str,
        demand: Option<&EtagCondition>,
        touched: &mut Vec<String>,
    ) -> ApiResult<()> {
        let current = self.get(id)?;
        demand.map_or(Ok(()), |demand| demand.check(&current.etag()))?;
        self.0.remove(id);
        touched.push(id.to_owned());
        Ok(())
    }
}

/// Refuses ids and contents that no hub accepts.
fn check_configuration(id: &str, spec: &ConfigurationSpec) -> ApiResult<()> {
    ids::check_id("configuration", id, CONFIGURATION_SIGNS, 128).map_err(ApiError::argument)?;
    if spec.id.as_ref().is_some_and(|given| given != id) {
        return Err(ApiError::argument("id in the body is not the id in the path"));
    }
    if spec.content.as_ref().is_none_or(Value::is_null) {
        let text = "a configuration has `content`, in updates too";
        return Err(ApiError::new(ErrorCode::ArgumentNull, text));
    }
    spec.content.as_ref().map_or(Ok(()), check_content)?;
    check_queries(spec)
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(ErrorCode::ConfigurationNotFound, format!("there is no configuration with id '{id}'"))
}

const CONFIGURATION_SIGNS: &str = "-+%_*!'";
/// The largest number of configurations. Source: "Reference - IoT Hub quotas and throttling", for
/// paid tiers.
const MAX_CONFIGURATIONS: usize = 100;

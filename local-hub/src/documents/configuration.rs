//! Configurations (automatic device management and IoT Edge deployments): kept and answered.
//!
//! They are not rolled out: this hub has no service that applies them to devices.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::{ErrorCode, Etag, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DocumentKey, DocumentKind, Documents, check_id};
use crate::query::check_queries;
use crate::refusal::Refusal;
use crate::registry::Answer;

/// A configuration as the hub answers it.
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
    system_metrics: Metrics,
    metrics: Metrics,
    etag: Etag,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Metrics {
    #[serde(default)]
    results: BTreeMap<String, i64>,
    #[serde(default)]
    queries: BTreeMap<String, String>,
}

/// A configuration as a client writes it; what only the hub writes is passed over.
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

/// The `If-Match` of a configuration. A live hub understands only etags in quotes here: any other
/// text counts as no demand, and so as the wish to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EtagDemand {
    Any,
    Exactly(String),
}

impl EtagDemand {
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let inner = header.trim().strip_prefix('"')?.strip_suffix('"')?;
        Some(if inner == "*" { Self::Any } else { Self::Exactly(inner.to_owned()) })
    }

    fn check(&self, current: &Etag) -> Answer<()> {
        match self {
            Self::Exactly(etag) if etag != current.as_str() => Err(Refusal::etag_mismatch()),
            _ => Ok(()),
        }
    }
}

impl Configuration {
    pub(crate) fn etag(&self) -> &Etag {
        &self.etag
    }

    /// Whether it is a deployment of IoT Edge.
    pub(super) fn is_for_edge(&self) -> bool {
        self.content.get("modulesContent").is_some()
    }

    pub(super) fn new(id: &str, spec: ConfigurationSpec, now: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            schema_version: spec.schema_version,
            labels: spec.labels,
            content: spec.content.unwrap_or_default(),
            target_condition: spec.target_condition,
            created_time_utc: now,
            last_updated_time_utc: now,
            priority: spec.priority,
            system_metrics: Metrics::default(),
            metrics: metrics(spec.metrics),
            etag: etag(1),
        }
    }

    /// The content of a configuration never changes: another one in an update is passed over.
    fn replaced(&self, spec: ConfigurationSpec, now: Timestamp) -> Self {
        Self {
            labels: spec.labels,
            target_condition: spec.target_condition,
            priority: spec.priority,
            metrics: metrics(spec.metrics),
            last_updated_time_utc: now,
            etag: etag(number(&self.etag) + 1),
            ..self.clone()
        }
    }
}

fn metrics(spec: Option<MetricsSpec>) -> Metrics {
    Metrics { queries: spec.and_then(|spec| spec.queries).unwrap_or_default(), ..Metrics::default() }
}

/// The base64 of a decimal number, as for identities.
fn etag(number: u64) -> Etag {
    Etag::new(&STANDARD.encode(number.to_string()))
}

fn number(etag: &Etag) -> u64 {
    let text = STANDARD.decode(etag.as_str()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

impl Documents {
    /// The first `top` configurations by id.
    pub(crate) fn configurations(&self, top: usize) -> impl Iterator<Item = &Configuration> {
        self.configurations.values().take(top)
    }

    pub(crate) fn configuration(&self, id: &str) -> Answer<&Configuration> {
        self.configurations.get(id).ok_or_else(|| not_found(id))
    }

    /// Creates a configuration or, with a demand, replaces it.
    pub(crate) fn put_configuration(
        &mut self,
        id: &str,
        spec: ConfigurationSpec,
        demand: Option<&EtagDemand>,
        now: Timestamp,
        touched: &mut Vec<DocumentKey>,
    ) -> Answer<(Configuration, bool)> {
        check_configuration(id, &spec)?;
        let (configuration, created) = match (self.configurations.get(id), demand) {
            (None, None) if self.configurations.len() >= MAX_CONFIGURATIONS => {
                let text = format!("a hub has at most {MAX_CONFIGURATIONS} configurations");
                return Err(Refusal::new(ErrorCode::IotHubQuotaExceeded, text));
            }
            (None, None) => (Configuration::new(id, spec, now), true),
            (None, Some(_)) => return Err(not_found(id)),
            (Some(_), None) => {
                let text = format!("a configuration with id '{id}' already exists.");
                return Err(Refusal::new(ErrorCode::ConfigurationAlreadyExists, text));
            }
            (Some(current), Some(demand)) => {
                demand.check(&current.etag)?;
                (current.replaced(spec, now), false)
            }
        };
        self.configurations.insert(id.to_owned(), configuration.clone());
        touched.push(DocumentKey { kind: DocumentKind::Configuration, id: id.to_owned() });
        Ok((configuration, created))
    }

    pub(crate) fn delete_configuration(
        &mut self,
        id: &str,
        demand: Option<&EtagDemand>,
        touched: &mut Vec<DocumentKey>,
    ) -> Answer<()> {
        let current = self.configuration(id)?;
        demand.map_or(Ok(()), |demand| demand.check(&current.etag))?;
        self.configurations.remove(id);
        touched.push(DocumentKey { kind: DocumentKind::Configuration, id: id.to_owned() });
        Ok(())
    }
}

/// Refuses what no hub could keep under this id.
pub(super) fn check_configuration(id: &str, spec: &ConfigurationSpec) -> Answer<()> {
    check_id("configuration", id, CONFIGURATION_SIGNS, 128)?;
    if spec.id.as_ref().is_some_and(|given| given != id) {
        return Err(Refusal::argument("id in the body is not the id in the path"));
    }
    if spec.content.as_ref().is_none_or(Value::is_null) {
        let text = "a configuration has `content`, in updates too";
        return Err(Refusal::new(ErrorCode::ArgumentNull, text));
    }
    check_queries(spec)
}

fn not_found(id: &str) -> Refusal {
    Refusal::new(ErrorCode::ConfigurationNotFound, format!("there is no configuration with id '{id}'"))
}

const CONFIGURATION_SIGNS: &str = "-+%_*!'";
/// Source: "Reference - IoT Hub quotas and throttling", for paid tiers.
pub(super) const MAX_CONFIGURATIONS: usize = 100;

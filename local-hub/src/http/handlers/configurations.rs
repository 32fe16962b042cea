//! `/configurations`, and the application of one to a single device.

use std::collections::BTreeMap;

use http::StatusCode;
use hub_types::ErrorCode;
use hub_types::twin::TwinPatch;
use hub_types::{IdentityId, IfMatch, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::documents::{ConfigurationSpec, EtagDemand};
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::hub::Hub;
use crate::query::{condition_error, query_errors};
use crate::refusal::Refusal;
use crate::registry::Answer;

pub(crate) fn list(hub: &Hub, call: Call) -> Answer<Reply> {
    let top = call.parameter("top").and_then(|text| text.parse().ok());
    hub.read_documents(|documents| {
        Reply::document(&documents.configurations(top.unwrap_or(MAX_TOP)).collect::<Vec<_>>())
    })
}

pub(crate) fn get(hub: &Hub, call: Call) -> Answer<Reply> {
    hub.read_documents(|documents| {
        let configuration = documents.configuration(call.name())?;
        Ok(Reply::document(configuration)?.etag(configuration.etag()))
    })
}

pub(crate) async fn put(hub: &Hub, call: Call) -> Answer<Reply> {
    let spec: ConfigurationSpec = call.exact_document()?;
    let id = call.name().to_owned();
    let demand = demand(&call);
    let (configuration, created) = hub
        .write_documents(|documents, now, touched| {
            documents.put_configuration(&id, spec, demand.as_ref(), now, touched)
        })
        .await?;
    let mut reply = Reply::document(&configuration)?.etag(configuration.etag());
    if created {
        reply.status = StatusCode::CREATED;
    }
    Ok(reply)
}

pub(crate) async fn delete(hub: &Hub, call: Call) -> Answer<Reply> {
    let (id, demand) = (call.name().to_owned(), demand(&call));
    hub.write_documents(|documents, _, touched| {
        documents.delete_configuration(&id, demand.as_ref(), touched)
    })
    .await?;
    Ok(Reply::no_content())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Queries {
    target_condition: Option<String>,
    #[serde(default)]
    custom_metric_queries: Option<BTreeMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryErrors {
    target_condition_error: Option<String>,
    custom_metric_query_errors: BTreeMap<String, String>,
}

/// Says of each query whether it could be used, without keeping anything.
pub(crate) fn test_queries(call: Call) -> Answer<Reply> {
    let queries: Queries = call.document()?;
    let metrics = queries.custom_metric_queries.iter().flatten();
    Reply::document(&QueryErrors {
        target_condition_error: condition_error(queries.target_condition.as_deref(), None),
        custom_metric_query_errors: query_errors(
            metrics.map(|(name, query)| (name.as_str(), query.as_str())),
        ),
    })
}

/// What a configuration would do to one device, done at once: for each module in `modulesContent`
/// and for the device itself under `deviceContent`.
pub(crate) async fn apply(hub: &Hub, call: Call) -> Answer<Reply> {
    let device = call.device()?;
    let content: Content = call.exact_document()?;
    let mut patches = Vec::new();
    if let Some(settings) = content.device_content {
        patches.push((IdentityId::from(device.clone()), Changes::read(settings)?));
    }
    for (module, settings) in content.modules_content.into_iter().flatten() {
        let module = ModuleId::new(&module).map_err(|error| Refusal::argument(error.to_string()))?;
        patches.push((IdentityId::new(device.clone(), Some(module)), Changes::read(settings)?));
    }
    let written = hub.write(|registry, now, journal| {
        registry.device(&device)?;
        for (identity, changes) in patches {
            if let Some(whole) = changes.whole {
                let with = twin_patch(registry.tags(&identity)?, whole)?;
                registry.replace_twin(&identity, with, &IfMatch::Any, now, journal)?;
            }
            if !changes.parts.is_empty() {
                let patch = twin_patch(None, changes.parts)?;
                registry.patch_twin(&identity, patch, &IfMatch::Any, now, journal)?;
            }
        }
        Ok(())
    });
    Ok(Reply::no_content().counts(written.await?.counts))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    device_content: Option<Map<String, Value>>,
    modules_content: Option<BTreeMap<String, Map<String, Value>>>,
}

/// What the settings of one twin say: `properties.desired` as a whole, and parts of it by dotted path.
struct Changes {
    whole: Option<Map<String, Value>>,
    parts: Map<String, Value>,
}

impl Changes {
    fn read(settings: Map<String, Value>) -> Answer<Self> {
        let mut changes = Self { whole: None, parts: Map::new() };
        for (path, value) in settings {
            match (path.as_str(), value) {
                ("properties.desired", Value::Object(whole)) => changes.whole = Some(whole),
                (path, value) => match path.strip_prefix("properties.desired.") {
                    Some(rest) => insert(&mut changes.parts, rest, value),
                    None => {
                        let text = format!("`{path}` is not below properties.desired");
                        return Err(Refusal::new(ErrorCode::InvalidConfigurationContent, text));
                    }
                },
            }
        }
        Ok(changes)
    }
}

fn insert(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            object.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn twin_patch(tags: Option<Value>, desired: Map<String, Value>) -> Answer<TwinPatch> {
    let mut body = Map::new();
    body.extend(tags.map(|tags| ("tags".to_owned(), tags)));
    body.insert("properties".to_owned(), serde_json::json!({ "desired": desired }));
    TwinPatch::from_body(Value::Object(body)).map_err(|error| Refusal::argument(error.to_string()))
}

fn demand(call: &Call) -> Option<EtagDemand> {
    call.header("if-match").and_then(EtagDemand::parse)
}

const MAX_TOP: usize = 100;

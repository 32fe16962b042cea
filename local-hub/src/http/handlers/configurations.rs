//! `/configurations`, and the application of one to a single device.

use std::collections::BTreeMap;

use hub_types::ModuleId;
use hub_types::twin::JsonObject;
use serde::{Deserialize, Serialize};

use crate::api_error::{ApiError, ApiResult};
use crate::configuration_content::{ContentKind, TwinSettings};
use crate::configurations::{ConfigurationSpec, EtagCondition, condition_error, query_errors};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::registry::DeviceContent;
use crate::rest::reply::Reply;

pub(crate) fn list(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let top = call.parameter("top").and_then(|text| text.parse().ok());
    hub.read_configurations(|configurations| {
        Reply::document(&configurations.first(top.unwrap_or(MAX_TOP)).collect::<Vec<_>>())
    })
}

pub(crate) fn get(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    hub.read_configurations(|configurations| {
        let configuration = configurations.get(call.name())?;
        Ok(Reply::document(configuration)?.etag(&configuration.etag()))
    })
}

pub(crate) async fn put(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let spec: ConfigurationSpec = call.exact_document()?;
    let id = call.name().to_owned();
    let demand = demand(&call)?;
    let configuration = hub
        .write_configurations(|configurations, now, touched| {
            configurations.put(&id, spec, demand.as_ref(), now, touched)
        })
        .await?;
    Ok(Reply::document(&configuration)?.etag(&configuration.etag()))
}

pub(crate) async fn delete(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let (id, demand) = (call.name().to_owned(), demand(&call)?);
    hub.write_configurations(|configurations, _, touched| {
        configurations.delete(&id, demand.as_ref(), touched)
    })
    .await?;
    Ok(Reply::no_content())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QueriesBody {
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

/// Reports for each query if it is valid, without storing anything.
pub(crate) fn test_queries(_hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let queries: QueriesBody = call.document()?;
    let metrics = queries.custom_metric_queries.iter().flatten();
    Reply::document(&QueryErrors {
        target_condition_error: condition_error(queries.target_condition.as_deref(), ContentKind::Device),
        custom_metric_query_errors: query_errors(
            metrics.map(|(name, query)| (name.as_str(), query.as_str())),
        ),
    })
}

/// Applies a configuration to one device at once: `deviceContent` to the device itself,
/// `modulesContent` to its modules. The write is atomic.
pub(crate) async fn apply(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let device = call.device()?;
    let AppliedContent { device_content, modules_content } = call.exact_document()?;
    let content = DeviceContent {
        device: device_content.as_ref().map(TwinSettings::read).transpose()?,
        modules: modules_content.into_iter().flatten().map(module_settings).collect::<ApiResult<_>>()?,
    };
    let written =
        hub.write(|registry, now, journal| registry.apply_content(&device, content, now, journal)).await?;
    Ok(Reply::no_content().counts(written.counts))
}

fn module_settings((module, settings): (String, JsonObject)) -> ApiResult<(ModuleId, TwinSettings)> {
    let module = ModuleId::new(&module).map_err(|error| ApiError::argument(error.to_string()))?;
    Ok((module, TwinSettings::read(&settings)?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppliedContent {
    device_content: Option<JsonObject>,
    modules_content: Option<BTreeMap<String, JsonObject>>,
}

fn demand(call: &HubCall) -> ApiResult<Option<EtagCondition>> {
    Ok(call.header("if-match")?.and_then(EtagCondition::parse))
}

const MAX_TOP: usize = 100;

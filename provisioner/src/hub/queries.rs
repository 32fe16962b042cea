//! Counting what is on a hub, by its statistics and by queries.

use std::collections::HashMap;

use cli_support::wrong_form::JsonMistake;
use hub_types::{DeviceId, IdentityId, ModuleId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::AnswerError;
use super::client::{HubClient, statistics};
use super::error::HubError;
use super::retry::Idempotency;
use crate::model::service::ServiceKind;

/// The answer of `/statistics/devices`.
#[derive(Deserialize)]
pub(super) struct Statistics {
    #[serde(rename = "totalDeviceCount")]
    pub(super) devices: u64,
}

#[derive(Deserialize)]
struct ModuleSum {
    modules: u64,
}

#[derive(Deserialize)]
struct OfDevice {
    #[serde(rename = "deviceId")]
    device: DeviceId,
    modules: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    device_id: DeviceId,
    module_id: Option<ModuleId>,
}

impl HubClient {
    /// The modules of devices, those of the system left out. What was deleted may be among them for half an
    /// hour, what was created may be missing for seconds.
    pub(crate) async fn modules_on(&self, devices: &[DeviceId]) -> Result<Vec<IdentityId>, HubError> {
        let query =
            format!("SELECT deviceId, moduleId FROM devices.modules WHERE deviceId IN [{}]", list(devices));
        let mut found = Vec::new();
        self.each_named(&query, |identity| found.push(identity)).await?;
        Ok(found)
    }

    /// Tells of all devices and modules for whose twins a condition of the query language holds, as far
    /// as the hub's index knows.
    pub(crate) async fn each_within(
        &self,
        condition: &str,
        mut tell: impl FnMut(IdentityId),
    ) -> Result<(), HubError> {
        for query in ["deviceId FROM devices", "deviceId, moduleId FROM devices.modules"] {
            self.each_named(&format!("SELECT {query} WHERE {condition}"), &mut tell).await?;
        }
        Ok(())
    }

    pub(super) async fn devices_among(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, HubError> {
        let mut found = Vec::new();
        for some in in_queries(devices) {
            let query = format!("SELECT deviceId FROM devices WHERE deviceId IN [{}]", list(some));
            self.each_named(&query, |identity| found.push(identity.device().clone())).await?;
        }
        Ok(found)
    }

    pub(super) async fn devices_below(&self, scopes: &[String]) -> Result<Vec<DeviceId>, HubError> {
        let mut found = Vec::new();
        for some in scopes.chunks(SCOPES_PER_QUERY) {
            let below = |scope: &String| format!("array_contains(parentScopes, {})", quoted(scope));
            let condition = some.iter().map(below).collect::<Vec<_>>().join(" OR ");
            let query = format!("SELECT deviceId FROM devices WHERE {condition}");
            self.each_named(&query, |identity| found.push(identity.device().clone())).await?;
        }
        Ok(found)
    }

    async fn each_named(&self, query: &str, mut tell: impl FnMut(IdentityId)) -> Result<(), HubError> {
        self.each_row(query, |Named { device_id, module_id }| {
            if !module_id.as_ref().is_some_and(ModuleId::is_system) {
                tell(IdentityId::new(device_id, module_id));
            }
        })
        .await
    }

    pub(super) async fn statistics(&self) -> Result<Statistics, HubError> {
        self.repeat(Idempotency::Idempotent, || async { self.send(statistics()).await?.success()?.json() })
            .await
    }

    pub(super) async fn count_identities(&self) -> Result<u64, HubError> {
        let devices = self.statistics().await?.devices;
        let modules: Vec<ModuleSum> = self.rows("SELECT COUNT() AS modules FROM devices.modules").await?;
        Ok(devices + modules.iter().map(|sum| sum.modules).sum::<u64>())
    }

    pub(super) async fn modules_by_device(
        &self,
        devices: &[DeviceId],
    ) -> Result<HashMap<DeviceId, u64>, HubError> {
        let query = format!(
            "SELECT deviceId, COUNT() AS modules FROM devices.modules WHERE deviceId IN [{}] \
             AND moduleId != '$edgeAgent' AND moduleId != '$edgeHub' GROUP BY deviceId",
            list(devices)
        );
        let rows: Vec<OfDevice> = self.rows(&query).await?;
        Ok(rows.into_iter().map(|row| (row.device, row.modules)).collect())
    }

    /// All rows of a query.
    async fn rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, HubError> {
        let mut rows = Vec::new();
        self.each_row(query, |row| rows.push(row)).await?;
        Ok(rows)
    }

    async fn each_row<T: DeserializeOwned>(
        &self,
        query: &str,
        mut tell: impl FnMut(T),
    ) -> Result<(), HubError> {
        let mut continuation = None;
        loop {
            let page = self.query(query, continuation.as_ref(), MAX_PAGE).await?;
            for row in page.rows {
                let row = serde_json::from_value(row);
                let shape = |error| HubError::Malformed {
                    service: ServiceKind::Hub,
                    operation: "query",
                    source: AnswerError::Shape(JsonMistake::new(&error)),
                };
                tell(row.map_err(shape)?);
            }
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(());
            }
        }
    }
}

/// The devices in portions whose ids fit into a query.
fn in_queries(mut devices: &[DeviceId]) -> impl Iterator<Item = &[DeviceId]> {
    std::iter::from_fn(move || {
        let mut room = MAX_LIST;
        let fits = |device: &&DeviceId| {
            let length = quoted(device.as_str()).len() + 2;
            room = room.saturating_sub(length);
            room > 0
        };
        let count = devices.iter().take_while(fits).count().max(1).min(devices.len());
        let (some, rest) = devices.split_at_checked(count)?;
        devices = rest;
        (!some.is_empty()).then_some(some)
    })
}

/// Ids as texts of a query.
fn list(devices: &[DeviceId]) -> String {
    devices.iter().map(|device| quoted(device.as_str())).collect::<Vec<_>>().join(", ")
}

/// An id or a scope as a text of a query. It may hold quotes, which are doubled, but no control characters.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Scopes that one query asks about: a query has at most 8 KB or so, a scope up to 170 characters.
const SCOPES_PER_QUERY: usize = 25;

/// Bytes of ids in one query.
const MAX_LIST: usize = 7_000;

const MAX_PAGE: usize = 1_000;

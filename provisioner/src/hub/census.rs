//! Counting what is on a hub, by its statistics and by queries.

use std::collections::HashMap;

use hub_types::DeviceId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::{HubClient, statistics};
use super::error::HubError;

/// The answer of `/statistics/devices`.
#[derive(Deserialize)]
pub(super) struct Statistics {
    #[serde(rename = "totalDeviceCount")]
    pub(super) devices: u64,
}

#[derive(Deserialize)]
struct Sum {
    modules: u64,
}

#[derive(Deserialize)]
struct OfDevice {
    #[serde(rename = "deviceId")]
    device: DeviceId,
    modules: u64,
}

impl HubClient {
    pub(super) async fn statistics(&self) -> Result<Statistics, HubError> {
        self.send(statistics()).await?.success()?.json()
    }

    pub(super) async fn count_identities(&self) -> Result<u64, HubError> {
        let devices = self.statistics().await?.devices;
        let modules: Vec<Sum> = self.rows("SELECT COUNT() AS modules FROM devices.modules").await?;
        Ok(devices + modules.iter().map(|sum| sum.modules).sum::<u64>())
    }

    pub(super) async fn modules_by_device(
        &self,
        devices: &[DeviceId],
    ) -> Result<HashMap<DeviceId, u64>, HubError> {
        // Ids hold quotes, which are doubled, but no control characters.
        let list: Vec<String> =
            devices.iter().map(|device| format!("'{}'", device.as_str().replace('\'', "''"))).collect();
        let query = format!(
            "SELECT deviceId, COUNT() AS modules FROM devices.modules WHERE deviceId IN [{}] \
             AND moduleId != '$edgeAgent' AND moduleId != '$edgeHub' GROUP BY deviceId",
            list.join(", ")
        );
        let rows: Vec<OfDevice> = self.rows(&query).await?;
        Ok(rows.into_iter().map(|row| (row.device, row.modules)).collect())
    }

    /// All rows of a query.
    async fn rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>, HubError> {
        let (mut rows, mut continuation) = (Vec::new(), None);
        loop {
            let page = self.query(query, continuation.as_deref(), MAX_PAGE).await?;
            for row in page.rows {
                let row = serde_json::from_value(row);
                rows.push(row.map_err(|source| HubError::Malformed { operation: "query", source })?);
            }
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(rows);
            }
        }
    }
}

const MAX_PAGE: usize = 1_000;

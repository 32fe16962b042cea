//! The hubs that a DPS assigns devices to: the hub of this process, and other local hubs.
//!
//! Another local hub is known by its data folder, which has its CA and its connection string. Both
//! are read for each call, because that hub may be started again on a different port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use hub_types::bulk::{BulkItem, BulkProperties, BulkResult, ImportMode};
use hub_types::connection_string::{HubHost, ServiceConnectionString};
use hub_types::dps::enrollment::{InitialProperties, InitialTwin};
use hub_types::identity::{Capabilities, Device};
use hub_types::sas::SasToken;
use hub_types::twin::{SectionPatch, Twin, TwinPatch};
use hub_types::{Authentication, DeviceId, IdentityId, IfMatch};
use reqwest::Certificate;
use reqwest::header::{AUTHORIZATION, IF_MATCH};
use serde_json::{Value, json};

use crate::api_error::{ApiError, ApiResult};
use crate::error::{Error, Result};
use crate::http_client;
use crate::hub::Hub;
use crate::registry::BulkEntry;
use crate::storage::data_folder;

/// The linked hubs, the hub of this process first. Their names are distinct.
#[derive(Debug)]
pub(crate) struct LinkedHubs(Vec<LinkedHub>);

/// A hub that devices can be assigned to.
#[derive(Debug)]
pub(crate) struct LinkedHub {
    name: String,
    place: HubLocation,
}

#[derive(Debug)]
enum HubLocation {
    ThisProcess(Arc<Hub>),
    /// The data folder of another local hub.
    Folder(PathBuf),
}

/// A device as a DPS writes it to a hub.
#[derive(Debug, Clone)]
pub(crate) struct AssignedDevice {
    pub(crate) id: DeviceId,
    pub(crate) authentication: Authentication,
    pub(crate) capabilities: Capabilities,
}

/// The effect of writing a device to a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provisioned {
    /// The device existed, and has its own twin.
    Existed,
    /// The device is new, and has the initial twin.
    Made,
}

impl LinkedHubs {
    /// Links the hub of this process, by the name that devices call, and the hubs of data folders.
    pub(crate) fn link(hub: Arc<Hub>, host: &HubHost, folders: &[PathBuf]) -> Result<Self> {
        let own = LinkedHub { name: host.name().to_owned(), place: HubLocation::ThisProcess(hub) };
        let mut hubs = vec![own];
        for folder in folders {
            let connection = data_folder::owner(folder)?;
            let name = connection.host.name().to_owned();
            if hubs.iter().any(|hub| hub.is_called(&name)) {
                return Err(Error::LinkedHub { folder: folder.clone(), name });
            }
            hubs.push(LinkedHub { name, place: HubLocation::Folder(folder.clone()) });
        }
        Ok(Self(hubs))
    }

    /// The hub of this name, with or without a port.
    pub(crate) fn find(&self, host: &str) -> Option<&LinkedHub> {
        self.0.iter().find(|hub| hub.is_called(host))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &LinkedHub> {
        self.0.iter()
    }
}

impl LinkedHub {
    /// The host name, by which devices connect.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if this is the name of the hub, with or without a port.
    pub(crate) fn is_called(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        self.name.eq_ignore_ascii_case(name)
    }

    /// Makes a device, or updates the credentials and the capabilities of an existing one, whose
    /// status and twin stay.
    pub(crate) async fn provision(
        &self,
        device: &AssignedDevice,
        initial: &InitialTwin,
    ) -> ApiResult<Provisioned> {
        let Some(existing) = self.identity(&device.id).await? else {
            let properties = initial.desired().cloned();
            let item = BulkItem {
                tags: initial.tags.clone(),
                properties: Some(BulkProperties { desired: properties, reported: None }),
                ..item(device, ImportMode::Create)
            };
            return self.write(item).await.map(|()| Provisioned::Made);
        };
        if existing.authentication == device.authentication && existing.capabilities == device.capabilities {
            return Ok(Provisioned::Existed);
        }
        let item = BulkItem {
            status: Some(existing.status),
            status_reason: existing.status_reason,
            device_scope: existing.device_scope,
            parent_scopes: existing.parent_scopes,
            ..item(device, ImportMode::Update)
        };
        self.write(item).await.map(|()| Provisioned::Existed)
    }

    /// The tags and the desired properties of a device; `None` if it does not exist.
    pub(crate) async fn twin(&self, id: &DeviceId) -> ApiResult<Option<InitialTwin>> {
        let twin: Option<Twin> = match &self.place {
            HubLocation::ThisProcess(hub) => {
                let identity = IdentityId::new(id.clone(), None);
                let document = hub.read(|registry| registry.twin(&identity).map(|twin| json!(twin)));
                document.ok().and_then(|twin| serde_json::from_value(twin).ok())
            }
            HubLocation::Folder(folder) => {
                LinkedHubClient::read(folder)?.get(&format!("/twins/{}", id.path_segment())).await?
            }
        };
        Ok(twin.map(|twin| InitialTwin {
            tags: twin.tags,
            properties: Some(InitialProperties { desired: Some(twin.properties.desired.values) }),
        }))
    }

    /// Replaces the tags and the desired properties of a device.
    pub(crate) async fn replace_twin(&self, id: &DeviceId, twin: &InitialTwin) -> ApiResult<()> {
        let (tags, desired) =
            (twin.tags.clone().unwrap_or_default(), twin.desired().cloned().unwrap_or_default());
        match &self.place {
            HubLocation::ThisProcess(hub) => {
                let identity = IdentityId::new(id.clone(), None);
                let with =
                    TwinPatch { tags: SectionPatch::Merge(tags), desired: SectionPatch::Merge(desired) };
                let written = hub.write(|registry, now, journal| {
                    registry.replace_twin(&identity, with, &IfMatch::Any, now, journal)
                });
                written.await.map(drop)
            }
            HubLocation::Folder(folder) => {
                let body = json!({"tags": tags, "properties": {"desired": desired}});
                let path = format!("/twins/{}", id.path_segment());
                LinkedHubClient::read(folder)?.call(Method::PUT, &path, Some(&body)).await.map(drop)
            }
        }
    }

    /// Deletes a device, if it exists.
    pub(crate) async fn delete(&self, id: &DeviceId) -> ApiResult<()> {
        match &self.place {
            HubLocation::ThisProcess(hub) => {
                let deleted = hub.write(|registry, _, journal| {
                    match registry.delete_device(id, &IfMatch::Any, journal) {
                        Err(error) if error.status == 404 => Ok(()),
                        deleted => deleted,
                    }
                });
                deleted.await.map(drop)
            }
            HubLocation::Folder(folder) => {
                let path = format!("/devices/{}", id.path_segment());
                LinkedHubClient::read(folder)?.call(Method::DELETE, &path, None).await.map(drop)
            }
        }
    }

    async fn identity(&self, id: &DeviceId) -> ApiResult<Option<Device>> {
        match &self.place {
            HubLocation::ThisProcess(hub) => {
                Ok(hub.read(|registry| registry.device_entry(id).map(|(id, record)| record.document(id))))
            }
            HubLocation::Folder(folder) => {
                LinkedHubClient::read(folder)?.get(&format!("/devices/{}", id.path_segment())).await
            }
        }
    }

    /// Writes one item of a bulk call.
    async fn write(&self, item: BulkItem) -> ApiResult<()> {
        let result = match &self.place {
            HubLocation::ThisProcess(hub) => {
                let entry = BulkEntry { device: item.id.to_string(), module: None, item: Ok(item) };
                let written =
                    hub.write(|registry, now, journal| Ok(registry.bulk(vec![entry], now, journal)));
                written.await?.value
            }
            HubLocation::Folder(folder) => {
                let answer = LinkedHubClient::read(folder)?
                    .call(Method::POST, "/devices", Some(&json!([item])))
                    .await?;
                read_document(&answer.unwrap_or_default())?
            }
        };
        match result.errors.into_iter().next() {
            None => Ok(()),
            Some(error) => {
                let reason = error.error_status.unwrap_or(error.error_code);
                Err(ApiError::server(format!("the hub {} refuses the device: {reason}", self.name)))
            }
        }
    }
}

fn item(device: &AssignedDevice, mode: ImportMode) -> BulkItem {
    BulkItem {
        authentication: Some(device.authentication.clone()),
        capabilities: Some(device.capabilities),
        ..BulkItem::new(&IdentityId::new(device.id.clone(), None), mode)
    }
}

/// A caller of the service API of another local hub.
struct LinkedHubClient {
    http: reqwest::Client,
    connection: ServiceConnectionString,
}

impl LinkedHubClient {
    /// Reads the access to a hub from its data folder.
    fn read(folder: &std::path::Path) -> ApiResult<Self> {
        let unusable = |error: &dyn std::fmt::Display| {
            ApiError::server(format!("a linked hub can't be called: {error}"))
        };
        let connection = data_folder::owner(folder).map_err(|error| unusable(&error))?;
        let ca = data_folder::ca_pem(folder).map_err(|error| unusable(&error))?;
        let ca = Certificate::from_pem(ca.as_bytes()).map_err(|error| unusable(&error))?;
        let client = http_client::builder().tls_certs_only([ca]).no_proxy().timeout(CALL_TIMEOUT).build();
        Ok(Self { http: client.map_err(|error| unusable(&error))?, connection })
    }

    /// Reads a document; `None` if there is none.
    async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> ApiResult<Option<T>> {
        let answer = self.call(Method::GET, path, None).await?;
        answer.map(|answer| read_document(&answer)).transpose()
    }

    /// Sends a request; `None` if its object does not exist.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> ApiResult<Option<Vec<u8>>> {
        let host = &self.connection.host;
        let failed = |reason: String| ApiError::server(format!("the hub {host} can't be called: {reason}"));
        let url = format!("https://{host}{path}?api-version=2021-04-12");
        let mut request =
            self.http.request(method, url).header(AUTHORIZATION, &*self.token()).header(IF_MATCH, "*");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| failed(error.without_url().to_string()))?;
        let status = answer.status();
        let content = answer.bytes().await.map_err(|error| failed(error.without_url().to_string()))?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            // A bulk call with a failed item is answered 400 with its result.
            status if status.is_success() || serde_json::from_slice::<BulkResult>(&content).is_ok() => {
                Ok(Some(content.to_vec()))
            }
            status => Err(failed(format!("it answers {status}"))),
        }
    }

    fn token(&self) -> zeroize::Zeroizing<String> {
        let ServiceConnectionString { host, policy, key } = &self.connection;
        let until = time::OffsetDateTime::now_utc().unix_timestamp().saturating_add(TOKEN_SECONDS);
        let until = u64::try_from(until).unwrap_or(u64::MAX);
        SasToken::sign(host.as_str(), Some(policy), key, until).expose_text()
    }
}

fn read_document<T: serde::de::DeserializeOwned>(content: &[u8]) -> ApiResult<T> {
    serde_json::from_slice(content)
        .map_err(|_| ApiError::server("a linked hub answers with an unknown document"))
}

const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const TOKEN_SECONDS: i64 = 600;

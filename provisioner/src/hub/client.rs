//! One method per call of the service REST API that provisioning needs.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use hub_types::bulk::{BulkItem, BulkResult};
use hub_types::identity::{Device, ModuleSpec};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{JsonObject, Twin};
use hub_types::{Authentication, DeviceId, Etag, IdentityId, ModuleId};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::access::Access;
use super::answer::{About, Ids};
use super::error::HubError;
use super::request::{Request, to_body};
use super::retry::Idempotency;
use super::service_client::{Endpoint, ServiceClient};
use super::transport::HubClientOptions;
use super::{Condition, Hub, ModuleSettings, Patient};
use crate::model::service::ServiceKind;
use crate::model::service_status::WaitReason;

/// A hub, and the right to call it.
pub(crate) struct HubClient(Arc<ServiceClient>);

impl HubClient {
    /// A client for the hub that the access is for. Nothing is sent yet.
    pub(crate) fn new(access: Access, options: &HubClientOptions) -> Result<Self, reqwest::Error> {
        let endpoint = Endpoint { service: ServiceKind::Hub, api_version: API_VERSION, probe: statistics };
        Ok(Self(Arc::new(ServiceClient::new(endpoint, access, options)?)))
    }

    /// The part of the client that clients of all services have.
    pub(crate) fn service_client(&self) -> Arc<ServiceClient> {
        self.0.clone()
    }

    /// Makes one cheap call, which tells whether the hub can be reached and lets this caller in. It answers
    /// how many devices there are.
    pub(crate) async fn probe(&self) -> Result<u64, HubError> {
        Ok(self.statistics().await?.devices)
    }

    /// Reads a twin as the hub wrote it, whatever is in it; `None` when there is none.
    pub(crate) async fn twin_document(&self, identity: &IdentityId) -> Result<Option<Value>, HubError> {
        self.get("get twin", &twin_path(identity), identity, MAX_TWIN).await
    }

    /// Reads what is about an identity; `None` when the hub says that there is none.
    pub(super) async fn get<T: DeserializeOwned + About>(
        &self,
        operation: &'static str,
        path: &str,
        identity: &IdentityId,
        at_most: usize,
    ) -> Result<Option<T>, HubError> {
        self.repeat(Idempotency::Idempotent, || async {
            let request = Request::new(operation, Method::GET, path.to_owned()).at_most(at_most);
            let answer = self.send(request).await?;
            match answer.is_missing() {
                true => Ok(None),
                false => answer.success()?.json_of(identity).map(Some),
            }
        })
        .await
    }
}

impl HubClient {
    async fn settings(&self, identity: &IdentityId) -> Result<Option<ModuleSettings>, HubError> {
        let path = identity_path(identity);
        let found = self.get::<IdentitySettings>("get identity", &path, identity, MAX_IDENTITY).await;
        let found = match identity.module() {
            Some(_) => self.of_module(identity.device(), found).await,
            None => found,
        };
        Ok(found?.map(|IdentitySettings { authentication, managed_by, .. }| ModuleSettings {
            managed_by,
            keys: match authentication {
                Authentication::Sas(keys) => keys,
                _ => None,
            },
        }))
    }
}

impl Deref for HubClient {
    type Target = ServiceClient;

    fn deref(&self) -> &ServiceClient {
        &self.0
    }
}

impl Patient for HubClient {
    async fn pause(&self, wait: Duration, reason: WaitReason) -> Result<(), HubError> {
        self.0.pause(wait, reason).await
    }
}

impl Hub for HubClient {
    async fn population(&self) -> Result<u64, HubError> {
        self.count_identities().await
    }

    async fn count_modules(&self, devices: &[DeviceId]) -> Result<HashMap<DeviceId, u64>, HubError> {
        self.modules_by_device(devices).await
    }

    async fn existing(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, HubError> {
        self.devices_among(devices).await
    }

    async fn children(&self, scopes: &[String]) -> Result<Vec<DeviceId>, HubError> {
        self.devices_below(scopes).await
    }

    async fn twin(&self, identity: &IdentityId) -> Result<Option<Twin>, HubError> {
        self.get("get twin", &twin_path(identity), identity, MAX_TWIN).await
    }

    async fn keys(&self, identity: &IdentityId) -> Result<Option<SymmetricKeys>, HubError> {
        Ok(self.settings(identity).await?.and_then(|settings| settings.keys))
    }

    async fn module_settings(&self, module: &IdentityId) -> Result<Option<ModuleSettings>, HubError> {
        self.settings(module).await
    }

    async fn device(&self, device: &DeviceId) -> Result<Option<Device>, HubError> {
        let identity = device.clone().into();
        self.get("get device", &identity_path(&identity), &identity, MAX_IDENTITY).await
    }

    async fn bulk(&self, items: &[BulkItem]) -> Result<BulkResult, HubError> {
        let body = to_body(&items);
        self.repeat(Idempotency::NonIdempotent, || async {
            let request = Request::new("bulk", Method::POST, "/devices".to_owned())
                .body(body.clone())
                .operations(items.len())
                .at_most(MAX_BULK_RESULT);
            let answer = self.send(request).await?;
            // When items failed the call is HTTP 400, with the same result as its body.
            match (answer.status, answer.json()) {
                (StatusCode::BAD_REQUEST, Ok(result)) => Ok(result),
                _ => answer.expect(&[StatusCode::OK])?.json(),
            }
        })
        .await
    }

    async fn modules(&self, device: &DeviceId) -> Result<Vec<ModuleId>, HubError> {
        let modules = self.modules_of(device).await?.unwrap_or_default();
        Ok(modules.into_iter().map(|module| module.module_id).collect())
    }

    async fn delete(&self, identity: &IdentityId, etag: Option<&Etag>) -> Result<(), HubError> {
        let condition = match etag {
            Some(etag) => Condition::Etag(etag.as_str().to_owned()),
            None => Condition::Exists,
        };
        self.delete_identity(identity, &condition).await
    }

    async fn put_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleSpec,
        etag: Option<&Etag>,
    ) -> Result<(), HubError> {
        let body = to_body(spec);
        self.repeat(Idempotency::NonIdempotent, || async {
            let request = Request::new("put module", Method::PUT, identity_path(identity)).body(body.clone());
            let request = match etag {
                Some(etag) => request.if_match(etag.quoted()),
                None => request,
            };
            self.send(request).await?.success()?.json_of::<Ids>(identity).map(drop)
        })
        .await
    }

    async fn patch_twin(
        &self,
        identity: &IdentityId,
        tags: &JsonObject,
        desired: &JsonObject,
        etag: Option<&Etag>,
    ) -> Result<(), HubError> {
        let body = to_body(&twin_patch(tags, desired));
        self.repeat(Idempotency::Idempotent, || async {
            let request = Request::new("patch twin", Method::PATCH, twin_path(identity)).body(body.clone());
            let etag = etag.map_or_else(|| "\"*\"".to_owned(), Etag::quoted);
            let answer = self.send(request.at_most(MAX_TWIN).if_match(etag)).await?;
            answer.success()?.json_of::<Ids>(identity).map(drop)
        })
        .await
    }
}

pub(super) fn identity_path(identity: &IdentityId) -> String {
    path_below("/devices", identity)
}

pub(super) fn twin_path(identity: &IdentityId) -> String {
    path_below("/twins", identity)
}

fn path_below(root: &str, identity: &IdentityId) -> String {
    let device = identity.device().path_segment();
    match identity.module() {
        None => format!("{root}/{device}"),
        Some(module) => format!("{root}/{device}/modules/{}", module.path_segment()),
    }
}

/// The cheapest call there is.
pub(super) fn statistics() -> Request {
    Request::new("statistics", Method::GET, "/statistics/devices".to_owned())
}

/// The largest answers, in bytes. The limits of IoT Hub bound a twin to 8 KB of tags and 32 KB in each other
/// section; its metadata are larger than that, some 90 bytes for a value that may count as few as two.
/// Source: "Understand and use device twins", "IoT Hub quotas and throttling".
pub(super) const MAX_TWIN: usize = 8 << 20;
/// Keys, thumbprints, scopes, times: some 2 KB.
pub(super) const MAX_IDENTITY: usize = 256 << 10;
/// At most 50 identities.
pub(super) const MAX_MODULES: usize = 4 << 20;
/// At most 100 items with an error and a warning each.
const MAX_BULK_RESULT: usize = 1 << 20;
/// A page of a thousand twins of usual size; of larger ones, a smaller page is asked for.
pub(super) const MAX_PAGE: usize = 64 << 20;
pub(super) const API_VERSION: &str = "2021-04-12";

/// The settings in the document of an identity.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentitySettings {
    #[serde(flatten)]
    ids: Ids,
    authentication: Authentication,
    #[serde(default)]
    managed_by: Option<String>,
}

impl About for IdentitySettings {
    fn is_about(&self, identity: &IdentityId) -> bool {
        self.ids.is_about(identity)
    }
}

/// The patch of a twin. An empty section is left out: it would count as a write all the same.
fn twin_patch(tags: &JsonObject, desired: &JsonObject) -> JsonObject {
    let mut patch = JsonObject::new();
    if !tags.is_empty() {
        patch.insert("tags".to_owned(), json!(tags));
    }
    if !desired.is_empty() {
        patch.insert("properties".to_owned(), json!({ "desired": desired }));
    }
    patch
}

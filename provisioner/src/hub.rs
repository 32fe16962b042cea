//! The client's side of IoT Hub's service REST API: the calls that provisioning needs, their
//! errors, and which of them may be tried again. What the client of a DPS shares with it is here too.

use std::collections::HashMap;
use std::time::Duration;

use hub_types::bulk::{BulkItem, BulkResult};
use hub_types::identity::{Device, ModuleSpec};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{JsonObject, Twin};
use hub_types::{DeviceId, Etag, IdentityId, ModuleId};

use crate::model::service_status::WaitReason;
pub(crate) use access::Access;
pub(crate) use answer::{About, Answer};
pub(crate) use classes::ErrorClass;
pub(crate) use classes::class_of_status;
pub(crate) use client::HubClient;
pub(crate) use crud::{Condition, is_missing};
pub(crate) use entra::{EntraAccess, EntraEnvironment, SignIn};
pub(crate) use error::HubError;
pub(crate) use error::lasting;
pub(crate) use module_errors::about_its_device;
pub(crate) use network_failure::NetworkFailure;
pub(crate) use rate_limit::HubSize;
pub(crate) use request::{Request, to_body};
pub(crate) use retry::{Idempotency, Pauses, pause_after};
pub(crate) use service_client::{Endpoint, ServiceClient};
pub(crate) use transport::HubClientOptions;

mod access;
mod answer;
mod classes;
mod client;
mod crud;
mod entra;
mod error;
mod module_errors;
mod network_failure;
mod queries;
pub(crate) mod rate_limit;
mod request;
mod retry;
mod service_client;
mod tls_failure;
mod tls_probe;
mod tokens;
mod transport;

/// A service whose calls are tried again after a wait.
pub(crate) trait Patient: Send + Sync + 'static {
    /// Waits before something is tried again, and says so where that takes long.
    fn pause(
        &self,
        wait: Duration,
        _reason: WaitReason,
    ) -> impl Future<Output = Result<(), HubError>> + Send {
        async move {
            tokio::time::sleep(wait).await;
            Ok(())
        }
    }
}

/// The settings of a module that its twin does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ModuleSettings {
    /// The manager of the module, such as `iotEdge`. Bulk calls have no place for it, and clear it.
    pub(crate) managed_by: Option<String>,
    /// Its symmetric keys.
    pub(crate) keys: Option<SymmetricKeys>,
}

/// A hub, as provisioning sees it. [`HubClient`] is the real one; tests have one that loses answers.
pub(crate) trait Hub: Patient {
    /// Sends up to 100 items and answers what the hub says of them. Only what had no effect for certain is sent again.
    fn bulk(&self, items: &[BulkItem]) -> impl Future<Output = Result<BulkResult, HubError>> + Send;

    /// The number of devices and modules. The count of modules may be some seconds old.
    fn population(&self) -> impl Future<Output = Result<u64, HubError>> + Send;

    /// The number of modules of each device, without those of the system (`$edgeAgent`, `$edgeHub`)
    /// and without devices that have no modules. The counts may be some seconds old.
    fn count_modules(
        &self,
        devices: &[DeviceId],
    ) -> impl Future<Output = Result<HashMap<DeviceId, u64>, HubError>> + Send;

    /// Those of the devices that exist. The answer may be some seconds old.
    fn existing(&self, devices: &[DeviceId]) -> impl Future<Output = Result<Vec<DeviceId>, HubError>> + Send;

    /// The devices below the edge devices with these scopes. The answer may be some seconds old.
    fn children(&self, scopes: &[String]) -> impl Future<Output = Result<Vec<DeviceId>, HubError>> + Send;

    /// The modules of a device, those of the system among them; none when there is no such device.
    fn modules(&self, device: &DeviceId) -> impl Future<Output = Result<Vec<ModuleId>, HubError>> + Send;

    /// Deletes a device with its modules, or a module: the one that has this etag, or whichever there is.
    fn delete(
        &self,
        identity: &IdentityId,
        etag: Option<&Etag>,
    ) -> impl Future<Output = Result<(), HubError>> + Send;

    /// Creates one module, where a hub takes no modules in bulk; with an etag, replaces the module
    /// that has it.
    fn put_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleSpec,
        etag: Option<&Etag>,
    ) -> impl Future<Output = Result<(), HubError>> + Send;

    /// Reads a device; `None` when there is none.
    fn device(&self, device: &DeviceId) -> impl Future<Output = Result<Option<Device>, HubError>> + Send;

    /// Reads the keys of a device or a module, which twins do not show; `None` when there is no
    /// such identity or it has no keys.
    fn keys(
        &self,
        identity: &IdentityId,
    ) -> impl Future<Output = Result<Option<SymmetricKeys>, HubError>> + Send;

    /// Reads the settings of a module that an update has to repeat; `None` when there is no such module.
    fn module_settings(
        &self,
        module: &IdentityId,
    ) -> impl Future<Output = Result<Option<ModuleSettings>, HubError>> + Send;

    /// Merges tags and desired properties into a twin: the one that has this etag, or whichever
    /// there is. The same patch twice has the same end, so it is sent again whatever became of the
    /// first.
    fn patch_twin(
        &self,
        identity: &IdentityId,
        tags: &JsonObject,
        desired: &JsonObject,
        etag: Option<&Etag>,
    ) -> impl Future<Output = Result<(), HubError>> + Send;

    /// Reads the twin of a device or a module; `None` when there is none.
    fn twin(&self, identity: &IdentityId) -> impl Future<Output = Result<Option<Twin>, HubError>> + Send;
}

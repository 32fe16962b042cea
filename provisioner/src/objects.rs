//! Single identities and twins of a hub, for scripts: one call each, and no run.

use std::time::Duration;

use hub_types::identity::{Capabilities, Device, DeviceSpec, Module, ModuleSpec, Status, StatusReason};
use hub_types::twin::{JsonObject, Nulls, Section, TwinRuleError, check_section};
use hub_types::{DeviceId, IdentityId, ModuleId};
use serde_json::{Value, json};

use crate::export::ExportSource;
use crate::hub::{Condition, Hub, HubClient, HubError, is_missing};
use crate::model::observer::RunObserver;
use crate::model::scopes::Scopes;
use crate::target::{TargetChoice, TargetError, with_hub};
pub(crate) use authentication::{AuthChoice, AuthChoiceError, AuthMethod};

mod authentication;

/// The calls about single identities of a hub.
pub(crate) struct Objects<'h> {
    hub: &'h HubClient,
}

/// The reason why a call about a single identity failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ObjectError {
    /// The authentication can't be used.
    #[error(transparent)]
    Auth(#[from] AuthChoiceError),
    /// The identity was changed since it was read, or has a different etag than the given one.
    #[error("`{0}` has been changed by somebody else")]
    Changed(IdentityId),
    /// The identity exists.
    #[error("`{0}` exists already")]
    Exists(IdentityId),
    /// The hub fails or refuses the call.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The identity does not exist.
    #[error("there is no `{0}` on the hub")]
    Missing(IdentityId),
    /// An update without a change.
    #[error("nothing to change: name at least one of the options below `--help`")]
    NothingToChange,
    /// The twin breaks a rule of IoT Hub.
    #[error(transparent)]
    Twin(#[from] TwinRuleError),
}

impl ObjectError {
    /// The error of a call that is about one identity.
    fn of_call(error: HubError, identity: &IdentityId) -> Self {
        match error.status() {
            Some(_) if is_missing(&error) => Self::Missing(identity.clone()),
            Some(409) => Self::Exists(identity.clone()),
            Some(412) => Self::Changed(identity.clone()),
            _ => Self::Hub(error),
        }
    }
}

/// Opens a hub, calls `work` and closes the hub.
pub(crate) async fn on_hub<T, E: From<TargetError>>(
    hub: TargetChoice,
    observer: &dyn RunObserver,
    work: impl AsyncFnOnce(Objects<'_>) -> Result<T, E>,
) -> Result<T, E> {
    with_hub(hub, PATIENCE, observer, async |hub| work(Objects { hub: &hub.client }).await).await
}

/// The settings of a device that modules do not have; `None` for a setting that is not given.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceChoice {
    /// The status.
    pub(crate) status: Option<Status>,
    /// The reason for the status.
    pub(crate) status_reason: Option<StatusReason>,
    /// True if the device runs the IoT Edge runtime.
    pub(crate) edge_enabled: Option<bool>,
}

impl DeviceChoice {
    fn is_empty(&self) -> bool {
        self.status.is_none() && self.status_reason.is_none() && self.edge_enabled.is_none()
    }
}

/// The sections of a twin; `None` for a section that is not given.
#[derive(Debug, Clone, Default)]
pub(crate) struct TwinSections {
    /// The tags.
    pub(crate) tags: Option<JsonObject>,
    /// The desired properties.
    pub(crate) desired: Option<JsonObject>,
}

impl TwinSections {
    /// The document for the hub. A section that the hub would refuse is refused here, with the place.
    fn document(&self, nulls: Nulls) -> Result<JsonObject, TwinRuleError> {
        let mut document = JsonObject::new();
        if let Some(tags) = &self.tags {
            check_section(Section::Tags, tags, nulls)?;
            document.insert("tags".to_owned(), json!(tags));
        }
        if let Some(desired) = &self.desired {
            check_section(Section::Desired, desired, nulls)?;
            document.insert("properties".to_owned(), json!({ "desired": desired }));
        }
        Ok(document)
    }
}

impl Objects<'_> {
    /// Creates a device.
    pub(crate) async fn create_device(
        &self,
        device: &DeviceId,
        choice: &DeviceChoice,
        auth: &AuthChoice,
    ) -> Result<Device, ObjectError> {
        let identity = device.clone().into();
        let spec = DeviceSpec {
            device_id: device.clone(),
            status: choice.status,
            status_reason: choice.status_reason.clone(),
            authentication: auth.resolve(&identity, None)?,
            capabilities: choice.edge_enabled.map(|iot_edge| Capabilities { iot_edge }),
            device_scope: None,
            parent_scopes: None,
        };
        self.hub.create_device(&spec).await.map_err(|error| ObjectError::of_call(error, &identity))
    }

    /// Reads a device.
    pub(crate) async fn device(&self, device: &DeviceId) -> Result<Device, ObjectError> {
        self.hub.device(device).await?.ok_or_else(|| ObjectError::Missing(device.clone().into()))
    }

    /// Changes the given settings of a device, and keeps the others. The device must have the given
    /// etag, or be unchanged since it was read here.
    pub(crate) async fn update_device(
        &self,
        device: &DeviceId,
        choice: &DeviceChoice,
        auth: &AuthChoice,
        etag: Option<String>,
    ) -> Result<Device, ObjectError> {
        let current = self.device(device).await?;
        let identity: IdentityId = current.device_id.clone().into();
        let authentication = auth.resolve(&identity, Some(&current.authentication))?;
        if authentication.is_none() && choice.is_empty() {
            return Err(ObjectError::NothingToChange);
        }
        let iot_edge = choice.edge_enabled.unwrap_or(current.capabilities.iot_edge);
        let scopes = Scopes::of_device(&current).with_edge(iot_edge);
        let spec = DeviceSpec {
            status: Some(choice.status.unwrap_or(current.status)),
            status_reason: choice.status_reason.clone().or(current.status_reason),
            // Without them, the hub would make new keys.
            authentication: Some(authentication.unwrap_or(current.authentication)),
            capabilities: Some(Capabilities { iot_edge }),
            device_scope: scopes.device,
            parent_scopes: scopes.parents,
            device_id: current.device_id,
        };
        let etag = etag.unwrap_or_else(|| current.etag.as_str().to_owned());
        let changed = self.hub.replace_device(&spec, &Condition::Etag(etag)).await;
        changed.map_err(|error| ObjectError::of_call(error, &identity))
    }

    /// Creates a module.
    pub(crate) async fn create_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleChoice,
        auth: &AuthChoice,
    ) -> Result<Module, ObjectError> {
        let spec = ModuleSpec {
            module_id: spec.module_id.clone(),
            device_id: Some(identity.device().clone()),
            managed_by: spec.managed_by.clone(),
            authentication: auth.resolve(identity, None)?,
        };
        let created = self.hub.new_module(identity, &spec).await;
        created.map_err(|error| ObjectError::of_call(error, identity))
    }

    /// Reads a module.
    pub(crate) async fn module(&self, identity: &IdentityId) -> Result<Module, ObjectError> {
        self.hub.module(identity).await?.ok_or_else(|| ObjectError::Missing(identity.clone()))
    }

    /// Reads the modules of a device.
    pub(crate) async fn modules(&self, device: &DeviceId) -> Result<Vec<Module>, ObjectError> {
        let modules = self.hub.modules_of(device).await?;
        modules.ok_or_else(|| ObjectError::Missing(device.clone().into()))
    }

    /// Changes the given settings of a module, and keeps the others. The module must have the given
    /// etag, or be unchanged since it was read here.
    pub(crate) async fn update_module(
        &self,
        identity: &IdentityId,
        managed_by: Option<String>,
        auth: &AuthChoice,
        etag: Option<String>,
    ) -> Result<Module, ObjectError> {
        let current = self.module(identity).await?;
        let authentication = auth.resolve(identity, Some(&current.authentication))?;
        if authentication.is_none() && managed_by.is_none() {
            return Err(ObjectError::NothingToChange);
        }
        let spec = ModuleSpec {
            module_id: current.module_id,
            device_id: Some(current.device_id),
            managed_by: managed_by.or(current.managed_by),
            // Without them, the hub would make new keys.
            authentication: Some(authentication.unwrap_or(current.authentication)),
        };
        let etag = etag.unwrap_or_else(|| current.etag.as_str().to_owned());
        let changed = self.hub.replace_module(identity, &spec, &Condition::Etag(etag)).await;
        changed.map_err(|error| ObjectError::of_call(error, identity))
    }

    /// Deletes a device with its modules, or a module.
    pub(crate) async fn delete(
        &self,
        identity: &IdentityId,
        etag: Option<String>,
    ) -> Result<(), ObjectError> {
        let deleted = self.hub.delete_identity(identity, &condition(etag)).await;
        deleted.map_err(|error| ObjectError::of_call(error, identity))
    }

    /// Reads a twin.
    pub(crate) async fn twin(&self, identity: &IdentityId) -> Result<Value, ObjectError> {
        self.hub.twin_document(identity).await?.ok_or_else(|| ObjectError::Missing(identity.clone()))
    }

    /// Merges sections into a twin; null deletes a member.
    pub(crate) async fn merge_twin(
        &self,
        identity: &IdentityId,
        sections: &TwinSections,
        etag: Option<String>,
    ) -> Result<Value, ObjectError> {
        let patch = Value::Object(sections.document(Nulls::Delete)?);
        let twin = self.hub.merge_twin(identity, &patch, &condition(etag)).await;
        twin.map_err(|error| ObjectError::of_call(error, identity))
    }

    /// Replaces the sections of a twin; a section that is not given becomes empty.
    pub(crate) async fn replace_twin(
        &self,
        identity: &IdentityId,
        sections: &TwinSections,
        etag: Option<String>,
    ) -> Result<Value, ObjectError> {
        let mut twin = sections.document(Nulls::Refuse)?;
        twin.entry("tags").or_insert_with(|| json!({}));
        twin.entry("properties").or_insert_with(|| json!({"desired": {}}));
        let twin = self.hub.replace_twin(identity, &Value::Object(twin), &condition(etag)).await;
        twin.map_err(|error| ObjectError::of_call(error, identity))
    }

    /// The identities and twins for an export, all or those that meet a condition.
    pub(crate) fn to_export<'s>(&'s self, filter: Option<&'s str>) -> ExportSource<'s> {
        ExportSource::Hub(self.hub, filter)
    }

    /// Reports each twin that a query finds, page by page, up to `top`.
    pub(crate) async fn each_twin<E: From<ObjectError>>(
        &self,
        collection: TwinCollection,
        filter: Option<&str>,
        top: Option<usize>,
        mut on_twin: impl FnMut(&Value) -> Result<(), E>,
    ) -> Result<(), E> {
        let filter = filter.map(|text| format!(" WHERE {text}")).unwrap_or_default();
        let query = format!("SELECT * FROM {}{filter}", collection.as_str());
        let mut left = top.unwrap_or(usize::MAX);
        let mut continuation = None;
        while left > 0 {
            let page = self.hub.query(&query, continuation.as_ref(), left.min(PAGE)).await;
            let page = page.map_err(ObjectError::from)?;
            page.rows.iter().take(left).try_for_each(&mut on_twin)?;
            left = left.saturating_sub(page.rows.len());
            match page.continuation {
                Some(token) => continuation = Some(token),
                None => break,
            }
        }
        Ok(())
    }
}

/// The settings of a new module.
#[derive(Debug, Clone)]
pub(crate) struct ModuleChoice {
    /// The id.
    pub(crate) module_id: ModuleId,
    /// The manager of the module.
    pub(crate) managed_by: Option<String>,
}

/// A collection of twins in IoT Hub's query language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwinCollection {
    /// The twins of devices.
    Devices,
    /// The twins of modules.
    Modules,
}

impl TwinCollection {
    fn as_str(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Modules => "devices.modules",
        }
    }
}

/// The condition of a write: the given etag, or only that the object exists.
fn condition(etag: Option<String>) -> Condition {
    etag.map_or(Condition::Exists, Condition::Etag)
}

/// The longest wait for a service: a single call has no run that could be resumed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// The most rows that a hub gives in a page.
const PAGE: usize = 1000;

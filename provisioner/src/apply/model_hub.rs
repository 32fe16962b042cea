//! A hub in memory that loses answers, for the tests of the driver.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hub_types::bulk::{BulkError, BulkItem, BulkResult};
use hub_types::identity::{Device, ModuleSpec};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{JsonObject, Twin};
use hub_types::{Authentication, DeviceId, ErrorCode, IdentityId};
use serde_json::{Value, from_value, json};

use crate::hub::{Hub, HubError};

/// How the hub treats modules in bulk calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modules {
    InBulk,
    InBulkWithoutTwin,
    OneByOne,
}

/// What happens to a call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    LostAfterEffect,
    LostBeforeEffect,
}

pub(super) struct ModelHub {
    pub(super) modules: Modules,
    /// The fates of the next calls that change something; then all are answered.
    pub(super) fates: Mutex<Vec<Fate>>,
    pub(super) identities: Mutex<BTreeMap<IdentityId, Identity>>,
    pub(super) changing_calls: Mutex<usize>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Identity {
    pub(super) authentication: Authentication,
    pub(super) tags: JsonObject,
    pub(super) desired: JsonObject,
    pub(super) creations: u32,
}

impl ModelHub {
    pub(super) fn new(modules: Modules, fates: Vec<Fate>) -> Self {
        Self {
            modules,
            fates: Mutex::new(fates),
            identities: Mutex::default(),
            changing_calls: Mutex::default(),
        }
    }

    fn change<T>(
        &self,
        effect: impl FnOnce(&mut BTreeMap<IdentityId, Identity>) -> T,
    ) -> Result<T, HubError> {
        *self.changing_calls.lock().unwrap() += 1;
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Answered);
        if fate == Fate::LostBeforeEffect {
            return Err(HubError::NoAnswer);
        }
        let answer = effect(&mut self.identities.lock().unwrap());
        match fate {
            Fate::LostAfterEffect => Err(HubError::NoAnswer),
            _ => Ok(answer),
        }
    }

    fn create(
        &self,
        item: &BulkItem,
        identities: &mut BTreeMap<IdentityId, Identity>,
    ) -> Result<(), ErrorCode> {
        let identity = item.identity();
        let is_module = identity.module().is_some();
        if is_module && self.modules == Modules::OneByOne {
            return Err(ErrorCode::ArgumentInvalid);
        }
        if is_module && !identities.contains_key(&identity.device().clone().into()) {
            return Err(ErrorCode::DeviceNotFound);
        }
        if identities.contains_key(&identity) {
            return Err(match is_module {
                true => ErrorCode::ModuleAlreadyExistsOnDevice,
                false => ErrorCode::DeviceAlreadyExists,
            });
        }
        let mut created = Identity { creations: 1, ..Identity::default() };
        created.authentication = item.authentication.clone().unwrap_or_default();
        if !is_module || self.modules == Modules::InBulk {
            created.tags = item.tags.clone().unwrap_or_default();
            created.desired = item.properties.clone().and_then(|p| p.desired).unwrap_or_default();
        }
        identities.insert(identity, created);
        Ok(())
    }
}

impl Hub for ModelHub {
    async fn bulk(&self, items: &[BulkItem]) -> Result<BulkResult, HubError> {
        assert!(!items.is_empty() && items.len() <= 100);
        self.change(|identities| {
            let mut errors = Vec::new();
            for item in items {
                if let Err(code) = self.create(item, identities) {
                    errors.push(BulkError {
                        device_id: item.id.to_string(),
                        module_id: item.module_id.as_ref().map(ToString::to_string),
                        error_code: code.name().to_owned(),
                        error_status: None,
                        operation: None,
                    });
                }
            }
            BulkResult { is_successful: errors.is_empty(), errors, warnings: Vec::new() }
        })
    }

    async fn create_module(&self, identity: &IdentityId, spec: &ModuleSpec) -> Result<(), HubError> {
        let created = self.change(|identities| {
            let refused = |code: ErrorCode| {
                let body =
                    json!({"Message": format!("ErrorCode:{code};no"), "ExceptionMessage": ""}).to_string();
                HubError::refused(code.http_status(), None, None, body.as_bytes())
            };
            if !identities.contains_key(&identity.device().clone().into()) {
                return Err(refused(ErrorCode::IotHubUnauthorizedAccess));
            }
            if identities.contains_key(identity) {
                return Err(refused(ErrorCode::ModuleAlreadyExistsOnDevice));
            }
            let authentication = spec.authentication.clone().unwrap_or_default();
            identities
                .insert(identity.clone(), Identity { authentication, creations: 1, ..Identity::default() });
            Ok(())
        });
        created?
    }

    async fn device(&self, _device: &DeviceId) -> Result<Option<Device>, HubError> {
        Ok(None)
    }

    async fn keys(&self, identity: &IdentityId) -> Result<Option<SymmetricKeys>, HubError> {
        Ok(match self.identities.lock().unwrap().get(identity).map(|found| found.authentication.clone()) {
            Some(Authentication::Sas(keys)) => keys,
            _ => None,
        })
    }

    async fn patch_twin(
        &self,
        identity: &IdentityId,
        tags: &JsonObject,
        desired: &JsonObject,
    ) -> Result<(), HubError> {
        self.change(|identities| {
            let found = identities.get_mut(identity).expect("a twin is written after its identity");
            found.tags.extend(tags.clone());
            found.desired.extend(desired.clone());
        })
    }

    async fn twin(&self, identity: &IdentityId) -> Result<Option<Twin>, HubError> {
        let identities = self.identities.lock().unwrap();
        let Some(found) = identities.get(identity) else { return Ok(None) };
        let mut desired = Value::Object(found.desired.clone());
        desired["$version"] = json!(1);
        let twin = json!({
            "deviceId": identity.device(), "moduleId": identity.module(), "etag": "AAAAAAAAAAE=", "version": 2,
            "authenticationType": found.authentication.type_name(),
            "x509Thumbprint": found.authentication.thumbprints(), "tags": found.tags,
            "properties": {"desired": desired, "reported": {"$version": 1}},
        });
        Ok(Some(from_value(twin).expect("the model's twins are twins")))
    }
}

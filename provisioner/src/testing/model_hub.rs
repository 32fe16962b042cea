//! A hub in memory that loses answers, for the tests of the drivers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hub_types::bulk::{BulkError, BulkItem, BulkResult, ImportMode};
use hub_types::identity::{Device, ModuleSpec, Status, StatusReason};
use hub_types::symmetric_key::SymmetricKeys;
use hub_types::twin::{JsonObject, Twin};
use hub_types::{Authentication, DeviceId, ErrorCode, Etag, IdentityId, ModuleId};
use serde_json::{Value, from_value, json};
use tokio::sync::Notify;

use crate::hub::{Hub, HubError, ModuleSettings, Patient};
use crate::model::service::ServiceKind;
pub(crate) use log::{Log, Logged, OTHERS, What};
pub(crate) use others::{ForeignChange, Other};

mod log;
mod others;

/// The hub's support for modules in bulk calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Modules {
    InBulk,
    InBulkWithoutTwin,
    OneByOne,
}

/// The fault that hits a call that changes something, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFault {
    Answered,
    LostAfterEffect,
    LostBeforeEffect,
    /// In a bulk call, every item is throttled.
    Throttled,
    /// In a bulk call, every second item is throttled, and the others take effect.
    HalfThrottled,
    /// In a bulk call, every second item fails after its effect.
    HalfFailed,
    /// A bulk call takes effect, and the answer says that it failed and not what.
    Vague,
    /// The same, with an error for an identity that was not in the call.
    AboutAnother,
    /// A call is refused as a whole, without an effect.
    Refused,
    /// A write of a twin is refused.
    TwinRefused,
}

impl CallFault {
    /// The faults that come in any order. A refused call belongs to a particular case.
    pub(crate) const ALL: [Self; 9] = [
        Self::Answered,
        Self::LostAfterEffect,
        Self::LostBeforeEffect,
        Self::Throttled,
        Self::HalfThrottled,
        Self::HalfFailed,
        Self::Vague,
        Self::AboutAnother,
        Self::TwinRefused,
    ];
}

pub(crate) struct ModelHub {
    pub(crate) modules: Modules,
    /// The faults of the next calls that change something; then all are answered.
    pub(crate) faults: Mutex<Vec<CallFault>>,
    pub(crate) identities: Mutex<BTreeMap<IdentityId, Identity>>,
    pub(crate) changing_calls: Mutex<usize>,
    /// After so many calls the caller is cut off: the call hangs for ever, after its effect.
    calls_until_cut: AtomicUsize,
    /// Told when that has happened.
    cut: Notify,
    /// The number of calls after which a second station joins the run.
    pub(crate) calls_until_joined: AtomicUsize,
    /// Notified when the second station is due.
    pub(crate) joined: Notify,
    /// The changes, with their actors.
    pub(crate) log: Mutex<Log>,
    /// The changes of other clients, each after this many further calls of a run.
    pub(crate) meddlings: Mutex<Vec<(usize, ForeignChange)>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Identity {
    pub(crate) authentication: Authentication,
    pub(crate) tags: JsonObject,
    pub(crate) desired: JsonObject,
    pub(crate) status: Status,
    pub(crate) status_reason: Option<StatusReason>,
    /// The manager of a module.
    pub(crate) managed_by: Option<String>,
    /// True if the device runs the IoT Edge runtime.
    pub(crate) edge: bool,
    /// The scope of a leaf device's parent.
    pub(crate) leaf_scope: Option<String>,
    /// The scopes of an edge device's parents.
    pub(crate) parent_scopes: Vec<String>,
    pub(crate) creations: u32,
    /// Writes to the twin, besides the one that came with the creation.
    pub(crate) twin_writes: u64,
    /// Writes of reported properties, with which a device or module uses its identity.
    pub(crate) uses: u64,
    /// Its version: no two identities, and no two states of one, have the same.
    pub(crate) version: u64,
}

impl ModelHub {
    pub(crate) fn new(modules: Modules, faults: Vec<CallFault>) -> Self {
        Self {
            modules,
            faults: Mutex::new(faults),
            identities: Mutex::default(),
            changing_calls: Mutex::default(),
            calls_until_cut: AtomicUsize::new(usize::MAX),
            cut: Notify::new(),
            calls_until_joined: AtomicUsize::new(usize::MAX),
            joined: Notify::new(),
            log: Mutex::default(),
            meddlings: Mutex::default(),
        }
    }

    /// Runs `work` to its end, or until it has made so many calls and is cut off. Returns its result if it was not
    /// cut off. Calls after that pass again.
    pub(crate) async fn cut_off<W: Future>(&self, cut: usize, work: W) -> Option<W::Output> {
        // Several calls that were cut off together have told so more than once.
        let _ = self.cut.notified().now_or_never();
        self.calls_until_cut.store(cut, Ordering::SeqCst);
        let result = tokio::select! {
            biased;
            () = self.cut.notified() => None,
            result = work => Some(result),
        };
        self.calls_until_cut.store(usize::MAX, Ordering::SeqCst);
        result
    }

    /// Performs due events after a call: changes of other clients, or the interruption of the
    /// caller.
    async fn may_be_cut(&self) {
        self.meddle_in_between();
        let count = |left: usize| left.checked_sub(1);
        if self.calls_until_joined.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_err() {
            self.calls_until_joined.store(usize::MAX, Ordering::SeqCst);
            // Nobody knows which of the two was told what.
            self.log.lock().unwrap().tell_nobody(true);
            self.joined.notify_one();
            // The other one gets on first.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if self.calls_until_cut.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_err() {
            self.log.lock().unwrap().forget_answers();
            self.cut.notify_one();
            std::future::pending::<()>().await;
        }
    }

    fn change<T>(
        &self,
        effect: impl FnOnce(&mut BTreeMap<IdentityId, Identity>, CallFault) -> T,
    ) -> Result<T, HubError> {
        *self.changing_calls.lock().unwrap() += 1;
        let fault = self.faults.lock().unwrap().pop().unwrap_or(CallFault::Answered);
        if fault == CallFault::LostBeforeEffect {
            self.log.lock().unwrap().lose();
            return Err(HubError::NoAnswer);
        }
        if fault == CallFault::Refused {
            return Err(refused(ErrorCode::ArgumentInvalid));
        }
        let answer = self.logged(fault, |identities| effect(identities, fault));
        match fault {
            CallFault::LostAfterEffect => Err(HubError::NoAnswer),
            _ => Ok(answer),
        }
    }

    /// Changes something, and puts down what has changed.
    fn logged<T>(
        &self,
        fault: CallFault,
        effect: impl FnOnce(&mut BTreeMap<IdentityId, Identity>) -> T,
    ) -> T {
        let mut identities = self.identities.lock().unwrap();
        let before = identities.clone();
        let answer = effect(&mut identities);
        self.log.lock().unwrap().add(&before, &mut identities, fault);
        answer
    }

    /// Returns true if a hub denies access to the modules of a device to a caller with a key.
    fn denies_modules_of(&self, device: &DeviceId) -> bool {
        let identities = self.identities.lock().unwrap();
        identities.get(&device.clone().into()).is_some_and(|device| device.status == Status::Disabled)
    }

    fn change_item(
        &self,
        item: &BulkItem,
        identities: &mut BTreeMap<IdentityId, Identity>,
    ) -> Result<(), ErrorCode> {
        let is_denied = item.module_id.is_some() && !takes_modules(&item.identity(), identities);
        match item.import_mode {
            Some(ImportMode::DeleteIfMatchETag | ImportMode::UpdateIfMatchETag) if is_denied => {
                Err(ErrorCode::IotHubUnauthorizedAccess)
            }
            Some(ImportMode::DeleteIfMatchETag)
                if item.module_id.is_some() && self.modules == Modules::OneByOne =>
            {
                Err(ErrorCode::ArgumentInvalid)
            }
            Some(ImportMode::DeleteIfMatchETag) => delete(&item.identity(), item.etag.as_ref(), identities),
            Some(ImportMode::UpdateIfMatchETag) => Self::update(item, identities),
            _ => self.create(item, identities),
        }
    }

    fn update(item: &BulkItem, identities: &mut BTreeMap<IdentityId, Identity>) -> Result<(), ErrorCode> {
        let found = identities.get_mut(&item.identity()).ok_or(ErrorCode::DeviceNotFound)?;
        if item.etag != Some(etag(found.version)) {
            return Err(ErrorCode::EtagDoesNotMatch);
        }
        let own = found.own_scope(&item.id).filter(|_| is_edge(item));
        if own.is_some() && item.device_scope != own {
            return Err(ErrorCode::InvalidDeviceScope);
        }
        found.version += 1;
        found.replace(item);
        Ok(())
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
        if is_module && !takes_modules(&identity, identities) {
            return Err(ErrorCode::IotHubUnauthorizedAccess);
        }
        if identities.contains_key(&identity) {
            return Err(match is_module {
                true => ErrorCode::ModuleAlreadyExistsOnDevice,
                false => ErrorCode::DeviceAlreadyExists,
            });
        }
        let mut created = Identity { creations: 1, ..Identity::default() };
        created.replace(item);
        if !is_module || self.modules == Modules::InBulk {
            created.tags = item.tags.clone().unwrap_or_default();
            created.desired = item.properties.clone().and_then(|p| p.desired).unwrap_or_default();
        }
        identities.insert(identity, created);
        Ok(())
    }
}

impl Identity {
    /// The scope that the hub gave an edge device.
    fn own_scope(&self, device: &DeviceId) -> Option<String> {
        self.edge.then(|| format!("ms-azure-iot-edge://{device}-{}", self.version / log::GENERATION))
    }

    /// The `deviceScope` that the hub shows.
    pub(crate) fn device_scope(&self, device: &DeviceId) -> Option<String> {
        self.own_scope(device).or_else(|| self.leaf_scope.clone())
    }

    /// Takes the identity of a bulk item: what is absent gets its default.
    fn replace(&mut self, item: &BulkItem) {
        self.authentication = item.authentication.clone().unwrap_or_default();
        self.status = item.status.unwrap_or_default();
        self.status_reason.clone_from(&item.status_reason);
        self.managed_by = None;
        self.edge = is_edge(item);
        self.leaf_scope = item.device_scope.clone().filter(|_| !self.edge);
        self.parent_scopes = item.parent_scopes.clone().filter(|_| self.edge).unwrap_or_default();
    }
}

fn is_edge(item: &BulkItem) -> bool {
    item.capabilities.is_some_and(|capabilities| capabilities.iot_edge)
}

impl Patient for ModelHub {}

impl Hub for ModelHub {
    async fn bulk(&self, items: &[BulkItem]) -> Result<BulkResult, HubError> {
        assert!(!items.is_empty() && items.len() <= 100);
        let answer = self.change(|identities, fault| {
            let mut errors = Vec::new();
            let error = |item: &BulkItem, code: ErrorCode| BulkError {
                device_id: item.id.to_string(),
                module_id: item.module_id.as_ref().map(ToString::to_string),
                error_code: code.name().to_owned(),
                error_status: None,
                operation: None,
            };
            for (place, item) in items.iter().enumerate() {
                let is_second = place % 2 == 1;
                if fault == CallFault::Throttled || (fault == CallFault::HalfThrottled && is_second) {
                    errors.push(error(item, ErrorCode::ThrottlingException));
                    continue;
                }
                match self.change_item(item, identities) {
                    Err(code) => errors.push(error(item, code)),
                    Ok(()) if fault == CallFault::HalfFailed && is_second => {
                        errors.push(error(item, ErrorCode::ServerError));
                    }
                    Ok(()) => {}
                }
            }
            if fault == CallFault::Vague {
                return BulkResult { is_successful: false, errors: Vec::new(), warnings: Vec::new() };
            }
            if fault == CallFault::AboutAnother {
                let mut another = error(&items[0], ErrorCode::DeviceAlreadyExists);
                another.device_id = "another".into();
                return BulkResult { is_successful: false, errors: vec![another], warnings: Vec::new() };
            }
            BulkResult { is_successful: errors.is_empty(), errors, warnings: Vec::new() }
        });
        self.may_be_cut().await;
        answer
    }

    async fn population(&self) -> Result<u64, HubError> {
        Ok(self.identities.lock().unwrap().len() as u64)
    }

    async fn count_modules(&self, devices: &[DeviceId]) -> Result<HashMap<DeviceId, u64>, HubError> {
        let mut counts = HashMap::new();
        for identity in self.identities.lock().unwrap().keys().filter(|id| id.module().is_some()) {
            if devices.contains(identity.device()) {
                *counts.entry(identity.device().clone()).or_default() += 1;
            }
        }
        Ok(counts)
    }

    async fn existing(&self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, HubError> {
        let identities = self.identities.lock().unwrap();
        let exists = |device: &&DeviceId| identities.contains_key(&(*device).clone().into());
        Ok(devices.iter().filter(exists).cloned().collect())
    }

    async fn children(&self, _scopes: &[String]) -> Result<Vec<DeviceId>, HubError> {
        Ok(Vec::new())
    }

    async fn modules(&self, device: &DeviceId) -> Result<Vec<ModuleId>, HubError> {
        if self.denies_modules_of(device) {
            return Err(HubError::DisabledDevice(device.clone()));
        }
        let identities = self.identities.lock().unwrap();
        Ok(identities
            .keys()
            .filter(|id| id.device() == device)
            .filter_map(|id| id.module().cloned())
            .collect())
    }

    async fn delete(&self, identity: &IdentityId, if_match: Option<&Etag>) -> Result<(), HubError> {
        let is_denied = identity.module().is_some() && self.denies_modules_of(identity.device());
        let deleted = match is_denied {
            true => Ok(Err(HubError::DisabledDevice(identity.device().clone()))),
            false => self.change(|identities, _| delete(identity, if_match, identities).map_err(refused)),
        };
        self.may_be_cut().await;
        deleted?
    }

    async fn put_module(
        &self,
        identity: &IdentityId,
        spec: &ModuleSpec,
        if_match: Option<&Etag>,
    ) -> Result<(), HubError> {
        let created = self.change(|identities, _| {
            if !takes_modules(identity, identities) {
                return Err(refused(ErrorCode::IotHubUnauthorizedAccess));
            }
            if let Some(if_match) = if_match {
                let found = identities.get_mut(identity).ok_or_else(|| refused(ErrorCode::ModuleNotFound))?;
                if *if_match != etag(found.version) {
                    return Err(refused(ErrorCode::PreconditionFailed));
                }
                found.version += 1;
                found.authentication = spec.authentication.clone().unwrap_or_default();
                found.managed_by.clone_from(&spec.managed_by);
                return Ok(());
            }
            if identities.contains_key(identity) {
                return Err(refused(ErrorCode::ModuleAlreadyExistsOnDevice));
            }
            let authentication = spec.authentication.clone().unwrap_or_default();
            identities
                .insert(identity.clone(), Identity { authentication, creations: 1, ..Identity::default() });
            Ok(())
        });
        self.may_be_cut().await;
        created?
    }

    async fn device(&self, device: &DeviceId) -> Result<Option<Device>, HubError> {
        let identities = self.identities.lock().unwrap();
        let Some(found) = identities.get(&device.clone().into()) else { return Ok(None) };
        let never = "0001-01-01T00:00:00";
        let device = json!({
            "deviceId": device, "generationId": "1", "etag": etag(found.version), "status": found.status,
            "statusReason": found.status_reason, "connectionStateUpdatedTime": never,
            "statusUpdatedTime": never, "lastActivityTime": never, "authentication": found.authentication,
            "capabilities": {"iotEdge": found.edge}, "deviceScope": found.device_scope(device),
            "parentScopes": Some(&found.parent_scopes).filter(|scopes| !scopes.is_empty()),
        });
        Ok(Some(from_value(device).expect("the model's devices are devices")))
    }

    async fn keys(&self, identity: &IdentityId) -> Result<Option<SymmetricKeys>, HubError> {
        if identity.module().is_some() && self.denies_modules_of(identity.device()) {
            return Err(HubError::DisabledDevice(identity.device().clone()));
        }
        Ok(match self.identities.lock().unwrap().get(identity).map(|found| found.authentication.clone()) {
            Some(Authentication::Sas(keys)) => keys,
            _ => None,
        })
    }

    async fn module_settings(&self, module: &IdentityId) -> Result<Option<ModuleSettings>, HubError> {
        let keys = self.keys(module).await?;
        let identities = self.identities.lock().unwrap();
        let settings = |found: &Identity| ModuleSettings { managed_by: found.managed_by.clone(), keys };
        Ok(identities.get(module).map(settings))
    }

    async fn patch_twin(
        &self,
        identity: &IdentityId,
        tags: &JsonObject,
        desired: &JsonObject,
        if_match: Option<&Etag>,
    ) -> Result<(), HubError> {
        let written = self.change(|identities, fault| {
            if fault == CallFault::TwinRefused {
                return Err(refused(ErrorCode::ArgumentInvalid));
            }
            let found = identities.get_mut(identity).ok_or_else(|| refused(ErrorCode::DeviceNotFound))?;
            if if_match.is_some_and(|if_match| *if_match != etag(found.twin_writes)) {
                return Err(refused(ErrorCode::PreconditionFailed));
            }
            found.twin_writes += 1;
            merge(&mut found.tags, tags);
            merge(&mut found.desired, desired);
            Ok(())
        });
        self.may_be_cut().await;
        written?
    }

    async fn twin(&self, identity: &IdentityId) -> Result<Option<Twin>, HubError> {
        self.may_be_cut().await;
        let identities = self.identities.lock().unwrap();
        let Some(found) = identities.get(identity) else { return Ok(None) };
        let mut desired = Value::Object(found.desired.clone());
        desired["$version"] = json!(1 + found.twin_writes);
        let twin = json!({
            "deviceId": identity.device(), "moduleId": identity.module(), "etag": etag(found.twin_writes),
            "deviceEtag": etag(found.version), "version": 2 + found.twin_writes + found.uses, "status": found.status,
            "statusReason": found.status_reason,
            "authenticationType": found.authentication.type_name(),
            "x509Thumbprint": found.authentication.thumbprints(), "tags": found.tags,
            "properties": {"desired": desired, "reported": {"$version": 1 + found.uses}},
            "capabilities": {"iotEdge": found.edge}, "deviceScope": found.device_scope(identity.device()),
            "parentScopes": found.parent_scopes,
        });
        Ok(Some(from_value(twin).expect("the model's twins are twins")))
    }
}

/// A device takes its modules with it.
fn delete(
    identity: &IdentityId,
    if_match: Option<&Etag>,
    identities: &mut BTreeMap<IdentityId, Identity>,
) -> Result<(), ErrorCode> {
    let found = identities.get(identity).ok_or(ErrorCode::DeviceNotFound)?;
    if if_match.is_some_and(|if_match| *if_match != etag(found.version)) {
        return Err(ErrorCode::EtagDoesNotMatch);
    }
    match identity.module() {
        Some(_) => drop(identities.remove(identity)),
        None => identities.retain(|other, _| other.device() != identity.device()),
    }
    Ok(())
}

/// To a device that is missing or disabled a hub says 401 for everything about its modules.
fn takes_modules(module: &IdentityId, identities: &BTreeMap<IdentityId, Identity>) -> bool {
    let device = identities.get(&module.device().clone().into());
    device.is_some_and(|device| device.status == Status::Enabled)
}

fn refused(code: ErrorCode) -> HubError {
    let body = json!({"Message": format!("ErrorCode:{code};no"), "ExceptionMessage": ""}).to_string();
    HubError::refused(ServiceKind::Hub, code.http_status(), None, None, body.as_bytes())
}

fn etag(version: u64) -> Etag {
    Etag::new(&version.to_string())
}

fn merge(section: &mut JsonObject, patch: &JsonObject) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(section.remove(name)),
            value => drop(section.insert(name.clone(), value.clone())),
        }
    }
}

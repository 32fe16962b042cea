//! The creation of identities: in bulk, and one by one if a hub does not support bulk.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use hub_types::ErrorCode;
use hub_types::bulk::{BulkError, BulkItem, BulkResult};
use hub_types::limits::MAX_BULK_ITEMS;

use super::bulk::{BulkCall, send, send_new};
use super::event::Event;
use super::observation::{Comparer, module_refused_or_fatal, refused_or_fatal};
use super::parent_scopes::ParentScopes;
use crate::hub::{ErrorClass, Hub, HubError, about_its_device};
use crate::model::compare::Comparison;
use crate::model::options::TwinPolicy;
use crate::model::scopes::Scopes;
use crate::model::spec::{GivenKeys, IdentitySpec};

/// Creates identities on one hub, and learns how it treats modules in bulk.
///
/// That bulk calls take modules is known; whether a module takes its twin from the same item is
/// not. Sending the twin inside costs nothing, so it is sent, the first module that was created so
/// is read back, and what it shows holds for the rest.
pub(crate) struct HubWriter<H> {
    hub: Arc<H>,
    modules: Mutex<BulkModules>,
    parent_scopes: ParentScopes,
}

/// The support of a hub for modules in bulk calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum BulkModules {
    #[default]
    NotTriedYet,
    Refused,
    WithTwin,
    WithoutTwin,
}

impl<H: Hub> HubWriter<H> {
    pub(crate) fn new(hub: Arc<H>) -> Self {
        Self { hub, modules: Mutex::default(), parent_scopes: ParentScopes::default() }
    }

    /// Creates identities, all devices or all modules, and returns an event for each.
    pub(crate) async fn create(
        &self,
        spec: &[&IdentitySpec],
        keys: &GivenKeys,
    ) -> Result<Vec<Event>, HubError> {
        let mut events = Vec::with_capacity(spec.len());
        for chunk in spec.chunks(MAX_BULK_ITEMS) {
            let is_module = chunk.iter().any(|spec| spec.identity.module().is_some());
            events.extend(match is_module {
                true => self.create_modules(chunk, keys).await?,
                false => self.create_devices(chunk, keys).await?,
            });
        }
        Ok(events)
    }

    async fn create_devices(&self, spec: &[&IdentitySpec], keys: &GivenKeys) -> Result<Vec<Event>, HubError> {
        let mut events: Vec<Option<Event>> = Vec::with_capacity(spec.len());
        let mut items = Vec::with_capacity(spec.len());
        for spec in spec {
            match self.parent_scope(spec).await {
                Ok(scope) => {
                    items.push(spec.create_item(keys, Scopes::of_new(spec.state.edge, scope)));
                    events.push(None);
                }
                Err(error) => events.push(Some(refused_or_fatal(error, None)?)),
            }
        }
        let mut sent = self.send_new(&items).await?.into_iter();
        Ok(events.into_iter().filter_map(|event| event.or_else(|| sent.next())).collect())
    }

    async fn create_modules(&self, spec: &[&IdentitySpec], keys: &GivenKeys) -> Result<Vec<Event>, HubError> {
        if self.bulk_modules() == BulkModules::Refused {
            let singly = spec.iter().map(|spec| self.create_module(spec, keys));
            return join_all(singly).await.into_iter().collect();
        }
        let items: Vec<BulkItem> =
            spec.iter().map(|spec| spec.create_item(keys, Scopes::default())).collect();
        let mut events = self.send_new(&items).await?;
        self.learn_from(spec, &events, keys).await?;
        let without_twin = self.bulk_modules() == BulkModules::WithoutTwin;
        for (spec, event) in spec.iter().zip(&mut events) {
            match event {
                Event::Created if without_twin && spec.state.has_twin() => *event = Event::CreatedWithoutTwin,
                Event::Refused(error) if may_be_no_bulk_modules(error) => {
                    *event = self.create_module(spec, keys).await?;
                    if matches!(event, Event::Created | Event::CreatedWithoutTwin) {
                        self.set_bulk_modules(BulkModules::Refused);
                    }
                }
                _ => {}
            }
        }
        Ok(events)
    }

    async fn send_new(&self, items: &[BulkItem]) -> Result<Vec<Event>, HubError> {
        send_new(&HubCall(&*self.hub), items).await
    }

    /// Sends items in bulk and returns an event for each.
    pub(super) async fn send(&self, items: &[BulkItem]) -> Result<Vec<Event>, HubError> {
        send(&HubCall(&*self.hub), items).await
    }

    /// Reads back modules that were just created with their twins, until one shows whether the hub has taken
    /// its twin, unless that is known.
    async fn learn_from(
        &self,
        spec: &[&IdentitySpec],
        events: &[Event],
        keys: &GivenKeys,
    ) -> Result<(), HubError> {
        let created = spec
            .iter()
            .zip(events)
            .filter(|(spec, event)| spec.state.has_twin() && matches!(event, Event::Created));
        for (spec, _) in created {
            if self.bulk_modules() != BulkModules::NotTriedYet {
                break;
            }
            match self.comparer(keys, TwinPolicy::Initial).read(spec).await.map(|seen| seen.comparison) {
                Ok(Comparison::InSync) => self.set_bulk_modules(BulkModules::WithTwin),
                Ok(Comparison::TwinNotWritten) => self.set_bulk_modules(BulkModules::WithoutTwin),
                // Others have changed it meanwhile.
                Ok(_) => {}
                // Its own trouble teaches nothing of others.
                Err(error) if error.class() == ErrorClass::Input => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn create_module(&self, spec: &IdentitySpec, keys: &GivenKeys) -> Result<Event, HubError> {
        let Some(module) = spec.module_spec(keys) else {
            return Ok(Event::Refused(HubError::NoDevice(spec.identity.device().clone())));
        };
        match self.hub.put_module(&spec.identity, &module, None).await {
            Ok(()) if spec.state.has_twin() => Ok(Event::CreatedWithoutTwin),
            Ok(()) => Ok(Event::Created),
            Err(error) if error.code() == Some(ErrorCode::ModuleAlreadyExistsOnDevice) => {
                Ok(Event::AlreadyExists)
            }
            Err(error) => module_refused_or_fatal(&*self.hub, spec.identity.device(), error).await,
        }
    }

    /// The scope of the parent that the batch wants.
    pub(super) async fn parent_scope(&self, spec: &IdentitySpec) -> Result<Option<String>, HubError> {
        let Some(parent) = &spec.state.parent else { return Ok(None) };
        let scope = self.parent_scopes.of(&*self.hub, parent).await?;
        scope.map(Some).ok_or_else(|| HubError::NoParent(parent.clone()))
    }

    /// A comparer that shares the known scopes of parents.
    pub(crate) fn comparer<'c>(&'c self, keys: &'c GivenKeys, policy: TwinPolicy) -> Comparer<'c, H> {
        Comparer { hub: &self.hub, parent_scopes: &self.parent_scopes, keys, policy }
    }

    pub(super) fn hub(&self) -> &H {
        &self.hub
    }

    fn bulk_modules(&self) -> BulkModules {
        *self.modules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_bulk_modules(&self, learnt: BulkModules) {
        tracing::info!(?learnt, "how this hub treats modules in bulk");
        *self.modules.lock().unwrap_or_else(PoisonError::into_inner) = learnt;
    }
}

/// A bulk call about identities.
struct HubCall<'h, H>(&'h H);

impl<H: Hub> BulkCall for HubCall<'_, H> {
    type Item = BulkItem;
    type Service = H;

    fn service(&self) -> &H {
        self.0
    }

    async fn call(&self, items: &[BulkItem]) -> Result<Vec<Event>, HubError> {
        let result = self.0.bulk(items).await?;
        match never_better(&result) {
            Some(error) => Err(error),
            None => self.explain(items, item_events(items, &result)).await,
        }
    }
}

impl<H: Hub> HubCall<'_, H> {
    /// Finds out of modules that were denied what their device has to do with it.
    async fn explain(&self, items: &[BulkItem], events: Vec<Event>) -> Result<Vec<Event>, HubError> {
        let mut explained = Vec::with_capacity(events.len());
        for (item, event) in items.iter().zip(events) {
            explained.push(match event {
                Event::Refused(error) if item.module_id.is_some() && error.class() == ErrorClass::Auth => {
                    match about_its_device(self.0, &item.id, error).await {
                        error if matches!(error.class(), ErrorClass::Auth | ErrorClass::Input) => {
                            Event::Refused(error)
                        }
                        error => return Err(error),
                    }
                }
                event => event,
            });
        }
        Ok(explained)
    }
}

type Key<'r> = (&'r str, Option<&'r str>);

/// The error of an item that holds for all others too: the run stops, and a resumed run finds the
/// items that succeeded.
fn never_better(result: &BulkResult) -> Option<HubError> {
    result.errors.iter().map(HubError::from).find(|error| error.class() == ErrorClass::Permanent)
}

/// The result of each item in the response to a bulk call. An item that the response does not name
/// has succeeded only if the call did, or if all failed items are named; a response that
/// contradicts itself is not trusted.
fn item_events(items: &[BulkItem], result: &BulkResult) -> Vec<Event> {
    let failed: HashMap<Key<'_>, &BulkError> =
        result.errors.iter().map(|error| (key_of_error(error), error)).collect();
    let own: HashSet<Key<'_>> = items.iter().map(key_of_item).collect();
    let is_told_apart = match result.is_successful {
        true => failed.is_empty(),
        false => !failed.is_empty() && failed.keys().all(|key| own.contains(key)),
    };
    let without_twin = |item: &BulkItem| {
        result.warnings.iter().any(|warning| {
            warning.device_id == item.id.as_str() && warning.warning_code == "DeviceRegisteredWithoutTwin"
        })
    };
    let event = |item: &BulkItem| match failed.get(&key_of_item(item)) {
        Some(error) if !result.is_successful => item_error(error),
        _ if !is_told_apart => Event::Lost(HubError::Unclear),
        _ if without_twin(item) => Event::CreatedWithoutTwin,
        _ => Event::Created,
    };
    items.iter().map(event).collect()
}

fn key_of_item(item: &BulkItem) -> Key<'_> {
    (item.id.as_str(), item.module_id.as_ref().map(hub_types::ModuleId::as_str))
}

fn key_of_error(error: &BulkError) -> Key<'_> {
    (error.device_id.as_str(), error.module_id.as_deref().filter(|id| !id.is_empty()))
}

fn item_error(error: &BulkError) -> Event {
    let reason = HubError::from(error);
    match (error.code(), reason.class()) {
        (Some(ErrorCode::DeviceAlreadyExists | ErrorCode::ModuleAlreadyExistsOnDevice), _) => {
            Event::AlreadyExists
        }
        // Of one item in a call that was let in, 401 says that its device is missing or disabled.
        (_, ErrorClass::Auth | ErrorClass::Input | ErrorClass::Throttled) => Event::Refused(reason),
        // Failed in the middle of the call: the hub must be asked what became of it.
        (_, ErrorClass::Foreign | ErrorClass::Permanent | ErrorClass::Transient) => Event::Lost(reason),
    }
}

/// Returns true if a change was refused because its etag is outdated.
pub(crate) fn outdated(error: &HubError) -> bool {
    error.status() == Some(412)
        || matches!(error.code(), Some(ErrorCode::EtagDoesNotMatch | ErrorCode::PreconditionFailed))
}

/// Returns true if a refusal may mean that the hub does not support modules in bulk, rather than
/// that this one is invalid.
pub(super) fn may_be_no_bulk_modules(error: &HubError) -> bool {
    match error.code() {
        None => true,
        Some(code) => matches!(
            code,
            ErrorCode::ArgumentInvalid
                | ErrorCode::BulkRegistryOperationFailure
                | ErrorCode::CannotRegisterModuleToModule
                | ErrorCode::DeserializationError
                | ErrorCode::GenericBadRequest
                | ErrorCode::InvalidOperation
                | ErrorCode::IotHubFormatError
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hub_types::IdentityId;
    use hub_types::bulk::ImportMode;
    use serde_json::{Value, from_value, json};

    /// The events of a response for the items `a`, `a/x` and `b`.
    fn events(answer: Value) -> Vec<String> {
        let item = |name| BulkItem::new(&IdentityId::from_common_name(name).unwrap(), ImportMode::Create);
        let result: BulkResult = from_value(answer).unwrap();
        let events = item_events(&["a", "a/x", "b"].map(item), &result);
        let word = |event: &Event| match event {
            Event::Lost(HubError::Unclear) => "unclear".to_owned(),
            Event::Lost(error) => format!("lost {}", error.status().unwrap_or_default()),
            Event::Refused(error) => format!("refused {}", error.status().unwrap_or_default()),
            event => format!("{event:?}"),
        };
        events.iter().map(word).collect()
    }

    #[test]
    fn what_an_answer_says_of_its_items() {
        let error = |device: &str, module: &str, code: &str| json!({"deviceId": device, "moduleId": module, "errorCode": code});
        let exists = error("a", "", "DeviceAlreadyExists");
        for (answer, said) in [
            (json!({"isSuccessful": true}), ["Created"; 3]),
            (json!({"isSuccessful": false, "errors": [exists]}), ["AlreadyExists", "Created", "Created"]),
            (
                json!({"isSuccessful": false, "errors": [error("a", "x", "ThrottlingException")]}),
                ["Created", "refused 429", "Created"],
            ),
            (
                json!({"isSuccessful": false, "errors": [error("b", "", "ServerError")]}),
                ["Created", "Created", "lost 500"],
            ),
            // Of what follows, nobody knows what became of the items that are not named.
            (json!({"isSuccessful": false}), ["unclear"; 3]),
            (
                json!({"isSuccessful": false, "errors": [error("c", "", "DeviceAlreadyExists")]}),
                ["unclear"; 3],
            ),
            (
                json!({"isSuccessful": false, "errors": [exists, error("a", "y", "DeviceNotFound")]}),
                ["AlreadyExists", "unclear", "unclear"],
            ),
            (json!({"isSuccessful": true, "errors": [exists]}), ["unclear"; 3]),
            (json!({"isSuccessful": true, "errors": [error("c", "", "ServerError")]}), ["unclear"; 3]),
        ] {
            assert_eq!(events(answer.clone()), said, "{answer}");
        }
    }
}

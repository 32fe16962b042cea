//! Changes and deletions of existing identities and twins, conditional on the etag of the last
//! read.

use futures_util::future::join_all;
use hub_types::bulk::{BulkItem, ImportMode};
use hub_types::identity::ModuleSpec;
use hub_types::limits::MAX_BULK_ITEMS;
use hub_types::twin::JsonObject;
use hub_types::{Authentication, ErrorCode, Etag, IdentityId};
use serde_json::Value;

use super::event::Event;
use super::hub_writer::{HubWriter, outdated};
use super::observation::{module_refused_or_fatal, refused_or_fatal};
use crate::hub::{Hub, HubError, is_missing};
use crate::model::compare::{Difference, DifferencePath};
use crate::model::scopes::Scopes;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec};

/// An identity to change.
pub(crate) struct IdentityUpdate<'a> {
    /// The requested identity.
    pub(crate) spec: &'a IdentitySpec,
    /// The etag of the last read.
    pub(crate) etag: Option<Etag>,
    /// The scopes of the last read.
    pub(crate) scopes: Scopes,
    /// True if it gets the parent of the specification; otherwise its parents stay as they were read.
    pub(crate) changes_parent: bool,
}

impl<H: Hub> HubWriter<H> {
    /// Updates identities, all devices or all modules, to the batch's values, and returns an event
    /// for each. Their twins stay unchanged.
    pub(crate) async fn update(
        &self,
        changes: &[IdentityUpdate<'_>],
        keys: &GivenKeys,
    ) -> Result<Vec<Event>, HubError> {
        let mut events = Vec::with_capacity(changes.len());
        for chunk in changes.chunks(MAX_BULK_ITEMS) {
            let requests = join_all(chunk.iter().map(|change| self.update_request(change, keys))).await;
            let mut sent = Vec::with_capacity(requests.len());
            let mut done = Vec::with_capacity(requests.len());
            for (change, request) in chunk.iter().zip(requests) {
                done.push(match request {
                    Ok(UpdateRequest::InBulk(item)) => {
                        sent.push(*item);
                        None
                    }
                    Ok(UpdateRequest::ByItself(module)) => Some(self.put_module(change, &module).await?),
                    Err(error) => Some(refused_or_fatal(error, None)?),
                });
            }
            let mut answers = self.send(&sent).await?.into_iter().map(as_update);
            for (change, done) in chunk.iter().zip(done) {
                events.push(match done {
                    Some(event) => event,
                    None => {
                        let event = answers.next().unwrap_or(Event::Lost(HubError::NoAnswer));
                        self.or_one_by_one(change, event, keys).await?
                    }
                });
            }
        }
        Ok(events)
    }

    /// Deletes identities, each conditional on its etag, and returns an event for each. Deleting a
    /// device deletes its modules.
    pub(crate) async fn delete(&self, doomed: &[(IdentityId, Option<Etag>)]) -> Result<Vec<Event>, HubError> {
        let mut events = Vec::with_capacity(doomed.len());
        for chunk in doomed.chunks(MAX_BULK_ITEMS) {
            let items: Vec<BulkItem> =
                chunk.iter().map(|(identity, etag)| delete_item(identity, etag)).collect();
            let answers = self.send(&items).await?.into_iter().map(as_update);
            for ((identity, etag), event) in chunk.iter().zip(answers) {
                events.push(match event {
                    Event::Refused(error)
                        if identity.module().is_some()
                            && super::hub_writer::may_be_no_bulk_modules(&error) =>
                    {
                        self.delete_one(identity, etag.as_ref()).await?
                    }
                    event => event,
                });
            }
        }
        Ok(events)
    }

    /// Deletes a module by itself where the hub takes no modules in bulk.
    async fn delete_one(&self, identity: &IdentityId, etag: Option<&Etag>) -> Result<Event, HubError> {
        match self.hub().delete(identity, etag).await {
            Ok(()) => Ok(Event::IdentityUpdated),
            Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
            Err(error) => module_refused_or_fatal(self.hub(), identity.device(), error).await,
        }
    }

    /// The request that replaces the identity. What is left out of it the hub would set anew, so scopes are
    /// sent as they were read, and keys that the hub made are read and sent along. A module with a manager is
    /// replaced by itself, because a bulk item has no place for the manager.
    async fn update_request(
        &self,
        change: &IdentityUpdate<'_>,
        keys: &GivenKeys,
    ) -> Result<UpdateRequest, HubError> {
        let spec = change.spec;
        let is_by_hub = spec.state.auth == AuthSpec::Sas { given: false };
        let (managed_by, made_keys) = match spec.identity.module() {
            Some(_) => {
                let settings = self.hub().module_settings(&spec.identity).await?.unwrap_or_default();
                (settings.managed_by, settings.keys)
            }
            None if is_by_hub => (None, self.hub().keys(&spec.identity).await?),
            None => (None, None),
        };
        let authentication = is_by_hub.then_some(Authentication::Sas(made_keys));
        if managed_by.is_some()
            && let Some(module) = spec.module_spec(keys)
        {
            let authentication = authentication.or(module.authentication);
            return Ok(UpdateRequest::ByItself(Box::new(ModuleSpec {
                managed_by,
                authentication,
                ..module
            })));
        }
        let scopes = change.scopes.clone().with_edge(spec.state.edge);
        let scopes = match change.changes_parent {
            true => scopes.below(self.parent_scope(spec).await?),
            false => scopes,
        };
        let mut item = spec.create_item(keys, scopes);
        item.import_mode = Some(match change.etag {
            Some(_) => ImportMode::UpdateIfMatchETag,
            None => ImportMode::Update,
        });
        item.etag.clone_from(&change.etag);
        (item.tags, item.properties) = (None, None);
        item.authentication = authentication.or(item.authentication);
        Ok(UpdateRequest::InBulk(Box::new(item)))
    }

    /// Puts a module by itself where the hub takes no modules in bulk.
    async fn or_one_by_one(
        &self,
        change: &IdentityUpdate<'_>,
        event: Event,
        keys: &GivenKeys,
    ) -> Result<Event, HubError> {
        let module = match &event {
            Event::Refused(error) if super::hub_writer::may_be_no_bulk_modules(error) => {
                change.spec.module_spec(keys)
            }
            _ => None,
        };
        let Some(mut module) = module else { return Ok(event) };
        let settings = match self.hub().module_settings(&change.spec.identity).await {
            Ok(settings) => settings.unwrap_or_default(),
            Err(error) => return refused_or_fatal(error, None),
        };
        if let AuthSpec::Sas { given: false } = change.spec.state.auth {
            module.authentication = Some(Authentication::Sas(settings.keys));
        }
        module.managed_by = settings.managed_by;
        self.put_module(change, &module).await
    }

    /// Replaces a module by itself.
    async fn put_module(&self, change: &IdentityUpdate<'_>, module: &ModuleSpec) -> Result<Event, HubError> {
        let identity = &change.spec.identity;
        let any = Etag::new("*");
        let etag = change.etag.as_ref().unwrap_or(&any);
        match self.hub().put_module(identity, module, Some(etag)).await {
            Ok(()) => Ok(Event::IdentityUpdated),
            Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
            Err(error) => module_refused_or_fatal(self.hub(), identity.device(), error).await,
        }
    }
}

/// The request that updates an identity.
enum UpdateRequest {
    /// A module with a manager, in a call of its own.
    ByItself(Box<ModuleSpec>),
    /// An item of a bulk call.
    InBulk(Box<BulkItem>),
}

fn delete_item(identity: &IdentityId, etag: &Option<Etag>) -> BulkItem {
    let mode = if etag.is_some() { ImportMode::DeleteIfMatchETag } else { ImportMode::Delete };
    let mut item = BulkItem::new(identity, mode);
    item.etag.clone_from(etag);
    item
}

/// The meaning of a bulk call's events for an update, in which nothing is created.
fn as_update(event: Event) -> Event {
    match event {
        Event::Created | Event::CreatedWithoutTwin => Event::IdentityUpdated,
        // That is no answer to a change.
        Event::AlreadyExists => Event::Lost(HubError::Unclear),
        Event::Refused(error) if outdated(&error) => Event::Outdated(error),
        // It was there a sample ago.
        Event::Refused(error)
            if matches!(error.code(), Some(ErrorCode::DeviceNotFound | ErrorCode::ModuleNotFound)) =>
        {
            Event::Outdated(error)
        }
        other => other,
    }
}

/// The patch of one twin section: the batch's values, and null for all extra values that are to go.
/// `in_section` gives the names on the way to a value of the section.
pub(crate) fn section_patch(
    spec: &JsonObject,
    found: &[Difference],
    in_section: fn(&DifferencePath) -> Option<&[String]>,
) -> JsonObject {
    let mut patch = spec.clone();
    let extra = found.iter().filter(|difference| difference.expected.is_null());
    for names in extra.filter_map(|difference| in_section(&difference.path)) {
        remove(&mut patch, names);
    }
    patch
}

fn remove(object: &mut JsonObject, names: &[String]) {
    let [name, rest @ ..] = names else { return };
    match object.get_mut(name) {
        Some(Value::Object(inner)) if !rest.is_empty() => remove(inner, rest),
        _ => drop(object.insert(name.clone(), Value::Null)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn extra_values_are_nulled_in_their_place() {
        let spec = json!({"a": {"b": 1}, "e": 5});
        let gone =
            |path: &str| Difference { path: path.parse().unwrap(), expected: Value::Null, found: json!(0) };
        let found = [gone("desired.a.c"), gone("desired.d"), gone("tags.x")];
        let patch = section_patch(spec.as_object().unwrap(), &found, DifferencePath::desired);
        assert_eq!(Value::Object(patch), json!({"a": {"b": 1, "c": null}, "d": null, "e": 5}));
    }
}

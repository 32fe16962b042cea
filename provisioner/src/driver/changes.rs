//! Changes and deletions of existing identities and twins, conditional on the etag of the last
//! read.

use futures_util::future::join_all;
use hub_types::bulk::{BulkItem, ImportMode};
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
            let items = join_all(chunk.iter().map(|change| self.update_item(change, keys))).await;
            let mut sent = Vec::with_capacity(items.len());
            let mut refused = Vec::with_capacity(items.len());
            for item in items {
                match item {
                    Ok(item) => {
                        sent.push(item);
                        refused.push(None);
                    }
                    Err(error) => refused.push(Some(refused_or_fatal(error, None)?)),
                }
            }
            let mut answers = self.send(&sent).await?.into_iter().map(as_update);
            for (change, refused) in chunk.iter().zip(refused) {
                let event = match refused {
                    Some(refused) => refused,
                    None => answers.next().unwrap_or(Event::Lost(HubError::NoAnswer)),
                };
                events.push(self.or_one_by_one(change, event, keys).await?);
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

    /// The bulk item that replaces the identity. What is left out of it the hub would set anew, so scopes are
    /// sent as they were read, and keys that the hub made are read and sent along.
    async fn update_item(&self, change: &IdentityUpdate<'_>, keys: &GivenKeys) -> Result<BulkItem, HubError> {
        let spec = change.spec;
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
        if let AuthSpec::Sas { given: false } = spec.state.auth {
            item.authentication = Some(Authentication::Sas(self.hub().keys(&spec.identity).await?));
        }
        Ok(item)
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
        let identity = &change.spec.identity;
        if let AuthSpec::Sas { given: false } = change.spec.state.auth {
            match self.hub().keys(identity).await {
                Ok(keys) => module.authentication = Some(Authentication::Sas(keys)),
                Err(error) => return refused_or_fatal(error, None),
            }
        }
        let any = Etag::new("*");
        let etag = change.etag.as_ref().unwrap_or(&any);
        match self.hub().put_module(identity, &module, Some(etag)).await {
            Ok(()) => Ok(Event::IdentityUpdated),
            Err(error) if outdated(&error) || is_missing(&error) => Ok(Event::Outdated(error)),
            Err(error) => module_refused_or_fatal(self.hub(), identity.device(), error).await,
        }
    }
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

//! `/enrollments` and `/enrollmentGroups`.

use std::sync::Arc;

use hub_types::dps::bulk::{BulkMode, EnrollmentBulkResult};
use hub_types::dps::limits::MAX_BULK_ITEMS;
use hub_types::limits::OperationClass;
use serde::Deserialize;

use super::super::super::Dps;
use super::super::super::entry::Entry;
use super::super::DpsCall;
use super::pages::{self, Position};
use crate::api_error::{ApiError, ApiResult};
use crate::rest::reply::Reply;

/// Returns an entry, without its keys and certificates.
pub(crate) fn get<E: Entry>(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let id = E::parse_id(call.id(0))?;
    Reply::document(&dps.read(|registry| registry.shown_entry::<E>(&id))?)
}

/// Creates an entry or, with `If-Match`, replaces it.
pub(crate) async fn put<E: Entry>(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let id = E::parse_id(call.id(0))?;
    let entry: E = call.exact_document()?;
    if *entry.id() != id {
        return Err(ApiError::dps_request("the id in the body is not the id in the path"));
    }
    let demand = call.if_match()?;
    let write = dps.write(|registry, now, journal| registry.put(entry, demand.as_ref(), now, journal));
    let written = write.await?;
    Ok(Reply::document(&written.value)?.counts(written.counts))
}

/// Deletes an entry.
pub(crate) async fn delete<E: Entry>(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let (id, demand) = (E::parse_id(call.id(0))?, call.if_match()?);
    let delete = dps.write(|registry, _, journal| registry.delete::<E>(&id, demand.as_ref(), journal));
    Ok(Reply::no_content().counts(delete.await?.counts))
}

/// Returns the attestation of an entry, with its keys.
pub(crate) fn attestation<E: Entry>(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let id = E::parse_id(call.id(0))?;
    Reply::document(&dps.read(|registry| registry.shown_attestation::<E>(&id))?)
}

/// Returns a page of all entries of a kind.
pub(crate) fn query<E: Entry>(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    pages::check_query(&call)?;
    let position = Position::of(&call, E::KIND.item_type)?;
    let after = position.after.as_deref().map(E::parse_id).transpose()?;
    dps.read(|registry| {
        let entries = registry.shown_entries::<E>(after.as_ref());
        position.page(entries.map(|entry| (entry.id().to_string(), entry)))
    })
}

/// The only member of a bulk operation that says how to read the others.
#[derive(Deserialize)]
struct ModeDocument {
    mode: BulkMode,
}

/// Creates, replaces or deletes up to ten entries, each done or refused on its own.
pub(crate) async fn bulk<E: Entry>(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let ModeDocument { mode } = call.document()?;
    let written = if mode == BulkMode::Delete {
        let items = E::bulk_deletions(call.document()?);
        admit(dps, items.len()).await?;
        dps.write(|registry, _, journal| Ok(registry.delete_all::<E>(items, journal))).await?
    } else {
        let items = E::bulk_items(call.exact_document()?);
        admit(dps, items.len()).await?;
        dps.write(|registry, now, journal| Ok(registry.put_all(items, mode, now, journal))).await?
    };
    let errors = written.value;
    let result = EnrollmentBulkResult { is_successful: errors.is_empty(), errors };
    Ok(Reply::document(&result)?.counts(written.counts))
}

async fn admit(dps: &Dps, items: usize) -> ApiResult<()> {
    if items > MAX_BULK_ITEMS {
        let text = format!("a bulk operation takes {MAX_BULK_ITEMS} items, this has {items}");
        return Err(ApiError::dps_request(text));
    }
    dps.hub().throttle().admit_bulk(OperationClass::Enrollment, items, "EnrollmentWrite").await
}

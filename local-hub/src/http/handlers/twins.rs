//! `/twins/{id}` and `/twins/{id}/modules/{mid}`.

use hub_types::twin::TwinPatch;
use hub_types::{Etag, IdentityId, IfMatch};

use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::registry::{Answer, Registry};

pub(crate) fn get(hub: &Hub, call: Call) -> Answer<Reply> {
    let identity = call.identity()?;
    let (reply, etag) = hub.read(|registry| document(registry, &identity))?;
    Ok(reply.etag(&etag))
}

pub(crate) async fn patch(hub: &Hub, call: Call) -> Answer<Reply> {
    let (identity, patch, demand) = read(&call)?;
    let written = hub
        .write(|registry, now, journal| {
            registry.patch_twin(&identity, patch, &demand, now, journal)?;
            document(registry, &identity)
        })
        .await?;
    let (reply, etag) = written.value;
    Ok(reply.etag(&etag).counts(written.counts))
}

pub(crate) async fn put(hub: &Hub, call: Call) -> Answer<Reply> {
    let (identity, with, demand) = read(&call)?;
    let written = hub
        .write(|registry, now, journal| {
            registry.replace_twin(&identity, with, &demand, now, journal)?;
            document(registry, &identity)
        })
        .await?;
    let (reply, etag) = written.value;
    Ok(reply.etag(&etag).counts(written.counts))
}

/// The twin, written out while the registry is locked: that costs less than copying it.
fn document(registry: &Registry, identity: &IdentityId) -> Answer<(Reply, Etag)> {
    let twin = registry.twin(identity)?;
    Ok((Reply::document(&twin)?, twin.etag()))
}

/// For twins no `If-Match` means the same as `*`.
fn read(call: &Call) -> Answer<(IdentityId, TwinPatch, IfMatch)> {
    let patch =
        TwinPatch::from_body(call.exact_document()?).map_err(|error| Refusal::argument(error.to_string()))?;
    Ok((call.identity()?, patch, call.if_match().unwrap_or(IfMatch::Any)))
}

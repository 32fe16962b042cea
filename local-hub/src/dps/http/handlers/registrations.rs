//! `/registrations`, as services see them.

use std::sync::Arc;

use hub_types::dps::{EnrollmentGroup, IndividualEnrollment};

use super::super::super::Dps;
use super::super::super::entry::Entry;
use super::super::super::registry::no_registration;
use super::super::DpsCall;
use super::pages::Position;
use crate::api_error::ApiResult;
use crate::rest::reply::Reply;

/// Returns the registration of a device.
pub(crate) fn get(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let id = IndividualEnrollment::parse_id(call.id(0))?;
    dps.read(|registry| Reply::document(registry.registration(&id).ok_or_else(no_registration)?))
}

/// Deletes the registration of a device. The device stays on its hub.
pub(crate) async fn delete(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let (id, demand) = (IndividualEnrollment::parse_id(call.id(0))?, call.if_match()?);
    let delete =
        dps.write(|registry, _, journal| registry.delete_registration(&id, demand.as_ref(), journal));
    Ok(Reply::no_content().counts(delete.await?.counts))
}

/// Returns a page of the registrations of a group. The body is ignored: clients send none.
pub(crate) fn query(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let group = EnrollmentGroup::parse_id(call.id(0))?;
    let position = Position::of(&call, "DeviceRegistration")?;
    let after = position.after.as_deref().map(IndividualEnrollment::parse_id).transpose()?;
    dps.read(|registry| {
        registry.entry::<EnrollmentGroup>(&group)?;
        let registrations = registry.registrations_of(&group, after.as_ref());
        position.page(registrations.map(|state| (state.registration_id.to_string(), state)))
    })
}

//! `/{idScope}/registrations/{registrationId}` and what is below it: devices that register.

use std::sync::Arc;

use http::StatusCode;
use http::header::{LOCATION, RETRY_AFTER};
use hub_types::dps::registration::{DeviceRegistration, RegistrationOperation, RegistrationStatus};
use hub_types::dps::{DpsErrorCode, RegistrationId};

use super::super::DpsCall;
use crate::api_error::{ApiError, ApiResult};
use crate::dps::Dps;
use crate::dps::registration::{self, DeviceProof, RETRY_AFTER_SECONDS};
use crate::rest::reply::Reply;

pub(crate) async fn register(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let id = id(&call)?;
    let proof = proof(dps, &call, &id)?;
    let request = if call.body().is_empty() { DeviceRegistration::default() } else { call.exact_document()? };
    let operation = registration::register(dps, &id, &proof, request).await?;
    let location = format!(
        "/{}/registrations/{}/operations/{}",
        dps.id_scope(),
        id.path_segment(),
        operation.operation_id
    );
    Ok(reply(&operation)?.header(LOCATION, location))
}

pub(crate) fn operation_status(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let id = id(&call)?;
    registration::check_proof(dps, &id, &proof(dps, &call, &id)?)?;
    reply(&registration::operation_status(dps, &id, call.id(2))?)
}

pub(crate) fn registration_status(dps: &Arc<Dps>, call: DpsCall) -> ApiResult<Reply> {
    let id = id(&call)?;
    let proof = proof(dps, &call, &id)?;
    let request = if call.body().is_empty() { DeviceRegistration::default() } else { call.exact_document()? };
    if request.csr.is_some() {
        let text = "a request for the state of a registration takes no csr";
        return Err(ApiError::dps(DpsErrorCode::InvalidRequest, text));
    }
    Reply::document(&registration::registration_status(dps, &id, &proof)?)
}

/// The response of a running or ended operation.
fn reply(operation: &RegistrationOperation) -> ApiResult<Reply> {
    let mut reply = Reply::document(operation)?;
    if operation.status == RegistrationStatus::Assigning {
        reply.status = StatusCode::ACCEPTED;
        return Ok(reply.header(RETRY_AFTER, RETRY_AFTER_SECONDS.to_string()));
    }
    Ok(reply)
}

fn id(call: &DpsCall) -> ApiResult<RegistrationId> {
    RegistrationId::new(call.id(1))
        .map_err(|error| ApiError::dps(DpsErrorCode::InvalidRequest, error.to_string()))
}

/// The proof of the caller. The reason for a refusal is logged; the caller is not told.
fn proof(dps: &Dps, call: &DpsCall, id: &RegistrationId) -> ApiResult<DeviceProof> {
    let token = call.header("authorization")?;
    registration::proof(dps, call.id(0), id, token, &call.presented).map_err(|error| {
        tracing::warn!(registration = %id, "a request of a device is refused (401002): {}", error.text);
        registration::unauthorized()
    })
}

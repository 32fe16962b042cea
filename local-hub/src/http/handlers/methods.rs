//! `/twins/{id}/methods` and `/twins/{id}/modules/{mid}/methods`: direct methods.

use hub_types::limits::OperationClass;

use crate::api_error::ApiResult;
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::hub::direct_methods::{MethodRequest, invoke};
use crate::rest::reply::Reply;

pub(crate) async fn post(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let identity = call.identity()?;
    let request = MethodRequest::new(call.exact_document()?)?;
    hub.throttle().admit(OperationClass::DirectMethod, request.pieces(), "DirectMethod").await?;
    hub.throttle().check_quota()?;
    Reply::document(&invoke(hub, &identity, request).await?)
}

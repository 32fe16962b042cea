//! `/twins/{id}/methods` and `/twins/{id}/modules/{mid}/methods`: direct methods.

use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::hub::Hub;
use crate::methods::{MethodRequest, invoke};
use crate::registry::Answer;

pub(crate) async fn post(hub: &Hub, call: Call) -> Answer<Reply> {
    let identity = call.identity()?;
    let request = MethodRequest::new(call.document()?)?;
    Reply::document(&invoke(hub, &identity, request).await?)
}

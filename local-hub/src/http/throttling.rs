//! The throttling of operations of the service API, and their charging as messages.

use super::operations::Operation;
use crate::api_error::ApiResult;
use crate::hub::Hub;
use crate::rest::operations::Meter;

/// Waits until the operation may begin, or refuses it.
pub(crate) async fn admit(hub: &Hub, operation: Operation) -> ApiResult<()> {
    let Some(Meter { class, kind, charged }) = operation.meter() else {
        return Ok(());
    };
    hub.throttle().admit(class, 1, kind).await?;
    if charged { hub.throttle().check_quota() } else { Ok(()) }
}

/// Charges an operation as messages of the day: by the size of its request or of its response,
/// whichever is larger.
pub(crate) fn charge(hub: &Hub, operation: Operation, sent: usize, answered: usize) {
    if operation.meter().is_some_and(|meter| meter.charged) {
        hub.throttle().charge(sent.max(answered));
    }
}

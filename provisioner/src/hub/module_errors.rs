//! Modules whose device is not there, or is disabled.

use hub_types::identity::Status;
use hub_types::{DeviceId, ErrorCode};

use super::{Hub, HubError};

/// The real cause of a refused call about a module. If the module's device is missing or disabled,
/// a hub responds with 401 to the key of a policy, as if it had no right, and with 404 to a caller
/// with Entra ID: so the device is read.
pub(crate) async fn about_its_device(hub: &impl Hub, device: &DeviceId, refusal: HubError) -> HubError {
    if refusal.status() != Some(401) && refusal.code() != Some(ErrorCode::DeviceNotFound) {
        return refusal;
    }
    match hub.twin(&device.clone().into()).await {
        Ok(None) => HubError::NoDevice(device.clone()),
        Ok(Some(twin)) if twin.status == Status::Disabled => HubError::DisabledDevice(device.clone()),
        Ok(Some(_)) => refusal,
        Err(error) => error,
    }
}

//! A request to the hub: the identities in its path.

use hub_types::{DeviceId, IdentityId, ModuleId};

use crate::api_error::{ApiError, ApiResult};
use crate::hub::Hub;
use crate::registry::attributes;
use crate::rest::call;

/// An authorized request to the hub.
pub(crate) type HubCall = call::Call<Hub>;

impl HubCall {
    /// The device in the path.
    pub(crate) fn device(&self) -> ApiResult<DeviceId> {
        DeviceId::new(self.id(0)).map_err(illegal_id)
    }

    /// The name in the path, for objects other than devices and modules.
    pub(crate) fn name(&self) -> &str {
        self.id(0)
    }

    /// The module in the path.
    pub(crate) fn module(&self) -> ApiResult<ModuleId> {
        ModuleId::new(self.id(1)).map_err(illegal_id)
    }

    /// The module in the path, or the device if the path has no module.
    pub(crate) fn identity(&self) -> ApiResult<IdentityId> {
        let module = if self.ids().len() > 1 { Some(self.module()?) } else { None };
        Ok(IdentityId::new(self.device()?, module))
    }

    /// Refuses a body that writes the `attributes` of an identity.
    pub(crate) fn refuse_attributes(&self) -> ApiResult<()> {
        attributes::refuse_in_body(&self.body)
    }
}

fn illegal_id(error: hub_types::id::IdError) -> ApiError {
    ApiError::argument(error.to_string())
}

//! The scopes of the edge devices that rows name as their parents.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use hub_types::DeviceId;
use hub_types::twin::Twin;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::hub::{Hub, HubError};
use crate::model::compare::{Difference, DifferencePath};
use crate::model::scopes::{own_scope, parent_in, scope_of_parent};
use crate::model::spec::IdentitySpec;

/// The scopes of edge devices. The hub is asked once for each that exists.
#[derive(Debug, Default)]
pub(crate) struct ParentScopes(Mutex<HashMap<DeviceId, Arc<OnceCell<String>>>>);

impl ParentScopes {
    /// The scope of an edge device; `None` if there is no such edge device.
    pub(crate) async fn of(&self, hub: &impl Hub, parent: &DeviceId) -> Result<Option<String>, HubError> {
        let known =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(parent.clone()).or_default().clone();
        let ask = || async {
            let twin = hub.twin(&parent.clone().into()).await.map_err(Some)?;
            twin.as_ref().and_then(own_scope).map(str::to_owned).ok_or(None)
        };
        match known.get_or_try_init(ask).await {
            Ok(scope) => Ok(Some(scope.clone())),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// The difference of a device whose parent has the right id, but has been deleted since, whether or not
    /// it was created again.
    pub(super) async fn stale(
        &self,
        hub: &impl Hub,
        spec: &IdentitySpec,
        twin: Option<&Twin>,
    ) -> Result<Option<Difference>, HubError> {
        let (Some(parent), Some(scope)) = (&spec.state.parent, twin.and_then(scope_of_parent)) else {
            return Ok(None);
        };
        if parent_in(scope) != Some(parent.as_str()) || self.of(hub, parent).await?.as_deref() == Some(scope)
        {
            return Ok(None);
        }
        let found = json!(format!("{scope}, which is the scope of no edge device"));
        Ok(Some(Difference { path: DifferencePath::Parent, expected: json!(parent), found }))
    }
}

//! Scopes: the parents of devices.
//!
//! An edge device's `deviceScope` is its own and never changes; its `parentScopes` name its parent.
//! A leaf's `deviceScope` is its parent's scope, which the hub repeats in `parentScopes`.

use hub_types::identity::DeviceSpec;
use hub_types::{DeviceId, ErrorCode};

use super::Registry;
use super::record::DeviceRecord;
use crate::api_error::{ApiError, ApiResult};

/// `deviceScope` and `parentScopes`.
type Scopes = (Option<Box<str>>, Option<Vec<String>>);

impl Registry {
    /// The scopes of a device that is being created; an edge device gets a scope of its own.
    pub(super) fn scopes_of_new(
        &self,
        id: &DeviceId,
        generation: u64,
        spec: &DeviceSpec,
    ) -> ApiResult<Scopes> {
        if is_edge(spec) {
            let own = own_scope(id, generation);
            self.edge_scopes(own, spec, None)
        } else {
            self.leaf_scopes(spec, None)
        }
    }

    /// The scopes of a device that is being replaced.
    pub(super) fn scopes_of_existing(&self, spec: &DeviceSpec, current: &DeviceRecord) -> ApiResult<Scopes> {
        if !is_edge(spec) {
            return self.leaf_scopes(spec, Some(current));
        }
        let own = own_scope(&spec.device_id, current.identity.generation);
        let given = spec.device_scope.as_deref().filter(|scope| !scope.is_empty());
        if current.is_edge() && given != Some(&*own) {
            return Err(invalid(format!("Device scope is immutable; it is {own}")));
        }
        self.edge_scopes(own, spec, Some(current))
    }

    fn edge_scopes(
        &self,
        own: Box<str>,
        spec: &DeviceSpec,
        current: Option<&DeviceRecord>,
    ) -> ApiResult<Scopes> {
        let parents = given_parents(spec);
        for parent in parents.iter().flatten() {
            let known = current.is_some_and(|record| record.settings.parents().contains(parent));
            if !known {
                self.check_parent(parent, &own)?;
            }
        }
        Ok((Some(own), parents))
    }

    fn leaf_scopes(&self, spec: &DeviceSpec, current: Option<&DeviceRecord>) -> ApiResult<Scopes> {
        let given = spec.device_scope.clone().filter(|scope| !scope.is_empty());
        let Some(parent) = given.or_else(|| given_parents(spec).into_iter().flatten().next()) else {
            return Ok((None, None));
        };
        let known = current.is_some_and(|record| record.settings.device_scope.as_deref() == Some(&*parent));
        if !known {
            self.edge_device_of(&parent)?;
        }
        Ok((Some(parent.as_str().into()), Some(vec![parent])))
    }

    /// Checks that a parent is an edge device, and not a descendant of its child.
    fn check_parent(&self, parent: &str, child: &str) -> ApiResult<()> {
        let mut ancestor = Some(parent.to_owned());
        while let Some(scope) = ancestor {
            if scope == child {
                return Err(invalid("A device can't be a parent of itself".to_owned()));
            }
            let record = self.edge_device_of(&scope)?;
            ancestor = record.settings.parents().first().cloned();
        }
        Ok(())
    }

    /// The id of the device that owns a scope.
    pub(super) fn device_of_scope(scope: &str) -> Option<&str> {
        scope.strip_prefix(SCHEME)?.rsplit_once('-').map(|(id, _)| id)
    }

    /// The edge device that owns a scope.
    fn edge_device_of(&self, scope: &str) -> ApiResult<&DeviceRecord> {
        let unknown = || invalid(format!("`{scope}` is the scope of no edge device"));
        let id = Self::device_of_scope(scope).ok_or_else(unknown)?;
        let id = DeviceId::new(id).map_err(|_| unknown())?;
        let record = self.device(&id).map_err(|_| unknown())?;
        match record.settings.device_scope.as_deref() {
            Some(own) if record.is_edge() && own == scope => Ok(record),
            _ => Err(unknown()),
        }
    }
}

fn is_edge(spec: &DeviceSpec) -> bool {
    spec.capabilities.unwrap_or_default().iot_edge
}

fn own_scope(id: &DeviceId, generation: u64) -> Box<str> {
    format!("{SCHEME}{id}-{generation}").into()
}

fn given_parents(spec: &DeviceSpec) -> Option<Vec<String>> {
    let given = spec.parent_scopes.as_ref()?.iter();
    Some(given.filter(|scope| !scope.is_empty()).cloned().collect())
}

fn invalid(text: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidDeviceScope, text)
}

const SCHEME: &str = "ms-azure-iot-edge://";

//! Scopes: the place of a device below edge devices, as a hub keeps it.

use hub_types::identity::Device;
use hub_types::twin::Twin;

/// The scopes of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scopes {
    /// True if the device runs the IoT Edge runtime.
    is_edge: bool,
    /// A leaf device's parent; an edge device's own scope, which the hub gives it and which never changes.
    pub(crate) device: Option<String>,
    /// The scopes of its parents.
    pub(crate) parents: Option<Vec<String>>,
}

impl Scopes {
    /// The scopes of a new device below `parent`.
    pub(crate) fn of_new(is_edge: bool, parent: Option<String>) -> Self {
        Self { is_edge, ..Self::default() }.below(parent)
    }

    /// The scopes of a device on the hub.
    pub(crate) fn of_device(device: &Device) -> Self {
        Self {
            is_edge: device.capabilities.iot_edge,
            device: device.device_scope.clone(),
            parents: device.parent_scopes.clone(),
        }
    }

    /// The scopes that a twin shows; none if there is no twin.
    pub(crate) fn of_twin(twin: Option<&Twin>) -> Self {
        let Some(twin) = twin else { return Self::default() };
        Self {
            is_edge: is_edge(twin),
            device: twin.device_scope.clone(),
            parents: (!twin.parent_scopes.is_empty()).then(|| twin.parent_scopes.clone()),
        }
    }

    /// The scopes of the same device below a different parent, or below none.
    pub(crate) fn below(self, parent: Option<String>) -> Self {
        match self.is_edge {
            true => Self { parents: parent.map(|scope| vec![scope]), ..self },
            false => Self { device: parent, parents: None, ..self },
        }
    }

    /// The scopes of the same device below the same parents, with the IoT Edge runtime or without it.
    pub(crate) fn with_edge(self, is_edge: bool) -> Self {
        match (self.is_edge, is_edge) {
            // The hub gives it a scope of its own.
            (false, true) => {
                let parents = self.parents.or_else(|| self.device.map(|scope| vec![scope]));
                Self { is_edge, device: None, parents }
            }
            // Its own scope would become that of its parent.
            (true, false) => {
                let parent = self.parents.as_ref().and_then(|parents| parents.first().cloned());
                Self { is_edge, device: parent, ..self }
            }
            (false, false) | (true, true) => self,
        }
    }
}

/// The scope of the device's parent, where it has one.
pub(crate) fn scope_of_parent(twin: &Twin) -> Option<&str> {
    // An edge device's own scope stands in `deviceScope`; only a leaf's names its parent.
    let leaf_scope = twin.device_scope.as_ref().filter(|_| !is_edge(twin));
    twin.parent_scopes.first().or(leaf_scope).map(String::as_str)
}

/// The scope of an edge device, which its children name.
pub(crate) fn own_scope(twin: &Twin) -> Option<&str> {
    twin.device_scope.as_deref().filter(|_| is_edge(twin))
}

/// Returns true if the twin is that of an edge device.
pub(crate) fn is_edge(twin: &Twin) -> bool {
    twin.capabilities.unwrap_or_default().iot_edge
}

/// The parent's device id, out of a scope such as `ms-azure-iot-edge://gateway-7-639000000000000001`.
pub(crate) fn parent_in(scope: &str) -> Option<&str> {
    let name = scope.strip_prefix("ms-azure-iot-edge://")?;
    name.rsplit_once('-').map(|(device, _generation)| device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(scopes: Scopes) -> (Option<String>, Option<Vec<String>>) {
        (scopes.device, scopes.parents)
    }

    #[test]
    fn a_leaf_names_its_parent_by_scope_and_an_edge_device_by_parent_scopes() {
        let parent = || Some("parent".to_owned());
        assert_eq!(parts(Scopes::of_new(false, parent())), (parent(), None));
        assert_eq!(parts(Scopes::of_new(true, parent())), (None, Some(vec!["parent".to_owned()])));
    }

    #[test]
    fn a_device_keeps_its_parent_when_it_gets_or_loses_the_edge_runtime() {
        let (own, parent) = (|| Some("own".to_owned()), || Some("parent".to_owned()));
        let parents = || Some(vec!["parent".to_owned()]);
        let edge = Scopes { is_edge: true, device: own(), parents: parents() };
        assert_eq!(parts(edge.clone().with_edge(true)), (own(), parents()));
        assert_eq!(parts(edge.clone().with_edge(false)), (parent(), parents()));
        assert_eq!(parts(edge.clone().below(None)), (own(), None));
        assert_eq!(parts(edge.below(None).with_edge(false)), (None, None));
        let leaf = Scopes { is_edge: false, device: parent(), parents: parents() };
        assert_eq!(parts(leaf.clone().with_edge(false)), (parent(), parents()));
        assert_eq!(parts(leaf.clone().with_edge(true)), (None, parents()));
        assert_eq!(parts(leaf.below(own())), (own(), None));
    }
}

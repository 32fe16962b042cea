//! The index of devices by module id, so that a query for a module id reads only these devices.

use std::collections::BTreeSet;
use std::ops::Bound;

use hub_types::{DeviceId, ModuleId};

/// Every module of the hub, by its id and then by its device.
///
/// One set of pairs: it needs some 40 bytes a module, regardless of how many devices share a module
/// id. The ids are shared with the records.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ModuleIndex(BTreeSet<Place>);

/// A key of the index. No module has `None`, which sorts before all modules of an id.
type Place = (ModuleId, Option<DeviceId>);

impl ModuleIndex {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn insert(&mut self, device: &DeviceId, module: &ModuleId) {
        self.0.insert((module.clone(), Some(device.clone())));
    }

    pub(super) fn remove(&mut self, device: &DeviceId, module: &ModuleId) {
        self.0.remove(&(module.clone(), Some(device.clone())));
    }

    /// The devices that have such a module, in order.
    pub(super) fn devices(
        &self,
        module: &ModuleId,
        start: Bound<&DeviceId>,
    ) -> impl Iterator<Item = &DeviceId> {
        let place = |device: &DeviceId| (module.clone(), Some(device.clone()));
        let start = match start {
            Bound::Unbounded => Bound::Excluded((module.clone(), None)),
            Bound::Included(device) => Bound::Included(place(device)),
            Bound::Excluded(device) => Bound::Excluded(place(device)),
        };
        let from_there = self.0.range((start, Bound::Unbounded));
        from_there.take_while(move |(id, _)| id == module).filter_map(|(_, device)| device.as_ref())
    }
}

impl FromIterator<(DeviceId, ModuleId)> for ModuleIndex {
    fn from_iter<I: IntoIterator<Item = (DeviceId, ModuleId)>>(modules: I) -> Self {
        Self(modules.into_iter().map(|(device, module)| (module, Some(device))).collect())
    }
}

#[cfg(test)]
mod tests {
    use hub_types::bulk::BulkItem;
    use hub_types::{IfMatch, Timestamp};
    use proptest::prelude::*;
    use serde_json::{from_value, json};

    use super::ModuleIndex;
    use crate::registry::{BulkEntry, Journal, Registry};

    /// A change by a bulk call, or the deletion of a device.
    fn change() -> impl Strategy<Value = (Option<&'static str>, String, Option<String>, bool)> {
        let mode = prop_oneof![3 => Just(Some("createOrUpdate")), 1 => Just(Some("delete")), 1 => Just(None)];
        (mode, "[a-c]", proptest::option::of("[m-n]"), any::<bool>())
    }

    proptest! {
        #[test]
        fn it_has_the_modules_that_the_devices_have(changes in proptest::collection::vec(change(), 1..60)) {
            let (mut registry, mut journal) = (Registry::default(), Journal::default());
            for (second, (mode, device, module, edge)) in changes.into_iter().enumerate() {
                let Some(mode) = mode else {
                    // A device that is not there is refused, which changes nothing.
                    let _ = registry.delete_device(&device.parse().unwrap(), &IfMatch::Any, &mut journal);
                    continue;
                };
                let item: BulkItem = from_value(json!({
                    "id": device, "moduleId": module, "importMode": mode, "capabilities": {"iotEdge": edge},
                })).unwrap();
                let entry = BulkEntry { device, module, item: Ok(item) };
                registry.bulk(vec![entry], Timestamp::from_ticks(second as u64).unwrap(), &mut journal);
                let modules = registry.devices.iter().flat_map(|(id, device)| {
                    device.modules.keys().map(move |module| (id.clone(), module.clone()))
                });
                prop_assert_eq!(&registry.modules, &modules.collect::<ModuleIndex>());
            }
        }
    }
}

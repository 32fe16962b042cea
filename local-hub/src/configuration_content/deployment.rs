//! IoT Edge deployments: settings for the twins of a device's modules, in layers.
//!
//! Sources: "Understand IoT Edge automatic deployments for single devices or at scale"; the help of
//! `az iot edge deployment create`.

use std::collections::{BTreeMap, BTreeSet};

use hub_types::ModuleId;
use hub_types::twin::JsonObject;
use serde_json::Value;

use super::{TwinSettings, invalid, leading_to};
use crate::api_error::ApiResult;
use crate::twin::{RolledOut, WriteOrigin};

/// A deployment that the hub can apply.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) id: String,
    /// The ticks of its creation, which distinguish it from other deployments with its id.
    pub(crate) created: u64,
    /// The ticks of its last change.
    pub(crate) digest: u64,
    pub(crate) modules: BTreeMap<ModuleId, TwinSettings>,
}

/// Reads the `modulesContent` of a deployment.
pub(crate) fn read_modules(content: &Value) -> ApiResult<BTreeMap<ModuleId, TwinSettings>> {
    let modules = content.as_object().ok_or_else(|| invalid("`modulesContent` is an object".to_owned()))?;
    let read = modules.iter().map(|(module, settings)| {
        let id = ModuleId::new(module).map_err(|error| invalid(error.to_string()))?;
        let settings = settings
            .as_object()
            .ok_or_else(|| invalid(format!("the settings of `{module}` are an object")))?;
        Ok((id, TwinSettings::read(settings)?))
    });
    read.collect()
}

impl Deployment {
    /// Returns true if it is a layer, which names parts of desired properties and needs a base.
    fn is_layer(&self) -> bool {
        self.modules.values().any(|settings| settings.paths().any(|path| !path.is_empty()))
    }
}

/// The deployments that target one device, the highest rank first.
#[derive(Debug, Clone)]
pub(crate) struct DeploymentStack<'d> {
    targeting: Vec<&'d Deployment>,
    /// The number of applied deployments: the first base and the layers above it. Without a base it
    /// is 0.
    applied: usize,
}

impl<'d> DeploymentStack<'d> {
    pub(crate) fn new(targeting: Vec<&'d Deployment>) -> Self {
        let applied =
            targeting.iter().position(|deployment| !deployment.is_layer()).map_or(0, |base| base + 1);
        Self { targeting, applied }
    }

    /// The deployments, as a key that distinguishes this stack from others: their content never
    /// changes.
    pub(crate) fn key(&self) -> Vec<(String, u64)> {
        self.targeting.iter().map(|deployment| (deployment.id.clone(), deployment.created)).collect()
    }

    fn applied(&self) -> &[&'d Deployment] {
        self.targeting.get(..self.applied).unwrap_or_default()
    }

    /// Returns true if an applied deployment has settings for the module.
    pub(crate) fn has_settings(&self, module: &ModuleId) -> bool {
        self.applied().iter().any(|deployment| deployment.modules.contains_key(module))
    }

    /// The desired properties of a module whose desired properties are `current`.
    pub(crate) fn desired(&self, module: &ModuleId, current: &JsonObject) -> JsonObject {
        let mut desired = current.clone();
        for deployment in self.applied().iter().rev() {
            if let Some(settings) = deployment.modules.get(module) {
                settings.write_into(&mut desired);
            }
        }
        desired
    }

    /// The state of each deployment in a module's twin: applied if at least one of its settings is
    /// not overwritten by a higher rank.
    pub(crate) fn states(&self, module: &ModuleId) -> RolledOut {
        let mut written: BTreeSet<&str> = BTreeSet::new();
        let mut applied = Vec::new();
        for deployment in self.applied() {
            let Some(settings) = deployment.modules.get(module) else { continue };
            let is_covered =
                |path| written.contains(path) || leading_to(path).any(|above| written.contains(above));
            let holds = settings.paths().any(|path| !is_covered(path));
            if holds {
                applied.push(deployment.id.as_str());
            }
            written.extend(settings.paths());
        }
        RolledOut::of_deployments(
            self.targeting.iter().map(|deployment| (&*deployment.id, applied.contains(&&*deployment.id))),
        )
    }

    /// The deployment in the metadata of a module's desired properties: the highest one with
    /// settings for the module.
    pub(crate) fn origin(&self, module: &ModuleId) -> Option<WriteOrigin> {
        let highest = self.applied().iter().find(|deployment| deployment.modules.contains_key(module))?;
        Some(WriteOrigin { configuration: highest.id.clone(), digest: highest.digest })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(id: &str, modules: Value) -> Deployment {
        Deployment { id: id.to_owned(), created: 1, digest: 1, modules: read_modules(&modules).unwrap() }
    }

    fn module(id: &str) -> ModuleId {
        ModuleId::new(id).unwrap()
    }

    fn states(stack: &DeploymentStack<'_>, id: &str) -> Value {
        serde_json::to_value(stack.states(&module(id)).statuses).unwrap()
    }

    fn desired(stack: &DeploymentStack<'_>, id: &str) -> Value {
        Value::Object(stack.desired(&module(id), &JsonObject::new()))
    }

    #[test]
    fn layers_above_the_base_are_put_onto_it() {
        let base = deployment(
            "base",
            json!({"$edgeAgent": {"properties.desired": {"modules": {"a": {"image": 1, "env": 2}}}},
                "a": {"properties.desired": {"n": 1, "m": 1}}}),
        );
        let other_base =
            deployment("other", json!({"$edgeAgent": {"properties.desired": {"modules": {"z": {}}}}}));
        let layer = deployment(
            "layer",
            json!({"$edgeAgent": {"properties.desired.modules.a": {"image": 3}, "properties.desired.modules.b": {}},
                "a": {"properties.desired.n": 2}}),
        );
        let below = deployment("below", json!({"$edgeAgent": {"properties.desired.modules.c": {}}}));
        let stack = DeploymentStack::new(vec![&layer, &base, &below, &other_base]);
        let agent = desired(&stack, "$edgeAgent");
        assert_eq!(
            agent,
            json!({"modules": {"a": {"image": 3}, "b": {}}}),
            "a module is replaced, not merged"
        );
        assert_eq!(desired(&stack, "a"), json!({"n": 2, "m": 1}));
        let both = json!({"layer": {"status": "Applied"}, "base": {"status": "Applied"},
            "below": {"status": "Targeted"}, "other": {"status": "Targeted"}});
        assert_eq!(states(&stack, "$edgeAgent"), both);
        assert_eq!(states(&stack, "a"), both);
        let origin = stack.origin(&module("a")).map(|origin| origin.configuration);
        assert_eq!(origin.as_deref(), Some("layer"));
        assert!(!stack.has_settings(&module("b")));
    }

    #[test]
    fn layers_without_a_base_are_not_applied() {
        let layer = deployment("layer", json!({"$edgeAgent": {"properties.desired.modules.a": {}}}));
        let stack = DeploymentStack::new(vec![&layer]);
        assert_eq!(desired(&stack, "$edgeAgent"), json!({}));
        assert_eq!(states(&stack, "$edgeAgent"), json!({"layer": {"status": "Targeted"}}));
        assert!(!stack.has_settings(&module("$edgeAgent")));
    }

    #[test]
    fn a_deployment_that_is_written_over_is_only_targeted() {
        // As reported of a live hub: https://github.com/Azure/iotedge/issues/4935
        let base = deployment("base", json!({"$edgeAgent": {"properties.desired": {"runtime": 1}}}));
        let first = deployment("first", json!({"$edgeAgent": {"properties.desired.modules": {"a": {}}}}));
        let second = deployment("second", json!({"$edgeAgent": {"properties.desired.modules": {"b": {}}}}));
        let stack = DeploymentStack::new(vec![&second, &first, &base]);
        assert_eq!(desired(&stack, "$edgeAgent"), json!({"runtime": 1, "modules": {"b": {}}}));
        assert_eq!(
            states(&stack, "$edgeAgent"),
            json!({"base": {"status": "Applied"}, "first": {"status": "Targeted"}, "second": {"status": "Applied"}})
        );
    }

    #[test]
    fn what_is_no_content_of_modules_is_refused() {
        for content in [json!(1), json!({"a": 1}), json!({"a b": {}}), json!({"a": {"tags.x": 1}})] {
            let error = read_modules(&content).unwrap_err();
            assert_eq!(error.name, "InvalidConfigurationContent", "{content}");
        }
    }
}

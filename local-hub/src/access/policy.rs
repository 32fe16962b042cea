//! Shared access policies: names, keys, and rights.

use hub_types::SymmetricKey;
use hub_types::symmetric_key::SymmetricKeys;
use serde::{Deserialize, Serialize};

use crate::ids::random;

/// A right of a caller. Source: "Control access to IoT Hub".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Right {
    DeviceConnect,
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
}

/// The rights of a service.
pub(crate) trait Rights: Copy + PartialEq + 'static {
    /// The policies of a new service, with their rights.
    const DEFAULTS: &'static [(&'static str, &'static [Self])];
}

impl Rights for Right {
    const DEFAULTS: &'static [(&'static str, &'static [Self])] = &[
        (OWNER, &[Self::RegistryRead, Self::RegistryWrite, Self::ServiceConnect, Self::DeviceConnect]),
        ("service", &[Self::ServiceConnect]),
        ("device", &[Self::DeviceConnect]),
        ("registryRead", &[Self::RegistryRead]),
        ("registryReadWrite", &[Self::RegistryRead, Self::RegistryWrite]),
    ];
}

/// A policy, whose keys grant its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy<R = Right> {
    pub(crate) name: String,
    rights: Vec<R>,
    primary_key: SymmetricKey,
    secondary_key: SymmetricKey,
}

impl<R: Rights> Policy<R> {
    pub(crate) fn allows(&self, right: R) -> bool {
        self.rights.contains(&right)
    }

    pub(crate) fn keys(&self) -> [&SymmetricKey; 2] {
        [&self.primary_key, &self.secondary_key]
    }

    pub(crate) fn primary_key(&self) -> &SymmetricKey {
        &self.primary_key
    }
}

/// The policies of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Policies<R = Right>(Vec<Policy<R>>);

impl<R: Rights> Policies<R> {
    /// The default policies, with new keys.
    pub(crate) fn generate() -> Self {
        Self(R::DEFAULTS.iter().map(|(name, rights)| generate_policy(name, rights)).collect())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Policy<R>> {
        self.0.iter().find(|policy| policy.name == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|policy| policy.name.as_str())
    }
}

fn generate_policy<R: Rights>(name: &str, rights: &[R]) -> Policy<R> {
    let SymmetricKeys { primary, secondary } = random::symmetric_keys();
    Policy { name: name.to_owned(), rights: rights.to_vec(), primary_key: primary, secondary_key: secondary }
}

/// The name of the policy with all rights.
pub(crate) const OWNER: &str = "iothubowner";

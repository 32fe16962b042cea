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

/// A policy, whose keys grant its rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Policy {
    pub(crate) name: String,
    rights: Vec<Right>,
    primary_key: SymmetricKey,
    secondary_key: SymmetricKey,
}

impl Policy {
    pub(crate) fn allows(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    pub(crate) fn keys(&self) -> [&SymmetricKey; 2] {
        [&self.primary_key, &self.secondary_key]
    }

    pub(crate) fn primary_key(&self) -> &SymmetricKey {
        &self.primary_key
    }
}

/// The policies of a hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Policies(Vec<Policy>);

impl Policies {
    /// The five default policies of a new hub, with new keys.
    pub(crate) fn generate() -> Self {
        use Right::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
        let defaults: [(&str, &[Right]); 5] = [
            (OWNER, &[RegistryRead, RegistryWrite, ServiceConnect, DeviceConnect]),
            ("service", &[ServiceConnect]),
            ("device", &[DeviceConnect]),
            ("registryRead", &[RegistryRead]),
            ("registryReadWrite", &[RegistryRead, RegistryWrite]),
        ];
        Self(defaults.into_iter().map(|(name, rights)| generate_policy(name, rights)).collect())
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.name == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|policy| policy.name.as_str())
    }
}

fn generate_policy(name: &str, rights: &[Right]) -> Policy {
    let SymmetricKeys { primary, secondary } = random::symmetric_keys();
    Policy { name: name.to_owned(), rights: rights.to_vec(), primary_key: primary, secondary_key: secondary }
}

/// The name of the policy with all rights.
pub(crate) const OWNER: &str = "iothubowner";

//! The kinds of services that runs work on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ServiceKind {
    /// A Device Provisioning Service, which holds enrolments.
    Dps,
    /// An IoT Hub, which holds identities and twins.
    #[default]
    Hub,
}

impl ServiceKind {
    /// The kind of the service with a host name in Azure or one of its national clouds, where the name shows it.
    pub(crate) fn of_azure_host(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let labels: Vec<&str> = name.rsplit('.').collect();
        match labels.as_slice() {
            ["net" | "us" | "cn", "azure-devices", _, ..] => Some(Self::Hub),
            ["net" | "us" | "cn", "azure-devices-provisioning", _, ..] => Some(Self::Dps),
            _ => None,
        }
    }

    /// The mark of a service for tests.
    pub(crate) fn test_mark(self) -> &'static str {
        match self {
            Self::Dps => "TEST DPS",
            Self::Hub => "TEST HUB",
        }
    }

    /// Returns true for the service of runs that name none.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(crate) fn is_hub(&self) -> bool {
        *self == Self::Hub
    }
}

impl fmt::Display for ServiceKind {
    /// Writes the name in sentences.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dps => "DPS",
            Self::Hub => "hub",
        })
    }
}

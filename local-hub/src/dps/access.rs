//! The rights of a DPS, its shared access policies, and its roles in Entra ID.

use serde::{Deserialize, Serialize};

use crate::access::entra::{Role, ServiceRole};
use crate::access::policy::Rights;

/// A right of a caller. Source: "Control access to the Device Provisioning Service with shared
/// access signatures".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DpsRight {
    DeviceConnect,
    EnrollmentRead,
    EnrollmentWrite,
    RegistrationStatusRead,
    RegistrationStatusWrite,
}

impl Rights for DpsRight {
    const DEFAULTS: &'static [(&'static str, &'static [Self])] = &[(
        DPS_OWNER,
        &[
            Self::EnrollmentRead,
            Self::EnrollmentWrite,
            Self::RegistrationStatusRead,
            Self::RegistrationStatusWrite,
            Self::DeviceConnect,
        ],
    )];
}

/// A role of a DPS in Entra ID. Source: "Control access to Azure IoT Hub Device Provisioning Service
/// with Microsoft Entra ID".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DpsRole {
    /// All rights.
    #[serde(rename = "Device Provisioning Service Data Contributor")]
    DataContributor,
    /// Read access to everything.
    #[serde(rename = "Device Provisioning Service Data Reader")]
    DataReader,
}

impl DpsRole {
    /// The role of the same name as one of a hub; `None` if a DPS has no such role.
    pub(crate) fn like(role: Role) -> Option<Self> {
        match role {
            Role::DataContributor => Some(Self::DataContributor),
            Role::DataReader => Some(Self::DataReader),
            Role::RegistryContributor | Role::TwinContributor => None,
        }
    }
}

impl ServiceRole for DpsRole {
    type Right = DpsRight;

    const AUDIENCE: &'static str = "https://azure-devices-provisioning.net";

    fn allows(self, right: DpsRight, _only_reads: bool) -> bool {
        match self {
            Self::DataContributor => right != DpsRight::DeviceConnect,
            // Reading keys is a different action than reading.
            Self::DataReader => matches!(right, DpsRight::EnrollmentRead | DpsRight::RegistrationStatusRead),
        }
    }
}

/// The name of the policy with all rights, the only one of a new DPS.
pub(crate) const DPS_OWNER: &str = "provisioningserviceowner";

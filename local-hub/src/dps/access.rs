//! The rights of a DPS, and its shared access policies.

use serde::{Deserialize, Serialize};

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

/// The name of the policy with all rights, the only one of a new DPS.
pub(crate) const DPS_OWNER: &str = "provisioningserviceowner";

//! New symmetric keys for identities that authenticate with keys.

use hub_types::symmetric_key::SymmetricKeys;
use hub_types::{Authentication, IdentityId};

use super::{Journal, Registry};
use crate::api_error::{ApiError, ApiResult};
use crate::ids::random;

/// The keys to replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySlot {
    Both,
    Primary,
    Secondary,
}

impl KeySlot {
    /// Parses the values that `az` sends.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "both" => Some(Self::Both),
            "primaryKey" => Some(Self::Primary),
            "secondaryKey" => Some(Self::Secondary),
            _ => None,
        }
    }
}

impl Registry {
    /// Replaces keys of a device or a module, and returns the resulting pair.
    pub(crate) fn renew_keys(
        &mut self,
        identity: &IdentityId,
        slot: KeySlot,
        journal: &mut Journal,
    ) -> ApiResult<SymmetricKeys> {
        let record = self.identity_mut(identity)?;
        let Authentication::Sas(Some(keys)) = &mut record.authentication else {
            return Err(ApiError::argument(format!("{identity} has no symmetric keys")));
        };
        if slot != KeySlot::Secondary {
            keys.primary = random::symmetric_key();
        }
        if slot != KeySlot::Primary {
            keys.secondary = random::symmetric_key();
        }
        let renewed = keys.clone();
        record.bump_etag();
        journal.updated(identity.device(), identity.module(), true);
        Ok(renewed)
    }
}

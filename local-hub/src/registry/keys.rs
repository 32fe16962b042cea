//! New symmetric keys for identities that have some.

use hub_types::symmetric_key::SymmetricKeys;
use hub_types::{Authentication, IdentityId};

use super::{Answer, Journal, Registry};
use crate::random;
use crate::refusal::Refusal;

/// What is to become of a pair of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeySlot {
    /// A new primary key.
    Primary,
    /// A new secondary key.
    Secondary,
    /// They change places.
    Swap,
}

impl KeySlot {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "primary" => Some(Self::Primary),
            "secondary" => Some(Self::Secondary),
            "swap" => Some(Self::Swap),
            _ => None,
        }
    }
}

impl Registry {
    /// Renews a key of a device or a module, and answers the pair as it is then.
    pub(crate) fn renew_keys(
        &mut self,
        identity: &IdentityId,
        slot: KeySlot,
        journal: &mut Journal,
    ) -> Answer<SymmetricKeys> {
        let record = self.identity_mut(identity)?;
        let Authentication::Sas(Some(keys)) = &mut record.authentication else {
            return Err(Refusal::argument(format!("{identity} has no symmetric keys")));
        };
        match slot {
            KeySlot::Primary => keys.primary = random::symmetric_key(),
            KeySlot::Secondary => keys.secondary = random::symmetric_key(),
            KeySlot::Swap => std::mem::swap(&mut keys.primary, &mut keys.secondary),
        }
        let renewed = keys.clone();
        record.bump_etag();
        journal.updated(identity.device(), identity.module(), true);
        Ok(renewed)
    }
}

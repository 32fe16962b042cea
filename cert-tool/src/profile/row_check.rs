//! [`RowCheck`]: rows judged by the policy and the profiles of a CA, without its key.

use std::collections::BTreeMap;
use std::path::Path;

use hub_types::IdentityId;
use hub_types::limits::MAX_COMMON_NAME_CHARS;

use super::{ProfileRow, Profiles, RowValues};
use crate::ca::{CertificateAuthority, profile_validity};
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issue::request::{IssueOptions, LongNames};
use crate::policy::Policy;

/// The policy and the profiles of a CA, to judge rows before certificates are issued for them.
#[derive(Debug, Clone)]
pub struct RowCheck {
    policy: Policy,
    profiles: Profiles,
    long_names: LongNames,
    /// The profiles that can't be used now, with the reason.
    unusable: BTreeMap<String, String>,
}

impl RowCheck {
    /// Reads the policy and the profiles of the CA in a folder, which would issue with these options. Its key is
    /// not used. The profile of the options must exist.
    pub fn open(folder: &Path, options: &IssueOptions) -> Result<Self, Error> {
        let (_, issuing) = CertificateAuthority::certificates(folder)?;
        let policy = Policy::read(folder)?;
        let profiles = Profiles::read(folder, &policy)?;
        if let Some(name) = &options.profile {
            profiles.find(name)?;
        }
        let mut unusable = BTreeMap::new();
        for profile in profiles.iter() {
            if let Err(error) =
                profile_validity(&issuing, folder, &policy, profile, options.lifetime(), options.now)
            {
                unusable.insert(profile.name().to_owned(), error.to_string());
            }
        }
        Ok(Self { policy, profiles, long_names: options.long_names, unusable })
    }

    /// Returns the reason why no further certificate can be issued after so many, if there is one.
    pub fn refusal_after(&self, issued: u64) -> Option<Refusal> {
        self.policy.refusal_after(issued)
    }

    /// Returns true if the CA may issue only a number of certificates.
    pub fn limits_number(&self) -> bool {
        self.policy.max_certificates().is_some()
    }

    /// Refuses an identity that the policy does not allow or that is too long for a common name, and a row whose profile does not exist or can't be
    /// filled in with its values, as issuing does.
    pub fn check(&self, identity: &IdentityId, row: &ProfileRow) -> Result<(), Refusal> {
        if let Some(refusal) = self.policy.refusal_of_identity(identity) {
            return Err(refusal);
        }
        let length = identity.common_name().len();
        if self.long_names == LongNames::Refuse && length > MAX_COMMON_NAME_CHARS {
            return Err(Refusal::CommonNameTooLong { length });
        }
        let Some(name) = &row.profile else {
            let refusal = |reason| Refusal::Policy { rule: "subjects", reason };
            return self.policy.check_subject("").map_err(refusal);
        };
        let refusal = |reason| Refusal::ProfileChoice { reason };
        let profile = self.profiles.get(name).ok_or_else(|| refusal(self.profiles.unknown(name)))?;
        match self.unusable.get(name) {
            Some(reason) => Err(refusal(reason.clone())),
            None => profile.render(RowValues { identity, columns: &row.columns }, &self.policy).map(drop),
        }
    }
}

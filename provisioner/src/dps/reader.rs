//! Reads of enrolments, compared with their specifications.

use std::sync::Arc;

use hub_types::IdentityId;
use hub_types::dps::{EnrollmentGroup, IndividualEnrollment};
use serde_json::json;

use super::Dps;
use super::enrollment::registration_id;
use crate::hub::HubError;
use crate::model::compare::{Comparison, Difference, DifferencePath, Observation};
use crate::model::entry_settings::EntrySettings;
use crate::model::etags::Etags;
use crate::model::group_row::group_of;
use crate::model::options::TwinPolicy;
use crate::model::spec::{AuthSpec, GivenKeys, IdentitySpec};

/// Compares enrolments with the specifications of their devices.
pub(crate) struct EnrollmentReader<D> {
    /// The DPS.
    pub(crate) dps: Arc<D>,
    /// The symmetric keys that the batch gives.
    pub(crate) keys: Arc<GivenKeys>,
    /// The rule for values of initial twins that the batch does not give.
    pub(crate) policy: TwinPolicy,
    /// The settings that no row has.
    pub(crate) settings: EntrySettings,
}

impl<D: Dps> EnrollmentReader<D> {
    /// The reads for a comparison by the initial twins that the batch gives, and without further settings.
    pub(crate) fn new(dps: Arc<D>, keys: Arc<GivenKeys>) -> Self {
        Self { dps, keys, policy: TwinPolicy::Initial, settings: EntrySettings::default() }
    }

    /// Reads the enrolment of a device; `None` if there is none.
    pub(crate) async fn read(&self, device: &IdentityId) -> Result<Option<IndividualEnrollment>, HubError> {
        let id = registration_id(device).map_err(HubError::NotEnrollable)?;
        self.dps.enrollment(&id).await
    }

    /// Compares a group that was read.
    pub(crate) fn compare_group(&self, spec: &IdentitySpec, found: Option<&EnrollmentGroup>) -> Observation {
        let comparison = Comparison::of_group(spec, &self.settings, found);
        let is_disabled = found.is_some_and(|found| !found.settings.is_enabled());
        Observation { comparison, etags: Etags::of_group(found), is_disabled, hold: None }
    }

    /// Reads the enrolment of a device, or the group whose row it is, and compares it.
    pub(crate) async fn read_and_compare(&self, spec: &IdentitySpec) -> Result<Observation, HubError> {
        if let Some(group) = group_of(&spec.identity) {
            let found = self.dps.group(&group).await?;
            return Ok(self.compare_group(spec, found.as_ref()));
        }
        let found = self.read(&spec.identity).await?;
        self.compare(spec, found.as_ref()).await
    }

    /// Compares an enrolment that was read. Keys, which enrolments do not show, are read separately.
    pub(crate) async fn compare(
        &self,
        spec: &IdentitySpec,
        found: Option<&IndividualEnrollment>,
    ) -> Result<Observation, HubError> {
        let mut comparison = Comparison::of_enrollment(self.policy, spec, &self.settings, found);
        if let (AuthSpec::Sas { given: true }, Comparison::InSync, Some(found)) =
            (&spec.state.auth, &comparison, found)
            && self.dps.keys(&found.registration_id).await?.as_ref() != self.keys.get(&spec.identity)
        {
            let expected = json!("those of the batch");
            let keys = Difference { path: DifferencePath::Keys, expected, found: json!("others") };
            comparison = Comparison::IdentityDiffers(vec![keys]);
        }
        let is_disabled = found.is_some_and(|found| !found.settings.is_enabled());
        Ok(Observation { comparison, etags: Etags::of_enrollment(found), is_disabled, hold: None })
    }
}

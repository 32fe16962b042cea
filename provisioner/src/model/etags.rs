//! The ETags of an identity, for conditional updates.

use hub_types::Etag;
use hub_types::dps::{EnrollmentGroup, IndividualEnrollment};
use hub_types::twin::Twin;
use serde::{Deserialize, Serialize};

/// The ETags of an identity and of its twin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Etags {
    /// The identity's.
    #[serde(rename = "identity_etag", default, skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Etag>,
    /// The twin's.
    #[serde(rename = "twin_etag", default, skip_serializing_if = "Option::is_none")]
    pub(crate) twin: Option<Etag>,
}

impl Etags {
    /// The ETag of an enrolment. Its initial twin has none of its own.
    pub(crate) fn of_enrollment(enrollment: Option<&IndividualEnrollment>) -> Self {
        Self { identity: enrollment.and_then(|enrollment| enrollment.settings.etag.clone()), twin: None }
    }

    /// The ETag of an enrolment group.
    pub(crate) fn of_group(group: Option<&EnrollmentGroup>) -> Self {
        Self { identity: group.and_then(|group| group.settings.etag.clone()), twin: None }
    }

    /// The ETags that a twin shows.
    pub(crate) fn of(twin: Option<&Twin>) -> Self {
        Self {
            identity: twin.and_then(|twin| twin.device_etag.clone()),
            twin: twin.map(|twin| twin.etag.clone()),
        }
    }
}

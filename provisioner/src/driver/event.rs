//! The events of identities: what a hub answers to reads and requests.

use crate::hub::HubError;
use crate::model::compare::Comparison;

/// An event of an identity.
#[derive(Debug)]
pub(crate) enum Event {
    /// The creation was refused because the identity exists.
    AlreadyExists,
    /// The hub created it with the initial twin, or without one if there is none.
    Created,
    /// The hub created it; its initial twin is still to be written.
    CreatedWithoutTwin,
    /// The hub changed the identity.
    IdentityUpdated,
    /// The response was lost: the effect of the request is unknown.
    Lost(HubError),
    /// The twin was read and compared.
    Observed(Comparison),
    /// A change was refused because the version that was observed is not the newest any more.
    Outdated(HubError),
    /// The hub refused: the request had no effect.
    Refused(HubError),
    /// The hub wrote the twin.
    TwinWritten,
}

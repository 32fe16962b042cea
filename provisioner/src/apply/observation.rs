//! Looking at the hub, and what it means when that fails.

use serde_json::json;

use crate::desired::{DesiredAuth, DesiredIdentity, GivenKeys};
use crate::hub::{ErrorClass, Hub, HubError};
use crate::lifecycle::Event;
use crate::standing::{Difference, Standing};

/// Reads an identity from the hub and compares it with what the batch wants.
pub(crate) async fn observe(
    hub: &impl Hub,
    wanted: &DesiredIdentity,
    keys: &GivenKeys,
) -> Result<Standing, HubError> {
    let twin = hub.twin(&wanted.identity).await?;
    let standing = Standing::of(wanted, twin.as_ref());
    let given = match wanted.state.auth {
        DesiredAuth::Sas { given: true } => keys.get(&wanted.identity),
        _ => None,
    };
    match (standing, given) {
        (
            standing @ (Standing::Equal | Standing::TwinUnwritten | Standing::TwinWrittenSince(_)),
            Some(given),
        ) => match hub.keys(&wanted.identity).await? {
            Some(found) if found == *given => Ok(standing),
            _ => Ok(Standing::Different(vec![other_keys()])),
        },
        (standing, _) => Ok(standing),
    }
}

fn other_keys() -> Difference {
    Difference { path: "keys".into(), wanted: json!("those of the batch"), found: json!("others") }
}

/// What an error that is left after all tries means: an event for this identity, or the end of the
/// run. `lost` makes the event of an error after which the effect is unknown.
pub(super) fn refused_or_fatal(
    error: HubError,
    lost: Option<fn(HubError) -> Event>,
) -> Result<Event, HubError> {
    match lost {
        Some(lost) if error.effect_is_unknown() => Ok(lost(error)),
        _ if error.class() == ErrorClass::Input => Ok(Event::Refused(error)),
        _ => Err(error),
    }
}

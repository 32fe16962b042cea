//! `twin`: one twin, for scripts.

use hub_types::IdentityId;
use hub_types::twin::{JsonObject, Nulls, Section, check_section};

use super::args::{TwinUpdateArgs, TwinVerb};
use super::failure::{Exit, Failure};
use super::printer::Printer;
use crate::hub::{Hub, HubClient, HubError};
use crate::target::Target;

pub(super) async fn run(verb: &TwinVerb, printer: &Printer) -> Result<Exit, Failure> {
    let (twin, update) = match verb {
        TwinVerb::Show(twin) => (twin, None),
        TwinVerb::Update(update) => (&update.twin, Some(Update::checked(update)?)),
    };
    let target = Target::resolve(twin.target.choice(), ".".as_ref())?;
    printer.note(format_args!("hub: {target}"));
    let hub = target.open().await?;
    let document = update_and_show(&hub.client, &twin.identity(), update).await;
    hub.close().await;
    match document? {
        Some(document) => printer.json(&document),
        None => {
            let text = format!("there is no `{}` on the hub", twin.identity());
            return Err(Failure::new(Exit::Refused, text));
        }
    }
    Ok(Exit::Done)
}

/// What is to be merged into a twin.
struct Update {
    tags: JsonObject,
    desired: JsonObject,
}

impl Update {
    /// Refuses what the hub would refuse, with the place.
    fn checked(args: &TwinUpdateArgs) -> Result<Self, Failure> {
        let tags = args.tags.clone().unwrap_or_default();
        let desired = args.desired.clone().unwrap_or_default();
        check_section(Section::Tags, &tags, Nulls::Delete)
            .and_then(|()| check_section(Section::Desired, &desired, Nulls::Delete))
            .map_err(|error| Failure::new(Exit::BadInput, error))?;
        Ok(Self { tags, desired })
    }
}

async fn update_and_show(
    hub: &HubClient,
    identity: &IdentityId,
    update: Option<Update>,
) -> Result<Option<serde_json::Value>, HubError> {
    if let Some(update) = update {
        match hub.patch_twin(identity, &update.tags, &update.desired).await {
            Err(HubError::Refused { status: 404, .. }) => return Ok(None),
            other => other?,
        }
    }
    hub.twin_document(identity).await
}

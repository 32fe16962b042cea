//! `twin`: one twin, for scripts.

use hub_types::twin::{JsonObject, Nulls, Section, check_section};
use serde_json::{Value, json};

use super::args::{TwinArgs, TwinListArgs, TwinVerb, TwinWriteArgs};
use super::failure::{Exit, Failure};
use super::object::{condition, missing, open, print_twins, refused};
use super::printer::Printer;
use crate::hub::HubClient;

pub(super) async fn run(verb: &TwinVerb, printer: &Printer) -> Result<Exit, Failure> {
    let target = match verb {
        TwinVerb::Show(args) => &args.target,
        TwinVerb::Update(args) | TwinVerb::Replace(args) => &args.twin.target,
        TwinVerb::List(args) => &args.list.target,
    };
    let hub = open(target, printer).await?;
    let done = match verb {
        TwinVerb::Show(args) => show(&hub.client, args, printer).await,
        TwinVerb::Update(args) => update(&hub.client, args, printer).await,
        TwinVerb::Replace(args) => replace(&hub.client, args, printer).await,
        TwinVerb::List(args) => list(&hub.client, args, printer).await,
    };
    hub.close().await;
    done.map(|()| Exit::Done)
}

async fn show(hub: &HubClient, args: &TwinArgs, printer: &Printer) -> Result<(), Failure> {
    let identity = args.identity();
    printer.json(&hub.twin_document(&identity).await?.ok_or_else(|| missing(&identity))?)
}

async fn update(hub: &HubClient, args: &TwinWriteArgs, printer: &Printer) -> Result<(), Failure> {
    let identity = args.twin.identity();
    let patch = document(args, Nulls::Delete)?;
    let twin = hub.merge_twin(&identity, &Value::Object(patch), &condition(&args.etag)).await;
    printer.json(&twin.map_err(|error| refused(error, &identity))?)
}

async fn replace(hub: &HubClient, args: &TwinWriteArgs, printer: &Printer) -> Result<(), Failure> {
    let identity = args.twin.identity();
    let mut twin = document(args, Nulls::Refuse)?;
    twin.entry("tags").or_insert_with(|| json!({}));
    twin.entry("properties").or_insert_with(|| json!({"desired": {}}));
    let twin = hub.replace_twin(&identity, &Value::Object(twin), &condition(&args.etag)).await;
    printer.json(&twin.map_err(|error| refused(error, &identity))?)
}

async fn list(hub: &HubClient, args: &TwinListArgs, printer: &Printer) -> Result<(), Failure> {
    let collection = if args.modules { "devices.modules" } else { "devices" };
    print_twins(hub, collection, &args.list, printer).await
}

/// The sections that were given, as the hub wants them. What the hub would refuse is refused here,
/// with the place.
fn document(args: &TwinWriteArgs, nulls: Nulls) -> Result<JsonObject, Failure> {
    let mut document = JsonObject::new();
    if let Some(tags) = &args.tags {
        check_section(Section::Tags, tags, nulls).map_err(|error| Failure::new(Exit::BadInput, error))?;
        document.insert("tags".to_owned(), json!(tags));
    }
    if let Some(desired) = &args.desired {
        check_section(Section::Desired, desired, nulls)
            .map_err(|error| Failure::new(Exit::BadInput, error))?;
        document.insert("properties".to_owned(), json!({ "desired": desired }));
    }
    Ok(document)
}

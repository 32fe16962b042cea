//! `device`: one device, for scripts.

use hub_types::identity::{Capabilities, Device, DeviceSpec};
use hub_types::{DeviceId, IdentityId};

use super::args::{
    DeleteArgs, DeviceCreateArgs, DeviceIdArgs, DeviceSettings, DeviceUpdateArgs, DeviceVerb, ShowArgs,
};
use super::failure::{Exit, Failure};
use super::object::{condition, missing, open, print_twins, refused, usage, without_keys};
use super::printer::Printer;
use crate::hub::{Condition, Hub, HubClient};

pub(super) async fn run(verb: &DeviceVerb, printer: &Printer) -> Result<Exit, Failure> {
    let target = match verb {
        DeviceVerb::Create(args) => &args.target,
        DeviceVerb::Show(args) => &args.target,
        DeviceVerb::Update(args) => &args.target,
        DeviceVerb::Delete(args) => &args.target,
        DeviceVerb::List(args) => &args.target,
    };
    let hub = open(target, printer).await?;
    let done = match verb {
        DeviceVerb::Create(args) => create(&hub.client, args, printer).await,
        DeviceVerb::Show(args) => show(&hub.client, args, printer).await,
        DeviceVerb::Update(args) => update(&hub.client, args, printer).await,
        DeviceVerb::Delete(args) => delete(&hub.client, args).await,
        DeviceVerb::List(args) => print_twins(&hub.client, "devices", args, printer).await,
    };
    hub.close().await;
    done.map(|()| Exit::Done)
}

async fn create(hub: &HubClient, args: &DeviceCreateArgs, printer: &Printer) -> Result<(), Failure> {
    let device = &args.id.device_id;
    let DeviceSettings { status, status_reason, edge_enabled } = &args.settings;
    let spec = DeviceSpec {
        device_id: device.clone(),
        status: *status,
        status_reason: status_reason.clone(),
        authentication: args.auth.authentication(&device.clone().into(), None)?,
        capabilities: edge_enabled.map(|iot_edge| Capabilities { iot_edge }),
        device_scope: None,
        parent_scopes: None,
    };
    let created = hub.create_device(&spec).await.map_err(|error| refused(error, &device.clone().into()))?;
    print(created, args.shown.show_keys, printer)
}

async fn show(hub: &HubClient, args: &ShowArgs<DeviceIdArgs>, printer: &Printer) -> Result<(), Failure> {
    print(existing(hub, &args.id.device_id).await?, args.shown.show_keys, printer)
}

async fn update(hub: &HubClient, args: &DeviceUpdateArgs, printer: &Printer) -> Result<(), Failure> {
    let DeviceSettings { status, status_reason, edge_enabled } = &args.settings;
    let current = existing(hub, &args.id.device_id).await?;
    let identity: IdentityId = current.device_id.clone().into();
    let authentication = args.auth.authentication(&identity, Some(&current.authentication))?;
    if authentication.is_none() && status.is_none() && status_reason.is_none() && edge_enabled.is_none() {
        return Err(usage("nothing to change: name at least one of the options below `--help`"));
    }
    let spec = DeviceSpec {
        status: Some(status.unwrap_or(current.status)),
        status_reason: status_reason.clone().or(current.status_reason),
        // Left out, the hub would make new keys.
        authentication: Some(authentication.unwrap_or(current.authentication)),
        capabilities: Some(edge_enabled.map_or(current.capabilities, |iot_edge| Capabilities { iot_edge })),
        device_scope: current.device_scope,
        parent_scopes: current.parent_scopes,
        device_id: current.device_id,
    };
    // What was read is what is changed: an update by somebody else in between is not undone.
    let etag = args.etag.etag.clone().unwrap_or_else(|| current.etag.as_str().to_owned());
    let changed = hub.replace_device(&spec, &Condition::Etag(etag)).await;
    print(changed.map_err(|error| refused(error, &identity))?, args.shown.show_keys, printer)
}

async fn delete(hub: &HubClient, args: &DeleteArgs<DeviceIdArgs>) -> Result<(), Failure> {
    let identity: IdentityId = args.id.device_id.clone().into();
    let deleted = hub.delete_identity(&identity, &condition(&args.etag)).await;
    deleted.map_err(|error| refused(error, &identity))
}

async fn existing(hub: &HubClient, device: &DeviceId) -> Result<Device, Failure> {
    hub.device(device).await?.ok_or_else(|| missing(&device.clone().into()))
}

fn print(mut device: Device, show_keys: bool, printer: &Printer) -> Result<(), Failure> {
    without_keys(&mut device.authentication, show_keys, printer);
    printer.json(&device)
}

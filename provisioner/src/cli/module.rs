//! `module`: one module, for scripts.

use hub_types::identity::{Module, ModuleSpec};

use super::args::{
    DeleteArgs, DeviceIdArgs, ModuleCreateArgs, ModuleIdArgs, ModuleUpdateArgs, ModuleVerb, ShowArgs,
};
use super::failure::{Exit, Failure};
use super::object::{TWIN_COLUMNS, condition, missing, open, refused, twin_line, usage, without_keys};
use super::printer::Printer;
use crate::hub::{Condition, HubClient};

pub(super) async fn run(verb: &ModuleVerb, printer: &Printer) -> Result<Exit, Failure> {
    let target = match verb {
        ModuleVerb::Create(args) => &args.target,
        ModuleVerb::Show(args) => &args.target,
        ModuleVerb::Update(args) => &args.target,
        ModuleVerb::Delete(args) => &args.target,
        ModuleVerb::List(args) => &args.target,
    };
    let hub = open(target, printer).await?;
    let done = match verb {
        ModuleVerb::Create(args) => create(&hub.client, args, printer).await,
        ModuleVerb::Show(args) => show(&hub.client, args, printer).await,
        ModuleVerb::Update(args) => update(&hub.client, args, printer).await,
        ModuleVerb::Delete(args) => delete(&hub.client, args).await,
        ModuleVerb::List(args) => list(&hub.client, args, printer).await,
    };
    hub.close().await;
    done.map(|()| Exit::Done)
}

async fn create(hub: &HubClient, args: &ModuleCreateArgs, printer: &Printer) -> Result<(), Failure> {
    let identity = args.id.identity();
    let spec = ModuleSpec {
        module_id: args.id.module_id.clone(),
        device_id: Some(identity.device().clone()),
        managed_by: args.managed_by.clone(),
        authentication: args.auth.authentication(&identity, None)?,
    };
    let created = hub.new_module(&identity, &spec).await.map_err(|error| refused(error, &identity))?;
    print(created, args.shown.show_keys, printer)
}

async fn show(hub: &HubClient, args: &ShowArgs<ModuleIdArgs>, printer: &Printer) -> Result<(), Failure> {
    print(existing(hub, &args.id).await?, args.shown.show_keys, printer)
}

async fn update(hub: &HubClient, args: &ModuleUpdateArgs, printer: &Printer) -> Result<(), Failure> {
    let identity = args.id.identity();
    let current = existing(hub, &args.id).await?;
    let authentication = args.auth.authentication(&identity, Some(&current.authentication))?;
    if authentication.is_none() && args.managed_by.is_none() {
        return Err(usage("nothing to change: name at least one of the options below `--help`"));
    }
    let spec = ModuleSpec {
        module_id: current.module_id,
        device_id: Some(current.device_id),
        managed_by: args.managed_by.clone().or(current.managed_by),
        // Left out, the hub would make new keys.
        authentication: Some(authentication.unwrap_or(current.authentication)),
    };
    // What was read is what is changed: an update by somebody else in between is not undone.
    let etag = args.etag.etag.clone().unwrap_or_else(|| current.etag.as_str().to_owned());
    let changed = hub.replace_module(&identity, &spec, &Condition::Etag(etag)).await;
    print(changed.map_err(|error| refused(error, &identity))?, args.shown.show_keys, printer)
}

async fn delete(hub: &HubClient, args: &DeleteArgs<ModuleIdArgs>) -> Result<(), Failure> {
    let identity = args.id.identity();
    let deleted = hub.delete_identity(&identity, &condition(&args.etag)).await;
    deleted.map_err(|error| refused(error, &identity))
}

async fn list(hub: &HubClient, args: &ShowArgs<DeviceIdArgs>, printer: &Printer) -> Result<(), Failure> {
    let device = &args.id.device_id;
    let modules = hub.modules_of(device).await?.ok_or_else(|| missing(&device.clone().into()))?;
    let mut list = printer.list(TWIN_COLUMNS);
    for mut module in modules {
        without_keys(&mut module.authentication, args.shown.show_keys, printer);
        list.push(&to_document(&module)?, twin_line)?;
    }
    list.end();
    Ok(())
}

/// A module as the document that it is on the wire.
fn to_document(module: &Module) -> Result<serde_json::Value, Failure> {
    serde_json::to_value(module).map_err(|error| Failure::new(Exit::Bug, error))
}

async fn existing(hub: &HubClient, id: &ModuleIdArgs) -> Result<Module, Failure> {
    let identity = id.identity();
    hub.module(&identity).await?.ok_or_else(|| missing(&identity))
}

fn print(mut module: Module, show_keys: bool, printer: &Printer) -> Result<(), Failure> {
    without_keys(&mut module.authentication, show_keys, printer);
    printer.json(&module)
}

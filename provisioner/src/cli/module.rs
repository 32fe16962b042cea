//! `module`: one module, for scripts.

use cli_support::exit::Exit;
use hub_types::identity::Module;

use super::args::{DeviceIdArgs, ModuleVerb, ShowArgs};
use super::failure::Failure;
use super::object::{TWIN_COLUMNS, twin_line, without_keys};
use super::printer::Printer;
use crate::objects::{ModuleChoice, Objects, on_hub};

pub(super) async fn run(verb: &ModuleVerb, printer: &Printer) -> Result<Exit, Failure> {
    let target = match verb {
        ModuleVerb::Create(args) => &args.target,
        ModuleVerb::Show(args) => &args.target,
        ModuleVerb::Update(args) => &args.target,
        ModuleVerb::Delete(args) => &args.target,
        ModuleVerb::List(args) => &args.target,
    };
    on_hub(target.choice(), printer, async |objects| call(verb, objects, printer).await).await?;
    Ok(Exit::Done)
}

async fn call(verb: &ModuleVerb, objects: Objects<'_>, printer: &Printer) -> Result<(), Failure> {
    match verb {
        ModuleVerb::Create(args) => {
            let choice =
                ModuleChoice { module_id: args.id.module_id.clone(), managed_by: args.managed_by.clone() };
            let created =
                objects.create_module(&args.id.identity(), &choice, &args.auth.choice(printer)).await?;
            print(created, args.shown.show_keys, printer)
        }
        ModuleVerb::Show(args) => {
            print(objects.module(&args.id.identity()).await?, args.shown.show_keys, printer)
        }
        ModuleVerb::Update(args) => {
            let (managed_by, etag) = (args.managed_by.clone(), args.etag.etag.clone());
            let (identity, auth) = (args.id.identity(), args.auth.choice(printer));
            let changed = objects.update_module(&identity, managed_by, &auth, etag).await?;
            print(changed, args.shown.show_keys, printer)
        }
        ModuleVerb::Delete(args) => Ok(objects.delete(&args.id.identity(), args.etag.etag.clone()).await?),
        ModuleVerb::List(args) => list(&objects, args, printer).await,
    }
}

async fn list(
    objects: &Objects<'_>,
    args: &ShowArgs<DeviceIdArgs>,
    printer: &Printer,
) -> Result<(), Failure> {
    let modules = objects.modules(&args.id.device_id).await?;
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

fn print(mut module: Module, show_keys: bool, printer: &Printer) -> Result<(), Failure> {
    without_keys(&mut module.authentication, show_keys, printer);
    printer.json(&module)
}

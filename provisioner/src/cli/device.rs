//! `device`: one device, for scripts.

use cli_support::exit::Exit;
use hub_types::identity::Device;

use super::args::{DeviceSettings, DeviceVerb};
use super::failure::Failure;
use super::object::{print_twins, without_keys};
use super::printer::Printer;
use crate::objects::{DeviceChoice, Objects, TwinCollection, on_hub};

pub(super) async fn run(verb: &DeviceVerb, printer: &Printer) -> Result<Exit, Failure> {
    let target = match verb {
        DeviceVerb::Create(args) => &args.target,
        DeviceVerb::Show(args) => &args.target,
        DeviceVerb::Update(args) => &args.target,
        DeviceVerb::Delete(args) => &args.target,
        DeviceVerb::List(args) => &args.target,
    };
    on_hub(target.choice(), printer, async |objects| call(verb, objects, printer).await).await?;
    Ok(Exit::Done)
}

async fn call(verb: &DeviceVerb, objects: Objects<'_>, printer: &Printer) -> Result<(), Failure> {
    match verb {
        DeviceVerb::Create(args) => {
            let (device, choice) = (&args.id.device_id, args.settings.choice());
            let created = objects.create_device(device, &choice, &args.auth.choice(printer)).await?;
            print(created, args.shown.show_keys, printer)
        }
        DeviceVerb::Show(args) => {
            print(objects.device(&args.id.device_id).await?, args.shown.show_keys, printer)
        }
        DeviceVerb::Update(args) => {
            let (device, choice, auth) =
                (&args.id.device_id, args.settings.choice(), args.auth.choice(printer));
            let changed = objects.update_device(device, &choice, &auth, args.etag.etag.clone()).await?;
            print(changed, args.shown.show_keys, printer)
        }
        DeviceVerb::Delete(args) => {
            let identity = args.id.device_id.clone().into();
            Ok(objects.delete(&identity, args.etag.etag.clone()).await?)
        }
        DeviceVerb::List(args) => print_twins(&objects, TwinCollection::Devices, args, printer).await,
    }
}

impl DeviceSettings {
    fn choice(&self) -> DeviceChoice {
        DeviceChoice {
            status: self.status,
            status_reason: self.status_reason.clone(),
            edge_enabled: self.edge_enabled,
        }
    }
}

fn print(mut device: Device, show_keys: bool, printer: &Printer) -> Result<(), Failure> {
    without_keys(&mut device.authentication, show_keys, printer);
    printer.json(&device)
}

//! `twin`: one twin, for scripts.

use cli_support::exit::Exit;

use super::args::{TwinVerb, TwinWriteArgs};
use super::failure::Failure;
use super::object::print_twins;
use super::printer::Printer;
use crate::objects::{Objects, TwinCollection, TwinSections, on_hub};

pub(super) async fn run(verb: &TwinVerb, printer: &Printer) -> Result<Exit, Failure> {
    let target = match verb {
        TwinVerb::Show(args) => &args.target,
        TwinVerb::Update(args) | TwinVerb::Replace(args) => &args.twin.target,
        TwinVerb::List(args) => &args.list.target,
    };
    on_hub(target.choice(), printer, async |objects| call(verb, objects, printer).await).await?;
    Ok(Exit::Done)
}

async fn call(verb: &TwinVerb, objects: Objects<'_>, printer: &Printer) -> Result<(), Failure> {
    match verb {
        TwinVerb::Show(args) => printer.json(&objects.twin(&args.identity()).await?),
        TwinVerb::Update(args) => {
            let (identity, etag) = (args.twin.identity(), args.etag.etag.clone());
            printer.json(&objects.merge_twin(&identity, &args.sections(), etag).await?)
        }
        TwinVerb::Replace(args) => {
            let (identity, etag) = (args.twin.identity(), args.etag.etag.clone());
            printer.json(&objects.replace_twin(&identity, &args.sections(), etag).await?)
        }
        TwinVerb::List(args) => {
            let collection = if args.modules { TwinCollection::Modules } else { TwinCollection::Devices };
            print_twins(&objects, collection, &args.list, printer).await
        }
    }
}

impl TwinWriteArgs {
    fn sections(&self) -> TwinSections {
        TwinSections { tags: self.tags.clone(), desired: self.desired.clone() }
    }
}

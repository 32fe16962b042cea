//! `extract`: one identity's certificate and key out of a bundle.

use anyhow::anyhow;
use cert_tool::IssuedList;
use cli_support::exit::Exit;
use hub_types::IdentityId;
use hub_types::shown::ShownPath;

use super::args::{EncodingArg, ExtractArgs};
use super::failure::{Failure, unread_input};
use super::output::Output;
use super::record::IdentityRecord;

pub(crate) fn run(args: &ExtractArgs, output: &mut Output) -> Result<Exit, Failure> {
    let identity = IdentityId::parse(&args.device_id, args.module_id.as_deref())
        .map_err(|error| Failure::Usage(error.into()))?;
    let list = IssuedList::open(&args.dir).map_err(unread_input)?;
    let (extracted, ending) = match args.encoding {
        EncodingArg::Pem => (cert_tool::extract(&list, &identity, &args.out)?, "pem"),
        EncodingArg::Der => (cert_tool::extract_der(&list, &identity, &args.out)?, "der"),
    };
    let Some(mut record) = extracted else {
        let dir = ShownPath(&args.dir);
        return Err(Failure::Usage(anyhow!("`{identity}` has no certificate in `{dir}`")));
    };
    record.certificate = args.out.join(format!("cert.{ending}"));
    record.private_key = record.private_key.map(|_| args.out.join(format!("key.{ending}")));
    output.record(&IdentityRecord::with_record(&identity, "extracted", &record));
    Ok(Exit::Done)
}

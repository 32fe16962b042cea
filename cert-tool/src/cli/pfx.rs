//! `pfx`: one identity's certificate and key as a PFX file.

use anyhow::anyhow;
use cert_tool::{IssuedList, PfxStyle, SecretFor, write_pfx};
use hub_types::IdentityId;

use super::args::PfxArgs;
use super::failure::{Done, Failure};
use super::output::Output;
use super::record::IdentityRecord;
use super::unlock::passwords;

pub(crate) fn run(args: &PfxArgs, output: &mut Output) -> Result<Done, Failure> {
    let identity = IdentityId::parse(&args.device_id, args.module_id.as_deref())
        .map_err(|error| Failure::Usage(error.into()))?;
    let list = IssuedList::open(&args.dir)?;
    let password = passwords(args.password_file.as_deref())?.ask(SecretFor::Document(&args.out))?;
    let password = password.ok_or_else(|| {
        Failure::Usage(anyhow!(
            "no password: give it with --password-file, in CERT_TOOL_PASSWORD, or at a terminal"
        ))
    })?;
    let style = if args.legacy { PfxStyle::Legacy } else { PfxStyle::Modern };
    let written = write_pfx(&list, &identity, &password, style, &args.out)?;
    let Some(mut facts) = written else {
        let dir = args.dir.display();
        return Err(Failure::Usage(anyhow!("`{identity}` has no certificate in `{dir}`")));
    };
    facts.certificate.clone_from(&args.out);
    facts.private_key = Some(args.out.clone());
    output.record(&IdentityRecord::with_facts(&identity, "exported", &facts));
    Ok(Done::AllWell)
}

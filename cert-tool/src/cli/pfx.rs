//! `pfx`: one identity's certificate and key as a PFX file.

use anyhow::anyhow;
use cert_tool::{IssuedList, PfxStyle, Secret, write_pfx};
use hub_types::IdentityId;

use super::args::PfxArgs;
use super::failure::{Done, Failure};
use super::output::Output;
use super::password::Passwords;
use super::record::IdentityRecord;

pub(crate) fn run(args: &PfxArgs, output: &mut Output) -> Result<Done, Failure> {
    let identity = IdentityId::parse(&args.device_id, args.module_id.as_deref())
        .map_err(|error| Failure::Usage(error.into()))?;
    let list = IssuedList::open(&args.dir)?;
    let password = Passwords::new(args.password_file.as_deref())?.ask(&args.out);
    let password = password.filter(|password| !password.is_empty()).ok_or_else(|| {
        Failure::Usage(anyhow!(
            "no password: give it with --password-file, in CERT_TOOL_PASSWORD, or at a terminal"
        ))
    })?;
    let style = if args.legacy { PfxStyle::Legacy } else { PfxStyle::Modern };
    let written = write_pfx(&list, &identity, &Secret::new(password.as_str()), style, &args.out)?;
    let Some(mut facts) = written else {
        let dir = args.dir.display();
        return Err(Failure::Usage(anyhow!("`{identity}` has no certificate in `{dir}`")));
    };
    facts.certificate.clone_from(&args.out);
    facts.private_key = Some(args.out.clone());
    output.record(&IdentityRecord::with_facts(&identity, "exported", &facts));
    Ok(Done::AllWell)
}

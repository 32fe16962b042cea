//! `renew`: new certificates for identities that have one.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use cert_tool::{Existing, IndexEntry, IssuanceIndex, IssueRequest, IssuedAuth, KeySource, Lookup, Sink};
use cli_support::exit::Exit;
use hub_types::IdentityId;
use time::OffsetDateTime;

use super::args::RenewArgs;
use super::batch::{self, BatchFile, Rows};
use super::failure::Failure;
use super::issue::{Job, request};
use super::origin::Origins;
use super::output::Output;
use super::within;

pub(crate) fn run(args: &RenewArgs, output: &mut Output) -> Result<Exit, Failure> {
    let mut job = Job::new(&args.issuing, Sink::Bundle);
    job.options.key_type = args.key_type.into();
    job.options.existing = if args.same_key { Existing::RenewSameKey } else { Existing::Renew };
    if let Some(identity) = args.identity.identity()? {
        return Ok(job.run(std::iter::once(again(identity, IssuedAuth::default())), 1, output)?.exit);
    }
    if let Some(path) = &args.from {
        let (mut count, batch) = (0, BatchFile::new(path, &args.batch));
        batch::check(&batch, output, |_| count += 1)?;
        let rows = Rows::open(&batch)?;
        let is_changed = rows.is_changed();
        let origins = Origins::of_batch(path);
        let requests = rows.inspect(|row| origins.row(row)).map(request);
        let done = job.run_from(requests, count, &origins, output)?;
        return Ok(batch::done_unless(&is_changed, done.exit, output));
    }
    let within = args.within.ok_or_else(|| Failure::Usage(anyhow!("nothing says what to renew")))?;
    let until = within::end(OffsetDateTime::now_utc(), within)?;
    within::note_held(&IssuanceIndex::open_beside(&args.issuing.ca)?, until, output)?;
    let lookup = Lookup::EndingBefore(until);
    let mut count = 0;
    IssuanceIndex::open_beside(&args.issuing.ca)?.visit(&lookup, |_| {
        count += 1;
        Ok(())
    })?;
    let is_broken = AtomicBool::new(false);
    let entries = IssuanceIndex::open_beside(&args.issuing.ca)?.into_entries(lookup).map_while(|entry| {
        is_broken.fetch_or(entry.is_err(), Ordering::Relaxed);
        entry.ok()
    });
    let done = job.run(
        entries.map(|IndexEntry { identity, record, .. }| again(identity, record.auth)),
        count,
        output,
    )?;
    if is_broken.load(Ordering::Relaxed) {
        output.note("error: the index could not be read to its end; run the command again");
        return Ok(Exit::SomeFailed);
    }
    Ok(done.exit)
}

fn again(identity: IdentityId, auth: IssuedAuth) -> IssueRequest {
    IssueRequest { auth, ..IssueRequest::new(identity, KeySource::Generate) }
}

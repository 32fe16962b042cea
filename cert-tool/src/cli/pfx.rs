//! `pfx`: certificates and keys as PFX files, of one identity or of many.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::anyhow;
use cert_tool::{
    Error, IssuedCertificate, IssuedList, PfxFile, PfxOptions, PfxOutcome, PfxStyle, write_pfx,
    write_pfx_files,
};
use cli_support::counted::counted;
use cli_support::exit::Exit;
use cli_support::progress::Progress;
use hub_types::IdentityId;
use hub_types::shown::ShownBare;
use serde::Serialize;

use super::args::{PfxArgs, PfxKindArgs};
use super::batch::{self, BatchFile};
use super::failure::{Failure, unread_input};
use super::interrupt::Interrupt;
use super::output::Output;
use super::record::{IdentityRecord, absent};
use super::unlock::new_password;

pub(crate) fn run(args: &PfxArgs, output: &mut Output) -> Result<Exit, Failure> {
    let list = IssuedList::open(&args.issued.dir).map_err(unread_input)?;
    if let Some(identity) = args.issued.identity.identity()? {
        return one(args, &list, &identity, output);
    }
    let Some(path) = &args.issued.from else {
        let options = options(&args.kind, args.issued.threads)?;
        return many(&list, list.entries()?, list.len(), &args.out, &options, output);
    };
    let batch = BatchFile::new(path, &args.issued.batch);
    batch::for_listed(&batch, &list, &args.issued.dir, output, |wanted, rows, output| {
        let options = options(&args.kind, args.issued.threads)?;
        many(&list, wanted, rows, &args.out, &options, output)
    })
}

/// Returns the options of PFX files; asks the user for the password if it is not given.
pub(crate) fn options(kind: &PfxKindArgs, threads: Option<NonZeroUsize>) -> Result<PfxOptions, Failure> {
    let password = new_password(kind.password.password_file.as_deref())?;
    let style = if kind.legacy { PfxStyle::Legacy } else { PfxStyle::Modern };
    Ok(PfxOptions { password, style, threads })
}

fn one(
    args: &PfxArgs,
    list: &IssuedList,
    identity: &IdentityId,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let options = options(&args.kind, args.issued.threads)?;
    let written = write_pfx(list, identity, &options.password, options.style, &args.out)?;
    let record = written.ok_or_else(|| Failure::Usage(anyhow!(absent(identity, &args.issued.dir))))?;
    output.record(&IdentityRecord::put_into(identity, "exported", record, &args.out));
    Ok(Exit::Done)
}

/// Writes the files of all identities in a list, except some.
pub(crate) fn all_but(
    list: &IssuedList,
    left_out: &HashSet<IdentityId>,
    out: &Path,
    options: &PfxOptions,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let is_wanted = |entry: &Result<(IdentityId, IssuedCertificate), Error>| {
        entry.as_ref().map_or(true, |(identity, _)| !left_out.contains(identity))
    };
    let others = list.entries()?.filter(|entry| !is_wanted(entry)).count();
    let wanted = list.len() - others as u64;
    many(list, list.entries()?.filter(is_wanted), wanted, out, options, output)
}

fn many(
    list: &IssuedList,
    wanted: impl Iterator<Item = Result<(IdentityId, IssuedCertificate), Error>> + Send,
    total: u64,
    out: &Path,
    options: &PfxOptions,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let interrupt = Interrupt::listen();
    let stop = interrupt.clone();
    let progress = Progress::of_many("exporting", "files", total);
    let mut summary = PfxSummary { out: out.to_string_lossy().into_owned(), ..PfxSummary::default() };
    let wanted = wanted.take_while(|_| !stop.is_wanted());
    write_pfx_files(list, wanted, out, options, &mut |file| {
        output.progress(&progress);
        summary.count(&file.outcome);
        if !output.is_text() {
            output.record(&file_record(file));
        }
    })?;
    drop(progress);
    if summary.keys_elsewhere > 0 {
        let count = summary.keys_elsewhere;
        output.note(&format!(
            "{} without a file: the keys are only on the devices",
            counted(count, "certificate")
        ));
    }
    if output.is_text() {
        output.record(&summary);
    }
    Ok(if interrupt.is_wanted() && summary.seen() < total { Exit::Interrupted } else { Exit::Done })
}

fn file_record(file: PfxFile) -> IdentityRecord {
    match file.outcome {
        PfxOutcome::AlreadyThere(path) => {
            IdentityRecord::put_into(&file.identity, "already_there", file.record, &path)
        }
        PfxOutcome::Written(path) => IdentityRecord::put_into(&file.identity, "exported", file.record, &path),
        PfxOutcome::KeyElsewhere => {
            IdentityRecord::with_record(&file.identity, "key_elsewhere", &file.record)
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct PfxSummary {
    exported: u64,
    already_there: u64,
    keys_elsewhere: u64,
    out: String,
}

impl PfxSummary {
    fn count(&mut self, outcome: &PfxOutcome) {
        match outcome {
            PfxOutcome::AlreadyThere(_) => self.already_there += 1,
            PfxOutcome::KeyElsewhere => self.keys_elsewhere += 1,
            PfxOutcome::Written(_) => self.exported += 1,
        }
    }

    fn seen(&self) -> u64 {
        self.exported + self.already_there + self.keys_elsewhere
    }
}

impl fmt::Display for PfxSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exported, already_there, out, .. } = self;
        write!(f, "{exported} PFX files made, {already_there} already there: {}", ShownBare(out))
    }
}

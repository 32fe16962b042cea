//! `sign`: requests that devices sent.

use hub_types::shown::ShownPath;
use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, anyhow};
use batch_file::Row;
use cert_tool::{CsrInput, Existing, IssueRequest, IssuedAuth, KeySource, ProfileRow, Refusal, Sink};
use cli_support::exit::Exit;
use hub_types::IdentityId;

use super::args::SignArgs;
use super::batch::{self, BatchFile, Rows};
use super::failure::Failure;
use super::input;
use super::issue::{Job, is_wanted, profile_row, request};
use super::origin::{Origins, RefusedFile};
use super::output::Output;

pub(crate) fn run(args: &SignArgs, output: &mut Output) -> Result<Exit, Failure> {
    let mut collected = Collected::default();
    for path in &args.requests {
        collected.collect(path).map_err(Failure::Usage)?;
    }
    collected.tell(output);
    let files = collected.requests;
    let batch = args.expect.as_deref().map(|path| BatchFile::new(path, &args.batch));
    let expected = batch.as_ref().map(|batch| AllowedIdentities::read(batch, output)).transpose()?;
    let total = files.len() as u64 + expected.as_ref().map_or(0, |expected| expected.requests);
    if total == 0 {
        return Err(Failure::Usage(anyhow!(
            "there are no requests: no file (.csr, .p10, .req), no cell `csr`"
        )));
    }
    let origins = args.expect.as_deref().map(Origins::of_batch).unwrap_or_default();
    let from_files = in_files(files, expected.as_ref(), &origins);
    let mut job = Job::new(&args.issuing, Sink::Folder);
    if args.replace {
        job.options.existing = Existing::Replace;
    }
    let Some(batch) = &batch else {
        return Ok(job.run_from(from_files, total, &origins, output)?.exit);
    };
    let rows = Rows::open(batch)?;
    let is_changed = rows.is_changed();
    let from_rows = rows.filter(has_request).inspect(|row| origins.row(row)).map(request);
    let done = job.run_from(from_files.chain(from_rows), total, &origins, output)?;
    Ok(batch::done_unless(&is_changed, done.exit, output))
}

/// The identities that may send requests, from the batch.
struct AllowedIdentities {
    /// The way in which a hub is to trust each identity, with the columns for its profile; `None`
    /// if its row asks for no certificate.
    identities: HashMap<IdentityId, Option<(IssuedAuth, ProfileRow)>>,
    /// The number of requests in the batch itself.
    requests: u64,
}

impl AllowedIdentities {
    fn read(batch: &BatchFile<'_>, output: &mut Output) -> Result<Self, Failure> {
        let mut expected = Self { identities: HashMap::new(), requests: 0 };
        batch::check(batch, output, |row| {
            let auth = is_wanted(row).then(|| (batch::auth(row), profile_row(row)));
            expected.identities.insert(row.identity.clone(), auth);
            expected.requests += u64::from(has_request(row));
        })?;
        Ok(expected)
    }

    fn auth_of(&self, identity: &IdentityId) -> Result<(IssuedAuth, ProfileRow), Refusal> {
        self.identities.get(identity).ok_or(Refusal::NotExpected)?.clone().ok_or(Refusal::NotWanted)
    }
}

fn has_request(row: &Row) -> bool {
    row.csr.is_some() && is_wanted(row)
}

/// The requests in files, in their order. One that is refused takes its place in the order.
fn in_files(
    files: Vec<PathBuf>,
    expected: Option<&AllowedIdentities>,
    origins: &Origins,
) -> impl Iterator<Item = IssueRequest> {
    let mut files = files.into_iter();
    let mut read = Vec::new().into_iter();
    std::iter::from_fn(move || {
        loop {
            match read.next() {
                Some(Ok((file, request))) => {
                    origins.file(file);
                    return Some(request);
                }
                Some(Err(refused)) => origins.refused(refused),
                None => {
                    let next: Vec<_> = files.by_ref().take(FILES_AT_ONCE).collect();
                    if next.is_empty() {
                        return None;
                    }
                    read = read_files(&next, expected).into_iter();
                }
            }
        }
    })
}

type ReadFile = Result<(PathBuf, IssueRequest), RefusedFile>;

/// Reads and verifies on all cores: it takes longer than to sign.
fn read_files(files: &[PathBuf], expected: Option<&AllowedIdentities>) -> Vec<ReadFile> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = files.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let read = |share: &[PathBuf]| share.iter().map(|file| read_file(file, expected)).collect::<Vec<_>>();
        let shares: Vec<_> = files.chunks(share).map(|share| scope.spawn(move || read(share))).collect();
        // A thread that panicked is a bug, as a panic here would be.
        shares
            .into_iter()
            .flat_map(|share| share.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

fn read_file(file: &Path, expected: Option<&AllowedIdentities>) -> ReadFile {
    let name = input::name(file);
    let refused = |identity, refusal| RefusedFile { file: name.to_owned(), identity, refusal };
    let claimed = input::request(file).map_err(|refusal| refused(None, refusal))?;
    let identity = claimed.identity().clone();
    let auth = expected.map_or(Ok(Default::default()), |expected| expected.auth_of(&identity));
    let verified = auth.and_then(|auth| Ok((auth, claimed.verify()?)));
    let ((auth, row), csr) = verified.map_err(|refusal| refused(Some(identity.clone()), refusal))?;
    let key = KeySource::Csr(CsrInput::Verified(csr));
    Ok((name.to_owned(), IssueRequest { identity, key, auth, row }))
}

/// The files with requests, and those in folders that were passed over.
#[derive(Default)]
struct Collected {
    requests: Vec<PathBuf>,
    /// Those that are not named as requests.
    otherwise_named: Vec<PathBuf>,
    /// Pipes, devices and links that lead nowhere.
    not_files: Vec<PathBuf>,
    /// The folders so far, by their paths without links.
    folders: HashSet<PathBuf>,
    /// Links to folders that were looked at already.
    again: Vec<PathBuf>,
}

impl Collected {
    /// Takes a file itself, or the requests in a folder and those below it, sorted.
    fn collect(&mut self, path: &Path) -> anyhow::Result<()> {
        if input::is_stdin(path) || !path.is_dir() {
            self.requests.push(path.to_owned());
            return Ok(());
        }
        let can_not_read = || format!("can't read `{}`", ShownPath(path));
        // Links may lead in a circle.
        if !self.folders.insert(path.canonicalize().with_context(can_not_read)?) {
            self.again.push(path.to_owned());
            return Ok(());
        }
        let mut entries = Vec::new();
        for entry in path.read_dir().with_context(can_not_read)? {
            entries.push(entry.with_context(can_not_read)?.path());
        }
        entries.sort();
        for entry in entries {
            // A pipe among the files would keep everything waiting.
            match (entry.is_dir(), entry.is_file()) {
                (true, _) => self.collect(&entry)?,
                (_, true) if is_named_as_request(&entry) => self.requests.push(entry),
                (_, true) => self.otherwise_named.push(entry),
                (_, false) => self.not_files.push(entry),
            }
        }
        Ok(())
    }

    /// Says what was not looked at.
    fn tell(&self, output: &mut Output) {
        for (passed_over, reason) in [
            (
                &self.otherwise_named,
                "requests in folders are files that end in .csr, .p10 or .req, also with .pem or .der behind it",
            ),
            (&self.not_files, "requests in folders are files, not pipes, devices or links that lead nowhere"),
            (&self.again, "this folder was looked at already, under a different name"),
        ] {
            let [first, others @ ..] = passed_over.as_slice() else { continue };
            let others = match others.len() {
                0 => String::new(),
                others => format!(" and {others} more"),
            };
            output.note(&format!("note: `{}`{others} passed over: {reason}", ShownPath(first)));
        }
    }
}

/// Tells whether a file ends as requests do, whatever the case.
fn is_named_as_request(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = [".pem", ".der"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    [".csr", ".p10", ".req"].iter().any(|end| name.ends_with(end))
}

/// Enough that all cores have something to do.
const FILES_AT_ONCE: usize = 512;

//! `sign`: requests that devices sent.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cert_tool::{Csr, CsrInput, IssueRequest, IssuedAuth, KeySource, Sink};
use hub_types::IdentityId;

use super::args::SignArgs;
use super::batch;
use super::failure::{Done, Failure};
use super::issue::Job;
use super::output::{Output, chain};
use super::record::IdentityRecord;

pub(crate) fn run(args: &SignArgs, output: &mut Output) -> Result<Done, Failure> {
    let expected = args.expect.as_deref().map(|path| expected(path, output)).transpose()?;
    let mut files = Vec::new();
    for path in &args.requests {
        collect(path, &mut files).map_err(Failure::Usage)?;
    }
    let mut failures = 0;
    let mut requests = Vec::new();
    for file in &files {
        match read(file, expected.as_ref(), output) {
            Some(csr) => requests.push(IssueRequest {
                identity: csr.identity().clone(),
                key: KeySource::Csr(CsrInput::Verified(csr)),
                auth: IssuedAuth::default(),
            }),
            None => failures += 1,
        }
    }
    if files.is_empty() {
        return Err(Failure::Usage(anyhow::anyhow!("there are no requests (.csr, .p10, .req)")));
    }
    let total = requests.len() as u64;
    let done = Job::new(&args.issuing, Sink::Folder).run(requests.into_iter(), total, output)?;
    if failures > 0 && done == Done::AllWell { Ok(Done::SomeFailed) } else { Ok(done) }
}

/// Reads a request, or says why it is refused.
fn read(file: &Path, expected: Option<&HashSet<IdentityId>>, output: &mut Output) -> Option<Csr> {
    let name = file.display().to_string();
    let reason = match Csr::read(file) {
        Err(refusal) => {
            output.refused(&name, &refusal);
            chain(&refusal)
        }
        Ok(csr) if expected.is_some_and(|expected| !expected.contains(csr.identity())) => {
            let reason = format!("`{}` is not in the batch", csr.identity());
            output.note(&format!("refused: {name}: {reason}"));
            reason
        }
        Ok(csr) => return Some(csr),
    };
    if !output.is_text() {
        output.record(&IdentityRecord::refused_request(&name, reason));
    }
    None
}

fn expected(path: &Path, output: &mut Output) -> Result<HashSet<IdentityId>, Failure> {
    let mut identities = HashSet::new();
    batch::check(path, output, |row| {
        identities.insert(row.identity.clone());
    })?;
    Ok(identities)
}

/// A file itself, or the requests in a folder and those below it, sorted.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let can_not_read = || format!("can't read `{}`", path.display());
    let mut entries = Vec::new();
    for entry in path.read_dir().with_context(can_not_read)? {
        entries.push(entry.with_context(can_not_read)?.path());
    }
    entries.sort();
    for entry in entries {
        let extension = entry.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if entry.is_dir() || ["csr", "p10", "req"].contains(&extension) {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

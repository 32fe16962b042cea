//! `issue`: certificates for one identity or for a batch.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::anyhow;
use batch_file::{CsrSource, Row, RowAuth};
use cert_tool::{
    CertificateAuthority, CsrInput, IssueOptions, IssueRequest, IssueSummary, IssuedAuth, IssuedStore,
    KeySource, LongNames, Outcome, Sink, issue_batch,
};
use serde::Serialize;
use time::OffsetDateTime;

use super::args::{IssueArgs, IssuingArgs, SinkArg};
use super::batch::{self, Rows};
use super::failure::{Done, Failure};
use super::interrupt::Interrupt;
use super::output::Output;
use super::progress::Progress;
use super::record::IdentityRecord;
use super::secrets::UnlockArgs;

pub(crate) fn run(args: &IssueArgs, output: &mut Output) -> Result<Done, Failure> {
    let mut job = match &args.from {
        Some(_) => Job::new(&args.issuing, Sink::Bundle),
        None => Job::new(&args.issuing, Sink::Folder),
    };
    job.options.key_type = args.key_type.into();
    match (&args.from, args.identity.identity()?) {
        (Some(batch), _) => issue_rows(&job, batch, output),
        (None, Some(identity)) => {
            let request = IssueRequest { identity, key: KeySource::Generate, auth: IssuedAuth::default() };
            job.run(std::iter::once(request), 1, output)
        }
        (None, None) => Err(Failure::Usage(anyhow!("neither --device-id nor --from is given"))),
    }
}

fn issue_rows(job: &Job<'_>, batch: &Path, output: &mut Output) -> Result<Done, Failure> {
    let (mut wanted, mut others) = (0, 0);
    batch::check(batch, output, |row| if is_wanted(row) { wanted += 1 } else { others += 1 })?;
    if others > 0 {
        output.note(&format!("{others} rows need no certificate: they have one, or use keys"));
    }
    let rows = Rows::open(batch)?;
    let is_changed = rows.is_changed();
    let done = job.run(rows.filter(is_wanted).map(request), wanted, output)?;
    if is_changed.load(Ordering::Relaxed) {
        output.note("error: the batch was changed while it was read; run the command again");
        return Ok(Done::SomeFailed);
    }
    Ok(done)
}

/// Whether a row is to have a certificate and has none.
pub(crate) fn is_wanted(row: &Row) -> bool {
    row.certificate.is_none()
        && match &row.auth {
            RowAuth::Sas { .. } => false,
            RowAuth::X509Ca => true,
            RowAuth::X509Thumbprint { primary, .. } => primary.is_none(),
        }
}

fn request(row: Row) -> IssueRequest {
    let key = match row.csr {
        None => KeySource::Generate,
        Some(CsrSource::Path(path)) => KeySource::Csr(CsrInput::Path(path)),
        Some(CsrSource::Pem(text)) => KeySource::Csr(CsrInput::Pem(text)),
    };
    let auth = match row.auth {
        RowAuth::X509Ca => IssuedAuth::X509Ca,
        _ => IssuedAuth::X509Thumbprint,
    };
    IssueRequest { identity: row.identity, key, auth }
}

/// Issuing as it was asked for, whatever the requests come from.
pub(crate) struct Job<'a> {
    ca: &'a Path,
    out: &'a Path,
    sink: Sink,
    unlock: &'a UnlockArgs,
    pub(crate) options: IssueOptions,
}

impl<'a> Job<'a> {
    pub(crate) fn new(args: &'a IssuingArgs, default_sink: Sink) -> Self {
        let mut options = IssueOptions::new(OffsetDateTime::now_utc());
        options.days = args.days;
        options.threads = args.threads;
        options.long_names = if args.allow_long_cn { LongNames::Allow } else { LongNames::Refuse };
        let sink = match args.sink {
            Some(SinkArg::Bundle) => Sink::Bundle,
            Some(SinkArg::Folder) => Sink::Folder,
            None => default_sink,
        };
        Self { ca: &args.ca, out: &args.out, sink, unlock: &args.unlock, options }
    }

    pub(crate) fn run(
        &self,
        requests: impl Iterator<Item = IssueRequest> + Send,
        total: u64,
        output: &mut Output,
    ) -> Result<Done, Failure> {
        // The CA first: without it no store is begun.
        let ca = CertificateAuthority::open_with(self.ca, &mut |asked_for| self.unlock.ask(asked_for))?;
        let mut store = IssuedStore::open(self.out, self.sink)?;
        if store.dropped_rows() > 0 {
            let count = store.dropped_rows();
            output
                .note(&format!("warning: {count} certificates were cut off on the disk and are made again"));
        }
        let interrupt = Interrupt::listen();
        let stop = interrupt.clone();
        let mut progress = Progress::new(total);
        let summary = issue_batch(
            &ca,
            &self.options,
            requests.take_while(|_| !stop.is_wanted()),
            &mut store,
            &mut |issued| {
                progress.advance(output);
                if let Outcome::Refused(refusal) = &issued.outcome {
                    progress.suspend(|| output.refused(&issued.identity.to_string(), refusal));
                }
                if !output.is_text() || total == 1 {
                    output.record(&IdentityRecord::new(issued));
                }
            },
        )?;
        drop(progress);
        if output.is_text() && total != 1 {
            output.record(&SummaryRecord::new(summary, &store.list_path()));
        }
        if interrupt.is_wanted() && summary.issued + summary.already_there + summary.refused < total {
            return Ok(Done::Interrupted);
        }
        Ok(Done::from_failures(summary.refused))
    }
}

#[derive(Debug, Serialize)]
struct SummaryRecord {
    issued: u64,
    already_there: u64,
    refused: u64,
    list: String,
}

impl SummaryRecord {
    fn new(summary: IssueSummary, list: &Path) -> Self {
        let IssueSummary { issued, already_there, refused } = summary;
        Self { issued, already_there, refused, list: list.display().to_string() }
    }
}

impl fmt::Display for SummaryRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issued, already_there, refused, list } = self;
        write!(f, "{issued} issued, {already_there} already there, {refused} refused: {list}")
    }
}

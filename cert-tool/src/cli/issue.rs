//! `issue`: certificates for one identity or for a batch.

use hub_types::shown::{ShownBare, ShownPath};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::anyhow;
use batch_file::{PemSource, Row, RowAuth};
use cert_tool::{
    CertificateAuthority, Columns, CsrInput, Existing, IssueOptions, IssueRequest, IssueSummary, Issued,
    IssuedList, IssuedStore, KeySource, KeyType, LongNames, Outcome, ProfileRow, PublicKeyInput, Sink,
    check_options, issue_batch,
};
use cli_support::counted::counted;
use cli_support::exit::Exit;
use cli_support::progress::Progress;
use hub_types::IdentityId;
use serde::Serialize;
use time::OffsetDateTime;

use super::args::{IssueArgs, IssuingArgs};
use super::batch::{self, BatchFile, Rows};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::origin::{Origins, RefusedFile};
use super::output::Output;
use super::pattern::Pattern;
use super::pfx;
use super::record::IdentityRecord;
use super::unlock::UnlockArgs;

pub(crate) fn run(args: &IssueArgs, output: &mut Output) -> Result<Exit, Failure> {
    let Some(folder) = &args.pfx else {
        if args.pfx_kind.legacy || args.pfx_kind.password.password_file.is_some() {
            return Err(Failure::Usage(anyhow!(
                "--legacy and --password-file are for PFX files: add --pfx DIR"
            )));
        }
        return Ok(issue(args, output)?.exit);
    };
    // Nothing is issued before there is a password.
    let options = pfx::options(&args.pfx_kind, args.issuing.threads)?;
    let JobEnd { exit, refused } = issue(args, output)?;
    match exit {
        Exit::Interrupted => Ok(Exit::Interrupted),
        // All were refused.
        Exit::SomeFailed if !args.issuing.out.exists() => Ok(Exit::SomeFailed),
        issued => {
            let list = IssuedList::open(&args.issuing.out)?;
            match pfx::all_but(&list, &refused, folder, &options, output)? {
                Exit::Done => Ok(issued),
                other => Ok(other),
            }
        }
    }
}

fn issue(args: &IssueArgs, output: &mut Output) -> Result<JobEnd, Failure> {
    let is_one = args.from.is_none() && args.count.is_none();
    let mut job = Job::new(&args.issuing, if is_one { Sink::Folder } else { Sink::Bundle });
    job.options.key_type = args.key_type.into();
    job.keeps_refused = args.pfx.is_some();
    if args.replace {
        job.options.existing = Existing::Replace;
    }
    if let (Some(count), Some(pattern)) = (args.count, &args.pattern) {
        let names = Pattern::parse(pattern, args.first, count).map_err(Failure::Usage)?;
        let generate = |identity| IssueRequest::new(identity, KeySource::Generate);
        return job.run(names.identities().map(generate), count, output);
    }
    match (&args.from, args.identity.identity()?) {
        (Some(batch), _) => issue_rows(&job, &BatchFile::new(batch, &args.batch), output),
        (None, Some(identity)) => {
            let request = IssueRequest::new(identity, KeySource::Generate);
            job.run(std::iter::once(request), 1, output)
        }
        (None, None) => Err(Failure::Usage(anyhow!("neither --device-id nor --from is given"))),
    }
}

fn issue_rows(job: &Job<'_>, batch: &BatchFile<'_>, output: &mut Output) -> Result<JobEnd, Failure> {
    let (mut wanted, mut others) = (0, 0);
    batch::check(batch, output, |row| if is_wanted(row) { wanted += 1 } else { others += 1 })?;
    if others > 0 {
        let rows = match others {
            1 => "1 row needs".to_owned(),
            others => format!("{} need", counted(others, "row")),
        };
        output.note(&format!("{rows} no certificate, because of one that is there, or of symmetric keys"));
    }
    let rows = Rows::open(batch)?;
    let is_changed = rows.is_changed();
    let origins = Origins::of_batch(batch.path);
    let requests = rows.filter(is_wanted).inspect(|row| origins.row(row)).map(request);
    let JobEnd { exit, refused } = job.run_from(requests, wanted, &origins, output)?;
    Ok(JobEnd { exit: batch::done_unless(&is_changed, exit, output), refused })
}

/// Returns whether a row asks for a certificate and has none.
pub(crate) fn is_wanted(row: &Row) -> bool {
    row.certificate.is_none()
        && match &row.auth {
            RowAuth::Sas { .. } => false,
            RowAuth::X509Ca => true,
            RowAuth::X509Thumbprint { primary, .. } => primary.is_none(),
        }
}

/// The profile that a row asks for, and what its templates use.
pub(crate) fn profile_row(row: &Row) -> ProfileRow {
    ProfileRow { profile: row.profile.clone(), columns: Columns::from(row.cells.clone()) }
}

pub(crate) fn request(row: Row) -> IssueRequest {
    let auth = batch::auth(&row);
    let key = match (row.csr, row.public_key) {
        (Some(PemSource::Path(path)), _) => KeySource::Csr(CsrInput::Path(path)),
        (Some(PemSource::Pem(text)), _) => KeySource::Csr(CsrInput::Pem(text)),
        (None, Some(PemSource::Path(path))) => KeySource::PublicKey(PublicKeyInput::Path(path)),
        (None, Some(PemSource::Pem(text))) => KeySource::PublicKey(PublicKeyInput::Pem(text)),
        (None, None) => KeySource::Generate,
    };
    let row_profile = ProfileRow { profile: row.profile, columns: Columns::from(row.cells) };
    IssueRequest { identity: row.identity, key, auth, row: row_profile }
}

/// Issuing as it was asked for, whatever the requests come from.
pub(crate) struct Job<'a> {
    ca: &'a Path,
    out: &'a Path,
    sink: Sink,
    unlock: &'a UnlockArgs,
    with_chain: bool,
    /// True to keep the identities that are refused.
    keeps_refused: bool,
    pub(crate) options: IssueOptions,
}

/// The end of a job.
pub(crate) struct JobEnd {
    pub(crate) exit: Exit,
    /// The identities that were refused, if they were to be kept.
    refused: HashSet<IdentityId>,
}

impl<'a> Job<'a> {
    pub(crate) fn new(args: &'a IssuingArgs, default_sink: Sink) -> Self {
        let mut options = IssueOptions::new(OffsetDateTime::now_utc());
        options.days = args.days;
        options.profile = args.profile.clone();
        options.subject = args.subject.clone();
        options.threads = args.threads;
        options.long_names = if args.allow_long_cn { LongNames::Allow } else { LongNames::Refuse };
        let sink = args.sink.map_or(default_sink, Into::into);
        Self {
            ca: &args.ca,
            out: &args.out,
            sink,
            with_chain: args.chain,
            unlock: &args.unlock,
            keeps_refused: false,
            options,
        }
    }

    fn warn_of_many_files(&self, total: u64, output: &mut Output) {
        if self.sink == Sink::Folder && total >= MANY_FOLDERS {
            let files = total.saturating_mul(3);
            output.note(&format!(
                "warning: this makes {files} files, which is slow to write, copy and delete; --sink bundle or tar makes one"
            ));
        }
    }

    fn warn_of_slow_keys(&self, total: u64, output: &mut Output) {
        let per_key = match self.options.key_type {
            KeyType::Rsa2048 => 65,
            KeyType::Rsa3072 => 250,
            KeyType::Rsa4096 => 700,
            _ => return,
        };
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let threads = self.options.threads.map_or(cores, NonZeroUsize::get) as u64;
        let seconds = total.saturating_mul(per_key) / threads / 1000;
        if seconds >= 10 {
            let estimate = humantime(seconds);
            output.note(&format!(
                "warning: {total} RSA keys take about {estimate} on {threads} threads; P-256 keys take seconds"
            ));
        }
    }

    pub(crate) fn run(
        &self,
        requests: impl Iterator<Item = IssueRequest> + Send,
        total: u64,
        output: &mut Output,
    ) -> Result<JobEnd, Failure> {
        self.run_from(requests, total, &Origins::default(), output)
    }

    /// The same; what is refused is told with its origin.
    pub(crate) fn run_from(
        &self,
        requests: impl Iterator<Item = IssueRequest> + Send,
        total: u64,
        origins: &Origins,
        output: &mut Output,
    ) -> Result<JobEnd, Failure> {
        // The CA first: without it no store is begun.
        let ca = CertificateAuthority::open_with(self.ca, &mut |asked_for| self.unlock.ask(asked_for))?;
        self.warn_of_many_files(total, output);
        self.warn_of_slow_keys(total, output);
        check_options(&ca, &self.options)?;
        if let Some(end) = ca.earlier_end(self.options.lifetime(), self.options.now) {
            output.note(&format!("note: {end}"));
        }
        let mut store = match self.with_chain {
            true => IssuedStore::open_with_chain(&ca, self.out, self.sink)?,
            false => IssuedStore::open(&ca, self.out, self.sink)?,
        };
        if store.dropped_rows() > 0 {
            let count = store.dropped_rows();
            output.note(&format!(
                "warning: {} incomplete on the disk, to be made again",
                counted(count, "certificate")
            ));
        }
        let interrupt = Interrupt::listen();
        let stop = interrupt.clone();
        let requests = requests.take_while(|_| !stop.is_wanted());
        let mut teller = Teller::new(total, origins, output);
        let mut refused = HashSet::new();
        let mut summary = issue_batch(&ca, &self.options, requests, &mut store, &mut |issued| {
            if self.keeps_refused && matches!(issued.outcome, Outcome::Refused(_)) {
                refused.insert(issued.identity.clone());
            }
            teller.tell(issued);
        })?;
        summary.refused += teller.finish();
        if summary.refused > 0 && summary.issued + summary.already_there == 0 {
            store.has_refused_all();
        }
        if output.is_text() && total != 1 {
            // An output that would have nothing but refusals is not begun.
            let has_list = summary.refused == 0 || summary.issued + summary.already_there > 0;
            output.record(&SummaryRecord::new(summary, has_list.then(|| store.list_path())));
        }
        if interrupt.is_wanted() && summary.issued + summary.already_there + summary.refused < total {
            return Ok(JobEnd { exit: Exit::Interrupted, refused });
        }
        Ok(JobEnd { exit: Exit::finished(summary.refused == 0), refused })
    }
}

/// Tells what became of each request.
struct Teller<'a> {
    origins: &'a Origins,
    output: &'a mut Output,
    progress: Progress,
    total: u64,
    /// The number of refused files, which had no request that could be used.
    refused_files: u64,
    not_copied: NotCopied,
}

/// The parts of requests that are not copied into certificates.
#[derive(Default)]
struct NotCopied {
    requests: u64,
    /// The number of requests that asked for each part.
    wishes: BTreeMap<String, u64>,
}

impl NotCopied {
    fn count(&mut self, wishes: &[String]) {
        self.requests += u64::from(!wishes.is_empty());
        wishes.iter().for_each(|wish| *self.wishes.entry(wish.clone()).or_default() += 1);
    }

    fn tell(&self, output: &mut Output) {
        if self.requests == 0 {
            return;
        }
        let wishes: Vec<_> = self.wishes.iter().map(|(wish, count)| format!("{wish} ({count})")).collect();
        output.note(&format!(
            "note: {} of the requests asked for more than a name and a key, which is not copied into certificates: \
             {}; `--format csv` shows for each what (column not_copied)",
            self.requests,
            wishes.join(", ")
        ));
    }
}

impl<'a> Teller<'a> {
    fn new(total: u64, origins: &'a Origins, output: &'a mut Output) -> Self {
        Self {
            origins,
            output,
            progress: Progress::of_many("issuing", "certificates", total),
            total,
            refused_files: 0,
            not_copied: NotCopied::default(),
        }
    }

    fn tell(&mut self, issued: &Issued) {
        let (refused, origin) = self.origins.next();
        self.tell_refused(refused);
        self.output.progress(&self.progress);
        self.not_copied.count(&issued.not_copied);
        if let Outcome::Refused(refusal) = &issued.outcome {
            let subject = match &origin {
                Some(origin) => format!("{origin}: {}", issued.identity),
                None => issued.identity.to_string(),
            };
            self.progress.suspend(|| self.output.refused(&subject, refusal));
        }
        if !self.output.is_text() || self.total == 1 {
            self.output.record(&IdentityRecord::new(issued, origin));
        }
    }

    fn tell_refused(&mut self, refused: Vec<RefusedFile>) {
        for file in refused {
            self.refused_files += 1;
            self.output.progress(&self.progress);
            let mut subject = ShownPath(&file.file).to_string();
            if let Some(identity) = &file.identity {
                subject.push_str(&format!(": {identity}"));
            }
            self.progress.suspend(|| self.output.refused(&subject, &file.refusal));
            if !self.output.is_text() {
                self.output.record(&IdentityRecord::refused_file(&file));
            }
        }
    }

    /// Tells what comes behind the last request, and answers how many files were refused in all.
    fn finish(mut self) -> u64 {
        let (refused, _) = self.origins.next();
        self.tell_refused(refused);
        self.not_copied.tell(self.output);
        self.refused_files
    }
}

fn humantime(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} seconds"),
        120..=7199 => format!("{} minutes", seconds / 60),
        _ => format!("{} hours", seconds / 3600),
    }
}

/// From here on folders are worth a warning.
const MANY_FOLDERS: u64 = 10_000;

#[derive(Debug, Serialize)]
struct SummaryRecord {
    issued: u64,
    already_there: u64,
    refused: u64,
    list: Option<String>,
}

impl SummaryRecord {
    fn new(summary: IssueSummary, list: Option<PathBuf>) -> Self {
        let IssueSummary { issued, already_there, refused } = summary;
        Self { issued, already_there, refused, list: list.map(|list| list.to_string_lossy().into_owned()) }
    }
}

impl fmt::Display for SummaryRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issued, already_there, refused, list } = self;
        write!(f, "{issued} issued, {already_there} already there, {refused} refused")?;
        list.iter().try_for_each(|list| write!(f, ": {}", ShownBare(list)))
    }
}

//! What `plan`, `apply` and `verify` begin with: a batch that goes into a ledger as a run.

use std::path::Path;
use std::sync::Arc;

use batch_file::Problem;
use hub_types::identity::Status;

use super::args::{BatchArgs, JobArgs};
use super::failure::{Exit, Failure};
use super::printer::Printer;
use super::progress::Progress;
use crate::batch::{BatchSink, LoadOptions, Loaded, MissingCertificates, count_errors, load};
use crate::clock::now_text;
use crate::desired::DesiredIdentity;
use crate::hub::HubClient;
use crate::issue::find_issued;
use crate::ledger::{
    Credential, Ledger, LedgerError, Loader, RowFilter, RunFacts, RunId, RunOptions, SharedLedger, Taken,
};
use crate::target::{OpenHub, Target};
use crate::verify::Verify;

/// Puts rows into a ledger and keeps the problems.
struct LedgerSink<'a, 'l> {
    loader: &'a Loader<'l>,
    quarantine: bool,
    problems: Vec<Problem>,
}

impl BatchSink for LedgerSink<'_, '_> {
    fn row(
        &mut self,
        line: u64,
        mut wanted: DesiredIdentity,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError> {
        if self.quarantine && wanted.identity.module().is_none() {
            wanted.state.status = Status::Disabled;
        }
        self.loader.insert(line, &wanted, credentials)
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

/// What becomes of rows as they are loaded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LoadRules {
    /// Every device is wanted disabled.
    pub(super) quarantine: bool,
    /// Bad rows are left out.
    pub(super) skip_bad_rows: bool,
}

/// Reads the batch into `loader`, and says everything that is wrong with it. Bad rows are an error
/// unless they may be skipped.
pub(super) fn load_into(
    loader: &Loader<'_>,
    args: &BatchArgs,
    certificates: MissingCertificates,
    rules: LoadRules,
    printer: &Printer,
) -> Result<Loaded, Failure> {
    let options = LoadOptions { read: args.read_options(), certificates };
    let mut sink = LedgerSink { loader, quarantine: rules.quarantine, problems: Vec::new() };
    let loaded = load(&args.file, &options, &mut sink)?;
    printer.problems(&sink.problems);
    if loaded.is_unusable || (loaded.bad_rows > 0 && !rules.skip_bad_rows) {
        return Err(not_clean(&args.file, &loaded, &sink.problems));
    }
    for (device, level) in &loaded.levels {
        loader.set_level(device, *level)?;
    }
    Ok(loaded)
}

/// Reads the batch into a temporary ledger, with the thumbprints of the certificates that were
/// issued for it before.
fn load_temporary(
    args: &BatchArgs,
    issued: Option<&Path>,
    printer: &Printer,
) -> Result<(Ledger, RunId, Loaded), Failure> {
    let certificates = match issued {
        Some(_) => MissingCertificates::Issued,
        None => MissingCertificates::Refused,
    };
    let mut ledger = Ledger::open_temporary()?;
    let input = args.file.display().to_string();
    let options = RunOptions::default();
    let facts = RunFacts { hub: "", input: &input, started: &now_text(), options: &options };
    let loader = ledger.load_run(&facts)?;
    let loaded = load_into(&loader, args, certificates, LoadRules::default(), printer)?;
    let run = loader.commit(&loaded.sha256, 0)?;
    if let Some(folder) = issued.filter(|folder| folder.exists()) {
        find_issued(&mut ledger, run, &cert_tool::IssuedList::open(folder)?)?;
    }
    Ok((ledger, run, loaded))
}

/// A batch that is being compared with a hub.
pub(super) struct Comparison {
    pub(super) verify: Verify<HubClient>,
    hub: OpenHub,
    progress: Arc<Progress>,
}

impl Comparison {
    /// Reads the batch and knocks at the hub's door.
    pub(super) async fn open(job: &JobArgs, what: &'static str, printer: &Printer) -> Result<Self, Failure> {
        let target = Target::resolve(job.target.choice(), ".".as_ref())?;
        printer.note(format_args!("hub: {target}"));
        let issued = job.issued.folders().map(|(_, issued)| issued);
        let (ledger, run, loaded) = load_temporary(&job.batch, issued.as_deref(), printer)?;
        let hub = target.open().await?;
        hub.client.probe().await?;
        let progress = Progress::new(what, loaded.rows());
        let verify = Verify {
            hub: hub.client.clone(),
            ledger: SharedLedger::new(ledger),
            run,
            filter: RowFilter::All,
            keys: Arc::new(loaded.keys),
            concurrency: READERS,
            progress: progress.counter(),
        };
        Ok(Self { verify, hub, progress })
    }

    pub(super) async fn close(self) {
        self.progress.finish();
        self.hub.close().await;
    }
}

/// The failure of a batch that is not clean.
fn not_clean(file: &Path, loaded: &Loaded, problems: &[Problem]) -> Failure {
    let text = format!(
        "{} is not clean: {} in {} of {} rows; nothing was sent",
        file.display(),
        counted(count_errors(problems), "problem"),
        loaded.bad_rows,
        loaded.rows()
    );
    Failure::new(Exit::BadInput, text)
}

/// `1 row`, `2 rows`.
pub(super) fn counted(count: impl TryInto<u64>, what: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}

/// Twins that are read at once: enough to keep two cores busy, few enough for any hub.
pub(super) const READERS: usize = 8;

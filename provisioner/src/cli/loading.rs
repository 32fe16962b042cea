//! The common start of `plan`, `apply` and `verify`: a batch is loaded into a ledger as a run.

use std::path::{Path, PathBuf};

use batch_file::{Problem, ReadOptions};
use cert_tool::{IssuedList, IssuedStore};
use hub_types::IdentityId;
use hub_types::thumbprint::upper_hex;
use sha2::{Digest, Sha256};

use super::args::{BatchFile, JobArgs, RulesArgs};
use super::failure::{Exit, Failure};
use super::printer::Printer;
use super::problem_limit::ProblemLimit;
use crate::batch::{BatchSink, CertificateSource, LoadOptions, Loaded, load};
use crate::clock::now_text;
use crate::ledger::{
    Credential, Ledger, LedgerError, LedgerLocation, Loader, NotStorable, Operator, RunFacts, RunId,
    RunOptions, SharedLedger, Taken,
};
use crate::model::holds::Holds;
use crate::model::spec::IdentitySpec;
use crate::run::issue::find_issued;
use crate::target::{OpenHub, Target};

/// Puts rows into a ledger and says what is wrong with others.
pub(super) struct LedgerSink<'a, 'l> {
    loader: &'a Loader<'l>,
    /// The ledger that knows the owners of credentials, if it is not the loader's.
    owners: Option<&'a mut Ledger>,
    quarantine: bool,
    printer: &'a Printer,
    /// Hashes the specifications, row by row, if this was requested.
    hasher: Option<Sha256>,
    limit: ProblemLimit,
    /// The folder that certificates are issued to, where some are.
    store: Option<&'a IssuedStore>,
    elsewhere: Result<Option<Elsewhere>, cert_tool::Error>,
}

/// Certificates of the batch that are in another folder than the one that is to have them.
struct Elsewhere {
    folder: PathBuf,
    first: IdentityId,
    count: u64,
}

impl<'a, 'l> LedgerSink<'a, 'l> {
    pub(super) fn new(loader: &'a Loader<'l>, rules: LoadRules, printer: &'a Printer) -> Self {
        let quarantine = rules.quarantine;
        let limit = ProblemLimit::default();
        Self {
            loader,
            owners: None,
            quarantine,
            printer,
            hasher: None,
            limit,
            store: None,
            elsewhere: Ok(None),
        }
    }

    /// Asks this ledger whose credentials are.
    fn owned_by(self, owners: Option<&'a mut Ledger>) -> Self {
        Self { owners, ..self }
    }

    /// Makes sure that certificates that are there are in this folder.
    pub(super) fn issuing_to(self, store: Option<&'a IssuedStore>) -> Self {
        Self { store, ..self }
    }

    /// Hashes the specifications.
    pub(super) fn hashing(self) -> Self {
        Self { hasher: Some(Sha256::new()), ..self }
    }

    /// Notes that the certificate of an identity is in another folder, where it is.
    fn look_elsewhere(&mut self, spec: &IdentitySpec) {
        let Some(store) = self.store.filter(|_| spec.state.auth.is_to_be_issued()) else { return };
        let Ok(elsewhere) = &mut self.elsewhere else { return };
        match store.folder_elsewhere(&spec.identity) {
            Ok(Some(folder)) => {
                let first = || Elsewhere { folder, first: spec.identity.clone(), count: 0 };
                elsewhere.get_or_insert_with(first).count += 1;
            }
            Ok(None) => {}
            Err(error) => self.elsewhere = Err(error),
        }
    }
}

impl From<Elsewhere> for Failure {
    fn from(Elsewhere { folder, first, count }: Elsewhere) -> Self {
        let folder = folder.display();
        let text = format!(
            "{} of this batch, the first of them `{first}`, are in another folder already: `{folder}`; nothing was \
             issued and nothing was sent",
            counted(count, "certificate")
        );
        Self::new(Exit::BadInput, text).hint(format!(
            "name that folder with `--out {folder}`; new certificates for units that have some are made by `cert-tool \
             renew` and brought in by `provisioner rotate`"
        ))
    }
}

impl BatchSink for LedgerSink<'_, '_> {
    fn row(
        &mut self,
        line: u64,
        mut spec: IdentitySpec,
        credentials: &[Credential],
    ) -> Result<Option<Taken>, LedgerError> {
        if self.quarantine && spec.identity.module().is_none() {
            spec.state.quarantine();
        }
        if let Some(hasher) = &mut self.hasher {
            let hash = spec.state.hash().map_err(NotStorable::from)?;
            hasher.update(format!("{line}\t{}\t{hash}\n", spec.identity));
        }
        self.look_elsewhere(&spec);
        if let Some(ledger) = &mut self.owners
            && let Some(taken) = ledger.first_taken(&spec.identity, credentials)?
        {
            return Ok(Some(taken));
        }
        self.loader.insert(line, &spec, credentials)
    }

    fn problem(&mut self, problem: Problem) {
        if self.limit.shows(&problem) {
            self.printer.note(problem);
        }
    }
}

/// The rules for rows while they are loaded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LoadRules {
    /// Every device is kept disabled until it is released.
    pub(super) quarantine: bool,
    /// Bad rows are left out.
    pub(super) skip_bad_rows: bool,
    /// The files that rows name are noted.
    pub(super) note_files: bool,
}

impl From<&RulesArgs> for LoadRules {
    fn from(args: &RulesArgs) -> Self {
        Self { quarantine: args.quarantine, skip_bad_rows: args.skip_bad_rows, ..Self::default() }
    }
}

/// Reads the batch into `loader`, and says everything that is wrong with it. Bad rows are an error
/// unless they may be skipped.
pub(super) fn load_into(
    loader: &Loader<'_>,
    batch: &BatchFile,
    certificates: CertificateSource,
    store: Option<&IssuedStore>,
    rules: LoadRules,
    printer: &Printer,
) -> Result<Loaded, Failure> {
    let sink = LedgerSink::new(loader, rules, printer).issuing_to(store);
    Ok(load_to(sink, batch, certificates, rules)?.0)
}

/// The same, and answers the SHA-256 over the specifications of all identities, as upper-case hex: it changes
/// with the files that rows name, too. `owners` is the ledger that knows whose credentials are, where that is
/// not the loader's own.
pub(super) fn load_for_plan(
    loader: &Loader<'_>,
    owners: Option<&mut Ledger>,
    batch: &BatchFile,
    certificates: CertificateSource,
    rules: LoadRules,
    printer: &Printer,
) -> Result<(Loaded, String), Failure> {
    let sink = LedgerSink::new(loader, rules, printer).owned_by(owners).hashing();
    load_to(sink, batch, certificates, rules)
}

/// Reads the batch into a sink; see [`load_into`] and [`load_for_plan`].
pub(super) fn load_to(
    mut sink: LedgerSink<'_, '_>,
    batch: &BatchFile,
    certificates: CertificateSource,
    rules: LoadRules,
) -> Result<(Loaded, String), Failure> {
    let options = LoadOptions {
        read: batch.read.clone(),
        certificates,
        note_files: rules.note_files,
        check_only: false,
    };
    let loaded = load(&batch.path, &options, &mut sink)?;
    if let Some(left_out) = sink.limit.summary() {
        sink.printer.note(format_args!("{}: {left_out}", batch.path.display()));
    }
    if loaded.is_unusable || (loaded.bad_rows > 0 && !rules.skip_bad_rows) {
        return Err(not_clean(&batch.path, &loaded));
    }
    if let Some(elsewhere) = sink.elsewhere? {
        return Err(elsewhere.into());
    }
    for (device, level) in &loaded.levels {
        sink.loader.set_level(device, *level)?;
    }
    let digest = sink.hasher.map(|hasher| upper_hex(&hasher.finalize()));
    Ok((loaded, digest.unwrap_or_default()))
}

/// A batch in a temporary ledger.
pub(super) struct Temporary {
    pub(super) ledger: Ledger,
    pub(super) run: RunId,
    pub(super) loaded: Loaded,
    /// See [`load_for_plan`].
    wanted_sha256: String,
    /// The certificates that were issued for it before, which are not looked at yet.
    pub(super) issued: Option<IssuedList>,
    /// The batch itself.
    batch: BatchFile,
}

impl Temporary {
    /// See [`load_for_plan`].
    pub(super) fn load(
        job: &JobArgs,
        rules: LoadRules,
        owners: Option<&mut Ledger>,
        printer: &Printer,
    ) -> Result<Self, Failure> {
        let issued = job.issued.folders().map(|(_, issued)| issued);
        let certificates = match issued {
            Some(_) => CertificateSource::Issued,
            None => CertificateSource::Given,
        };
        let mut ledger = Ledger::open_temporary()?;
        let batch = job.batch.resolve()?;
        let loader = load_temporary(&mut ledger, &batch.path)?;
        let (loaded, wanted_sha256) = load_for_plan(&loader, owners, &batch, certificates, rules, printer)?;
        let run = loader.commit(&loaded.sha256, loaded.bad_rows)?;
        let issued = issued.filter(|folder| folder.exists());
        let issued = issued.as_deref().map(IssuedList::open).transpose()?;
        Ok(Self { ledger, run, loaded, wanted_sha256, issued, batch })
    }

    /// The CA that issued certificates for the batch, for a hub to know devices by. What `cert-tool issue`
    /// writes is a batch itself, and the CA's certificate lies beside it.
    pub(super) fn device_cas(&self) -> Vec<PathBuf> {
        let issuing = self.issued.as_ref().map(IssuedList::issuing_certificate_path);
        let folder = || self.batch.path.parent().unwrap_or_else(|| Path::new(""));
        let issuing = issuing.unwrap_or_else(|| folder().join("issuing.pem"));
        Some(issuing).filter(|path| path.exists()).into_iter().collect()
    }
}

/// Begins a run that nobody will work on.
pub(super) fn load_temporary<'l>(ledger: &'l mut Ledger, batch: &Path) -> Result<Loader<'l>, LedgerError> {
    let input = batch.display().to_string();
    let (options, by) = (RunOptions::default(), Operator::default());
    ledger.load_run(&RunFacts { hub: "", input: &input, started: &now_text(), by: &by, options: &options })
}

/// The options of a run of the batch, in addition to its rows.
pub(super) fn run_options(job: &JobArgs, rules: &RulesArgs, read: &ReadOptions) -> RunOptions {
    RunOptions {
        alteration: None,
        rules: rules.rules(),
        created_by_tag: rules.created_by_tag.clone(),
        issue: job.issued.folders(),
        quarantine: rules.quarantine,
        map: read.map.clone(),
        id_pattern: read.id_pattern.clone(),
        plan: None,
    }
}

/// A batch in a temporary ledger, and the hub that it is compared with.
pub(super) struct Compared {
    pub(super) hub: OpenHub,
    pub(super) holds: Holds,
    pub(super) ledger: SharedLedger,
    pub(super) run: RunId,
    pub(super) loaded: Loaded,
    /// The options with which the batch was read.
    pub(super) read: ReadOptions,
    /// See [`load_for_plan`].
    pub(super) wanted_sha256: String,
}

impl Compared {
    /// Reads the batch and knocks at the hub's door. Rows with a credential that another identity has, as
    /// the ledger at `owners` knows, are bad.
    pub(super) async fn open(
        job: &JobArgs,
        rules: LoadRules,
        owners: &LedgerLocation,
        printer: &Printer,
    ) -> Result<Self, Failure> {
        let target = Target::resolve(job.target.choice(), ".".as_ref())?;
        printer.hub(&target);
        let mut owners = open_owners(owners)?;
        let Temporary { mut ledger, run, loaded, wanted_sha256, issued, batch } =
            Temporary::load(job, rules, owners.as_mut(), printer)?;
        if let Some(list) = &issued {
            find_issued(&mut ledger, run, list)?;
        }
        let hub = target.open().await?;
        hub.client.probe().await?;
        let holds = Holds::new(owners.map(SharedLedger::new), &hub.name);
        Ok(Self {
            hub,
            holds,
            ledger: SharedLedger::new(ledger),
            run,
            loaded,
            read: batch.read,
            wanted_sha256,
        })
    }
}

/// The ledger that knows whose credentials are, where there is one yet.
pub(super) fn open_owners(location: &LedgerLocation) -> Result<Option<Ledger>, LedgerError> {
    match Ledger::open_to_read(location) {
        Err(LedgerError::Missing { .. }) => Ok(None),
        opened => opened.map(Some),
    }
}

/// The failure of a batch that is not clean.
fn not_clean(file: &Path, loaded: &Loaded) -> Failure {
    let mut text = format!("{} is not clean: {}", file.display(), counted(loaded.errors, "problem"));
    if loaded.bad_rows > 0 {
        text.push_str(&format!(" in {} of {} rows", loaded.bad_rows, loaded.rows()));
    }
    text.push_str("; nothing was sent");
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

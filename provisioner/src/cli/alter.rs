//! `retire`, `release` and `rotate`: what becomes of identities after their batch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cert_tool::IssuedList;

use super::args::{AlterArgs, ReleaseArgs, RetireArgs, RotateArgs, TargetArgs};
use super::context::ResultContext;
use super::failure::{Exit, Failure};
use super::order::Order;
use super::printer::Printer;
use super::work::Job;
use super::{alter_run, dry_run};
use crate::batch::{
    BatchChoice, BatchFile, CertificateSource, Discard, LoadOptions, LoadRules, TemporaryRun, find_issued,
    load, open_issued, open_owners,
};
use crate::device::{CredentialSource, default_concurrency};
use crate::ledger::{IssueFolders, Ledger, LedgerLocation, RowFilter, RunId, RunOptions};
use crate::maintain::change::Maintenance;
use crate::maintain::{CertificateCheck, connect_check};
use crate::model::observer::RunObserver;
use crate::target::{OpenHub, Target};

pub(super) async fn retire(
    args: &RetireArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let work = AlterBatch {
        maintenance: args.maintenance(),
        batch: args.batch.choice().resolve(".".as_ref())?,
        issue: None,
        // Whoever retires a unit need not know its certificate.
        certificates: CertificateSource::Ignored,
        skip_bad_rows: args.skip_bad_rows,
        mqtt: None,
        how: &args.how,
        target: &args.target,
    };
    work.begin(location, printer).await
}

pub(super) async fn rotate(
    args: &RotateArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let issue = args.job.issued.folders();
    let work = AlterBatch {
        maintenance: args.maintenance(),
        batch: args.job.batch.choice().resolve(".".as_ref())?,
        certificates: CertificateSource::of(issue.is_some()),
        issue,
        skip_bad_rows: args.skip_bad_rows,
        mqtt: args.mqtt.clone(),
        how: &args.how,
        target: &args.job.target,
    };
    work.begin(location, printer).await
}

/// A maintenance operation on a batch of existing identities.
struct AlterBatch<'a> {
    maintenance: Maintenance,
    batch: BatchFile,
    /// The CA, and the folder with its certificates.
    issue: Option<IssueFolders>,
    certificates: CertificateSource,
    skip_bad_rows: bool,
    /// The hub's address for devices, if it is not the standard one.
    mqtt: Option<(String, u16)>,
    how: &'a AlterArgs,
    target: &'a TargetArgs,
}

impl AlterBatch<'_> {
    async fn begin(self, location: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
        let target = Target::resolve(self.target.choice(), ".".as_ref())?;
        printer.hub(&target, target.is_test_hub());
        match self.how.dry_run {
            true => self.preview(target, location, printer).await,
            false => self.carry_out(target, location, printer).await,
        }
    }

    fn options(&self) -> RunOptions {
        RunOptions {
            maintenance: Some(self.maintenance.clone()),
            issue: self.issue.clone(),
            map: self.batch.read.map.clone(),
            id_pattern: self.batch.read.id_pattern.clone(),
            ..RunOptions::default()
        }
    }

    fn rules(&self) -> LoadRules {
        LoadRules { skip_bad_rows: self.skip_bad_rows, ..LoadRules::default() }
    }

    async fn preview(
        self,
        target: Target,
        location: &LedgerLocation,
        printer: &Printer,
    ) -> Result<Exit, Failure> {
        let mut owners = open_owners(location)?;
        let TemporaryRun { mut ledger, run, loaded, .. } =
            TemporaryRun::load(&self.batch, self.certificates, self.rules(), owners.as_mut(), printer)?;
        note_issued(&self.options(), &mut ledger, run)?;
        let rows = ledger.rows(run, RowFilter::All);
        let context = ResultContext::of_hub(target.label()).ledger(location).input(&self.batch.path);
        let counts = (loaded.devices + loaded.modules, loaded.bad_rows);
        dry_run::show(target, owners, self.maintenance, rows, counts, context, printer).await
    }

    async fn carry_out(
        self,
        target: Target,
        location: &LedgerLocation,
        printer: &Printer,
    ) -> Result<Exit, Failure> {
        let order = Order {
            batch: self.batch.clone(),
            options: self.options(),
            rules: self.rules(),
            certificates: self.certificates,
            plan: None,
            store: None,
        };
        let mut ledger = Ledger::open(location)?;
        let (hub, run, _) = order.begin(target, &self.how.work, &mut ledger, printer).await?;
        note_issued(&order.options, &mut ledger, run)?;
        let batch = order.batch.path;
        let certificate_check = match proof_of(&order.options, Some(&batch), &hub, self.mqtt) {
            Ok(certificate_check) => certificate_check,
            Err(failure) => {
                hub.close().await;
                return Err(failure);
            }
        };
        let job = Job { certificate_check, ..job(hub, Some(batch), self.how, printer) };
        job.carry_out(ledger, location, run).await
    }
}

/// Puts the thumbprints of what was issued into the rows of an alteration that have none yet: again, where
/// a run was cut off before it came to that.
pub(super) fn note_issued(options: &RunOptions, ledger: &mut Ledger, run: RunId) -> Result<(), Failure> {
    let folders =
        options.issue.as_ref().filter(|folders| options.maintenance.is_some() && folders.out.exists());
    match folders {
        Some(folders) => Ok(find_issued(ledger, run, &IssuedList::open(&folders.out)?)?),
        None => Ok(()),
    }
}

/// The proof that units can connect with their new certificates, if a run requires one. The files
/// are found through the run's batch, and in the folder of issued certificates.
pub(super) fn proof_of(
    options: &RunOptions,
    batch: Option<&Path>,
    hub: &OpenHub,
    elsewhere: Option<(String, u16)>,
) -> Result<Option<CertificateCheck>, Failure> {
    if !options.needs_connect_check() {
        return Ok(None);
    }
    let load_options = LoadOptions {
        read: options.read_options(),
        certificates: CertificateSource::Ignored,
        note_files: true,
        check_only: false,
    };
    let files = match batch {
        Some(batch) => load(batch, &load_options, &mut Discard)?.files,
        None => None,
    };
    let issued = open_issued(options.issue.as_ref().map(|folders| &folders.out))?;
    let credentials = CredentialSource { files, issued, ..CredentialSource::default() };
    Ok(Some(connect_check(hub.for_devices(elsewhere)?, credentials, default_concurrency())))
}

pub(super) async fn release(
    args: &ReleaseArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    match (&args.file, args.run) {
        (Some(file), _) => {
            let work = AlterBatch {
                maintenance: Maintenance::Release { run: None },
                batch: BatchChoice {
                    file: file.clone(),
                    map: args.map.clone(),
                    id_pattern: args.id_pattern.clone(),
                }
                .resolve(".".as_ref())?,
                issue: None,
                certificates: CertificateSource::Ignored,
                skip_bad_rows: args.skip_bad_rows,
                mqtt: None,
                how: &args.how,
                target: &args.target,
            };
            work.begin(location, printer).await
        }
        (None, Some(run)) => alter_run::release(run, &args.how, &args.target, location, printer).await,
        (None, None) => Err(Failure::new(Exit::BadInput, "neither a file nor a run is named")
            .hint("name the devices in a file, or the run that disabled them with `--run N`")),
    }
}

pub(super) fn job<'a>(
    hub: OpenHub,
    batch: Option<PathBuf>,
    how: &'a AlterArgs,
    printer: &'a Printer,
) -> Job<'a> {
    let (args, verify) = (&how.work, !how.no_verify);
    Job {
        hub,
        keys: Arc::default(),
        batch,
        certificates: None,
        certificate_check: None,
        args,
        verify,
        printer,
    }
}

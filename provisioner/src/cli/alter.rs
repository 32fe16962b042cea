//! `retire`, `rotate` and `undo`: what becomes of identities after their batch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use batch_file::ReadOptions;
use cert_tool::IssuedList;

use super::args::{AlterArgs, BatchArgs, RetireArgs, RotateArgs, TargetArgs, UndoArgs};
use super::context::ResultContext;
use super::dry_run;
use super::failure::{Exit, Failure};
use super::loading::{LoadRules, counted, load_for_plan, load_temporary, open_owners};
use super::order::{LOADED_AGAIN, Order};
use super::printer::Printer;
use super::resume::target_of;
use super::work::Job;
use crate::alter::{Proof, by_connecting};
use crate::alteration::Alteration;
use crate::batch::{CertificateSource, Discard, LoadOptions, load};
use crate::clock::now_text;
use crate::connect::{CredentialSource, default_concurrency};
use crate::issue::find_issued;
use crate::ledger::{
    Ledger, LedgerError, LedgerLocation, LedgerRow, Operator, RowFilter, Run, RunFacts, RunId, RunOptions,
    Totals,
};
use crate::target::{OpenHub, Target};

pub(super) async fn retire(
    args: &RetireArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let work = AlterBatch {
        alteration: args.alteration(),
        batch: &args.batch,
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
        alteration: args.alteration(),
        batch: &args.job.batch,
        certificates: match issue {
            Some(_) => CertificateSource::Issued,
            None => CertificateSource::Given,
        },
        issue,
        skip_bad_rows: args.skip_bad_rows,
        mqtt: args.mqtt.clone(),
        how: &args.how,
        target: &args.job.target,
    };
    work.begin(location, printer).await
}

/// What is to be done with a batch of identities that are there.
struct AlterBatch<'a> {
    alteration: Alteration,
    batch: &'a BatchArgs,
    /// The CA, and the folder with its certificates.
    issue: Option<(PathBuf, PathBuf)>,
    certificates: CertificateSource,
    skip_bad_rows: bool,
    /// Where the hub listens for devices, where that is not its usual port.
    mqtt: Option<(String, u16)>,
    how: &'a AlterArgs,
    target: &'a TargetArgs,
}

impl AlterBatch<'_> {
    async fn begin(self, location: &LedgerLocation, printer: &Printer) -> Result<Exit, Failure> {
        let target = Target::resolve(self.target.choice(), ".".as_ref())?;
        printer.hub(&target);
        match self.how.dry_run {
            true => self.preview(target, location, printer).await,
            false => self.carry_out(target, location, printer).await,
        }
    }

    fn options(&self) -> RunOptions {
        RunOptions {
            alteration: Some(self.alteration.clone()),
            issue: self.issue.clone(),
            map: self.batch.map.clone(),
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
        let (mut owners, mut ledger) = (open_owners(location)?, Ledger::open_temporary()?);
        let loader = load_temporary(&mut ledger, &self.batch.file)?;
        let (owners, rules) = (owners.as_mut(), self.rules());
        let (loaded, _) = load_for_plan(&loader, owners, self.batch, self.certificates, rules, printer)?;
        let run = loader.commit(&loaded.sha256, loaded.bad_rows)?;
        note_issued(&self.options(), &mut ledger, run)?;
        let rows = ledger.rows(run, RowFilter::All);
        let context = ResultContext::of_target(&target).ledger(location).input(&self.batch.file);
        let counts = (loaded.devices + loaded.modules, loaded.bad_rows);
        dry_run::show(target, self.alteration, rows, counts, context, printer).await
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
        };
        let mut ledger = Ledger::open(location)?;
        let (hub, run, _) = order.begin(target, &self.how.work, &mut ledger, printer).await?;
        note_issued(&order.options, &mut ledger, run)?;
        let batch = order.batch.file;
        let proof = match proof_of(&order.options, Some(&batch), &hub, self.mqtt) {
            Ok(proof) => proof,
            Err(failure) => {
                hub.close().await;
                return Err(failure);
            }
        };
        let job = Job { proof, ..job(hub, Some(batch), self.how, printer) };
        job.carry_out(ledger, location, run).await
    }
}

/// Puts the thumbprints of what was issued into the rows of an alteration that have none yet: again, where
/// a run was cut off before it came to that.
pub(super) fn note_issued(options: &RunOptions, ledger: &mut Ledger, run: RunId) -> Result<(), Failure> {
    let issued = options.issue.as_ref().filter(|(_, issued)| options.alteration.is_some() && issued.exists());
    match issued {
        Some((_, issued)) => Ok(find_issued(ledger, run, &IssuedList::open(issued)?)?),
        None => Ok(()),
    }
}

/// What shows that units are let in with their new certificates, where a run must be shown it. The files
/// are found through the run's batch, and in the folder of what was issued.
pub(super) fn proof_of(
    options: &RunOptions,
    batch: Option<&Path>,
    hub: &OpenHub,
    elsewhere: Option<(String, u16)>,
) -> Result<Option<Proof>, Failure> {
    if !options.needs_proof() {
        return Ok(None);
    }
    let load_options = LoadOptions {
        read: ReadOptions { map: options.map.clone() },
        certificates: CertificateSource::Ignored,
        note_files: true,
    };
    let files = match batch {
        Some(batch) => load(batch, &load_options, &mut Discard)?.files,
        None => None,
    };
    let issued = options.issue.as_ref().filter(|(_, issued)| issued.exists());
    let issued = issued.map(|(_, issued)| IssuedList::open(issued)).transpose()?;
    let credentials = CredentialSource { files, issued, ..CredentialSource::default() };
    Ok(Some(by_connecting(hub.for_devices(elsewhere)?, credentials, default_concurrency())))
}

pub(super) async fn undo(
    args: &UndoArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let target = Target::resolve(args.target.choice(), ".".as_ref())?;
    let mut ledger = match args.how.dry_run {
        true => Ledger::open_to_read(location)?,
        false => Ledger::open(location)?,
    };
    let undone = ledger.run(Some(args.run))?;
    let target = target_of(&undone, target)?;
    printer.hub(&target);
    let totals = ledger.totals(undone.id)?;
    describe_undone(&undone, &totals, printer)?;
    if args.how.dry_run {
        let rows = ledger.rows(undone.id, RowFilter::Settled);
        let rows = rows.filter_map(|row| row.map(LedgerRow::to_undo).transpose());
        let undo = Alteration::Undo { run: undone.id };
        let context = ResultContext::of_run(&undone, location);
        return dry_run::show(target, undo, rows, (totals.created, 0), context, printer).await;
    }
    let hub = target.open().await?;
    hub.client.pace().set_patience(args.how.work.patience());
    let run = match hub.client.probe().await {
        Ok(_) => load_undo(&mut ledger, &undone, &args.how.work.operator(), printer),
        Err(error) => Err(error.into()),
    };
    match run {
        Ok(run) => job(hub, None, &args.how, printer).carry_out(ledger, location, run).await,
        Err(failure) => {
            hub.close().await;
            Err(failure)
        }
    }
}

/// Says what of a run an undo takes back; it is an error where that is nothing.
fn describe_undone(run: &Run, totals: &Totals, printer: &Printer) -> Result<(), Failure> {
    printer.note(format_args!("run {}: {}, begun {}", run.id, run.input, run.started));
    if totals.updated > 0 {
        let updated = counted(totals.updated, "row");
        printer.note(format_args!(
            "{updated} that it changed: left alone, for only what it created is taken back"
        ));
    }
    if totals.created == 0 {
        let text = format!("run {} created nothing", run.id);
        return Err(Failure::new(Exit::BadInput, text).hint("`provisioner report` shows what a run did"));
    }
    Ok(())
}

/// Makes a run of all that another one created.
fn load_undo(ledger: &mut Ledger, undone: &Run, by: &Operator, printer: &Printer) -> Result<RunId, Failure> {
    let options =
        RunOptions { alteration: Some(Alteration::Undo { run: undone.id }), ..RunOptions::default() };
    let facts =
        RunFacts { hub: &undone.hub, input: &undone.input, started: &now_text(), by, options: &options };
    let mut load = || {
        let loader = ledger.load_run(&facts)?;
        loader.insert_created_by(undone.id)?;
        loader.commit(&undone.input_sha256, 0)
    };
    loop {
        match load() {
            Err(LedgerError::LoadingBroken { .. }) => printer.note(LOADED_AGAIN),
            loaded => return Ok(loaded?),
        }
    }
}

fn job<'a>(hub: OpenHub, batch: Option<PathBuf>, how: &'a AlterArgs, printer: &'a Printer) -> Job<'a> {
    let (args, verify) = (&how.work, !how.no_verify);
    Job { hub, keys: Arc::default(), batch, certificates: None, proof: None, args, verify, printer }
}

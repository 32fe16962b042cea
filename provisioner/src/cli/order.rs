//! The order for a run: a batch with command line options, or a plan with its own options.

use cert_tool::IssuedStore;
use hub_types::limits::MAX_IDENTITIES_PER_HUB;

use super::args::{ApplyArgs, WorkArgs};
use super::failure::{Exit, Failure};
use super::planned::Planned;
use super::printer::Printer;
use crate::batch::{BatchFile, CertificateSource, LedgerSink, LoadRules, Loaded};
use crate::clock::Timestamp;
use crate::ledger::{Ledger, Loader, RunFacts, RunId, RunOptions};
use crate::model::text::counted;
use crate::plan::PlanFile;
use crate::target::{OpenHub, Target, TargetError};

/// A batch, and what is to be done with it.
pub(super) struct Order<'s> {
    pub(super) batch: BatchFile,
    pub(super) options: RunOptions,
    pub(super) rules: LoadRules,
    /// The source of certificates for rows that need one and name none.
    pub(super) certificates: CertificateSource,
    pub(super) plan: Option<Planned>,
    /// The folder that certificates are issued to, where some are.
    pub(super) store: Option<&'s IssuedStore>,
}

impl<'s> Order<'s> {
    /// The order of an `apply`.
    pub(super) fn to_apply(args: &ApplyArgs, target: &Target) -> Result<Self, Failure> {
        let (batch, options, rules, plan) = if PlanFile::is_one(&args.job.batch.file) {
            let plan = Planned::open(args, target)?;
            (plan.batch(args), plan.options(), plan.rules(), Some(plan))
        } else if args.batch.is_some() {
            let text = format!("`--batch` is for plans, and `{}` is none", args.job.batch.file.display());
            return Err(Failure::new(Exit::BadInput, text).hint("leave it out to apply a batch"));
        } else {
            let batch = args.job.batch.choice().resolve(".".as_ref())?;
            let options = RunOptions {
                map: batch.read.map.clone(),
                id_pattern: batch.read.id_pattern.clone(),
                ..args.rules.run_options(&args.job.issued)
            };
            let rules = LoadRules {
                quarantine: options.quarantine,
                skip_bad_rows: args.rules.skip_bad_rows,
                note_files: false,
            };
            (batch, options, rules, None)
        };
        let certificates = CertificateSource::of(options.issue.is_some());
        Ok(Self { batch, options, rules, certificates, plan, store: None })
    }

    /// The same, with the folder that certificates are issued to.
    pub(super) fn issuing_to(self, store: Option<&'s IssuedStore>) -> Self {
        Self { store, ..self }
    }

    /// Reads the batch and knocks at the hub's door. Only when both are well is there a run.
    pub(super) async fn begin(
        &self,
        target: Target,
        work: &WorkArgs,
        ledger: &mut Ledger,
        printer: &Printer,
    ) -> Result<(OpenHub, RunId, Loaded), Failure> {
        let (name, input) = (target.name(), self.batch.path.display().to_string());
        let by = work.operator();
        let facts = RunFacts {
            hub: &name,
            input: &input,
            started: &Timestamp::now(),
            by: &by,
            options: &self.options,
        };
        let (mut target, mut hub) = (Some(target), None);
        let begun = loop {
            match self.try_to_begin(&mut target, &mut hub, &facts, work, ledger, printer).await {
                Err(failure) if failure.is_broken_load() => printer.note(LOADED_AGAIN),
                begun => break begun,
            }
        };
        match (begun, hub) {
            (Ok((run, loaded)), Some(hub)) => Ok((hub, run, loaded)),
            (Err(failure), Some(hub)) => {
                hub.close().await;
                Err(failure)
            }
            (Err(failure), None) => Err(failure),
            (Ok(_), None) => Err(Failure::new(Exit::Bug, "a run began without its hub")),
        }
    }

    /// Loads the batch and commits it. The hub of the target is opened and asked once, however often a ledger that
    /// breaks off makes this begin anew.
    async fn try_to_begin(
        &self,
        target: &mut Option<Target>,
        hub: &mut Option<OpenHub>,
        facts: &RunFacts<'_>,
        work: &WorkArgs,
        ledger: &mut Ledger,
        printer: &Printer,
    ) -> Result<(RunId, Loaded), Failure> {
        let loader = ledger.load_run(facts)?;
        let loaded = self.load(&loader, printer)?;
        if let Some(target) = target.take() {
            printer.note(format_args!(
                "batch: {}: {}, {}, {}",
                facts.input,
                counted(loaded.rows(), "row"),
                counted(loaded.devices, "device"),
                counted(loaded.modules, "module")
            ));
            let opened = hub.insert(open(target, &self.options).await?);
            opened.client.rate_limiter().set_patience(work.patience());
            let devices = opened.client.probe().await?;
            if self.options.maintenance.is_none() {
                look_for_room(devices, &loaded, printer)?;
            }
        }
        Ok((loader.commit(&loaded.sha256, loaded.bad_rows)?, loaded))
    }

    fn load(&self, loader: &Loader<'_>, printer: &Printer) -> Result<Loaded, Failure> {
        match &self.plan {
            Some(plan) => plan.load(loader, &self.batch, self.certificates, self.store, printer),
            None => {
                let sink = LedgerSink::new(loader, self.rules, printer).issuing_to(self.store);
                Ok(sink.load(&self.batch, self.certificates)?.0)
            }
        }
    }
}

/// Told when a ledger broke off in the middle.
pub(super) const LOADED_AGAIN: &str =
    "the ledger's database broke off while the run was loaded into it: the run is loaded again, whole";

/// Opens the hub of a run; for devices too, where they have to show that they are let in.
pub(super) async fn open(target: Target, options: &RunOptions) -> Result<OpenHub, TargetError> {
    match options.needs_connect_check() {
        // Devices whose thumbprints are known to the hub need no CA.
        true => target.open_for_devices(Vec::new()).await,
        false => target.open().await,
    }
}

/// Refuses a batch that no hub can hold. Whether this hub can depends on how much of the batch is there
/// already, which `plan` knows: counting takes too long to be done each time.
fn look_for_room(devices: u64, loaded: &Loaded, printer: &Printer) -> Result<(), Failure> {
    let (rows, most) = (loaded.devices + loaded.modules, MAX_IDENTITIES_PER_HUB as u64);
    if rows > most {
        let text = format!("{rows} rows are more than the {most} devices and modules that a hub can hold");
        return Err(Failure::new(Exit::BadInput, text).hint("split the batch over several hubs"));
    }
    if devices + rows > most {
        printer.note(format_args!(
            "the hub has {devices} devices and can hold {most} devices and modules: not all of these {rows} rows \
             may be new; `provisioner plan` tells which do not fit"
        ));
    }
    Ok(())
}

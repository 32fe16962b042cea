//! `apply`: make the hub hold what the batch says.

use std::sync::Arc;

use hub_types::limits::MAX_IDENTITIES_PER_HUB;

use super::args::ApplyArgs;
use super::failure::{Exit, Failure};
use super::loading::{LoadRules, counted, load_into, run_options};
use super::planned::Planned;
use super::printer::Printer;
use super::work::{Certificates, Job};
use crate::batch::{Loaded, MissingCertificates};
use crate::clock::now_text;
use crate::ledger::{Ledger, LedgerLocation, Loader, Operator, RunFacts, RunId, RunOptions};
use crate::plan::PlanFile;
use crate::target::{OpenHub, Target};

pub(super) async fn run(
    args: &ApplyArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let target = Target::resolve(args.job.target.choice(), ".".as_ref())?;
    printer.note(format_args!("hub: {target}"));
    let order = Order::of(args, &target)?;
    let certificates =
        Certificates::open(order.options.issue.clone(), &args.unlock.secrets(), &target, printer)?;
    let mut ledger = Ledger::open(location)?;
    let (hub, run, loaded) = order.begin(target, &args.work.operator(), &mut ledger, printer).await?;
    let job = Job {
        hub,
        keys: Arc::new(loaded.keys),
        batch: Some(order.batch.file),
        certificates,
        args: &args.work,
        verify: !args.no_verify,
        printer,
    };
    job.carry_out(ledger, location, run).await
}

/// What is to be applied: a batch with the options that were typed, or a plan with its own.
struct Order {
    batch: super::args::BatchArgs,
    options: RunOptions,
    rules: LoadRules,
    plan: Option<Planned>,
}

impl Order {
    fn of(args: &ApplyArgs, target: &Target) -> Result<Self, Failure> {
        if PlanFile::is_one(&args.job.batch.file) {
            let plan = Planned::open(args, target)?;
            let (batch, options, rules) = (plan.batch(args), plan.options(), plan.rules());
            return Ok(Self { batch, options, rules, plan: Some(plan) });
        }
        if args.batch.is_some() {
            let text = format!("`--batch` is for plans, and `{}` is none", args.job.batch.file.display());
            return Err(Failure::new(Exit::BadInput, text).hint("leave it out to apply a batch"));
        }
        Ok(Self {
            batch: args.job.batch.clone(),
            options: run_options(&args.job, &args.rules),
            rules: LoadRules::from(&args.rules),
            plan: None,
        })
    }

    /// Reads the batch and knocks at the hub's door. Only when both are well is there a run.
    async fn begin(
        &self,
        target: Target,
        by: &Operator,
        ledger: &mut Ledger,
        printer: &Printer,
    ) -> Result<(OpenHub, RunId, Loaded), Failure> {
        let (name, input) = (target.name(), self.batch.file.display().to_string());
        let facts = RunFacts { hub: &name, input: &input, started: &now_text(), by, options: &self.options };
        let loader = ledger.load_run(&facts)?;
        let loaded = self.load(&loader, printer)?;
        printer.note(format_args!(
            "batch: {input}: {}, {}, {}",
            counted(loaded.rows(), "row"),
            counted(loaded.devices, "device"),
            counted(loaded.modules, "module")
        ));
        let hub = target.open().await?;
        let welcome = match hub.client.probe().await {
            Ok(devices) => look_for_room(devices, &loaded, printer),
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = welcome {
            hub.close().await;
            return Err(failure);
        }
        let run = loader.commit(&loaded.sha256, loaded.bad_rows)?;
        Ok((hub, run, loaded))
    }

    fn load(&self, loader: &Loader<'_>, printer: &Printer) -> Result<Loaded, Failure> {
        let certificates = match self.options.issue {
            Some(_) => MissingCertificates::Issued,
            None => MissingCertificates::Refused,
        };
        match &self.plan {
            Some(plan) => plan.load(loader, &self.batch, certificates, printer),
            None => load_into(loader, &self.batch, certificates, self.rules, printer),
        }
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

//! `apply`: make the hub hold what the batch says.

use std::sync::Arc;

use super::args::ApplyArgs;
use super::failure::{Exit, Failure};
use super::loading::{LoadRules, counted, load_into};
use super::printer::Printer;
use super::work::{Certificates, Job};
use crate::batch::{Loaded, MissingCertificates};
use crate::clock::now_text;
use crate::ledger::{Ledger, LedgerLocation, RunFacts, RunId, RunOptions};
use crate::lifecycle::Intent;
use crate::target::{OpenHub, Target};

pub(super) async fn run(
    args: &ApplyArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let target = Target::resolve(args.job.target.choice(), ".".as_ref())?;
    printer.note(format_args!("hub: {target}"));
    let certificates = Certificates::open(args.job.issued.folders(), &target, printer)?;
    let mut ledger = Ledger::open(location)?;
    let (hub, run, loaded) = begin(args, target, &mut ledger, certificates.is_some(), printer).await?;
    let job = Job {
        hub,
        keys: Arc::new(loaded.keys),
        batch: Some(args.job.batch.file.clone()),
        certificates,
        args: &args.work,
        verify: !args.no_verify,
        printer,
    };
    job.carry_out(ledger, location, run).await
}

/// Reads the batch and knocks at the hub's door. Only when both are well is there a run.
async fn begin(
    args: &ApplyArgs,
    target: Target,
    ledger: &mut Ledger,
    issues: bool,
    printer: &Printer,
) -> Result<(OpenHub, RunId, Loaded), Failure> {
    let (name, input) = (target.name(), args.job.batch.file.display().to_string());
    let options = RunOptions {
        intent: Intent { mode: args.mode, twin: args.twin },
        created_by_tag: args.created_by_tag.clone(),
        issue: args.job.issued.folders(),
        map: args.job.batch.map.clone(),
    };
    let facts = RunFacts { hub: &name, input: &input, started: &now_text(), options: &options };
    let loader = ledger.load_run(&facts)?;
    let rules = LoadRules { quarantine: args.quarantine, skip_bad_rows: args.skip_bad_rows };
    let certificates = if issues { MissingCertificates::Issued } else { MissingCertificates::Refused };
    let loaded = load_into(&loader, &args.job.batch, certificates, rules, printer)?;
    printer.note(format_args!(
        "batch: {input}: {}, {}, {}",
        counted(loaded.rows(), "row"),
        counted(loaded.devices, "device"),
        counted(loaded.modules, "module")
    ));
    let hub = target.open().await?;
    if let Err(error) = hub.client.probe().await {
        hub.close().await;
        return Err(error.into());
    }
    let run = loader.commit(&loaded.sha256, loaded.bad_rows)?;
    Ok((hub, run, loaded))
}

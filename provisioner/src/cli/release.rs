//! `release`: enable again what runs have disabled.

use cli_support::exit::Exit;

use super::args::ReleaseArgs;
use super::failure::Failure;
use super::maintain;
use super::printer::Printer;
use crate::batch::{BatchChoice, CertificateSource};
use crate::ledger::LedgerLocation;
use crate::model::maintenance::Maintenance;
use crate::run::{BatchChangeRequest, MaintainRequest, RunChange, RunChangeRequest};

pub(super) async fn run(
    args: &ReleaseArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = match (&args.file, args.run) {
        (Some(file), _) => MaintainRequest::Batch(BatchChangeRequest {
            maintenance: Maintenance::Release { run: None },
            batch: BatchChoice { file: file.clone(), read: args.read.options() },
            issue: None,
            certificates: CertificateSource::Ignored,
            skip_bad_rows: args.skip_bad_rows,
            address: None,
        }),
        (None, Some(run)) => MaintainRequest::Run(RunChangeRequest { run, change: RunChange::Release }),
        (None, None) => {
            return Err(Failure::new(Exit::BadInput, "neither a file nor a run is named")
                .hint("name the devices in a file, or the run that disabled them with `--run N`"));
        }
    };
    maintain::run(request, &args.how, args.dps.choice(&args.target), ledger, printer).await
}

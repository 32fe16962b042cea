//! `apply`: make the hub hold what the batch says.

use cli_support::exit::Exit;

use super::args::ApplyArgs;
use super::failure::Failure;
use super::outcome;
use super::printer::Printer;
use crate::ledger::LedgerLocation;
use crate::run::{self, ApplyRequest, RunRequest, RunWork};

pub(super) async fn run(
    args: &ApplyArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = RunRequest {
        work: RunWork::Apply(Box::new(ApplyRequest {
            batch: args.job.batch.choice(),
            plan_batch: args.batch.clone(),
            options: args.run_options()?,
            skip_bad_rows: args.rules.skip_bad_rows,
            has_options: args.has_options(),
            secrets: args.unlock.secrets(),
        })),
        service: args.dps.choice(&args.job.target),
        ledger: ledger.clone(),
        settings: args.work.settings(),
        verify: !args.no_verify,
    };
    outcome::print(&run::execute(request, printer).await?, ledger, printer)
}

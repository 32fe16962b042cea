//! `work`: take a share in a run that another station has begun.

use cli_support::exit::Exit;

use super::args::ShareArgs;
use super::failure::Failure;
use super::outcome;
use super::printer::Printer;
use crate::ledger::LedgerLocation;
use crate::run::{self, RunRequest, RunWork};

pub(super) async fn run(
    args: &ShareArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = RunRequest {
        work: RunWork::Share(args.request()),
        service: args.dps.choice(&args.target),
        ledger: ledger.clone(),
        settings: args.work.settings(),
        verify: false,
    };
    outcome::print(&run::execute(request, printer).await?, ledger, printer)
}

//! `resume`: continue a run that was interrupted.

use cli_support::exit::Exit;

use super::args::ResumeArgs;
use super::failure::Failure;
use super::outcome;
use super::printer::Printer;
use crate::ledger::LedgerLocation;
use crate::run::{self, RunRequest, RunWork};

pub(super) async fn run(
    args: &ResumeArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = RunRequest {
        work: RunWork::Resume(args.share.request(), args.unlock.secrets()),
        service: args.share.dps.choice(&args.share.target),
        ledger: ledger.clone(),
        settings: args.share.work.settings(),
        verify: !args.no_verify,
    };
    outcome::print(&run::execute(request, printer).await?, ledger, printer)
}

//! `follow`: provision devices when they have registered.

use cli_support::exit::Exit;

use super::args::FollowArgs;
use super::failure::Failure;
use super::outcome;
use super::printer::Printer;
use crate::ledger::LedgerLocation;
use crate::run::{self, RunRequest, RunWork};
use crate::target::ServiceChoice;

pub(super) async fn run(
    args: &FollowArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = RunRequest {
        work: RunWork::Follow(Box::new(args.request()?)),
        service: ServiceChoice::Hub(args.target.choice()),
        ledger: ledger.clone(),
        settings: args.work.settings(),
        verify: !args.no_verify,
    };
    outcome::print(&run::execute(request, printer).await?, ledger, printer)
}

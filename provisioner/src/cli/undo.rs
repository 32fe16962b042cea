//! `undo`: take a run back.

use cli_support::exit::Exit;

use super::args::UndoArgs;
use super::failure::Failure;
use super::maintain;
use super::printer::Printer;
use crate::ledger::LedgerLocation;
use crate::run::{MaintainRequest, RunChange, RunChangeRequest};

pub(super) async fn run(
    args: &UndoArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let request = MaintainRequest::Run(RunChangeRequest { run: args.run, change: RunChange::Undo });
    maintain::run(request, &args.how, args.dps.choice(&args.target), ledger, printer).await
}

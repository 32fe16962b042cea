//! The common part of `release`, `rotate`, `retire` and `undo`: a run, or its dry run.

use cli_support::exit::Exit;

use super::args::MaintenanceArgs;
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::outcome;
use super::printer::Printer;
use super::row_list::{RowList, print_rejected};
use crate::ledger::LedgerLocation;
use crate::maintain::DryRunSummary;
use crate::run::{self, MaintainRequest, RunRequest, RunWork};
use crate::target::ServiceChoice;

/// Carries out a change of existing identities, or shows what it would do.
pub(super) async fn run(
    request: MaintainRequest,
    how: &MaintenanceArgs,
    service: ServiceChoice,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    if how.dry_run {
        return dry_run(request, service, ledger, printer).await;
    }
    let request = RunRequest {
        work: RunWork::Maintain(request),
        service,
        ledger: ledger.clone(),
        settings: how.work.settings(),
        verify: !how.no_verify,
    };
    outcome::print(&run::execute(request, printer).await?, ledger, printer)
}

async fn dry_run(
    request: MaintainRequest,
    service: ServiceChoice,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let opened = run::open_dry_run(request, service, ledger, printer).await?;
    let context = ResultContext::of_service(opened.service()).ledger(ledger).input(opened.input.as_ref());
    let needs_connect_check = opened.needs_connect_check();
    let mut rows = RowList::begin(printer, opened.expects());
    let summary = opened.look(printer, |planned| rows.print(planned)).await?;
    rows.end(&InContext { context, result: &summary }, |printer| print_text(&summary, printer))?;
    if needs_connect_check {
        printer.note("a dry run does not check whether units can connect with their new certificates");
    }
    Ok(Exit::finished(summary.all_well()))
}

fn print_text(summary: &DryRunSummary, printer: &Printer) {
    let DryRunSummary { update, delete, keep, conflict, refuse, rejected } = summary;
    printer.data(format_args!(
        "{update} to change, {delete} to delete, {keep} to keep, {conflict} in conflict, {refuse} refused; a dry run: \
         nothing was written"
    ));
    print_rejected(*rejected, printer);
}

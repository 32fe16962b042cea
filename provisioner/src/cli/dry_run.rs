//! `--dry-run`: what would a `release`, `retire`, `rotate` or `undo` do?

use super::context::{InContext, ResultContext};
use super::failure::{Exit, Failure};
use super::printer::Printer;
use super::row_list::{RowList, print_rejected};
use crate::ledger::{Ledger, LedgerError, LedgerRow, SharedLedger};
use crate::maintain::change::Maintenance;
use crate::maintain::{DryRun, DryRunSummary};
use crate::model::holds::Holds;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::plan::PlannedRow;
use crate::target::Target;

/// Looks at the identities of `count` rows, and prints what the alteration would do with them; `rejected` of
/// the rows are bad and left out. `owners` is the ledger that knows what became of them.
pub(super) async fn show(
    target: Target,
    owners: Option<Ledger>,
    maintenance: Maintenance,
    rows: impl Iterator<Item = Result<LedgerRow, LedgerError>>,
    (count, rejected): (u64, u64),
    context: ResultContext,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let needs_connect_check = maintenance.needs_connect_check();
    let hub = target.open().await?;
    let progress = printer.begin(Activity::Looking, count);
    let mut list = RowList::begin(printer);
    let looked = match hub.client.probe().await {
        Ok(_) => {
            let holds = Holds::new(owners.map(SharedLedger::new), &hub.name);
            let preview = DryRun::new(hub.client.clone(), holds, maintenance, row_counter(&progress));
            let tell = |row: PlannedRow| list.print(&row);
            preview.each(rows, tell).await
        }
        Err(error) => Err(error.into()),
    };
    progress.finish();
    hub.close().await;
    let summary = DryRunSummary { rejected, ..looked? };
    list.end(&InContext { context, result: &summary }, |printer| print_text(&summary, printer))?;
    if needs_connect_check {
        printer.note("a dry run does not try whether units are let in with their new certificates");
    }
    Ok(if summary.all_well() { Exit::Done } else { Exit::SomeFailed })
}

fn print_text(summary: &DryRunSummary, printer: &Printer) {
    let DryRunSummary { update, delete, keep, conflict, refuse, rejected } = summary;
    printer.data(format_args!(
        "{update} to change, {delete} to delete, {keep} to keep, {conflict} in conflict, {refuse} refused; a dry run: \
         nothing was written"
    ));
    print_rejected(*rejected, printer);
}

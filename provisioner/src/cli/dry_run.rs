//! `--dry-run`: what would a `release`, `retire`, `rotate` or `undo` do?

use super::context::{InContext, ResultContext};
use super::failure::{Exit, Failure};
use super::printer::Printer;
use super::row_list::{RowList, print_rejected};
use crate::ledger::{Ledger, LedgerError, LedgerRow, SharedLedger};
use crate::maintain::change::Alteration;
use crate::maintain::{Forecast, Preview};
use crate::model::holds::Holds;
use crate::model::observer::{Activity, RunObserver, row_counter};
use crate::plan::PlannedRow;
use crate::target::Target;

/// Looks at the identities of `count` rows, and prints what the alteration would do with them; `rejected` of
/// the rows are bad and left out. `owners` is the ledger that knows what became of them.
pub(super) async fn show(
    target: Target,
    owners: Option<Ledger>,
    alteration: Alteration,
    rows: impl Iterator<Item = Result<LedgerRow, LedgerError>>,
    (count, rejected): (u64, u64),
    context: ResultContext,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let needs_proof = alteration.needs_proof();
    let hub = target.open().await?;
    let progress = printer.begin(Activity::Looking, count);
    let mut list = RowList::begin(printer);
    let looked = match hub.client.probe().await {
        Ok(_) => {
            let holds = Holds::new(owners.map(SharedLedger::new), &hub.name);
            let preview = Preview::new(hub.client.clone(), holds, alteration, row_counter(&progress));
            let tell = |row: PlannedRow| list.print(&row);
            preview.each(rows, tell).await
        }
        Err(error) => Err(error.into()),
    };
    progress.finish();
    hub.close().await;
    let forecast = Forecast { rejected, ..looked? };
    list.end(&InContext { context, result: &forecast }, |printer| print_text(&forecast, printer))?;
    if needs_proof {
        printer.note("a dry run does not try whether units are let in with their new certificates");
    }
    Ok(if forecast.all_well() { Exit::Done } else { Exit::SomeFailed })
}

fn print_text(forecast: &Forecast, printer: &Printer) {
    let Forecast { update, delete, keep, conflict, refuse, rejected } = forecast;
    printer.data(format_args!(
        "{update} to change, {delete} to delete, {keep} to keep, {conflict} in conflict, {refuse} refused; a dry run: \
         nothing was written"
    ));
    print_rejected(*rejected, printer);
}

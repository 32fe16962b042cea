//! The outcome of a run, as it is printed.

use cli_support::causes::with_causes;
use cli_support::exit::Exit;
use hub_types::shown::ShownPath;
use serde::Serialize;

use super::args::Format;
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::printer::Printer;
use super::{report, verify};
use crate::batch::FailedRowsError;
use crate::ledger::{LedgerLocation, RunState, Totals};
use crate::model::run_id::RunId;
use crate::report::{OpenReport, held_note, left_enabled_note, to_disable_note};
use crate::run::{RunEnd, RunOutcome};
use crate::verify::Verified;
use cli_support::counted::counted;

/// The outcome of a run as JSON.
#[derive(Serialize)]
struct OutcomeDocument<'a> {
    run: RunId,
    state: RunState,
    /// True to keep devices disabled until they are released.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quarantine: bool,
    totals: Totals,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<&'a Verified>,
}

/// Prints the outcome of a run, and returns the exit code.
pub(super) fn print(
    outcome: &RunOutcome,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    // A run that was finished before has called no hub.
    printer.remember_service(outcome.run().options.service, outcome.run().is_on_test_hub());
    print_results(outcome, location, printer)?;
    let id = outcome.run().id;
    let resume = outcome.run().options.resume_command(id);
    let exit = match outcome.end() {
        RunEnd::AllWell => Exit::Done,
        RunEnd::DoNotAddUp => {
            let text = format!("the rows of run {id} do not add up: {}", outcome.totals);
            return Err(Failure::new(Exit::Bug, text));
        }
        RunEnd::SomeFailed => Exit::SomeFailed,
        RunEnd::Stopped => {
            printer.note(format_args!("stopped; `{resume}` does the rest"));
            Exit::Interrupted
        }
        RunEnd::StoppedUnread => {
            printer.note(format_args!("stopped; `{resume}` reads the rest back"));
            Exit::Interrupted
        }
    };
    match outcome.write_failed_rows() {
        Ok(None) => {}
        Ok(Some((file, rows))) => {
            let those = match rows {
                1 => "1 row failed, is in conflict or was skipped".to_owned(),
                rows => format!("{} failed, are in conflict or were skipped", counted(rows, "row")),
            };
            printer.note(format_args!("{those}: {}", ShownPath(&file)))
        }
        Err(FailedRowsError::Ledger(error)) => return Err(error.into()),
        // The run itself is not worse for it, and `report` can write the file later.
        Err(error) => {
            let why = with_causes(&error);
            printer.note(format_args!("the failed rows could not be written: {why}"));
        }
    }
    Ok(exit)
}

fn print_results(outcome: &RunOutcome, location: &LedgerLocation, printer: &Printer) -> Result<(), Failure> {
    let run = outcome.run();
    let RunOutcome { reader, state, totals, seconds, verified, .. } = outcome;
    let opened = OpenReport::of(reader.clone(), location);
    let id = run.id;
    match printer.format {
        Format::Json => {
            let context = ResultContext::of_run(run, location);
            let result = OutcomeDocument {
                run: id,
                state: *state,
                quarantine: run.options.quarantine,
                totals: *totals,
                seconds: *seconds,
                verified: verified.as_ref(),
            };
            printer.json(&InContext { context, result: &result })?;
        }
        Format::Csv => report::print_rows_csv(&opened, printer)?,
        Format::Text => {
            report::print_remarkable(&opened, printer)?;
            if let Some(verified) = verified {
                verify::print(verified, printer)?;
            }
            printer.data(format_args!("run {id}: {state}: {totals}"));
            opened.held_devices()?.iter().for_each(|held| printer.data(held_note(held)));
            to_disable_note(run, totals).iter().for_each(|note| printer.data(note));
            left_enabled_note(run, totals).iter().for_each(|note| printer.data(note));
            if let Some(folders) = &run.options.issue {
                printer.data(format_args!("certificates and keys: {}", ShownPath(&folders.out)));
            }
            printer.data(format_args!("ledger: {location} (`provisioner report {id}`)"));
        }
    }
    Ok(())
}

//! `doctor`: is this station ready?

use cli_support::exit::Exit;

use super::args::{DoctorArgs, Format};
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::printer::Printer;
use crate::doctor::{self, Verdict};
use crate::ledger::LedgerLocation;

pub(super) async fn run(
    args: &DoctorArgs,
    ledger: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let (service, checks) = doctor::run_checks(args.dps.choice(&args.target), ledger, printer).await?;
    let context = ResultContext::of_service(service).ledger(ledger);
    match printer.format {
        Format::Json => {
            let in_context = |check| InContext { context: context.clone(), result: check };
            printer.json(&checks.iter().map(in_context).collect::<Vec<_>>())?;
        }
        Format::Csv => printer.csv(
            ["check", "verdict", "seen", "remedy"],
            checks.iter().map(|check| {
                let remedy = check.remedy.unwrap_or_default().to_owned();
                [check.name.to_owned(), check.verdict.to_string(), check.seen.clone(), remedy]
            }),
        ),
        Format::Text => {
            for check in &checks {
                printer.data(format_args!("{:<8} {:<16} {}", check.verdict, check.name, check.seen));
                if let Some(remedy) = check.remedy {
                    printer.data(format_args!("{:<8} {:<16}   {remedy}", "", ""));
                }
            }
        }
    }
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    Ok(if failed { Exit::Refused } else { Exit::Done })
}

//! `explain`: why a DPS would refuse a device, or by which entry it would let the device register.

use cli_support::exit::Exit;

use super::args::{ExplainArgs, Format};
use super::context::{InContext, ResultContext};
use super::failure::Failure;
use super::printer::Printer;
use crate::explain::{self, ExplainError, Explanation};

pub(super) async fn run(args: &ExplainArgs, printer: &Printer) -> Result<Exit, Failure> {
    let (dps, explanation) = explain::explain(args.request(), printer).await?;
    match printer.format {
        Format::Json => {
            let context = ResultContext::of_dps(dps);
            printer.json(&InContext { context, result: &explanation })?;
        }
        Format::Csv => {
            let findings = explanation.findings().map(|(kind, text)| [kind.to_owned(), text.to_owned()]);
            printer.csv(["kind", "text"], findings);
        }
        Format::Text => print_text(&explanation, printer),
    }
    Ok(if explanation.accepted { Exit::Done } else { Exit::SomeFailed })
}

fn print_text(explanation: &Explanation, printer: &Printer) {
    printer.data(format_args!("registration id: {}", explanation.registration_id));
    printer.data(format_args!("entry: {}", explanation.choice()));
    for (_, text) in explanation.findings() {
        printer.data(format_args!("refused: {text}"));
    }
    if explanation.accepted {
        printer.data("nothing is known that would refuse the device");
    }
    explanation.notes.iter().for_each(|note| printer.data(format_args!("note: {note}")));
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::Certificate(error) => Self { exit: Exit::BadInput, ..error.into() },
            ExplainError::Dps(error) => error.into(),
            ExplainError::NoCommonName { .. } => {
                Self::new(Exit::BadInput, error).hint("name the registration id with `--device-id`")
            }
            ExplainError::Target(error) => error.into(),
            other => Self::new(Exit::BadInput, other),
        }
    }
}

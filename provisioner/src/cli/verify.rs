//! `verify`: does the hub hold what the batch says?

use std::sync::{Arc, Mutex};

use super::args::{Format, VerifyArgs};
use super::failure::{Exit, Failure};
use super::loading::load_temporary;
use super::printer::Printer;
use crate::ledger::{Ledger, RowFilter, RunId};
use crate::progress::Progress;
use crate::target::Target;
use crate::verify::{Verified, Verify};

pub(super) async fn run(args: &VerifyArgs, printer: &Printer) -> Result<Exit, Failure> {
    let target = Target::resolve(args.target.choice(), ".".as_ref())?;
    printer.note(format_args!("hub: {target}"));
    let issued = args.issued.folders().map(|(_, issued)| issued);
    let (ledger, run, loaded) = load_temporary(&args.batch, issued.as_deref(), printer)?;
    refuse_unissued(&ledger, run)?;
    let hub = target.open().await?;
    hub.client.probe().await?;
    let progress = Progress::new("verifying", loaded.rows());
    let verify = Verify {
        hub: hub.client.clone(),
        ledger: Arc::new(Mutex::new(ledger)),
        run,
        filter: RowFilter::All,
        keys: Arc::new(loaded.keys),
        concurrency: 8,
        progress: progress.counter(),
    };
    let verified = verify.run().await;
    progress.finish();
    hub.close().await;
    let verified = verified?;
    print(&verified, printer);
    Ok(if verified.all_well() { Exit::Done } else { Exit::SomeFailed })
}

/// A row whose certificate was never issued has no thumbprint that the hub's could be compared with.
fn refuse_unissued(ledger: &Ledger, run: RunId) -> Result<(), Failure> {
    let rows = ledger.page(run, RowFilter::ToBeIssued, None, 1)?;
    let Some(row) = rows.first() else { return Ok(()) };
    let text = format!("line {}: no certificate was issued for `{}` yet", row.line, row.wanted.identity);
    Err(Failure::new(Exit::BadInput, text).hint("run `provisioner apply` with the same `--issue` first"))
}

pub(super) fn print(verified: &Verified, printer: &Printer) {
    match printer.format {
        Format::Json => printer.json(verified),
        Format::Csv => printer.csv(
            ["line", "identity", "path", "batch", "hub"],
            verified.deviations.iter().flat_map(|deviation| {
                let line = deviation.line.to_string();
                let missing = [
                    line.clone(),
                    deviation.identity.clone(),
                    String::new(),
                    "there".into(),
                    "missing".into(),
                ];
                let differences = deviation.differences.iter().map(move |difference| {
                    let (wanted, found) = (difference.wanted.to_string(), difference.found.to_string());
                    [line.clone(), deviation.identity.clone(), difference.path.clone(), wanted, found]
                });
                deviation.differences.is_empty().then_some(missing).into_iter().chain(differences)
            }),
        ),
        Format::Text => {
            for deviation in &verified.deviations {
                let missing = if deviation.differences.is_empty() { "missing" } else { "different" };
                printer.data(format_args!("line {}: {}: {missing}", deviation.line, deviation.identity));
                deviation
                    .differences
                    .iter()
                    .for_each(|difference| printer.data(format_args!("  {difference}")));
            }
            printer.data(summary(verified));
        }
    }
}

/// `1920 checked: 1920 equal, 0 missing, 0 different`
pub(super) fn summary(verified: &Verified) -> String {
    let Verified { checked, equal, missing, different, twin_written_since, .. } = verified;
    let mut text = format!("{checked} checked: {equal} equal, {missing} missing, {different} different");
    if *twin_written_since > 0 {
        text.push_str(&format!(
            " ({twin_written_since} of the equal ones have a twin written since, which is kept)"
        ));
    }
    text
}

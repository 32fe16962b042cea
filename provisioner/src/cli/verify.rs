//! `verify`: does the hub hold what the batch says?

use super::args::{Format, JobArgs};
use super::failure::{Exit, Failure};
use super::loading::Comparison;
use super::printer::Printer;
use crate::hub::HubClient;
use crate::ledger::RowFilter;
use crate::verify::{Verified, Verify};

pub(super) async fn run(args: &JobArgs, printer: &Printer) -> Result<Exit, Failure> {
    let comparison = Comparison::open(args, "verifying", printer).await?;
    let verified = compare(&comparison.verify).await;
    comparison.close().await;
    let verified = verified?;
    print(&verified, printer);
    Ok(if verified.all_well() { Exit::Done } else { Exit::SomeFailed })
}

async fn compare(verify: &Verify<HubClient>) -> Result<Verified, Failure> {
    refuse_unissued(verify)?;
    Ok(verify.run().await?)
}

/// A row whose certificate was never issued has no thumbprint that the hub's could be compared with.
fn refuse_unissued(verify: &Verify<HubClient>) -> Result<(), Failure> {
    let rows = verify.ledger.lock().page(verify.run, RowFilter::ToBeIssued, None, 1)?;
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

//! The causes why rows are not as asked, grouped, with their remedies.

use std::collections::BTreeMap;

use serde::Serialize;

use super::advice::advice;
use crate::ledger::{Ledger, LedgerError, LedgerRow, RowFilter, RowState, Run};
use crate::model::compare::Difference;
use crate::model::effect::Effect;
use crate::model::failure::ReasonCode;

/// A cause that rows have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    /// The cause as a code; none in runs of older versions.
    pub(crate) reason: Option<ReasonCode>,
    /// The cause in words.
    pub(crate) cause: String,
    /// The remedy.
    pub(crate) to_do: String,
    /// The number of its rows.
    pub(crate) rows: u64,
    /// The first of these rows.
    pub(crate) examples: Vec<String>,
}

/// The causes of rows, as they are counted.
#[derive(Debug, Default)]
pub(super) struct Causes {
    found: BTreeMap<Finding, (u64, Vec<String>)>,
}

/// The finding about a row that is not as asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    /// The reason; rows of older ledgers have none.
    reason: Option<ReasonCode>,
    detail: Detail,
}

/// The details in addition to the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Detail {
    None,
    /// The text is added to the words for the reason.
    More(String),
    /// The text replaces the words for the reason.
    Text(String),
}

impl Causes {
    /// Counts a row, if it is not as asked.
    pub(super) fn add(&mut self, row: &LedgerRow) {
        let Some(mut finding) = finding(row) else { return };
        if self.found.len() >= MAX_CAUSES && !self.found.contains_key(&finding) {
            finding = Finding { reason: None, detail: Detail::Text("other causes".into()) };
        }
        let (rows, examples) = self.found.entry(finding).or_default();
        *rows += 1;
        if examples.len() < EXAMPLES {
            examples.push(row.spec.identity.to_string());
        }
    }

    /// The causes in a run, the most frequent first, and those that follow from other rows last.
    pub(super) fn sorted(&self, run: &Run) -> Vec<Cause> {
        let cause = |(finding, (rows, examples)): (&Finding, &(u64, Vec<String>))| {
            let advice = advice(run, finding.reason);
            let cause = match &finding.detail {
                Detail::None => advice.cause,
                Detail::More(more) => format!("{}: {more}", advice.cause),
                Detail::Text(text) => text.clone(),
            };
            let examples = examples.clone();
            Cause { reason: finding.reason, cause, to_do: advice.to_do, rows: *rows, examples }
        };
        let mut causes: Vec<Cause> = self.found.iter().map(cause).collect();
        causes.sort_by_key(|cause| (follows(cause.reason), std::cmp::Reverse(cause.rows)));
        causes
    }
}

/// Reads the rows of a run, and returns the causes why rows are not as asked.
pub(crate) fn causes_of(ledger: &mut Ledger, run: &Run) -> Result<Vec<Cause>, LedgerError> {
    let mut causes = Causes::default();
    for row in ledger.rows(run.id, RowFilter::All) {
        causes.add(&row?);
    }
    Ok(causes.sorted(run))
}

/// Returns true if a row with this reason waits for a different row.
fn follows(reason: Option<ReasonCode>) -> bool {
    matches!(reason, Some(ReasonCode::DeviceRowNotDone | ReasonCode::DeviceStays | ReasonCode::ModuleStays))
}

/// The finding about a row; `None` if it is as asked.
pub(super) fn finding(row: &LedgerRow) -> Option<Finding> {
    let record = &row.record;
    let found = |reason, detail| Some(Finding { reason, detail });
    match (record.state, row.drift.as_deref()) {
        (RowState::Conflict | RowState::Failed | RowState::Skipped, _) => found(record.reason, detail(row)),
        (RowState::Claimed | RowState::Pending, _) => found(Some(ReasonCode::NotStarted), Detail::None),
        (RowState::Sent, _) => found(Some(ReasonCode::Unfinished), Detail::None),
        (RowState::Done | RowState::Unchanged | RowState::Waiting, None) => None,
        (_, Some([])) => found(Some(ReasonCode::MissingLater), Detail::None),
        (_, Some(_)) if record.effect == Some(Effect::Deleted) => {
            found(Some(ReasonCode::ThereAgain), Detail::None)
        }
        (_, Some(differences)) => found(Some(ReasonCode::DifferentLater), Detail::More(others(differences))),
    }
}

/// The detail of a row that failed or is in conflict.
fn detail(row: &LedgerRow) -> Detail {
    let record = &row.record;
    match (&record.error_code, &record.http_status, &record.error) {
        (Some(code), Some(status), _) => Detail::More(format!("{code} (HTTP {status})")),
        (None, Some(status), _) => Detail::More(format!("HTTP {status}")),
        _ if !record.differences.is_empty() => Detail::More(others(&record.differences)),
        (_, _, Some(error)) if has_own_text(record.reason) => Detail::Text(without_names(error)),
        _ => Detail::None,
    }
}

/// Returns true if the text of a row contains more than its reason.
fn has_own_text(reason: Option<ReasonCode>) -> bool {
    matches!(
        reason,
        None | Some(
            ReasonCode::CertificateElsewhere
                | ReasonCode::CertificateNotIssued
                | ReasonCode::CertificateUnusable
                | ReasonCode::NotLetIn
                | ReasonCode::RefusedByPlan
                | ReasonCode::RequestRefused
        )
    )
}

/// The values that differ: `another value of `status``.
fn others(differences: &[Difference]) -> String {
    let mut paths: Vec<String> = differences.iter().map(|difference| difference.path.to_string()).collect();
    paths.dedup();
    match paths.as_slice() {
        [] => "other values".into(),
        [path] => format!("another value of `{path}`"),
        paths if paths.len() <= MAX_PATHS => format!("other values of `{}`", paths.join("`, `")),
        paths => format!("{} other values", paths.len()),
    }
}

/// The text without its parts between backticks, so that rows whose errors differ only there are
/// counted together.
fn without_names(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts: Vec<&str> = parts.map(|(index, part)| if index % 2 == 1 { "…" } else { part }).collect();
    parts.join("`")
}

const MAX_CAUSES: usize = 200;
const EXAMPLES: usize = 3;
const MAX_PATHS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Record;
    use crate::model::options::ApplyMode;
    use crate::model::spec::{IdentitySpec, StateSpec};
    use crate::report::advice::RunVerb;
    use crate::report::advice::tests::run;
    use hub_types::IdentityId;
    use serde_json::json;

    fn row(name: &str, record: Record) -> LedgerRow {
        let identity = IdentityId::from_common_name(name).unwrap();
        LedgerRow { record, ..LedgerRow::new(2, IdentitySpec { identity, state: StateSpec::default() }) }
    }

    fn difference(path: &str) -> Difference {
        Difference { path: path.parse().unwrap(), expected: json!(1), found: json!(2) }
    }

    fn conflict(path: &str) -> Record {
        let reason = Some(ReasonCode::StatusDiffers);
        Record { differences: vec![difference(path)], reason, ..Record::new(RowState::Conflict) }
    }

    fn causes(rows: &[LedgerRow]) -> Vec<Cause> {
        let mut causes = Causes::default();
        rows.iter().for_each(|row| causes.add(row));
        causes.sorted(&run(RunVerb::Apply(ApplyMode::Create)))
    }

    #[test]
    fn rows_are_counted_by_cause_the_most_frequent_first() {
        let not_issued = |text: &str| Record::failed(ReasonCode::CertificateNotIssued, text);
        let mut rows =
            vec![row("a", Record::new(RowState::Done)), row("b", not_issued("the CSR `b.csr` is for `x`"))];
        rows.extend(["c", "d", "e", "f"].map(|name| row(name, conflict("status"))));
        rows.push(row("g", not_issued("the CSR `g.csr` is for `y`")));
        let causes = causes(&rows);
        assert_eq!(causes.len(), 2);
        assert_eq!(causes[0].cause, "on the hub already with a different status: another value of `status`");
        assert_eq!(causes[0].reason, Some(ReasonCode::StatusDiffers));
        assert_eq!((causes[0].rows, causes[0].examples.join(" ")), (4, "c d e".into()));
        assert_eq!((causes[1].cause.as_str(), causes[1].rows), ("the CSR `…` is for `…`", 2));
    }

    #[test]
    fn what_follows_from_another_row_comes_after_what_it_follows_from() {
        let orphan = || Record::skipped(ReasonCode::DeviceRowNotDone, "nothing was done");
        let rows = [
            row("a/m", orphan()),
            row("a/n", orphan()),
            row("a", Record::failed(ReasonCode::RequestRefused, "refused")),
        ];
        let reasons: Vec<_> = causes(&rows).iter().map(|cause| (cause.rows, cause.reason)).collect();
        let expected = [(1, ReasonCode::RequestRefused), (2, ReasonCode::DeviceRowNotDone)];
        assert_eq!(reasons, expected.map(|(rows, reason)| (rows, Some(reason))));
    }

    #[test]
    fn a_reason_is_never_taken_from_a_text() {
        let text = "nothing was done, because the row of its device `a` is `failed`";
        let mut old = Record::failed(ReasonCode::DeviceRowNotDone, text);
        old.reason = None;
        let causes = causes(&[row("a/m", old)]);
        assert_eq!(causes[0].reason, None);
        assert!(causes[0].to_do.starts_with("change nothing before you have looked"), "{causes:?}");
    }

    #[test]
    fn what_verification_found_is_a_cause_though_the_row_is_done() {
        let mut done = row("a", Record::new(RowState::Done));
        assert_eq!(finding(&done), None);
        done.drift = Some(Vec::new());
        assert_eq!(finding(&done).unwrap().reason, Some(ReasonCode::MissingLater));
        done.drift = Some(vec![difference("tags.a"), difference("tags.b")]);
        assert!(causes(&[done.clone()])[0].cause.contains("`tags.a`, `tags.b`"));
        done.record.effect = Some(Effect::Deleted);
        assert_eq!(finding(&done).unwrap().reason, Some(ReasonCode::ThereAgain));
    }

    #[test]
    fn errors_of_the_hub_are_told_by_code_and_status() {
        let refused = |code: Option<&str>, status| {
            let error_code = code.map(str::to_owned);
            let record = Record::failed(ReasonCode::RequestRefused, "tracking 123");
            causes(&[row("a", Record { http_status: Some(status), error_code, ..record })])[0].cause.clone()
        };
        assert_eq!(refused(Some("ArgumentInvalid"), 400), "refused by the hub: ArgumentInvalid (HTTP 400)");
        assert_eq!(refused(None, 400), "refused by the hub: HTTP 400");
    }

    #[test]
    fn ever_new_causes_take_no_more_memory() {
        let failed = |n| row("a", Record::failed(ReasonCode::NotLetIn, format!("error {n}")));
        let causes = causes(&(0..1000).map(failed).collect::<Vec<_>>());
        assert_eq!(causes.len(), MAX_CAUSES + 1);
        assert_eq!((causes[0].cause.as_str(), causes[0].rows), ("other causes", 800));
    }
}

//! Why rows are not as asked, put together by cause, and what can be done.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::ledger::{LedgerRow, Record, RowState};
use crate::standing::Difference;

/// A cause that rows have in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The cause in words.
    pub cause: String,
    /// What can be done.
    pub to_do: ToDo,
    /// How many rows it has.
    pub rows: u64,
    /// The first of these rows.
    pub examples: Vec<String>,
}

/// What can be done about rows that are not as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ToDo {
    /// Begin with the row of the device.
    Device,
    /// Look at the row, and correct the batch.
    CorrectRow,
    /// Somebody must decide which of the two is right.
    Decide,
    /// Make room.
    MakeRoom,
    /// The caller lacks a right.
    Rights,
    /// Go on with the run.
    Resume,
    /// Try again, later.
    Retry,
    /// Find out who did that.
    WhoDidThat,
}

impl ToDo {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::CorrectRow => {
                "correct these rows in the batch (`report --failed-rows FILE` collects them) and apply them"
            }
            Self::Decide => {
                "decide which is right: correct the batch, or let the batch win with `--mode upsert` or `--twin merge`"
            }
            Self::Device => {
                "see to the row of the device first; its modules follow when the batch is applied again"
            }
            Self::MakeRoom => {
                "the hub is full or its quota is used up: make room or use a larger tier, then apply the batch again"
            }
            Self::Resume => "`provisioner resume` does the rest",
            Self::Retry => {
                "apply the batch again later; if it stays, give the tracking id to Microsoft's support"
            }
            Self::Rights => {
                "give the policy or the user the rights that are missing (`provisioner doctor` names them)"
            }
            Self::WhoDidThat => {
                "find out who changed it since; `provisioner verify` and `apply` compare it anew"
            }
        }
    }
}

impl Serialize for ToDo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// The causes of rows, as they are counted.
#[derive(Debug, Default)]
pub struct Causes {
    by_text: BTreeMap<(String, ToDo), (u64, Vec<String>)>,
}

impl Causes {
    /// Counts a row, if it is not as asked.
    pub fn add(&mut self, row: &LedgerRow) {
        let Some(mut key) = cause_of(row) else { return };
        if self.by_text.len() >= MAX_CAUSES && !self.by_text.contains_key(&key) {
            key = ("other causes".into(), ToDo::CorrectRow);
        }
        let (rows, examples) = self.by_text.entry(key).or_default();
        *rows += 1;
        if examples.len() < EXAMPLES {
            examples.push(row.wanted.identity.to_string());
        }
    }

    /// The causes, the most frequent first, and last what only follows from another row.
    pub fn sorted(&self) -> Vec<Cause> {
        let cause = |((cause, to_do), (rows, examples)): (&(String, ToDo), &(u64, Vec<String>))| Cause {
            cause: cause.clone(),
            to_do: *to_do,
            rows: *rows,
            examples: examples.clone(),
        };
        let mut causes: Vec<Cause> = self.by_text.iter().map(cause).collect();
        causes.sort_by_key(|cause| (cause.to_do == ToDo::Device, std::cmp::Reverse(cause.rows)));
        causes
    }
}

/// Why a row is not as asked; `None` when it is.
pub fn cause_of(row: &LedgerRow) -> Option<(String, ToDo)> {
    let record = &row.record;
    match (record.state, row.deviation.as_deref()) {
        (RowState::Conflict, _) => {
            Some((format!("on the hub already, with {}", others(&record.differences)), ToDo::Decide))
        }
        (RowState::Failed, _) => Some(failure(record)),
        (RowState::Skipped, _) => {
            Some(("nothing was done, because the row of its device is not well".into(), ToDo::Device))
        }
        (RowState::Claimed | RowState::Pending, _) => Some(("nothing was done yet".into(), ToDo::Resume)),
        (RowState::Sent, _) => Some(("under way when the run ended".into(), ToDo::Resume)),
        (RowState::Done | RowState::Unchanged, None) => None,
        (_, Some([])) => Some(("not on the hub any more when it was verified".into(), ToDo::WhoDidThat)),
        (_, Some(found)) => {
            Some((format!("found with {} when it was verified", others(found)), ToDo::WhoDidThat))
        }
    }
}

fn failure(record: &Record) -> (String, ToDo) {
    let error = record.error.as_deref().unwrap_or("for no known reason");
    match (&record.error_code, &record.http_status) {
        (Some(code), Some(status)) => {
            (format!("refused by the hub: {code} (HTTP {status})"), of_status(*status))
        }
        (None, Some(status)) => (format!("refused by the hub with HTTP {status}"), of_status(*status)),
        _ => (without_names(error), ToDo::CorrectRow),
    }
}

fn of_status(status: u16) -> ToDo {
    match status {
        401 => ToDo::Rights,
        403 => ToDo::MakeRoom,
        409 | 412 => ToDo::Decide,
        408 | 429 | 500.. => ToDo::Retry,
        _ => ToDo::CorrectRow,
    }
}

/// The values that differ: `another value of `status``.
fn others(differences: &[Difference]) -> String {
    let mut paths: Vec<&str> = differences.iter().map(|difference| difference.path.as_str()).collect();
    paths.dedup();
    match paths.as_slice() {
        [] => "other values".into(),
        [path] => format!("another value of `{path}`"),
        paths if paths.len() <= MAX_PATHS => format!("other values of `{}`", paths.join("`, `")),
        paths => format!("{} other values", paths.len()),
    }
}

/// The text without what stands between backticks, so that rows whose errors differ only there are counted
/// together.
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
    use crate::desired::{DesiredIdentity, DesiredState};
    use crate::reason::ReasonCode;
    use hub_types::IdentityId;
    use serde_json::json;

    fn row(name: &str, record: Record) -> LedgerRow {
        let identity = IdentityId::from_common_name(name).unwrap();
        LedgerRow {
            record,
            ..LedgerRow::new(2, DesiredIdentity { identity, state: DesiredState::default() })
        }
    }

    fn difference(path: &str) -> Difference {
        Difference { path: path.into(), wanted: json!(1), found: json!(2) }
    }

    #[test]
    fn rows_are_counted_by_cause_the_most_frequent_first() {
        let conflict =
            |path| Record { differences: vec![difference(path)], ..Record::new(RowState::Conflict) };
        let mut causes = Causes::default();
        causes.add(&row("a", Record::new(RowState::Done)));
        causes.add(&row("b", Record::failed(ReasonCode::RequestRefused, "the CSR `b.csr` is for `x`")));
        for name in ["c", "d", "e", "f"] {
            causes.add(&row(name, conflict("status")));
        }
        causes.add(&row("g", Record::failed(ReasonCode::RequestRefused, "the CSR `g.csr` is for `y`")));
        let causes = causes.sorted();
        assert_eq!(causes.len(), 2);
        assert_eq!(causes[0].cause, "on the hub already, with another value of `status`");
        assert_eq!((causes[0].rows, causes[0].examples.join(" ")), (4, "c d e".into()));
        assert_eq!((causes[1].cause.as_str(), causes[1].rows), ("the CSR `…` is for `…`", 2));
    }

    #[test]
    fn what_follows_from_another_row_comes_after_what_it_follows_from() {
        let mut causes = Causes::default();
        for module in ["a/m", "a/n"] {
            let reason = "nothing was done, because the row of its device `a` is `failed`";
            causes.add(&row(module, Record::skipped(ReasonCode::DeviceRowNotDone, reason)));
        }
        causes.add(&row("a", Record::failed(ReasonCode::RequestRefused, "refused")));
        let rows: Vec<_> = causes.sorted().iter().map(|cause| (cause.rows, cause.to_do)).collect();
        assert_eq!(rows, [(1, ToDo::CorrectRow), (2, ToDo::Device)]);
    }

    #[test]
    fn what_verification_found_is_a_cause_though_the_row_is_done() {
        let mut done = row("a", Record::new(RowState::Done));
        assert_eq!(cause_of(&done), None);
        done.deviation = Some(Vec::new());
        assert!(cause_of(&done).is_some_and(|(cause, _)| cause.contains("not on the hub")));
        done.deviation = Some(vec![difference("tags.a"), difference("tags.b")]);
        assert!(cause_of(&done).is_some_and(|(cause, _)| cause.contains("`tags.a`, `tags.b`")));
    }

    #[test]
    fn errors_of_the_hub_are_told_by_code_and_status_and_say_what_to_do() {
        let refused = |code: Option<&str>, status| {
            let error_code = code.map(str::to_owned);
            Record {
                http_status: Some(status),
                error_code,
                ..Record::failed(ReasonCode::RequestRefused, "tracking 123")
            }
        };
        let to_do = |record| cause_of(&row("a", record)).unwrap().1;
        assert_eq!(to_do(refused(Some("IotHubUnauthorizedAccess"), 401)), ToDo::Rights);
        assert_eq!(to_do(refused(Some("IotHubQuotaExceeded"), 403)), ToDo::MakeRoom);
        assert_eq!(to_do(refused(None, 503)), ToDo::Retry);
        assert_eq!(to_do(refused(Some("ArgumentInvalid"), 400)), ToDo::CorrectRow);
    }

    #[test]
    fn ever_new_causes_take_no_more_memory() {
        let mut causes = Causes::default();
        (0..1000).for_each(|n| {
            causes.add(&row("a", Record::failed(ReasonCode::RequestRefused, format!("error {n}"))))
        });
        let causes = causes.sorted();
        assert_eq!(causes.len(), MAX_CAUSES + 1);
        assert_eq!((causes[0].cause.as_str(), causes[0].rows), ("other causes", 800));
    }
}

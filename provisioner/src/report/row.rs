//! The rows of a report, as JSON and CSV have them.

use std::borrow::Cow;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::ledger::{Ledger, LedgerError, LedgerRow, Operator, Record, Run, Session};
use crate::model::compare::Difference;
use crate::model::etags::Etags;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;

/// A row of a report.
#[derive(Serialize)]
pub(crate) struct ReportRow<'a> {
    /// The service of the run, for texts.
    #[serde(skip)]
    service: ServiceKind,
    line: u64,
    device_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module_id: Option<&'a str>,
    #[serde(flatten)]
    record: Cow<'a, Record>,
    #[serde(flatten)]
    etags: &'a Etags,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity_etag_before: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    twin_etag_before: Option<&'a str>,
    /// The differences found at verification; empty if the identity is missing.
    #[serde(rename = "deviation", skip_serializing_if = "Option::is_none")]
    drift: Option<&'a [Difference]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a str>,
    #[serde(flatten)]
    by: &'a Operator,
}

/// The operators of rows.
pub(super) struct Operators {
    run: Run,
    sessions: Vec<Session>,
}

impl Operators {
    /// Reads the operators of a run.
    pub(super) fn of(ledger: &mut Ledger, run: RunId) -> Result<Self, LedgerError> {
        Ok(Self { run: ledger.run(Some(run))?, sessions: ledger.sessions(run)? })
    }

    /// The row of a report for a row of the ledger.
    pub(super) fn row<'a>(&'a self, row: &'a LedgerRow) -> ReportRow<'a> {
        let identity = &row.spec.identity;
        ReportRow {
            service: self.run.options.service,
            line: row.line,
            device_id: identity.device().as_str(),
            module_id: identity.module().map(|module| module.as_str()),
            record: row.record.as_answered(),
            etags: &row.etags,
            identity_etag_before: row.before.identity.as_ref().map(|etag| etag.as_str()),
            twin_etag_before: row.before.twin.as_ref().map(|etag| etag.as_str()),
            drift: row.drift.as_deref(),
            serial: row.serial.as_deref(),
            sent: row.sent.as_ref().map(Timestamp::as_str),
            ended: row.ended.as_ref().map(Timestamp::as_str),
            by: row.operator(&self.run, &self.sessions),
        }
    }
}

impl ReportRow<'_> {
    /// The cells of the row, under [`ROW_COLUMNS`].
    pub(crate) fn cells(&self) -> [String; ROW_COLUMNS.len()] {
        let record = &self.record;
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let list = |found: &[Difference]| {
            let told = |difference: &Difference| difference.told("batch has", self.service);
            found.iter().map(told).collect::<Vec<_>>().join("; ")
        };
        let drift = match self.drift {
            Some([]) => "missing".into(),
            Some(found) => list(found),
            None => String::new(),
        };
        [
            self.line.to_string(),
            self.device_id.to_owned(),
            text(self.module_id),
            record.state.to_string(),
            text(record.effect.map(|effect| effect.as_str())),
            record.http_status.map(|status| status.to_string()).unwrap_or_default(),
            text(record.error_code.as_deref()),
            text(record.error.as_deref()),
            text(record.tracking_id.as_deref()),
            list(&record.differences),
            text(self.etags.identity.as_ref().map(|etag| etag.as_str())),
            text(self.etags.twin.as_ref().map(|etag| etag.as_str())),
            text(self.identity_etag_before),
            text(self.twin_etag_before),
            drift,
            text(self.serial),
            text(self.sent),
            text(self.ended),
            self.by.name.clone(),
            self.by.station.clone(),
            text(record.reason.map(|reason| reason.as_str())),
            record.held_by.map(|run| run.to_string()).unwrap_or_default(),
            text(record.presumed.then_some("true")),
        ]
    }
}

/// The columns of a report's rows.
pub(crate) const ROW_COLUMNS: [&str; 23] = [
    "line",
    "device_id",
    "module_id",
    "state",
    "effect",
    "http_status",
    "error_code",
    "error",
    "tracking_id",
    "differences",
    "identity_etag",
    "twin_etag",
    "identity_etag_before",
    "twin_etag_before",
    "deviation",
    "serial",
    "sent",
    "ended",
    "operator",
    "station",
    "reason",
    "held_by",
    "presumed",
];

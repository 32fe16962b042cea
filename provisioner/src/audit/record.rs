//! The records of an audit pack. They hold no secret: the ledger has none.

use hub_types::Thumbprint;
use hub_types::identity::StatusReason;
use serde::Serialize;

use super::FORMAT;
use crate::clock::Timestamp;
use crate::ledger::{LedgerRow, Run, Session, Totals};
use crate::model::compare::Difference;
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;
use crate::model::spec::AuthSpec;

/// The record of the run.
#[derive(Serialize)]
pub(super) struct RunRecord<'a> {
    record: &'static str,
    format: &'static str,
    #[serde(flatten)]
    run: &'a Run,
    /// True if its hub is one for tests.
    test_hub: bool,
    #[serde(rename = "stints")]
    sessions: &'a [Session],
}

impl<'a> RunRecord<'a> {
    pub(super) fn new(run: &'a Run, sessions: &'a [Session]) -> Self {
        Self { record: "run", format: FORMAT, run, test_hub: run.is_on_test_hub(), sessions }
    }
}

/// The record of one identity.
#[derive(Serialize)]
pub(super) struct RowRecord<'a> {
    record: &'static str,
    line: u64,
    device_id: &'a str,
    module_id: Option<&'a str>,
    auth: &'static str,
    primary_thumbprint: Option<Thumbprint>,
    secondary_thumbprint: Option<Thumbprint>,
    serial: Option<&'a str>,
    #[serde(rename = "wanted_sha256")]
    spec_sha256: Sha256Digest,
    state: &'static str,
    effect: Option<&'static str>,
    presumed: bool,
    http_status: Option<u16>,
    error_code: Option<&'a str>,
    error: Option<&'a str>,
    tracking_id: Option<&'a str>,
    /// The reason; left out if there is none, so that packs of older runs stay byte for byte the
    /// same.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonCode>,
    differences: Vec<String>,
    /// The paths that differed at verification; empty if the identity is missing.
    #[serde(rename = "deviation")]
    drift: Option<Vec<String>>,
    /// The run that keeps the device disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<RunId>,
    /// The status reason that the run replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason_before: Option<&'a str>,
    before: &'a Etags,
    after: &'a Etags,
    sent: Option<&'a str>,
    ended: Option<&'a str>,
    #[serde(rename = "stint")]
    session: Option<u32>,
    operator: &'a str,
    station: &'a str,
}

impl<'a> RowRecord<'a> {
    pub(super) fn new(
        row: &'a LedgerRow,
        run: &'a Run,
        sessions: &'a [Session],
    ) -> Result<Self, serde_json::Error> {
        let (identity, record) = (&row.spec.identity, &row.record);
        let effect = record.as_answered().effect;
        let (auth, primary_thumbprint, secondary_thumbprint) = auth(&row.spec.state.auth);
        let by = row.operator(run, sessions);
        Ok(Self {
            record: "row",
            line: row.line,
            device_id: identity.device().as_str(),
            module_id: identity.module().map(|module| module.as_str()),
            auth,
            primary_thumbprint,
            secondary_thumbprint,
            serial: row.serial.as_deref(),
            spec_sha256: row.spec.state.digest()?,
            state: record.state.as_str(),
            effect: effect.map(Effect::as_str),
            presumed: record.presumed,
            http_status: record.http_status,
            error_code: record.error_code.as_deref(),
            error: record.error.as_deref(),
            tracking_id: record.tracking_id.as_deref(),
            reason: record.reason,
            differences: texts(&record.differences, run.options.service),
            drift: row.drift.as_deref().map(|drift| texts(drift, run.options.service)),
            held_by: record.held_by,
            status_reason_before: row.status_reason_before.as_ref().map(StatusReason::as_str),
            before: &row.before,
            after: &row.etags,
            sent: row.sent.as_ref().map(Timestamp::as_str),
            ended: row.ended.as_ref().map(Timestamp::as_str),
            session: row.session,
            operator: &by.name,
            station: &by.station,
        })
    }
}

/// The totals of the run.
#[derive(Serialize)]
pub(super) struct EndRecord {
    record: &'static str,
    rows: u64,
    totals: Totals,
}

impl EndRecord {
    pub(super) fn new(rows: u64, totals: Totals) -> Self {
        Self { record: "end", rows, totals }
    }
}

/// The differences as texts, because a different program might write their numbers in a different
/// form.
fn texts(differences: &[Difference], service: ServiceKind) -> Vec<String> {
    differences.iter().map(|difference| difference.told("batch has", service)).collect()
}

fn auth(auth: &AuthSpec) -> (&'static str, Option<Thumbprint>, Option<Thumbprint>) {
    match auth {
        AuthSpec::IssuedCertificate { .. } => ("x509_to_be_issued", None, None),
        AuthSpec::Sas { .. } => ("sas", None, None),
        AuthSpec::Thumbprint { primary, secondary } => ("x509_thumbprint", *primary, *secondary),
        AuthSpec::X509Ca => ("x509_ca", None, None),
    }
}

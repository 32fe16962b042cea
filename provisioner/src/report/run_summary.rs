//! One pass over all rows of a run, for the values that a page needs.

use std::collections::HashMap;

use hub_types::DeviceId;
use serde::Serialize;

use super::causes::{Causes, finding};
use crate::ledger::{Ledger, LedgerError, LedgerRow, RowFilter, RowState, Run};
use crate::model::compare::Difference;
use crate::model::effect::Effect;
use crate::model::service::ServiceKind;

/// The statistics of a run's rows.
#[derive(Default)]
pub(super) struct RunSummary {
    /// Rows that are devices.
    pub(super) devices: u64,
    /// Rows that are modules.
    pub(super) modules: u64,
    /// Devices that are as asked, with all their modules.
    pub(super) well: u64,
    /// Devices among them that the run left disabled on purpose, and those of these that it
    /// created.
    pub(super) held: u64,
    pub(super) held_created: u64,
    /// Devices that are not as asked, or with a module that is not.
    pub(super) not_well: u64,
    /// Rows that are not as asked.
    pub(super) attention: u64,
    /// Rows that are as asked, with a twin that a different client has written.
    pub(super) kept: u64,
    pub(super) causes: Causes,
    pub(super) shown: Shown,
    unit: Option<UnitSummary>,
}

/// A device with those of its rows that were read.
struct UnitSummary {
    device: DeviceId,
    is_well: bool,
    is_held: bool,
    is_created: bool,
}

/// The rows that a page shows, in the order of the ids.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) rows: Vec<ShownRow>,
    /// The texts that they refer to, each stored once.
    pub(super) texts: Vec<String>,
    numbers: HashMap<String, usize>,
    /// The words for what has the expected value of a difference.
    expects: String,
    /// The kind of the service of the run.
    service: ServiceKind,
    /// True if only rows that are not as asked, or remarkable, are included.
    pub(super) only_remarkable: bool,
    /// True if there are more rows than are included.
    pub(super) is_cut: bool,
}

/// A row on a page, serialized as an array to save space.
#[derive(Serialize)]
pub(super) struct ShownRow(
    /// The line of the batch file.
    pub(super) u64,
    /// The identity.
    pub(super) String,
    /// The result of the row.
    pub(super) &'static str,
    pub(super) RowKind,
    /// The number of the text that says more.
    pub(super) usize,
    /// The number of the text with the time.
    pub(super) usize,
    /// The serial number of its certificate.
    pub(super) String,
);

/// The kind of a row, by the attention that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowKind {
    Well,
    Attention,
    /// As asked, with a twin that a different client has written.
    Kept,
}

impl Serialize for RowKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl RunSummary {
    /// Reads the rows of a run, of which the ledger has `count`.
    pub(super) fn of(ledger: &mut Ledger, run: &Run, count: u64, most: usize) -> Result<Self, LedgerError> {
        let only_remarkable = usize::try_from(count).map_or(true, |count| count > most);
        let (expects, service) = (run.options.expects(), run.options.service);
        let shown = Shown { only_remarkable, expects, service, ..Shown::default() };
        let mut summary = Self { shown, ..Self::default() };
        for row in ledger.rows(run.id, RowFilter::All) {
            summary.add(&row?, most);
        }
        summary.end_unit();
        Ok(summary)
    }

    fn add(&mut self, row: &LedgerRow, most: usize) {
        let kind = kind(row);
        let is_well = kind != RowKind::Attention;
        self.attention += u64::from(!is_well);
        self.kept += u64::from(kind == RowKind::Kept);
        self.causes.add(row);
        match row.spec.identity.module() {
            None => self.devices += 1,
            Some(_) => self.modules += 1,
        }
        self.count_unit(row, is_well);
        if kind != RowKind::Well || !self.shown.only_remarkable {
            self.shown.add(row, kind, most);
        }
    }

    /// Adds a row. Rows come unit by unit: each device before its modules.
    fn count_unit(&mut self, row: &LedgerRow, is_well: bool) {
        let device = row.spec.identity.device();
        match &mut self.unit {
            Some(unit) if unit.device == *device => unit.is_well &= is_well,
            _ => {
                self.end_unit();
                let is_created = row.record.effect == Some(Effect::Created);
                let is_held = row.record.held_by.is_some();
                self.unit = Some(UnitSummary { device: device.clone(), is_well, is_held, is_created });
            }
        }
    }

    fn end_unit(&mut self) {
        match self.unit.take() {
            Some(UnitSummary { is_well: true, is_held, is_created, .. }) => {
                self.well += 1;
                self.held += u64::from(is_held);
                self.held_created += u64::from(is_held && is_created);
            }
            Some(UnitSummary { is_well: false, .. }) => self.not_well += 1,
            None => {}
        }
    }
}

impl Shown {
    fn add(&mut self, row: &LedgerRow, kind: RowKind, most: usize) {
        if self.rows.len() >= most {
            self.is_cut = true;
            return;
        }
        let more = self.text(more(row, &self.expects, self.service));
        let ended = self.text(row.ended.as_ref().map(ToString::to_string).unwrap_or_default());
        let serial = row.serial.clone().unwrap_or_default();
        let identity = row.spec.identity.to_string();
        self.rows.push(ShownRow(row.line, identity, end_of(row), kind, more, ended, serial));
    }

    fn text(&mut self, text: String) -> usize {
        let texts = &mut self.texts;
        *self.numbers.entry(text).or_insert_with_key(|text| {
            texts.push(text.clone());
            texts.len() - 1
        })
    }
}

fn kind(row: &LedgerRow) -> RowKind {
    match finding(row) {
        Some(_) => RowKind::Attention,
        None if row.record.differences.is_empty() => RowKind::Well,
        None => RowKind::Kept,
    }
}

/// The result of a row, in a word.
fn end_of(row: &LedgerRow) -> &'static str {
    let record = &row.record;
    match (record.state, row.drift.as_deref(), record.effect) {
        (RowState::Conflict, ..) => "conflict",
        (RowState::Failed, ..) => "failed",
        (RowState::Skipped, ..) => "skipped",
        (RowState::Waiting, ..) => "waiting",
        (RowState::Claimed | RowState::Pending | RowState::Sent, ..) => "pending",
        (_, Some([]), _) => "missing",
        (_, Some(_), _) => "different",
        (RowState::Done, None, Some(effect)) => effect.as_str(),
        (RowState::Done, None, None) => "done",
        (RowState::Unchanged, None, _) => "unchanged",
    }
}

/// The additional details of a row.
fn more(row: &LedgerRow, expects: &str, service: ServiceKind) -> String {
    let record = &row.record;
    let mut parts = Vec::new();
    parts.extend(record.error.clone());
    parts.extend(record.tracking_id.as_ref().map(|id| format!("tracking id {id}")));
    match (record.state, record.differences.is_empty()) {
        (_, true) => {}
        (RowState::Done | RowState::Unchanged, _) => {
            parts.push(format!(
                "the twin was written since and is kept: {}",
                texts(&record.differences, service)
            ));
        }
        _ => parts.push(told(&record.differences, expects, service)),
    }
    match row.drift.as_deref() {
        Some([]) => parts.push(format!("it was not on the {service} when it was verified")),
        Some(found) => parts.push(format!("when it was verified: {}", texts(found, service))),
        None => {}
    }
    if let Some(run) = record.held_by {
        parts.push(format!("left disabled by run {run}"));
    }
    if record.presumed {
        parts.push(format!(
            "presumed: the {service}'s answer was lost, or others changed it after this run had created it"
        ));
    }
    parts.join("; ")
}

fn texts(differences: &[Difference], service: ServiceKind) -> String {
    told(differences, "batch has", service)
}

fn told(differences: &[Difference], expects: &str, service: ServiceKind) -> String {
    differences.iter().map(|difference| difference.told(expects, service)).collect::<Vec<_>>().join("; ")
}

//! Rows: one per identity of a run. Their columns, how they are read, and how they are changed.

use hub_types::identity::StatusReason;
use hub_types::{DeviceId, Etag, IdentityId, ModuleId};

use super::column::{Cell, Kind, Misread, ResultRow, Stored, Value, text};
use super::stored::NotStorable;
use super::table::{Dialect, table};
use super::{Operator, Record, RowFilter, RowState, Run, Session};
use crate::clock::Timestamp;
use crate::model::compare::Difference;
use crate::model::digest::Sha256Digest;
use crate::model::effect::Effect;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;
use crate::model::spec::{IdentitySpec, StateSpec};

// Rows are sorted in the order of work: devices by id, each before its modules.
table! {
    ROW = "row", key Some("run, device_id, module_id");
    RUN = "run": RunId, of_run;
    DEVICE_ID = "device_id": DeviceId;
    MODULE_ID = "module_id": ModuleKey;
    LEVEL = "level": u32;
    LINE = "line": u64;
    DESIRED = "desired": StateSpec;
    DESIRED_HASH = "desired_hash": Sha256Digest;
    STATE = "state": RowState;
    EFFECT = "effect": Option<Effect>;
    PRESUMED = "presumed": bool, with_default;
    ATTEMPTS = "attempts": u32, with_default;
    HTTP_STATUS = "http_status": Option<u16>;
    ERROR_CODE = "error_code": Option<String>;
    ERROR = "error": Option<String>;
    TRACKING_ID = "tracking_id": Option<String>;
    DIFFERENCES = "differences": Option<Vec<Difference>>;
    IDENTITY_ETAG = "identity_etag": Option<Etag>;
    TWIN_ETAG = "twin_etag": Option<Etag>;
    UPDATED = "updated": Option<Timestamp>;
    IDENTITY_ETAG_BEFORE = "identity_etag_before": Option<Etag>, since(3);
    TWIN_ETAG_BEFORE = "twin_etag_before": Option<Etag>, since(3);
    SERIAL = "serial": Option<String>, since(3);
    SESSION = "stint": Option<u32>, since(3);
    SENT = "sent": Option<Timestamp>, since(3);
    DRIFT = "deviation": Option<Vec<Difference>>, since(3);
    REASON = "reason": Option<ReasonCode>, since(4);
    HELD_BY = "held_by": Option<RunId>, since(4);
    STATUS_REASON_BEFORE = "status_reason_before": Option<StatusReason>, since(4);
}

/// One identity of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LedgerRow {
    /// The line of the batch file that it came from.
    pub(crate) line: u64,
    /// The requested state.
    pub(crate) spec: IdentitySpec,
    /// The result.
    pub(crate) record: Record,
    /// The etags before this run changed it, or those that the run's plan expects; `None` if the
    /// run created it.
    pub(crate) before: Etags,
    /// The ETags of the last read.
    pub(crate) etags: Etags,
    /// The status reason that a change of its status has replaced.
    pub(crate) status_reason_before: Option<StatusReason>,
    /// The differences found by verification: empty if the identity is missing.
    pub(crate) drift: Option<Vec<Difference>>,
    /// The serial number of the certificate that was issued for it, or that its row names.
    pub(crate) serial: Option<String>,
    /// The session that last worked on it.
    pub(crate) session: Option<u32>,
    /// The time of the first request for it.
    pub(crate) sent: Option<Timestamp>,
    /// The time of its result.
    pub(crate) ended: Option<Timestamp>,
}

impl LedgerRow {
    /// A row in its first state.
    pub(crate) fn new(line: u64, spec: IdentitySpec) -> Self {
        Self {
            line,
            spec,
            record: Record::new(RowState::Pending),
            before: Etags::default(),
            etags: Etags::default(),
            status_reason_before: None,
            drift: None,
            serial: None,
            session: None,
            sent: None,
            ended: None,
        }
    }

    /// Reads a row that was selected with all columns of [`ROW`].
    pub(super) fn read<R: ResultRow>(row: &R) -> Result<Self, R::Error> {
        let ModuleKey(module) = row.get(MODULE_ID)?;
        Ok(Self {
            line: row.get(LINE)?,
            spec: IdentitySpec {
                identity: IdentityId::new(row.get(DEVICE_ID)?, module),
                state: row.get(DESIRED)?,
            },
            record: Record {
                state: row.get(STATE)?,
                effect: row.get(EFFECT)?,
                presumed: row.get(PRESUMED)?,
                held_by: row.get(HELD_BY)?,
                http_status: row.get(HTTP_STATUS)?,
                error_code: row.get(ERROR_CODE)?,
                error: row.get(ERROR)?,
                tracking_id: row.get(TRACKING_ID)?,
                reason: row.get(REASON)?,
                differences: row.get(DIFFERENCES)?.unwrap_or_default(),
            },
            before: Etags { identity: row.get(IDENTITY_ETAG_BEFORE)?, twin: row.get(TWIN_ETAG_BEFORE)? },
            etags: Etags { identity: row.get(IDENTITY_ETAG)?, twin: row.get(TWIN_ETAG)? },
            status_reason_before: row.get(STATUS_REASON_BEFORE)?,
            drift: row.get(DRIFT)?,
            serial: row.get(SERIAL)?,
            session: row.get(SESSION)?,
            sent: row.get(SENT)?,
            ended: row.get(UPDATED)?,
        })
    }

    /// The row of the same identity in a different run that continues from there: see
    /// [`Load::insert_from`](super::Load::insert_from).
    pub(crate) fn into_continuation(self) -> Self {
        let is_created = self.record.effect == Some(Effect::Created);
        // Older versions said "created" of some devices that they had found there, and seen in a version.
        let was_found = is_created && self.before != Etags::default();
        // The run itself saw something different from what it had created.
        let was_replaced = is_created && self.record.state == RowState::Conflict;
        let is_uncertain = was_found || was_replaced || self.record.state == RowState::Sent;
        // What verification found different is not as the run left it.
        let is_as_left = is_created && self.drift.is_none();
        Self {
            record: Record {
                presumed: self.record.presumed || is_uncertain,
                ..Record::new(RowState::Pending)
            },
            before: if is_as_left { self.etags } else { Etags::default() },
            serial: self.serial,
            ..Self::new(self.line, self.spec)
        }
    }

    /// The operator who last worked on it. If there is none yet, or an old ledger does not state
    /// it, the operator who began the run.
    pub(crate) fn operator<'a>(&self, run: &'a Run, sessions: &'a [Session]) -> &'a Operator {
        let session = sessions.iter().find(|session| Some(session.number) == self.session);
        session.map_or(&run.by, |session| &session.by)
    }
}

/// The statement that does what [`LedgerRow::into_continuation`] does within the database, for the rows that
/// pass a filter. Its parameters are the new run and the other one.
pub(super) fn copy_sql(dialect: Dialect, filter: RowFilter) -> String {
    format!(
        r#"INSERT INTO "row" (run, device_id, module_id, level, line, desired, desired_hash, state, presumed,
                              identity_etag_before, twin_etag_before, serial)
           SELECT {into}, device_id, module_id,
                  (SELECT max(level) FROM "row" WHERE run = {from}) - level, line, desired, desired_hash, 'pending',
                  presumed OR state = 'sent'
                           OR (coalesce(effect, '') = 'created'
                               AND (state = 'conflict' OR identity_etag_before IS NOT NULL
                                    OR twin_etag_before IS NOT NULL)),
                  CASE WHEN effect = 'created' AND deviation IS NULL THEN identity_etag END,
                  CASE WHEN effect = 'created' AND deviation IS NULL THEN twin_etag END, serial
           FROM "row" WHERE run = {from} AND ({condition})"#,
        into = dialect.parameter(1),
        from = dialect.parameter(2),
        condition = filter.condition(dialect)
    )
}

/// The statement that makes the waiting modules of devices pending that failed or are in conflict. Its
/// parameter is the run.
pub(super) fn stranded_sql(dialect: Dialect) -> String {
    let run = dialect.parameter(1);
    format!(
        r#"UPDATE "row" SET state = 'pending'
           WHERE run = {run} AND state = 'waiting' AND module_id <> '' AND EXISTS (
               SELECT 1 FROM "row" AS device
               WHERE device.run = {run} AND device.device_id = "row".device_id AND device.module_id = ''
                 AND device.state IN ('conflict', 'failed', 'skipped'))"#
    )
}

/// The statement that lets the pending rows of a run wait for the registration of their devices. Its parameter
/// is the run.
pub(super) fn await_sql(dialect: Dialect) -> String {
    format!(
        r#"UPDATE "row" SET state = 'waiting', presumed = FALSE, identity_etag_before = NULL, twin_etag_before = NULL
           WHERE run = {} AND state = 'pending'"#,
        dialect.parameter(1)
    )
}

/// The cells of an identity's row that are written together.
pub(super) struct Change<'c, const CELLS: usize> {
    /// The identity.
    pub(super) identity: &'c IdentityId,
    /// The cells, in the same columns for all rows of one kind of change.
    pub(super) cells: [Cell<'c>; CELLS],
}

/// The result of making a change.
pub(super) type Changed<'c, const CELLS: usize> = Result<Change<'c, CELLS>, NotStorable>;

/// The circumstances of a change: this process's session, and the time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'c> {
    pub(super) session: Option<&'c u32>,
    pub(super) now: &'c Timestamp,
}

/// The row that a batch's row begins as.
pub(super) fn loaded<'c>(line: &'c u64, spec: &'c IdentitySpec, serial: Option<&'c str>) -> Changed<'c, 6> {
    let [desired, hash] = desired(&spec.state)?;
    let cells = [
        LEVEL.set(&0)?.shared(),
        LINE.set(line)?,
        desired,
        hash,
        STATE.set(&RowState::Pending)?.shared(),
        SERIAL.set(serial)?,
    ];
    Ok(Change { identity: &spec.identity, cells })
}

/// The requested state of an identity whose certificate has been issued, with its serial number.
pub(super) fn issued<'c>(spec: &'c IdentitySpec, serial: &'c str) -> Changed<'c, 3> {
    let [desired, hash] = desired(&spec.state)?;
    Ok(Change { identity: &spec.identity, cells: [desired, hash, SERIAL.set(Some(serial))?] })
}

/// The requested state in its stored form, and the hash of that form.
fn desired(state: &StateSpec) -> Result<[Cell<'_>; 2], NotStorable> {
    let desired = DESIRED.set(state)?;
    let hash = DESIRED_HASH.set(StateSpec::digest_of(&desired.value.as_text()))?;
    Ok([desired, hash])
}

/// The etags that a plan expects.
pub(super) fn expected<'c>((identity, etags): &'c (IdentityId, Etags)) -> Changed<'c, 2> {
    let cells = [IDENTITY_ETAG_BEFORE.set(&etags.identity)?, TWIN_ETAG_BEFORE.set(&etags.twin)?];
    Ok(Change { identity, cells })
}

/// A request for an identity that is about to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    /// The identity.
    pub(crate) identity: IdentityId,
    /// The intended effect of the request.
    pub(crate) effect: Effect,
    /// The etags before this run, unless it has already changed the identity.
    pub(crate) before: Etags,
    /// The run that keeps the device disabled when the request has had its effect.
    pub(crate) held_by: Option<RunId>,
    /// The status reason that is replaced, if the request changes the status.
    pub(crate) status_reason_before: Option<StatusReason>,
}

impl Sent {
    pub(super) fn change<'c>(&'c self, at: Context<'c>) -> Changed<'c, 9> {
        let cells = [
            STATE.set(&RowState::Sent)?.shared(),
            EFFECT.set(&self.effect)?,
            ATTEMPTS.add(&1)?.shared(),
            SENT.set_first(at.now)?.shared(),
            SESSION.set(at.session)?.shared(),
            IDENTITY_ETAG_BEFORE.set_first(&self.before.identity)?,
            TWIN_ETAG_BEFORE.set_first(&self.before.twin)?,
            HELD_BY.set(&self.held_by)?,
            STATUS_REASON_BEFORE.set_first(&self.status_reason_before)?,
        ];
        Ok(Change { identity: &self.identity, cells })
    }
}

/// The result of an identity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    /// The identity.
    pub(crate) identity: IdentityId,
    /// The result.
    pub(crate) record: Record,
    /// The etags before this run, unless it had already changed the identity.
    pub(crate) before: Etags,
    /// The etags of the last read, if no change followed.
    pub(crate) after: Etags,
}

impl Ended {
    pub(super) fn change<'c>(&'c self, at: Context<'c>) -> Changed<'c, 16> {
        let Self { identity, record, before, after } = self;
        let cells = [
            STATE.set(&record.state)?,
            EFFECT.set(&record.effect)?,
            PRESUMED.set(&record.presumed)?,
            HTTP_STATUS.set(&record.http_status)?,
            ERROR_CODE.set(&record.error_code)?,
            ERROR.set(&record.error)?,
            TRACKING_ID.set(&record.tracking_id)?,
            DIFFERENCES.set(Some(&record.differences).filter(|differences| !differences.is_empty()))?,
            UPDATED.set(at.now)?.shared(),
            SESSION.set(at.session)?.shared(),
            IDENTITY_ETAG_BEFORE.set_first_unless_created(&before.identity)?,
            TWIN_ETAG_BEFORE.set_first_unless_created(&before.twin)?,
            IDENTITY_ETAG.set(&after.identity)?,
            TWIN_ETAG.set(&after.twin)?,
            REASON.set(&record.reason)?,
            HELD_BY.set(&record.held_by)?,
        ];
        Ok(Change { identity, cells })
    }
}

/// The observation of an identity by verification.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct VerifiedRow {
    /// The identity.
    pub(crate) identity: IdentityId,
    /// Its ETags.
    pub(crate) etags: Etags,
    /// The differences from the batch, if there are any.
    pub(crate) drift: Option<Vec<Difference>>,
}

impl VerifiedRow {
    pub(super) fn change(&self) -> Changed<'_, 3> {
        let Self { identity, etags, drift } = self;
        let cells = [IDENTITY_ETAG.set(&etags.identity)?, TWIN_ETAG.set(&etags.twin)?, DRIFT.set(drift)?];
        Ok(Change { identity, cells })
    }
}

impl From<(IdentityId, Effect)> for Sent {
    fn from((identity, effect): (IdentityId, Effect)) -> Self {
        Self { identity, effect, before: Etags::default(), held_by: None, status_reason_before: None }
    }
}

impl From<(IdentityId, Record)> for Ended {
    fn from((identity, record): (IdentityId, Record)) -> Self {
        Self { identity, record, before: Etags::default(), after: Etags::default() }
    }
}

/// The primary key of an identity within a run.
pub(super) fn key(identity: &IdentityId) -> (&str, &str) {
    (identity.device().as_str(), identity.module().map_or("", ModuleId::as_str))
}

/// The module of an identity in the primary key: a device has the empty text.
pub(super) struct ModuleKey(Option<ModuleId>);

impl Stored for ModuleKey {
    const KIND: Kind = Kind::Key;

    fn to_value(&self) -> Result<Value<'_>, NotStorable> {
        Ok(Value::Text(self.0.as_ref().map_or("", ModuleId::as_str).into()))
    }

    fn from_value(value: Value<'_>) -> Result<Self, Misread> {
        let text = text(value)?;
        let module = (!text.is_empty()).then(|| text.parse()).transpose()?;
        Ok(Self(module))
    }
}

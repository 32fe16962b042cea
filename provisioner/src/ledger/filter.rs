//! Filters for the rows of a run.

use super::table::Dialect;

/// A filter for the rows of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFilter {
    /// All rows.
    All,
    /// Rows that are not as the batch wants them, unfinished, or with a kept twin.
    Remarkable,
    /// Rows whose certificate is still to be issued.
    ToBeIssued,
    /// Rows that the run created, or may have created, and no later run of the same hub: whatever became of
    /// them after that.
    Created,
    /// Rows of devices.
    Devices,
    /// Devices that the run disabled on purpose or may have disabled, or found so without a record of another
    /// run.
    Disabled,
    /// Rows that failed, are in conflict, or were skipped for it.
    Failed,
    /// Rows of a run on a DPS whose devices have enrolments: those of the devices, and the waiting ones of
    /// their modules.
    Followed,
    /// Rows whose symmetric keys the batch gives.
    GivenKeys,
    /// Rows that are on the hub as far as the ledger knows.
    Settled,
    /// Devices that the run is to leave disabled and has sent a request for.
    ToDisable,
    /// Rows that the run changed, or may have changed.
    Updated,
    /// Devices that the run waits for.
    WaitingDevices,
}

impl RowFilter {
    /// The condition on the columns of the table `row`.
    pub(super) fn condition(self, dialect: Dialect) -> &'static str {
        match (self, dialect) {
            (Self::All, _) => "TRUE",
            (Self::Created, _) => {
                // What a later run has created again is that run's. Where the later run only presumes it, and
                // has it as asked, the ETags show whose it is. If there are none, the identity stays.
                r#"effect = 'created' AND NOT EXISTS (
                     SELECT 1 FROM run AS later JOIN "row" AS again ON again.run = later.id
                     WHERE later.id > "row".run AND later.hub = (SELECT hub FROM run WHERE id = "row".run)
                       AND again.device_id = "row".device_id AND again.module_id = "row".module_id
                       AND again.effect = 'created'
                       AND ((NOT again.presumed AND again.state <> 'sent')
                            OR ("row".identity_etag IS NULL AND "row".twin_etag IS NULL
                                AND again.state NOT IN ('conflict', 'failed', 'skipped'))))"#
            }
            (Self::Disabled, _) => "state IN ('done', 'sent', 'unchanged') AND held_by = run",
            (Self::Devices, _) => "module_id = ''",
            (Self::Failed, _) => "state IN ('conflict', 'failed', 'skipped')",
            (Self::Followed, _) => "state IN ('done', 'unchanged', 'waiting')",
            (Self::GivenKeys, Dialect::Postgres) => "desired::jsonb #>> '{auth,sas,given}' = 'true'",
            (Self::GivenKeys, Dialect::Sqlite) => "json_extract(desired, '$.auth.sas.given') = 1",
            (Self::Remarkable, _) => {
                "state IN ('conflict', 'failed', 'skipped', 'sent') OR differences IS NOT NULL OR deviation IS NOT NULL"
            }
            (Self::Settled, _) => "state IN ('done', 'unchanged')",
            (Self::ToBeIssued, Dialect::Postgres) => {
                "state IN ('pending', 'waiting') AND desired::jsonb #> '{auth,issued_certificate}' IS NOT NULL"
            }
            (Self::ToBeIssued, Dialect::Sqlite) => {
                "state IN ('pending', 'waiting') AND json_extract(desired, '$.auth.issued_certificate') IS NOT NULL"
            }
            (Self::ToDisable, _) => "state = 'sent' AND held_by IS NOT NULL",
            (Self::Updated, _) => "state IN ('done', 'sent') AND effect = 'updated'",
            (Self::WaitingDevices, _) => "state = 'waiting' AND module_id = ''",
        }
    }
}

/// The condition of unfinished rows.
pub(super) const UNFINISHED: &str = "state IN ('pending', 'claimed', 'sent')";

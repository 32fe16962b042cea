//! A run that carries out a plan: exactly what was planned, or nothing.

use std::path::PathBuf;

use hub_types::IdentityId;
use sha2::Sha256;

use super::error::{PlanMismatch, RunFailure};
use super::request::ApplyRequest;
use crate::batch::{BatchFile, CertificateSource, LedgerSink, LoadRules, Loaded, sha256_of_file};
use crate::clock::Timestamp;
use crate::ledger::{Loader, Record, RunOptions};
use crate::model::digest::Sha256Digest;
use crate::model::etags::Etags;
use crate::model::failure::ReasonCode;
use crate::plan::{Action, PlanFile, PlannedRow};
use crate::target::ServiceTarget;

/// A plan file that fits the service and the batch.
pub(super) struct PlannedBatch {
    plan: PlanFile,
}

impl PlannedBatch {
    /// Opens the plan that a request names.
    pub(super) fn open(request: &ApplyRequest, target: &ServiceTarget) -> Result<Self, RunFailure> {
        let planned = Self { plan: PlanFile::open(&request.batch.file)? };
        if request.has_options {
            return Err(PlanMismatch::OptionsGiven.into());
        }
        planned.refuse_other_service(target)?;
        planned.refuse_other_batch(&planned.batch(request.plan_batch.clone()))?;
        Ok(planned)
    }

    /// The batch that was planned, which may be `elsewhere` now.
    pub(super) fn batch(&self, elsewhere: Option<PathBuf>) -> BatchFile {
        let path = elsewhere.unwrap_or_else(|| self.plan.header.input.clone());
        BatchFile { path, read: self.plan.header.options.read.clone() }
    }

    /// The options of the run.
    pub(super) fn options(&self) -> RunOptions {
        RunOptions { plan: Some(self.plan.sha256), ..self.plan.header.options.clone() }
    }

    /// The rules for rows while they are loaded.
    pub(super) fn rules(&self) -> LoadRules {
        let header = &self.plan.header;
        LoadRules::of(&header.options, header.skip_bad_rows)
    }

    /// Loads the batch.
    pub(super) fn load(
        &self,
        sink: LedgerSink<'_, '_>,
        batch: &BatchFile,
        certificates: CertificateSource,
    ) -> Result<(Loaded, Sha256Digest), RunFailure> {
        let mut hasher = Sha256::default();
        let (loaded, input_sha256) = sink.hashing(&mut hasher).load(batch, certificates)?;
        if input_sha256 != self.plan.header.input_sha256 {
            return Err(self.batch_changed(batch).into());
        }
        if Sha256Digest::from(hasher) != self.plan.header.spec_sha256 {
            return Err(PlanMismatch::FilesChanged.into());
        }
        Ok((loaded, input_sha256))
    }

    /// Stores the planned state of each row that was loaded.
    pub(super) fn store_planned(&self, loader: &Loader<'_>) -> Result<(), RunFailure> {
        let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
        self.plan.each_row(|row| {
            rows.push(row);
            match rows.len() < ROWS_AT_ONCE {
                true => Ok(()),
                false => write_down(loader, std::mem::take(&mut rows)),
            }
        })?;
        write_down(loader, rows)
    }

    fn refuse_other_service(&self, target: &ServiceTarget) -> Result<(), PlanMismatch> {
        let (planned, service) = (&self.plan.header.hub, self.plan.header.options.service);
        let found = target.label().name;
        match *planned == found && service == target.kind() {
            true => Ok(()),
            false => {
                let (planned, found_kind) = (planned.clone(), target.kind());
                Err(PlanMismatch::OtherService { service, planned, found_kind, found })
            }
        }
    }

    fn refuse_other_batch(&self, batch: &BatchFile) -> Result<(), PlanMismatch> {
        match sha256_of_file(&batch.path) {
            Ok(found) if found == self.plan.header.input_sha256 => Ok(()),
            Ok(_) => Err(self.batch_changed(batch)),
            Err(source) => Err(PlanMismatch::BatchUnreadable { path: batch.path.clone(), source }),
        }
    }

    fn batch_changed(&self, batch: &BatchFile) -> PlanMismatch {
        PlanMismatch::BatchChanged { path: batch.path.clone(), sha256: self.plan.header.input_sha256 }
    }
}

/// Stores the etags that rows were planned with, and the rows that the plan refuses.
fn write_down(loader: &Loader<'_>, rows: Vec<PlannedRow>) -> Result<(), RunFailure> {
    let mut seen: Vec<(IdentityId, Etags)> = Vec::with_capacity(rows.len());
    let mut refused = Vec::new();
    for row in rows {
        let identity = IdentityId::from_common_name(&row.identity).map_err(|source| {
            PlanMismatch::Identity { line: row.line, identity: row.identity.clone(), source }
        })?;
        if row.action == Action::Refuse {
            let reason = row.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            let record = Record::failed(ReasonCode::RefusedByPlan, format!("the plan refuses it{reason}"));
            refused.push((identity.clone(), record));
        }
        seen.push((identity, row.etags));
    }
    loader.expect(&seen)?;
    if !refused.is_empty() {
        loader.refuse(&refused, &Timestamp::now())?;
    }
    Ok(())
}

const ROWS_AT_ONCE: usize = 1_000;

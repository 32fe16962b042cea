//! `apply FILE.plan`: exactly what was planned, or why not.

use cert_tool::IssuedStore;
use hub_types::IdentityId;

use super::args::ApplyArgs;
use super::failure::{Exit, Failure};
use super::printer::Printer;
use crate::batch::{BatchFile, CertificateSource, LedgerSink, LoadRules, Loaded, sha256_of_file};
use crate::clock::Timestamp;
use crate::ledger::{Loader, Record, RunOptions};
use crate::model::compare::Etags;
use crate::model::failure::ReasonCode;
use crate::plan::{Action, PlanFile, PlannedRow};
use crate::target::Target;

/// A plan file that fits the hub and the batch.
pub(super) struct Planned {
    plan: PlanFile,
}

impl Planned {
    pub(super) fn open(args: &ApplyArgs, target: &Target) -> Result<Self, Failure> {
        let planned = Self { plan: PlanFile::open(&args.job.batch.file)? };
        refuse_options(args)?;
        planned.refuse_other_hub(target)?;
        planned.refuse_other_batch(&planned.batch(args))?;
        Ok(planned)
    }

    /// The batch that was planned.
    pub(super) fn batch(&self, args: &ApplyArgs) -> BatchFile {
        let path = args.batch.clone().unwrap_or_else(|| self.plan.header.input.clone());
        BatchFile { path, read: self.plan.header.options.read_options() }
    }

    pub(super) fn options(&self) -> RunOptions {
        RunOptions { plan: Some(self.plan.sha256.clone()), ..self.plan.header.options.clone() }
    }

    pub(super) fn rules(&self) -> LoadRules {
        let header = &self.plan.header;
        LoadRules {
            quarantine: header.options.quarantine,
            skip_bad_rows: header.skip_bad_rows,
            ..LoadRules::default()
        }
    }

    /// Reads the batch, and writes beside each row what the plan knows of it.
    pub(super) fn load(
        &self,
        loader: &Loader<'_>,
        batch: &BatchFile,
        certificates: CertificateSource,
        store: Option<&IssuedStore>,
        printer: &Printer,
    ) -> Result<Loaded, Failure> {
        let sink = LedgerSink::new(loader, self.rules(), printer).issuing_to(store).hashing();
        let (loaded, wanted_sha256) = sink.load(batch, certificates)?;
        if loaded.sha256 != self.plan.header.input_sha256 {
            return Err(self.batch_changed(batch));
        }
        if wanted_sha256 != self.plan.header.wanted_sha256 {
            let text = "a file that the batch names (a twin, a certificate, a request) was changed since the plan \
                        was made; nothing was sent";
            return Err(Failure::new(Exit::BadInput, text).hint("make a new plan, or put the old files back"));
        }
        let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
        self.plan.each_row(|row| {
            rows.push(row);
            match rows.len() < ROWS_AT_ONCE {
                true => Ok(()),
                false => write_down(loader, std::mem::take(&mut rows)),
            }
        })?;
        write_down(loader, rows)?;
        Ok(loaded)
    }

    fn refuse_other_hub(&self, target: &Target) -> Result<(), Failure> {
        let (planned, found) = (&self.plan.header.hub, target.name());
        if *planned == found {
            return Ok(());
        }
        let text = format!("the plan is for the hub {planned}, not for {found}; nothing was sent");
        Err(Failure::new(Exit::BadInput, text).hint("name that hub, or make a plan for this one"))
    }

    fn refuse_other_batch(&self, batch: &BatchFile) -> Result<(), Failure> {
        match sha256_of_file(&batch.path) {
            Ok(found) if found == self.plan.header.input_sha256 => Ok(()),
            Ok(_) => Err(self.batch_changed(batch)),
            Err(error) => {
                let text = format!("can't read `{}`, the plan's batch: {error}", batch.path.display());
                Err(Failure::new(Exit::BadInput, text).hint("name it with `--batch FILE`"))
            }
        }
    }

    fn batch_changed(&self, batch: &BatchFile) -> Failure {
        let text = format!(
            "{} was changed since the plan was made: its SHA-256 is not {} any more; nothing was sent",
            batch.path.display(),
            self.plan.header.input_sha256
        );
        Failure::new(Exit::BadInput, text)
            .hint("make a new plan, or put the old file back or name it with `--batch FILE`")
    }
}

/// The plan was made with its options, and no others can be had for it.
fn refuse_options(args: &ApplyArgs) -> Result<(), Failure> {
    let is_any_given = args.rules.is_any_given()
        || args.job.issued.folders().is_some()
        || !args.job.batch.map.is_empty()
        || args.job.batch.id_pattern.is_some();
    if !is_any_given {
        return Ok(());
    }
    let text = "a plan is carried out with the options that it was made with, and others were given";
    let hint = "leave out --mode, --twin, --quarantine, --created-by-tag, --skip-bad-rows, --issue, --out, --map and \
                --id-pattern, or make a new plan with them";
    Err(Failure::new(Exit::BadInput, text).hint(hint))
}

/// Writes down the version tags that rows were planned with, and which rows the plan refuses.
fn write_down(loader: &Loader<'_>, rows: Vec<PlannedRow>) -> Result<(), Failure> {
    let mut seen: Vec<(IdentityId, Etags)> = Vec::with_capacity(rows.len());
    let mut refused = Vec::new();
    for row in rows {
        let identity = IdentityId::from_common_name(&row.identity).map_err(|error| {
            let text = format!("line {} of the batch: the plan names `{}`: {error}", row.line, row.identity);
            Failure::new(Exit::BadInput, text).hint("make a new plan")
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

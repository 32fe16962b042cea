//! The report of one run.

use std::fmt;
use std::io::Write;

use serde::Serialize;

use super::causes::{Cause, causes_of};
use super::page::{PageError, write_page};
use super::row::{Operators, ReportRow};
use crate::ledger::{
    HeldDevices, LedgerError, LedgerLocation, LedgerRow, Record, RowFilter, Run, RunReader, Totals,
};
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;
use crate::model::service::ServiceKind;

/// A run with its sums.
#[derive(Debug, Serialize)]
pub(crate) struct RunReport {
    #[serde(flatten)]
    pub(crate) run: Run,
    /// True if its hub is one for tests.
    pub(crate) test_hub: bool,
    /// The ledger that tells of it.
    ledger: String,
    pub(crate) totals: Totals,
    /// The devices that the run left disabled, by the run that disabled them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) left_disabled: Vec<HeldDevices>,
    /// The later run that has taken it back, at least in part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) undone_by: Option<RunId>,
    /// The causes why rows are not as asked, if they were determined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) causes: Vec<Cause>,
}

impl RunReport {
    pub(super) fn new(
        run: Run,
        totals: Totals,
        left_disabled: Vec<HeldDevices>,
        undone_by: Option<RunId>,
        ledger: &LedgerLocation,
    ) -> Self {
        let (test_hub, ledger) = (run.is_on_test_hub(), ledger.to_string());
        Self { test_hub, ledger, run, totals, left_disabled, undone_by, causes: Vec::new() }
    }

    /// Returns true if every row is as asked and the verification, if there was one, found no
    /// difference.
    pub(crate) fn all_well(&self) -> bool {
        let is_verified = self.run.verification.as_ref().is_none_or(|seen| seen.all_well());
        self.totals.all_well() && is_verified
    }
}

/// A run whose report is read from its ledger, piece by piece: there may be more rows than memory
/// holds.
pub(crate) struct OpenReport {
    reader: RunReader,
    location: LedgerLocation,
}

impl OpenReport {
    /// Opens a ledger for reading, and finds a run in it: the newest if no number is given.
    pub(crate) fn open(
        location: &LedgerLocation,
        run: Option<RunId>,
        observer: &dyn RunObserver,
    ) -> Result<Self, LedgerError> {
        Ok(Self::of(RunReader::open(location, run, observer)?, location))
    }

    /// The report of a run in this ledger.
    pub(crate) fn of(reader: RunReader, location: &LedgerLocation) -> Self {
        Self { reader, location: location.clone() }
    }

    /// The run.
    pub(crate) fn run(&self) -> &Run {
        self.reader.run()
    }

    /// The run in its ledger.
    pub(crate) fn reader(&self) -> &RunReader {
        &self.reader
    }

    /// Reads the sums of the run without the causes of failures.
    pub(crate) fn status(&self) -> Result<RunReport, LedgerError> {
        let run = self.run().clone();
        let (totals, held) = (self.reader.totals()?, self.held_devices()?);
        let undone_by = self.reader.lock().undone_by(&run)?;
        Ok(RunReport::new(run, totals, held, undone_by, &self.location))
    }

    /// Reads the sums of the run, and the causes of failures.
    pub(crate) fn summary(&self) -> Result<RunReport, LedgerError> {
        let status = self.status()?;
        let causes = causes_of(&mut self.reader.lock(), self.run())?;
        Ok(RunReport { causes, ..status })
    }

    /// Reads the devices that the run left disabled.
    pub(crate) fn held_devices(&self) -> Result<Vec<HeldDevices>, LedgerError> {
        self.reader.lock().held_devices(self.run().id)
    }

    /// Visits every row.
    pub(crate) fn each_row<E: From<LedgerError>>(
        &self,
        mut visit: impl FnMut(&ReportRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ledger = self.reader.lock();
        let operators = Operators::of(&mut ledger, self.run().id)?;
        for row in ledger.rows(self.run().id, RowFilter::All) {
            visit(&operators.row(&row?))?;
        }
        Ok(())
    }

    /// Visits the rows that need attention: those that failed or are in conflict, and those whose
    /// twins were kept.
    pub(crate) fn each_remarkable_row(
        &self,
        mut visit: impl FnMut(&RemarkableRow<'_>),
    ) -> Result<(), LedgerError> {
        let mut ledger = self.reader.lock();
        let (expects, service) = (self.run().options.expects(), self.run().options.service);
        for row in ledger.rows(self.run().id, RowFilter::Remarkable) {
            visit(&RemarkableRow { row: &row?, expects: &expects, service });
        }
        Ok(())
    }

    /// Writes the report as a page.
    pub(crate) fn write_page(&self, out: &mut impl Write) -> Result<(), PageError> {
        write_page(&mut self.reader.lock(), self.run().id, out)
    }
}

/// A row that needs attention, in one line with one more for each difference.
pub(crate) struct RemarkableRow<'a> {
    row: &'a LedgerRow,
    /// The words for what has the expected value of a difference.
    expects: &'a str,
    /// The kind of the service of the run.
    service: ServiceKind,
}

impl fmt::Display for RemarkableRow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, expects, service } = self;
        let Record { state, error, differences, .. } = &row.record;
        let reason = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        write!(f, "line {}: {}: {state}{reason}", row.line, row.spec.identity)?;
        differences
            .iter()
            .try_for_each(|difference| write!(f, "\n  {}", difference.told(expects, *service)))?;
        match row.drift.as_deref() {
            Some([]) => f.write_str("\n  verification: it is not on the hub"),
            Some(found) => found.iter().try_for_each(|found| write!(f, "\n  verification: {found}")),
            None => Ok(()),
        }
    }
}

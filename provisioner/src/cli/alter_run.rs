//! `undo` and `release --run`: what becomes of the rows of another run.

use super::alter::job;
use super::args::{AlterArgs, TargetArgs, UndoArgs};
use super::context::ResultContext;
use super::dry_run;
use super::failure::{Exit, Failure};
use super::order::LOADED_AGAIN;
use super::printer::Printer;
use super::resume::target_of;
use crate::batch::open_owners;
use crate::clock::Timestamp;
use crate::ledger::{
    Ledger, LedgerError, LedgerLocation, LedgerRow, RowFilter, Run, RunFacts, RunId, RunOptions, Totals,
};
use crate::maintain::change::Maintenance;
use crate::model::observer::RunObserver;
use crate::model::text::counted;
use crate::target::Target;

/// Enables again what a run has disabled.
pub(super) async fn release(
    run: RunId,
    how: &AlterArgs,
    target: &TargetArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let origin = Origin::open(run, how, target, location, printer)?;
    origin.alter(Maintenance::Release { run: Some(run) }, RowFilter::Disabled).await
}

/// Takes a run back.
pub(super) async fn undo(
    args: &UndoArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let origin = Origin::open(args.run, &args.how, &args.target, location, printer)?;
    let run = args.run;
    match origin.run.options.maintenance {
        Some(Maintenance::Release { .. }) => {
            origin.alter(Maintenance::UndoRelease { run }, RowFilter::Updated).await
        }
        _ => origin.alter(Maintenance::Undo { run }, RowFilter::Created).await,
    }
}

/// A run from whose rows another goes on.
struct Origin<'a> {
    run: Run,
    ledger: Ledger,
    target: Target,
    how: &'a AlterArgs,
    location: &'a LedgerLocation,
    printer: &'a Printer,
}

impl<'a> Origin<'a> {
    fn open(
        run: RunId,
        how: &'a AlterArgs,
        target: &TargetArgs,
        location: &'a LedgerLocation,
        printer: &'a Printer,
    ) -> Result<Self, Failure> {
        let target = Target::resolve(target.choice(), ".".as_ref())?;
        let mut ledger = match how.dry_run {
            true => Ledger::open_to_read(location)?,
            false => Ledger::open(location)?,
        };
        let run = ledger.run(Some(run))?;
        let target = target_of(&run, target)?;
        printer.hub(&target, target.is_test_hub());
        printer.note(format_args!("run {}: {}, begun {}", run.id, run.input, run.started));
        Ok(Self { run, ledger, target, how, location, printer })
    }

    async fn alter(mut self, maintenance: Maintenance, filter: RowFilter) -> Result<Exit, Failure> {
        let rows = self.ledger.count(self.run.id, filter)?;
        let totals = self.ledger.totals(self.run.id)?;
        if rows == 0 {
            return Err(nothing_to_do(&self.run, &totals, filter));
        }
        if filter == RowFilter::Created && totals.updated > 0 {
            self.printer.note(format_args!(
                "{} that it changed: left alone, for only what it created is taken back",
                counted(totals.updated, "row")
            ));
        }
        if self.how.dry_run {
            let context = ResultContext::of_run(&self.run, self.location);
            let owners = open_owners(self.location)?;
            let taken_over = self.ledger.rows(self.run.id, filter).map(|row| row.map(LedgerRow::to_go_on));
            return dry_run::show(
                self.target,
                owners,
                maintenance,
                taken_over,
                (rows, 0),
                context,
                self.printer,
            )
            .await;
        }
        let hub = self.target.open().await?;
        hub.client.rate_limiter().set_patience(self.how.work.patience());
        let run = match hub.client.probe().await {
            Ok(_) => load(&mut self.ledger, &self.run, maintenance, filter, self.how, self.printer),
            Err(error) => Err(error.into()),
        };
        match run {
            Ok(run) => {
                job(hub, None, self.how, self.printer).carry_out(self.ledger, self.location, run).await
            }
            Err(failure) => {
                hub.close().await;
                Err(failure)
            }
        }
    }
}

/// Makes a run of the rows of another that pass a filter.
fn load(
    ledger: &mut Ledger,
    from: &Run,
    maintenance: Maintenance,
    filter: RowFilter,
    how: &AlterArgs,
    printer: &Printer,
) -> Result<RunId, Failure> {
    let options = RunOptions { maintenance: Some(maintenance), ..RunOptions::default() };
    let by = how.work.operator();
    let facts = RunFacts {
        hub: &from.hub,
        input: &from.input,
        started: &Timestamp::now(),
        by: &by,
        options: &options,
    };
    let mut load = || {
        let loader = ledger.load_run(&facts)?;
        loader.insert_from(from.id, filter)?;
        loader.commit(&from.input_sha256, 0)
    };
    loop {
        match load() {
            Err(LedgerError::LoadingBroken { .. }) => printer.note(LOADED_AGAIN),
            loaded => return Ok(loaded?),
        }
    }
}

/// Says that a run did nothing of what is to be taken back, and what could have been meant.
fn nothing_to_do(run: &Run, totals: &Totals, filter: RowFilter) -> Failure {
    let id = run.id;
    let (text, hint) = match filter {
        RowFilter::Disabled if totals.held > 0 => (
            format!("run {id} disabled nothing itself: what it found disabled, another run had disabled"),
            format!("name that run (`held_by` in `provisioner report {id} --format csv`), or a file with the devices"),
        ),
        RowFilter::Disabled => (
            format!("run {id} disabled nothing"),
            "`provisioner runs` lists all runs; a file with a column `device_id` names devices, whichever run it was"
                .to_owned(),
        ),
        RowFilter::Updated => (
            format!("run {id} enabled nothing"),
            format!("`provisioner report {id}` shows what it did"),
        ),
        _ if matches!(run.options.maintenance, Some(Maintenance::Disable { .. })) => (
            format!("run {id} created nothing"),
            format!("`provisioner release --run {id}` enables again what it disabled"),
        ),
        _ => {
            (format!("run {id} created nothing"), "`provisioner report` shows what a run did".to_owned())
        }
    };
    Failure::new(Exit::BadInput, text).hint(hint)
}

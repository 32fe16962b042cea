//! `resume`: go on with a run that was cut off. `work`: take a share in one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::alter;
use super::args::{ResumeArgs, ShareArgs};
use super::failure::{Exit, Failure};
use super::order;
use super::printer::Printer;
use super::work::{Certificates, Job, print_finished};
use crate::batch::{CertificateSource, Discard, LoadOptions, load, sha256_of_file};
use crate::ledger::{Ledger, LedgerLocation, RowFilter, Run, RunState};
use crate::maintain::change::Maintenance;
use crate::model::observer::RunObserver;
use crate::model::spec::GivenKeys;
use crate::target::Target;

pub(super) async fn run(
    args: &ResumeArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut ledger = Ledger::open(location)?;
    let run = ledger.run(args.share.run)?;
    if let Some(exit) = finished(&mut ledger, location, &run, !args.no_verify, printer)? {
        return Ok(exit);
    }
    let opened = Opened::open(ledger, run, &args.share, printer)?;
    let issue = opened.run.options.issue.clone();
    let issue = issue.filter(|_| opened.run.options.maintenance.is_none());
    let certificates = Certificates::open(issue, &args.unlock.secrets(), &opened.target, printer)?;
    opened.carry_out(&args.share, certificates, !args.no_verify, location, printer).await
}

/// `work`: another station has begun the run, issues what it needs, and verifies it in the end.
pub(super) async fn work(
    args: &ShareArgs,
    location: &LedgerLocation,
    printer: &Printer,
) -> Result<Exit, Failure> {
    let mut ledger = Ledger::open(location)?;
    let run = ledger.run(args.run)?;
    if let Some(exit) = finished(&mut ledger, location, &run, true, printer)? {
        return Ok(exit);
    }
    let mut opened = Opened::open(ledger, run, args, printer)?;
    let mut is_told = false;
    let issues = opened.run.options.maintenance.is_none();
    while issues && opened.ledger.count(opened.run.id, RowFilter::ToBeIssued)? > 0 {
        if !std::mem::replace(&mut is_told, true) {
            printer.note("waiting for the station that began the run to issue its certificates");
        }
        tokio::time::sleep(WAIT).await;
    }
    opened.carry_out(args, None, false, location, printer).await
}

/// The exit code of a run of which nothing is left to do. What was killed after its last row and before it was read back
/// is still to be read back.
fn finished(
    ledger: &mut Ledger,
    location: &LedgerLocation,
    run: &Run,
    verify: bool,
    printer: &Printer,
) -> Result<Option<Exit>, Failure> {
    if run.state != RunState::Finished {
        return Ok(None);
    }
    if verify && run.is_unread() {
        printer.note(format_args!("run {} is finished; what is left is to read everything back", run.id));
        return Ok(None);
    }
    printer.note(format_args!("run {} is finished; nothing to resume", run.id));
    print_finished(ledger, location, run, printer).map(Some)
}

/// A run to go on with.
struct Opened {
    ledger: Ledger,
    run: Run,
    target: Target,
    batch: Option<PathBuf>,
    keys: GivenKeys,
}

impl Opened {
    fn open(mut ledger: Ledger, run: Run, args: &ShareArgs, printer: &Printer) -> Result<Self, Failure> {
        let target = target_of(&run, Target::resolve(args.target.choice(), ".".as_ref())?)?;
        printer.hub(&target, target.is_test_hub());
        printer.note(format_args!("run {}: {}, begun {}", run.id, run.input, run.started));
        let (batch, keys) = batch_of(&run, args.batch.as_deref(), &mut ledger, printer)?;
        Ok(Self { ledger, run, target, batch, keys })
    }

    async fn carry_out(
        self,
        args: &ShareArgs,
        certificates: Option<Certificates>,
        verify: bool,
        location: &LedgerLocation,
        printer: &Printer,
    ) -> Result<Exit, Failure> {
        let Self { mut ledger, run, target, batch, keys } = self;
        alter::note_issued(&run.options, &mut ledger, run.id)?;
        let hub = order::open(target, &run.options).await?;
        hub.client.rate_limiter().set_patience(args.work.patience());
        if let Err(error) = hub.client.probe().await {
            hub.close().await;
            return Err(error.into());
        }
        let keys = Arc::new(keys);
        let certificate_check = match alter::proof_of(&run.options, batch.as_deref(), &hub, args.mqtt.clone())
        {
            Ok(certificate_check) => certificate_check,
            Err(failure) => {
                hub.close().await;
                return Err(failure);
            }
        };
        let job =
            Job { hub, keys, batch, certificates, certificate_check, args: &args.work, verify, printer };
        job.carry_out(ledger, location, run.id).await
    }
}

/// Insists on the hub that the run is for.
pub(super) fn target_of(run: &Run, target: Target) -> Result<Target, Failure> {
    if target.name() == run.hub {
        return Ok(target);
    }
    let text = format!("run {} is for the hub {}, not for {}", run.id, run.hub, target.name());
    Err(Failure::new(Exit::BadInput, text).hint("name that hub, as for the command that began the run"))
}

/// The batch file, which must be the one that the run was begun with, and the symmetric keys that it
/// gives. A run whose rows need none of them can do without the file.
fn batch_of(
    run: &Run,
    elsewhere: Option<&Path>,
    ledger: &mut Ledger,
    printer: &Printer,
) -> Result<(Option<PathBuf>, GivenKeys), Failure> {
    if run.options.maintenance.as_ref().and_then(Maintenance::goes_on_from).is_some() {
        // All that it needs was in the ledger when it began.
        return Ok((None, GivenKeys::new()));
    }
    let path = elsewhere.unwrap_or_else(|| run.input.as_ref());
    let needs_keys = ledger.count(run.id, RowFilter::GivenKeys)? > 0;
    match sha256_of_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !needs_keys && elsewhere.is_none() => {
            printer.note(format_args!("{} is gone; the ledger has all that is needed", path.display()));
            return Ok((None, GivenKeys::new()));
        }
        Err(error) => {
            let text = format!("can't read `{}`: {error}", path.display());
            return Err(Failure::new(Exit::BadInput, text)
                .hint("name the run's batch file with `--batch FILE`; the ledger keeps no symmetric keys"));
        }
        Ok(found) if found != run.input_sha256 => return Err(changed(run, path)),
        Ok(_) => {}
    }
    let mut keys = GivenKeys::new();
    if needs_keys {
        let options = LoadOptions {
            read: run.options.read_options(),
            certificates: CertificateSource::Ignored,
            ..LoadOptions::default()
        };
        keys = load(path, &options, &mut Discard)?.keys;
    }
    Ok((Some(path.to_owned()), keys))
}

fn changed(run: &Run, path: &Path) -> Failure {
    let text = format!(
        "{} was changed since run {} began: its SHA-256 is not {} any more; nothing was sent",
        path.display(),
        run.id,
        run.input_sha256
    );
    let hint = format!(
        "to end run {} as it was begun, put the old file back or name it with `--batch FILE`; to provision the new \
         one, run `provisioner apply {}`: what is on the hub already is compared, not repeated",
        run.id,
        path.display()
    );
    Failure::new(Exit::BadInput, text).hint(hint)
}

const WAIT: Duration = Duration::from_millis(500);

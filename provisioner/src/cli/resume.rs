//! `resume`: go on with a run that was cut off.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::ResumeArgs;
use super::failure::{Exit, Failure};
use super::printer::Printer;
use super::work::{Certificates, Job};
use crate::batch::{LoadOptions, MissingCertificates, ProblemsOnly, load, sha256_of_file};
use crate::desired::GivenKeys;
use crate::ledger::{Ledger, RowFilter, Run};
use crate::target::Target;

pub(super) async fn run(args: &ResumeArgs, ledger_path: &Path, printer: &Printer) -> Result<Exit, Failure> {
    let ledger = Ledger::open(ledger_path)?;
    let run = ledger.run(args.run)?;
    let target = target_of(&run, Target::resolve(args.target.choice(), ".".as_ref())?)?;
    printer.note(format_args!("hub: {target}"));
    printer.note(format_args!("run {}: {}, begun {}", run.id, run.input, run.started));
    let (batch, keys) = batch_of(&run, args.batch.as_deref(), &ledger, printer)?;
    let certificates = Certificates::open(run.options.issue.clone(), &target, printer)?;
    let hub = target.open().await?;
    if let Err(error) = hub.client.probe().await {
        hub.close().await;
        return Err(error.into());
    }
    let job = Job { hub, keys: Arc::new(keys), batch, certificates, args: &args.work, printer };
    job.carry_out(ledger, ledger_path, run.id).await
}

/// Insists on the hub that the run is for.
fn target_of(run: &Run, target: Target) -> Result<Target, Failure> {
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
    ledger: &Ledger,
    printer: &Printer,
) -> Result<(Option<PathBuf>, GivenKeys), Failure> {
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
            read: batch_file::ReadOptions { map: run.options.map.clone() },
            certificates: MissingCertificates::Issued,
        };
        keys = load(path, &options, &mut ProblemsOnly::default())?.keys;
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

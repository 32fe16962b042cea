//! `bundle`: everything that a device needs, of one identity or of many.

use hub_types::shown::{ShownBare, ShownPath};
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::anyhow;
use cert_tool::{
    BundleForm, BundleOptions, BundleOutcome, BundleService, BundleTarget, Bundler, CaCertificates,
    Certificate, Error, IssuedCertificate, IssuedList, Refusal, Revocation, RevokedCertificates,
};
use cli_support::counted::counted;
use cli_support::exit::Exit;
use cli_support::progress::Progress;
use hub_types::IdentityId;
use serde::Serialize;

use super::args::BundleArgs;
use super::batch::{self, BatchFile};
use super::failure::{Failure, unread_input};
use super::input;
use super::interrupt::Interrupt;
use super::output::Output;
use super::record::{IdentityRecord, absent};

pub(crate) fn run(args: &BundleArgs, output: &mut Output) -> Result<Exit, Failure> {
    let options = options(args)?;
    let list = IssuedList::open(&args.issued.dir).map_err(unread_input)?;
    let bundler = Bundler::new(&list, &roots(&args.ca)?, &options)?;
    let revoked = revoked(&args.ca)?;
    revoked.check_issuers(&list)?;
    if let Some(identity) = args.issued.identity.identity()? {
        if let Some(record) = list.find(&identity)?
            && let Some(refusal) = refusal(&bundler, &revoked, &identity, &record)
        {
            output.refused(&identity.to_string(), &refusal);
            output.record(&IdentityRecord::refused(Some(&identity), &refusal));
            return Ok(Exit::SomeFailed);
        }
        return one(args, &bundler, &identity, output);
    }
    let Some(path) = &args.issued.from else {
        return many(args, (&bundler, &revoked), list.entries()?, list.len(), output);
    };
    let batch = BatchFile::new(path, &args.issued.batch);
    batch::for_listed(&batch, &list, &args.issued.dir, output, |wanted, rows, output| {
        many(args, (&bundler, &revoked), wanted, rows, output)
    })
}

/// The certificates that are revoked or on hold, where the books of their CA are at hand.
fn revoked(ca: &Path) -> Result<RevokedCertificates, Failure> {
    let mut revoked = RevokedCertificates::default();
    if !input::is_stdin(ca) && ca.is_dir() {
        revoked.add_ca(ca)?;
    }
    Ok(revoked)
}

/// Returns the reason why a certificate is not bundled: a device with it could not connect.
fn refusal(
    bundler: &Bundler<'_>,
    revoked: &RevokedCertificates,
    identity: &IdentityId,
    record: &IssuedCertificate,
) -> Option<Refusal> {
    let revocation = revoked.revocation(&record.sha256).map(Revocation::refusal);
    revocation.or_else(|| bundler.refusal(identity))
}

fn options(args: &BundleArgs) -> Result<BundleOptions, Failure> {
    let service = match (&args.hub, &args.dps_scope) {
        (Some(host), _) => BundleService::Hub(host.clone()),
        (None, Some(scope)) => {
            BundleService::Dps { endpoint: args.dps_endpoint.clone(), id_scope: scope.clone() }
        }
        (None, None) => return Err(Failure::Usage(anyhow!("neither --hub nor --dps-scope is given"))),
    };
    Ok(BundleOptions {
        target: if args.edge { BundleTarget::Edge } else { BundleTarget::Sdk },
        service,
        form: if args.tar { BundleForm::Tar } else { BundleForm::Folder },
        installed_in: args.installed_in.clone(),
        server_roots: match &args.hub_root {
            Some(file) => input::certificates(file).map_err(unread_input)?,
            None => Vec::new(),
        },
        threads: args.issued.threads,
    })
}

/// The certificates to trust: those of a file, or the root of a CA.
fn roots(path: &Path) -> Result<Vec<Certificate>, Failure> {
    if input::is_stdin(path) || !path.is_dir() {
        return input::certificates(path).map_err(unread_input);
    }
    match CaCertificates::read(path)?.root {
        Some(root) => Ok(vec![root]),
        None => Err(Failure::Usage(anyhow!(
            "`{}` has no `root.pem`: name the file of the root with --ca",
            ShownPath(path)
        ))),
    }
}

fn one(
    args: &BundleArgs,
    bundler: &Bundler<'_>,
    identity: &IdentityId,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let written = bundler.write(identity, &args.out)?;
    let record = written.ok_or_else(|| Failure::Usage(anyhow!(absent(identity, &args.issued.dir))))?;
    if record.private_key.is_none() {
        output.note(NO_KEY);
    }
    output.record(&IdentityRecord::put_into(identity, "bundled", record, &args.out));
    Ok(Exit::Done)
}

fn many(
    args: &BundleArgs,
    (bundler, revoked): (&Bundler<'_>, &RevokedCertificates),
    wanted: impl Iterator<Item = Result<(IdentityId, IssuedCertificate), Error>> + Send,
    total: u64,
    output: &mut Output,
) -> Result<Exit, Failure> {
    let interrupt = Interrupt::listen();
    let stop = interrupt.clone();
    let progress = Progress::of_many("bundling", "bundles", total);
    let mut summary =
        BundleSummary { out: args.out.to_string_lossy().into_owned(), ..BundleSummary::default() };
    let refused = Mutex::new(Vec::new());
    let wanted = wanted.take_while(|_| !stop.is_wanted()).filter(|wanted| {
        let Ok((identity, record)) = wanted else { return true };
        let Some(refusal) = refusal(bundler, revoked, identity, record) else { return true };
        refused.lock().unwrap_or_else(PoisonError::into_inner).push((identity.clone(), refusal));
        false
    });
    bundler.write_all(wanted, &args.out, &mut |bundle| {
        output.progress(&progress);
        summary.count(&bundle.outcome, &bundle.record);
        if !output.is_text() {
            let (outcome, path) = match &bundle.outcome {
                BundleOutcome::AlreadyThere(path) => ("already_there", path),
                BundleOutcome::Written(path) => ("bundled", path),
                _ => return,
            };
            output.record(&IdentityRecord::put_into(&bundle.identity, outcome, bundle.record, path));
        }
    })?;
    drop(progress);
    for (identity, refusal) in refused.into_inner().unwrap_or_else(PoisonError::into_inner) {
        summary.refused += 1;
        output.refused(&identity.to_string(), &refusal);
        if !output.is_text() {
            output.record(&IdentityRecord::refused(Some(&identity), &refusal));
        }
    }
    if summary.keys_elsewhere > 0 {
        let count = summary.keys_elsewhere;
        output.note(&format!(
            "{} without `key.pem`: the keys are only on the devices",
            counted(count, "bundle")
        ));
    }
    let seen = summary.bundled + summary.already_there + summary.refused;
    if output.is_text() {
        output.record(&summary);
    }
    if interrupt.is_wanted() && seen < total {
        return Ok(Exit::Interrupted);
    }
    Ok(Exit::finished(summary.refused == 0))
}

#[derive(Debug, Default, Serialize)]
struct BundleSummary {
    bundled: u64,
    already_there: u64,
    refused: u64,
    keys_elsewhere: u64,
    out: String,
}

impl BundleSummary {
    fn count(&mut self, outcome: &BundleOutcome, record: &IssuedCertificate) {
        match outcome {
            BundleOutcome::Written(_) => self.bundled += 1,
            _ => self.already_there += 1,
        }
        self.keys_elsewhere += u64::from(record.private_key.is_none());
    }
}

impl fmt::Display for BundleSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bundled, already_there, refused, out, .. } = self;
        let refused = if *refused > 0 { format!(", {refused} refused") } else { String::new() };
        write!(
            f,
            "{} made, {already_there} already there{refused}: {}",
            counted(*bundled, "bundle"),
            ShownBare(out)
        )
    }
}

const NO_KEY: &str = "there is no `key.pem` in it: the key is only on the device";

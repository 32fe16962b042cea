//! The issue of certificates for the rows of a run that need one.

use hub_types::shown::ShownPath;
use std::time::Instant;

use cert_tool::{
    CaOptions, CertificateAuthority, IssueOptions, IssueRequest, IssuedAuth, IssuedStore, Outcome, Refusal,
    SecretSource, Sink,
};

use super::error::RunFailure;
use crate::batch::{
    IssuedCredential, complete_rows, find_ca, issued_elsewhere, key_source, not_issued, profile_row,
};
use crate::clock::{Timestamp, now};
use crate::ledger::{Credential, IssueFolders, Ledger, LedgerError, LedgerRow, RowFilter, RunState};
use crate::model::observer::{Activity, RunObserver};
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec};
use crate::target::ServiceTarget;

/// The CA, and the folder that its certificates go to.
pub(super) struct Certificates {
    ca: CertificateAuthority,
    store: IssuedStore,
    options: IssueOptions,
}

impl Certificates {
    /// Opens the CA and the folder. A missing CA is only made for the embedded hub: elsewhere a folder
    /// without a CA is a typing error.
    pub(super) fn open(
        folders: Option<IssueFolders>,
        secrets: &SecretSource,
        target: &ServiceTarget,
        observer: &dyn RunObserver,
    ) -> Result<Option<Self>, RunFailure> {
        let Some(IssueFolders { ca: folder, out }) = folders else { return Ok(None) };
        let now = now();
        let ca = if find_ca(&folder, target.is_embedded())? {
            CertificateAuthority::open_with(&folder, &mut |locked| secrets.ask(locked))?
        } else {
            observer.note(&format_args!("CA: made a test CA in {}", ShownPath(&folder)));
            CertificateAuthority::init(&folder, &CaOptions::default(), now)?
        };
        // A fault in them is told before anything is done.
        ca.profiles()?;
        let store = IssuedStore::open(&ca, &out, Sink::Bundle)?;
        Ok(Some(Self { ca, store, options: IssueOptions::new(now) }))
    }

    /// Refuses the name of a profile that the CA does not have.
    pub(super) fn check_profile(&self, name: &str) -> Result<(), cert_tool::Error> {
        self.ca.profiles()?.find(name).map(drop)
    }

    /// The folder of what was issued.
    pub(super) fn store(&self) -> &IssuedStore {
        &self.store
    }

    /// Issues the certificates that a run needs.
    pub(super) fn issue(
        mut self,
        ledger: &mut Ledger,
        run: RunId,
        observer: &dyn RunObserver,
    ) -> Result<(), RunFailure> {
        let begun = Instant::now();
        let rows = ledger.count(run, RowFilter::ToBeIssued)?;
        let progress = observer.begin(Activity::Issuing, rows);
        let count = |rows| progress.add(rows);
        let stop = observer.stop();
        let is_stopped = || stop.is_cancelled();
        let totals =
            issue_missing(ledger, run, &self.ca, &self.options, &mut self.store, &count, &is_stopped);
        progress.finish();
        let totals = match totals {
            Ok(totals) => totals,
            // The run ends as one that was stopped before its first row.
            Err(IssueError::Stopped) => return Ok(()),
            Err(error) => {
                ledger.end_run(run, RunState::Interrupted, &Timestamp::now())?;
                return Err(error.into());
            }
        };
        observer.note(&format_args!(
            "certificates: {} issued, {} there already, {} refused, in {:.1} s",
            totals.issued,
            totals.already_there,
            totals.refused,
            begun.elapsed().as_secs_f64()
        ));
        let end = self.ca.earlier_end(self.options.lifetime(), self.options.now);
        if let Some(end) = end.filter(|_| totals.issued > 0) {
            observer.note(&format_args!("note: {end}"));
        }
        Ok(())
    }
}

/// The totals of issuing for a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct IssueTotals {
    /// Certificates that were issued now.
    issued: u64,
    /// Certificates that were there from before.
    already_there: u64,
    /// Rows for which none could be issued; the ledger says why.
    refused: u64,
}

/// The reason why issuing stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IssueError {
    /// The CA or the folder for its certificates fails.
    #[error(transparent)]
    Certificates(#[from] cert_tool::Error),
    /// The ledger fails.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Somebody wants it to stop. What was issued until then is kept.
    #[error("stopped while certificates were issued")]
    Stopped,
}

/// Issues the certificates that a run needs and that are not in `store` yet, and puts all their
/// thumbprints into the ledger. `is_stopped` is asked before each portion.
fn issue_missing(
    ledger: &mut Ledger,
    run: RunId,
    ca: &CertificateAuthority,
    options: &IssueOptions,
    store: &mut IssuedStore,
    progress: &dyn Fn(usize),
    is_stopped: &dyn Fn() -> bool,
) -> Result<IssueTotals, IssueError> {
    let mut totals = IssueTotals::default();
    complete_rows(ledger, run, |ledger, rows| {
        if is_stopped() {
            return Err(IssueError::Stopped);
        }
        let requests: Vec<IssueRequest> = rows.iter().map(request).collect();
        let mut found = Vec::with_capacity(rows.len());
        let (mut refused, mut elsewhere, mut owned) = (Vec::new(), Vec::new(), Vec::new());
        let issuer = ca.issuing_certificate().subject();
        cert_tool::issue_batch(ca, options, requests.into_iter(), store, &mut |issued| {
            progress(1);
            found.push(totals.count(&issued.outcome));
            if let Outcome::AlreadyThere(facts) | Outcome::Issued(facts) = &issued.outcome {
                let thumbprint = Credential::thumbprint(&facts.sha256.into());
                owned.push((issued.identity.clone(), thumbprint));
                owned.push((issued.identity.clone(), Credential::serial(issuer, &facts.serial)));
            }
            match &issued.outcome {
                Outcome::Refused(Refusal::IssuedElsewhere { .. }) => elsewhere.push(issued.identity.clone()),
                Outcome::Refused(refusal) => refused.push((issued.identity.clone(), not_issued(refusal))),
                Outcome::AlreadyThere(_) | Outcome::Issued(_) => {}
            }
        })?;
        for identity in elsewhere {
            let folder = store.folder_of(&identity)?;
            refused.push((identity, issued_elsewhere(folder)));
        }
        ledger.remember(run, &owned)?;
        ledger.refuse(run, &refused, &Timestamp::now())?;
        Ok(found)
    })?;
    Ok(totals)
}

impl IssueTotals {
    /// Counts an outcome and returns the certificate that it brought.
    fn count(&mut self, outcome: &Outcome) -> Option<IssuedCredential> {
        let (counter, facts) = match outcome {
            Outcome::AlreadyThere(facts) => (&mut self.already_there, Some(facts)),
            Outcome::Issued(facts) => (&mut self.issued, Some(facts)),
            Outcome::Refused(_) => (&mut self.refused, None),
        };
        *counter += 1;
        facts.cloned().map(IssuedCredential::of)
    }
}

fn request(row: &LedgerRow) -> IssueRequest {
    let IdentitySpec { identity, state } = &row.spec;
    let auth = match &state.auth {
        AuthSpec::IssuedCertificate { by_ca: true, .. } => IssuedAuth::X509Ca,
        _ => IssuedAuth::X509Thumbprint,
    };
    let row = profile_row(&state.auth);
    IssueRequest { identity: identity.clone(), key: key_source(&state.auth), auth, row }
}

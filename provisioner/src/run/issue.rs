//! The issue of certificates for the rows of a run that need one.

use cert_tool::{
    CertificateAuthority, Columns, IssueOptions, IssueRequest, IssuedAuth, IssuedStore, Outcome, ProfileRow,
};

use crate::batch::{IssuedCredential, complete_rows, key_source};
use crate::clock::Timestamp;
use crate::ledger::{Credential, Ledger, LedgerError, LedgerRow, Record, RunId};
use crate::model::causes::with_causes;
use crate::model::failure::ReasonCode;
use crate::model::spec::{AuthSpec, IdentitySpec};

/// The totals of issuing for a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IssueTotals {
    /// Certificates that were issued now.
    pub issued: u64,
    /// Certificates that were there from before.
    pub already_there: u64,
    /// Rows for which none could be issued; the ledger says why.
    pub refused: u64,
}

/// The reason why issuing stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
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
pub fn issue_missing(
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
        let (mut refused, mut owned) = (Vec::new(), Vec::new());
        let issuer = ca.issuing_certificate().subject();
        cert_tool::issue_batch(ca, options, requests.into_iter(), store, &mut |issued| {
            progress(1);
            found.push(totals.count(&issued.outcome));
            if let Outcome::AlreadyThere(facts) | Outcome::Issued(facts) = &issued.outcome {
                let thumbprint = Credential::thumbprint(&facts.sha256.into());
                owned.push((issued.identity.clone(), thumbprint));
                owned.push((issued.identity.clone(), Credential::serial(issuer, &facts.serial)));
            }
            if let Outcome::Refused(reason) = &issued.outcome {
                let text = format!("no certificate was issued: {}", with_causes(reason));
                let record = Record::failed(ReasonCode::CertificateNotIssued, text);
                refused.push((issued.identity.clone(), record));
            }
        })?;
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
    let row = match &state.auth {
        AuthSpec::IssuedCertificate { profile: Some(profile), .. } => ProfileRow {
            profile: Some(profile.name.clone()),
            columns: Columns::from(profile.columns.clone()),
        },
        _ => ProfileRow::default(),
    };
    IssueRequest { identity: identity.clone(), key: key_source(&state.auth), auth, row }
}

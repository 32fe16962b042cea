//! Certificates for the rows that need one: issued, or found among those issued before.

use cert_tool::{
    CertificateAuthority, Columns, CsrInput, IssueOptions, IssueRequest, IssuedAuth, IssuedFacts, IssuedList,
    IssuedStore, KeySource, Outcome, ProfileRow, PublicKeyInput,
};
use hub_types::{IdentityId, Sha256Thumbprint};

use crate::clock::now_text;
use crate::ledger::{Credential, Ledger, LedgerError, LedgerRow, Record, RowFilter, RunId};
use crate::model::causes::with_causes;
use crate::model::failure::ReasonCode;
use crate::model::spec::{AuthSpec, GivenPem, IdentitySpec};

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
    each_page(ledger, run, |ledger, rows| {
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
        ledger.refuse(run, &refused, &now_text())?;
        Ok(found)
    })?;
    Ok(totals)
}

/// Puts the thumbprints of certificates that were issued before into the ledger. Rows whose
/// certificate is not in `list` stay as they are.
pub fn find_issued(ledger: &mut Ledger, run: RunId, list: &IssuedList) -> Result<(), IssueError> {
    find_issued_with(ledger, run, list, |_, _| {})
}

/// The same; `correct` may know better than the list.
pub fn find_issued_with(
    ledger: &mut Ledger,
    run: RunId,
    list: &IssuedList,
    mut correct: impl FnMut(&LedgerRow, &mut IssuedFacts),
) -> Result<(), IssueError> {
    each_page(ledger, run, |_, rows| {
        let find = |row: &LedgerRow| {
            let mut facts = list.find(&row.spec.identity)?;
            if let Some(facts) = &mut facts {
                correct(row, facts);
            }
            Ok(facts.map(Certified::of))
        };
        rows.iter().map(find).collect()
    })
}

/// The data of a certificate that the ledger needs.
struct Certified {
    sha256: Sha256Thumbprint,
    serial: String,
}

impl Certified {
    fn of(facts: IssuedFacts) -> Self {
        Self { sha256: facts.sha256, serial: facts.serial }
    }
}

impl IssueTotals {
    /// Counts an outcome and answers the certificate it brought.
    fn count(&mut self, outcome: &Outcome) -> Option<Certified> {
        let (counter, facts) = match outcome {
            Outcome::AlreadyThere(facts) => (&mut self.already_there, Some(facts)),
            Outcome::Issued(facts) => (&mut self.issued, Some(facts)),
            Outcome::Refused(_) => (&mut self.refused, None),
        };
        *counter += 1;
        facts.cloned().map(Certified::of)
    }
}

/// Asks for the certificates of the rows that need one, page by page so that memory stays flat, and
/// writes what is known of those that there are into the ledger.
fn each_page(
    ledger: &mut Ledger,
    run: RunId,
    mut certificates: impl FnMut(&mut Ledger, &[LedgerRow]) -> Result<Vec<Option<Certified>>, IssueError>,
) -> Result<(), IssueError> {
    let mut after: Option<IdentityId> = None;
    loop {
        let mut rows = ledger.page(run, RowFilter::ToBeIssued, after.as_ref(), PAGE)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.spec.identity.clone());
        let certificates = certificates(ledger, &rows)?;
        let mut known: Vec<(&IdentitySpec, &str)> = Vec::with_capacity(rows.len());
        for (row, certificate) in rows.iter_mut().zip(&certificates) {
            if let Some(Certified { sha256, serial }) = certificate {
                row.spec.state.auth = row.spec.state.auth.with_issued(*sha256);
                known.push((&row.spec, serial));
            }
        }
        ledger.replace_wanted(run, &known)?;
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

/// The source of the key for a certificate that is to be issued.
pub(crate) fn key_source(auth: &AuthSpec) -> KeySource {
    let AuthSpec::IssuedCertificate { csr, public_key, .. } = auth else { return KeySource::Generate };
    match (csr.clone(), public_key.clone()) {
        (Some(GivenPem::Path(path)), _) => KeySource::Csr(CsrInput::Path(path)),
        (Some(GivenPem::Pem(pem)), _) => KeySource::Csr(CsrInput::Pem(pem)),
        (None, Some(GivenPem::Path(path))) => KeySource::PublicKey(PublicKeyInput::Path(path)),
        (None, Some(GivenPem::Pem(pem))) => KeySource::PublicKey(PublicKeyInput::Pem(pem)),
        (None, None) => KeySource::Generate,
    }
}

/// Rows that are held in memory at once.
const PAGE: usize = 2_000;

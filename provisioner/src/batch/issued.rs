//! Certificates that were issued for a batch: found in the list of a CA, and put into the ledger.

use hub_types::shown::ShownPath;
use std::path::{Path, PathBuf};

use cert_tool::{
    CertificateAuthority, Columns, CsrInput, IssueOptions, IssuedCertificate, IssuedList, IssuedLookup,
    KeySource, ProfileRow, Profiles, PublicKeyInput, Refusal, RowCheck,
};
use cli_support::causes::with_causes;
use hub_types::{IdentityId, Sha256Thumbprint};

use super::load::LoadError;
use crate::clock::{self, Timestamp};
use crate::ledger::{IssueFolders, Ledger, LedgerError, LedgerRow, Record, RowFilter};
use crate::model::failure::ReasonCode;
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, GivenPem, IdentitySpec};
use crate::target::ServiceTarget;

/// Puts the thumbprints of certificates that were issued before into the ledger. Rows whose
/// certificate is not in `list` stay as they are.
pub(crate) fn find_issued(ledger: &mut Ledger, run: RunId, list: &IssuedList) -> Result<(), LoadError> {
    find_issued_with(ledger, run, list, |_, _| {})
}

/// Does the same, and lets `correct` correct the data of the list.
pub(crate) fn find_issued_with(
    ledger: &mut Ledger,
    run: RunId,
    list: &IssuedList,
    mut correct: impl FnMut(&LedgerRow, &mut IssuedCertificate),
) -> Result<(), LoadError> {
    complete_rows(ledger, run, |_, rows| {
        let find = |row: &LedgerRow| {
            let mut facts = list.find(&row.spec.identity)?;
            if let Some(facts) = &mut facts {
                correct(row, facts);
            }
            Ok(facts.map(IssuedCredential::of))
        };
        rows.iter().map(find).collect()
    })
}

/// Returns true if there is a CA in a folder, and false if `apply` makes a test CA there, which it does only for the
/// embedded hub (`makes_test_ca`): elsewhere a folder without a CA is a typing error.
pub(crate) fn find_ca(folder: &Path, makes_test_ca: bool) -> Result<bool, LoadError> {
    match (CertificateAuthority::exists(folder), makes_test_ca) {
        (false, false) => Err(LoadError::NoCa { folder: folder.to_owned() }),
        (exists, _) => Ok(exists),
    }
}

/// The refusals of certificates that a CA would issue. Its key is not used, and its index is only read.
pub(crate) struct IssuePreview {
    /// `None` for a test CA that is still to be made, which refuses nothing.
    issuer: Option<RowCheck>,
    /// `None` while nothing was issued.
    lookup: Option<IssuedLookup>,
    /// The number of certificates that the CA will have issued, if it may issue only a number of them.
    issued: u64,
}

impl IssuePreview {
    /// Reads the policy, the profiles and the index of a CA. `profile` is that of rows that name none: the CA must
    /// have it.
    pub(crate) fn open(
        folders: &IssueFolders,
        profile: Option<&String>,
        target: &ServiceTarget,
    ) -> Result<Self, LoadError> {
        let issuing = IssueOptions { profile: profile.cloned(), ..IssueOptions::new(clock::now()) };
        let issuer = if find_ca(&folders.ca, target.is_embedded())? {
            Some(RowCheck::open(&folders.ca, &issuing)?)
        } else {
            // A test CA has no profiles.
            profile.map(|name| Profiles::default().find(name).map(drop)).transpose()?;
            None
        };
        let lookup = IssuedLookup::open(&folders.ca, &folders.out)?;
        let is_limited = issuer.as_ref().is_some_and(RowCheck::limits_number);
        let issued = lookup.as_ref().filter(|_| is_limited).map_or(Ok(0), IssuedLookup::count)?;
        Ok(Self { issuer, lookup, issued })
    }

    /// Refuses the rows of a run to which no certificate would be issued: because of the one that the CA has
    /// issued before, or because of its policy and the row's profile.
    pub(crate) fn refuse_rows(mut self, ledger: &mut Ledger, run: RunId) -> Result<(), LoadError> {
        complete_rows(ledger, run, |ledger, rows| {
            let mut refused = Vec::new();
            for row in rows {
                if let Some(record) = self.refusal(&row.spec)? {
                    refused.push((row.spec.identity.clone(), record));
                }
            }
            ledger.refuse(run, &refused, &Timestamp::now())?;
            Ok(Vec::new())
        })
    }

    fn refusal(&mut self, spec: &IdentitySpec) -> Result<Option<Record>, LoadError> {
        let identity = &spec.identity;
        if let Some(lookup) = &self.lookup
            && lookup.contains(identity)?
        {
            return Ok(match lookup.refusal(identity)? {
                None => None,
                Some(Refusal::IssuedElsewhere { .. }) => Some(issued_elsewhere(lookup.folder_of(identity)?)),
                Some(refusal) => Some(not_issued(&refusal)),
            });
        }
        let Some(ca) = &self.issuer else { return Ok(None) };
        let checked = ca.check(identity, &profile_row(&spec.state.auth));
        let refusal = checked.err().or_else(|| ca.refusal_after(self.issued));
        self.issued += u64::from(refusal.is_none());
        Ok(refusal.map(|refusal| not_issued(&refusal)))
    }
}

/// The record of a row whose identity has its newest certificate in a different folder.
pub(crate) fn issued_elsewhere(folder: Option<PathBuf>) -> Record {
    let folder = folder.unwrap_or_default();
    let text = format!("its newest certificate is in a different folder: `{}`", ShownPath(&folder));
    Record::failed(ReasonCode::CertificateElsewhere, text)
}

/// The record of a row to which no certificate was issued for a different reason.
pub(crate) fn not_issued(refusal: &Refusal) -> Record {
    let text = format!("no certificate was issued: {}", with_causes(refusal));
    Record::failed(ReasonCode::CertificateNotIssued, text)
}

/// The data of a certificate that the ledger needs.
pub(crate) struct IssuedCredential {
    sha256: Sha256Thumbprint,
    serial: String,
}

impl IssuedCredential {
    pub(crate) fn of(facts: IssuedCertificate) -> Self {
        Self { sha256: facts.sha256, serial: facts.serial }
    }
}

/// Calls `certificates` with the rows that need one, page by page so that memory stays flat, and
/// writes the data of the returned certificates into the ledger.
pub(crate) fn complete_rows<E: From<LedgerError>>(
    ledger: &mut Ledger,
    run: RunId,
    mut certificates: impl FnMut(&mut Ledger, &[LedgerRow]) -> Result<Vec<Option<IssuedCredential>>, E>,
) -> Result<(), E> {
    let mut after: Option<IdentityId> = None;
    loop {
        let mut rows = ledger.page(run, RowFilter::ToBeIssued, after.as_ref(), PAGE)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.spec.identity.clone());
        let certificates = certificates(ledger, &rows)?;
        let mut known: Vec<(&IdentitySpec, &str)> = Vec::with_capacity(rows.len());
        for (row, certificate) in rows.iter_mut().zip(&certificates) {
            if let Some(IssuedCredential { sha256, serial }) = certificate {
                row.spec.state.auth = row.spec.state.auth.with_issued(*sha256);
                known.push((&row.spec, serial));
            }
        }
        ledger.replace_wanted(run, &known)?;
    }
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

/// The profile of a certificate that is to be issued, with the columns for its templates.
pub(crate) fn profile_row(auth: &AuthSpec) -> ProfileRow {
    match auth {
        AuthSpec::IssuedCertificate { profile: Some(profile), .. } => ProfileRow {
            profile: Some(profile.name.clone()),
            columns: Columns::from(profile.columns.clone()),
        },
        _ => ProfileRow::default(),
    }
}

/// Rows that are held in memory at once.
const PAGE: usize = 2_000;

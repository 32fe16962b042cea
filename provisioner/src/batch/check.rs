//! The check of a batch without a hub.

use std::path::Path;

use batch_file::Problem;
use cert_tool::{IssueOptions, RowCheck};

use super::ledger_sink::BatchFile;
use super::load::{BatchSink, LoadError, LoadOptions, Loaded, load};
use super::row::CertificateSource;
use super::temporary::begin_temporary;
use crate::clock::now;
use crate::ledger::{Credential, CredentialConflict, CredentialKind, Ledger, LedgerError, Loader};
use crate::model::service::ServiceKind;
use crate::model::spec::IdentitySpec;

/// Reads a batch and reports each problem as it is found: there may be more than memory holds. Rows that the CA in
/// `issuer` would refuse, and rows that can't be on the service, are bad; `profile` is for rows that name none.
pub(crate) fn check(
    batch: BatchFile,
    issuer: Option<&Path>,
    profile: Option<String>,
    service: ServiceKind,
    on_problem: &mut dyn FnMut(Problem),
) -> Result<Loaded, LoadError> {
    let issuing = IssueOptions { profile: profile.clone(), ..IssueOptions::new(now()) };
    let options = LoadOptions {
        read: batch.read,
        certificates: CertificateSource::Issued,
        check_only: true,
        profile,
        service,
        issuer: issuer.map(|folder| RowCheck::open(folder, &issuing)).transpose()?,
        ..LoadOptions::default()
    };
    let mut ledger = Ledger::open_temporary()?;
    let rows_with_files = begin_temporary(&mut ledger, &batch.path)?;
    load(&batch.path, &options, &mut CheckSink { rows_with_files, on_problem })
}

/// Passes problems on, and finds credentials that rows share.
struct CheckSink<'a> {
    /// Rows whose key or serial number is known.
    rows_with_files: Loader<'a>,
    on_problem: &'a mut dyn FnMut(Problem),
}

impl BatchSink for CheckSink<'_> {
    fn row(
        &mut self,
        line: u64,
        spec: IdentitySpec,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        // Thumbprints are compared as rows are read.
        match credentials.iter().all(|credential| credential.kind() == CredentialKind::Thumbprint) {
            true => Ok(None),
            false => self.rows_with_files.insert(line, &spec, credentials),
        }
    }

    fn problem(&mut self, problem: Problem) {
        (self.on_problem)(problem);
    }
}

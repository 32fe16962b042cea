//! Loading a batch into a ledger, as the rows of a run.

use hub_types::shown::ShownPath;
use std::path::{Path, PathBuf};

use batch_file::{Problem, ReadOptions};
use cert_tool::{Certificate, IssuedStore};
use hub_types::IdentityId;
use sha2::{Digest, Sha256};

use super::load::{BatchSink, LoadError, LoadOptions, Loaded, load};
use super::problem_groups::ProblemGroups;
use super::row::CertificateSource;
use crate::ledger::{Credential, CredentialConflict, Ledger, LedgerError, Loader, NotStorable, RunOptions};
use crate::model::digest::Sha256Digest;
use crate::model::observer::RunObserver;
use crate::model::secret_file::note_if_exposed;
use crate::model::service::ServiceKind;
use crate::model::spec::IdentitySpec;
use crate::target::{TargetError, configured_reading};
use cli_support::counted::counted;

/// A batch file and its reading options.
#[derive(Debug, Clone)]
pub(crate) struct BatchFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// The reading options.
    pub(crate) read: ReadOptions,
}

/// The user's choice of a batch file and its reading options.
#[derive(Debug, Clone)]
pub(crate) struct BatchChoice {
    /// The file.
    pub(crate) file: PathBuf,
    /// The reading options; those of the configuration file take the place of missing ones.
    pub(crate) read: ReadOptions,
}

impl BatchChoice {
    /// Completes the choice with the settings of the configuration file in `folder`.
    pub(crate) fn resolve(self, folder: &Path) -> Result<BatchFile, TargetError> {
        let configured = configured_reading(folder)?;
        let mut read = self.read;
        read.id_pattern = read.id_pattern.or(configured.id_pattern);
        if read.modules.is_empty() {
            read.modules = configured.modules;
        }
        if read.ignore.is_empty() {
            read.ignore = configured.ignore;
        }
        Ok(BatchFile { path: self.file, read })
    }
}

/// The rules for rows while they are loaded.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadRules {
    /// Every device is kept disabled until it is released.
    pub(crate) quarantine: bool,
    /// Bad rows are left out.
    pub(crate) skip_bad_rows: bool,
    /// The files that rows name are noted.
    pub(crate) note_files: bool,
    /// The profile of rows that name none.
    pub(crate) profile: Option<String>,
    /// The kind of the service that the batch is for.
    pub(crate) service: ServiceKind,
    /// The CA of the enrolment group by which the devices register, if they get no enrolments.
    pub(crate) group_ca: Option<Certificate>,
}

impl LoadRules {
    /// The rules of a run with these options.
    pub(crate) fn of(options: &RunOptions, skip_bad_rows: bool) -> Self {
        let profile = options.profile.clone();
        let (quarantine, service) = (options.quarantine, options.service);
        Self { quarantine, skip_bad_rows, profile, note_files: false, service, group_ca: None }
    }
}

/// Puts rows into a ledger, and notes problems.
pub(crate) struct LedgerSink<'a, 'l> {
    loader: &'a Loader<'l>,
    /// The ledger that knows the owners of credentials, if it is not the loader's.
    owners: Option<&'a mut Ledger>,
    rules: LoadRules,
    observer: &'a dyn RunObserver,
    /// Hashes the specifications, row by row, if there is one.
    hasher: Option<&'a mut Sha256>,
    problems: ProblemGroups,
    /// The folder that certificates are issued to, if certificates are issued.
    store: Option<&'a IssuedStore>,
    elsewhere: Result<Option<CertificatesElsewhere>, cert_tool::Error>,
}

/// Certificates of a batch in a different folder than the one for new certificates.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} of this batch, the first of them `{first}`, are in another folder already: `{}`; nothing was issued and \
     nothing was sent",
    counted(*count, "certificate"), ShownPath(folder)
)]
pub(crate) struct CertificatesElsewhere {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// The first identity.
    pub(crate) first: IdentityId,
    /// The number of certificates.
    pub(crate) count: u64,
}

impl<'a, 'l> LedgerSink<'a, 'l> {
    /// Puts rows into the run of `loader`.
    pub(crate) fn new(loader: &'a Loader<'l>, rules: LoadRules, observer: &'a dyn RunObserver) -> Self {
        let problems = ProblemGroups::default();
        Self {
            loader,
            owners: None,
            rules,
            observer,
            hasher: None,
            problems,
            store: None,
            elsewhere: Ok(None),
        }
    }

    /// Reads the owners of credentials from this ledger.
    pub(crate) fn owned_by(self, owners: Option<&'a mut Ledger>) -> Self {
        Self { owners, ..self }
    }

    /// Requires existing certificates to be in this folder.
    pub(crate) fn issuing_to(self, store: Option<&'a IssuedStore>) -> Self {
        Self { store, ..self }
    }

    /// Hashes the specifications of all identities, which also change with the files that rows name.
    pub(crate) fn hashing(self, hasher: &'a mut Sha256) -> Self {
        Self { hasher: Some(hasher), ..self }
    }

    /// Reads the batch, and returns the SHA-256 of its file. Bad rows are an error unless they may be
    /// skipped.
    pub(crate) fn load(
        mut self,
        batch: &BatchFile,
        certificates: CertificateSource,
    ) -> Result<(Loaded, Sha256Digest), LoadError> {
        let options = LoadOptions {
            read: batch.read.clone(),
            certificates,
            note_files: self.rules.note_files,
            profile: self.rules.profile.clone(),
            service: self.rules.service,
            group_ca: self.rules.group_ca.clone(),
            ..LoadOptions::default()
        };
        let loaded = load(&batch.path, &options, &mut self)?;
        for group in self.problems.groups() {
            self.observer.note(group);
        }
        if let Some(left_out) = self.problems.summary() {
            self.observer.note(&format_args!("{}: {left_out}", ShownPath(&batch.path)));
        }
        if !loaded.keys.is_empty() {
            note_if_exposed(&batch.path, self.observer);
        }
        let is_refused = loaded.is_unusable || (loaded.bad_rows > 0 && !self.rules.skip_bad_rows);
        let Some(sha256) = loaded.sha256.filter(|_| !is_refused) else {
            return Err(LoadError::NotClean {
                path: batch.path.clone(),
                errors: loaded.errors,
                bad_rows: loaded.bad_rows,
                rows: loaded.rows(),
            });
        };
        if let Some(elsewhere) = self.elsewhere? {
            return Err(elsewhere.into());
        }
        for (device, level) in &loaded.depths {
            self.loader.set_depth(device, *level)?;
        }
        Ok((loaded, sha256))
    }

    /// Notes that the certificate of an identity is in a different folder, if it is.
    fn look_elsewhere(&mut self, spec: &IdentitySpec) {
        let Some(store) = self.store.filter(|_| spec.state.auth.is_to_be_issued()) else { return };
        let Ok(elsewhere) = &mut self.elsewhere else { return };
        match store.folder_elsewhere(&spec.identity) {
            Ok(Some(folder)) => {
                let first = || CertificatesElsewhere { folder, first: spec.identity.clone(), count: 0 };
                elsewhere.get_or_insert_with(first).count += 1;
            }
            Ok(None) => {}
            Err(error) => self.elsewhere = Err(error),
        }
    }
}

impl BatchSink for LedgerSink<'_, '_> {
    fn row(
        &mut self,
        line: u64,
        mut spec: IdentitySpec,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        if self.rules.quarantine && spec.identity.module().is_none() {
            spec.state.quarantine();
        }
        if let Some(hasher) = &mut self.hasher {
            let digest = spec.state.digest().map_err(NotStorable::from)?;
            hasher.update(format!("{line}\t{}\t{digest}\n", spec.identity));
        }
        self.look_elsewhere(&spec);
        if let Some(ledger) = &mut self.owners
            && let Some(conflict) = ledger.find_conflict(&spec.identity, credentials)?
        {
            return Ok(Some(conflict));
        }
        let conflict = self.loader.insert(line, &spec, credentials)?;
        if self.rules.group_ca.is_some() && conflict.is_none() {
            // After the row of the group.
            self.loader.set_depth(spec.identity.device(), 1)?;
        }
        Ok(conflict)
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.add(problem);
    }
}

//! Loading of a batch: every row is checked against itself and against the files that it names, and turned into
//! the specification of an identity.

use hub_types::shown::ShownPath;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use batch_file::{BatchReader, OpenError, Problem, ReadOptions, Row, RowAuth};
use cert_tool::{Certificate, RowCheck};
use hub_types::DeviceId;
use sha2::{Digest, Sha256};

use super::ledger_sink::CertificatesElsewhere;
use super::row::{CertificateSource, RowReader, problem};
use crate::clock;
use crate::device::GivenFiles;
use crate::ledger::{Credential, CredentialConflict, CredentialKind, LedgerError};
use crate::model::digest::Sha256Digest;
use crate::model::service::ServiceKind;
use crate::model::spec::{GivenKeys, IdentitySpec};
use cli_support::counted::counted;

/// The options for loading a batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoadOptions {
    /// Names that others use for our columns.
    pub(crate) read: ReadOptions,
    /// The source of certificates for rows that need one and name none.
    pub(crate) certificates: CertificateSource,
    /// True to record the files that rows name, in [`Loaded::files`].
    pub(crate) note_files: bool,
    /// True to only check the rows, and keep neither [`Loaded::keys`] nor [`Loaded::depths`]: a
    /// batch that is checked may be larger than any hub takes.
    pub(crate) check_only: bool,
    /// The profile of rows that name none.
    pub(crate) profile: Option<String>,
    /// The CA that will issue certificates, where rows that it would refuse are bad.
    pub(crate) issuer: Option<RowCheck>,
    /// The kind of the service that the batch is for, where rows that can't be on it are bad.
    pub(crate) service: ServiceKind,
    /// The CA of the enrolment group by which the devices register, if they get no enrolments.
    pub(crate) group_ca: Option<Certificate>,
}

/// The receiver of a batch's rows and problems as they are read.
pub(crate) trait BatchSink {
    /// Takes a good row, unless one of its credentials is known to be another identity's.
    fn row(
        &mut self,
        line: u64,
        spec: IdentitySpec,
        credentials: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError>;

    /// Takes what is wrong with a row or with the file.
    fn problem(&mut self, problem: Problem);
}

/// The result of loading a batch.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Good rows that are devices.
    pub(crate) devices: u64,
    /// Good rows that are modules.
    pub(crate) modules: u64,
    /// Good rows that are edge devices.
    pub(crate) edge_devices: u64,
    /// Good rows whose certificate is to be issued.
    pub(crate) to_issue: u64,
    /// Bad rows.
    pub(crate) bad_rows: u64,
    /// Problems that stand in the way.
    pub(crate) errors: u64,
    /// True if the file as a whole can't be used.
    pub(crate) is_unusable: bool,
    /// The symmetric keys that the batch gives.
    pub(crate) keys: GivenKeys,
    /// The certificates and private keys that the rows name, where they were to be noted.
    pub(crate) files: Option<GivenFiles>,
    /// The depth of each device below its topmost parent, for devices with a parent in the batch.
    pub(crate) depths: Vec<(DeviceId, u32)>,
    /// The SHA-256 of the file; `None` where the file is no batch at all.
    pub(crate) sha256: Option<Sha256Digest>,
}

impl Loaded {
    /// All rows, good and bad.
    pub(crate) fn rows(&self) -> u64 {
        self.devices + self.modules + self.bad_rows
    }
}

/// The reason why a batch can't be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LoadError {
    /// The list of the certificates that were issued can't be read.
    #[error(transparent)]
    Certificates(#[from] cert_tool::Error),
    /// Certificates of the batch are in a different folder.
    #[error(transparent)]
    Elsewhere(#[from] CertificatesElsewhere),
    /// The files that rows name can't be recorded.
    #[error("the temporary file for what the rows name can't be written")]
    Files(#[from] rusqlite::Error),
    /// The rows can't be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is no CA.
    #[error("there is no CA in `{}`", ShownPath(folder))]
    NoCa {
        /// The folder.
        folder: PathBuf,
    },
    /// The batch has problems.
    #[error("{} is not clean: {}; nothing was sent", ShownPath(path), problems(*errors, *bad_rows, *rows))]
    NotClean {
        /// The file.
        path: PathBuf,
        /// The number of problems.
        errors: u64,
        /// The number of bad rows.
        bad_rows: u64,
        /// The number of all rows.
        rows: u64,
    },
    /// The file can't be read as a batch at all.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file can't be read.
    #[error("can't read the batch `{}`", ShownPath(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn problems(errors: u64, bad_rows: u64, rows: u64) -> String {
    match bad_rows {
        0 => counted(errors, "problem"),
        _ => format!("{} in {bad_rows} of {rows} rows", counted(errors, "problem")),
    }
}

/// Reads a whole batch, row by row, into `sink`.
pub(crate) fn load(
    path: &Path,
    options: &LoadOptions,
    sink: &mut dyn BatchSink,
) -> Result<Loaded, LoadError> {
    let file = File::open(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    let hasher = Arc::new(Mutex::new(Sha256::new()));
    let input = Hashing { file, hasher: hasher.clone() };
    let name = path.to_string_lossy().into_owned();
    let base = path.parent().unwrap_or_else(|| Path::new(""));
    let mut reader = match BatchReader::from_read(input, &name, base, &options.read) {
        Err(OpenError::NoBatch { problems, .. }) => return Ok(unusable(problems, sink)),
        reader => reader?,
    };
    let mut loading = BatchLoader {
        file: &name,
        rows: RowReader::new(options, clock::now()),
        parents: HashMap::new(),
        check_only: options.check_only,
        loaded: Loaded { files: options.note_files.then(GivenFiles::new).transpose()?, ..Loaded::default() },
        sink,
    };
    // Rows are large: they are used where they are, not moved.
    for mut row in &mut reader {
        match &mut row {
            Ok(row) => loading.good(row)?,
            Err(bad) => loading.bad(take(&mut bad.problems)),
        }
    }
    for problem in reader.file_problems() {
        loading.loaded.is_unusable |= problem.is_error();
        loading.problem(problem.clone());
    }
    let mut loaded = loading.finish();
    loaded.sha256 = Some(digest_so_far(&hasher));
    Ok(loaded)
}

/// The result for a file that is not a batch.
fn unusable(problems: Vec<Problem>, sink: &mut dyn BatchSink) -> Loaded {
    let errors = problems.iter().filter(|problem| problem.is_error()).count() as u64;
    problems.into_iter().for_each(|problem| sink.problem(problem));
    Loaded { errors, is_unusable: true, ..Loaded::default() }
}

/// The SHA-256 of a file.
pub(crate) fn sha256_of_file(path: &Path) -> io::Result<Sha256Digest> {
    let mut file = Hashing { file: File::open(path)?, hasher: Arc::default() };
    io::copy(&mut file, &mut io::sink())?;
    Ok(digest_so_far(&file.hasher))
}

fn digest_so_far(hasher: &Mutex<Sha256>) -> Sha256Digest {
    hasher.lock().unwrap_or_else(PoisonError::into_inner).clone().into()
}

struct BatchLoader<'a> {
    file: &'a str,
    rows: RowReader,
    /// The parent of each device that has one, where that is kept.
    parents: HashMap<DeviceId, DeviceId>,
    check_only: bool,
    loaded: Loaded,
    sink: &'a mut dyn BatchSink,
}

impl BatchLoader<'_> {
    fn good(&mut self, row: &mut Row) -> Result<(), LoadError> {
        let mut problems = take(&mut row.warnings);
        let spec = self.rows.read(row, self.file, &mut problems);
        let Some(spec) = spec else {
            self.bad(problems);
            return Ok(());
        };
        problems.into_iter().for_each(|problem| self.problem(problem));
        let is_to_be_issued = spec.state.auth.is_to_be_issued();
        if let Some(conflict) = self.sink.row(row.line, spec, self.rows.credentials())? {
            self.bad(vec![self.conflict(row, &conflict)]);
            return Ok(());
        }
        if let Some(files) = &self.loaded.files
            && (row.certificate.is_some() || row.private_key.is_some())
        {
            files.insert(&row.identity, row.certificate.as_deref(), row.private_key.as_deref())?;
        }
        match row.identity.module() {
            None => {
                self.loaded.devices += 1;
                self.loaded.edge_devices += u64::from(row.edge == Some(true));
            }
            Some(_) => self.loaded.modules += 1,
        }
        self.loaded.to_issue += u64::from(is_to_be_issued);
        if self.check_only {
            return Ok(());
        }
        if let Some(parent) = row.parent.take() {
            self.parents.insert(row.identity.device().clone(), parent);
        }
        if let RowAuth::Sas { keys } = &mut row.auth
            && let Some(keys) = keys.take()
        {
            self.loaded.keys.insert(row.identity.clone(), keys);
        }
        Ok(())
    }

    fn conflict(&self, row: &Row, conflict: &CredentialConflict) -> Problem {
        let column = match conflict.credential.kind() {
            CredentialKind::Thumbprint => "primary_thumbprint",
            CredentialKind::PublicKey if row.csr.is_some() => "csr",
            CredentialKind::PublicKey if row.public_key.is_some() => "public_key",
            _ => "certificate",
        };
        let remedy = "give this identity a key and a certificate of its own, or correct its id";
        problem(self.file, row.line, column, None, conflict.to_string(), remedy)
    }

    fn problem(&mut self, problem: Problem) {
        self.loaded.errors += u64::from(problem.is_error());
        self.sink.problem(problem);
    }

    fn bad(&mut self, problems: Vec<Problem>) {
        self.loaded.bad_rows += 1;
        problems.into_iter().for_each(|problem| self.problem(problem));
    }

    fn finish(mut self) -> Loaded {
        // In a circle nothing has a level; the reader has told of it.
        let depth = |device: &DeviceId| depth(device, &self.parents).map(|depth| (device.clone(), depth));
        self.loaded.depths = self.parents.keys().filter_map(depth).collect();
        self.loaded
    }
}

/// The number of a device's ancestors in the batch; `None` if they form a circle.
fn depth(device: &DeviceId, parents: &HashMap<DeviceId, DeviceId>) -> Option<u32> {
    let mut depth = 0;
    let mut next = parents.get(device);
    while let Some(parent) = next {
        depth += 1;
        if parent == device || depth as usize > parents.len() {
            return None;
        }
        next = parents.get(parent);
    }
    Some(depth)
}

/// A reader that hashes all that passes through it.
struct Hashing {
    file: File,
    hasher: Arc<Mutex<Sha256>>,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        if let Some(bytes) = buffer.get(..length) {
            self.hasher.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
        }
        Ok(length)
    }
}

/// Lets rows and problems go: for what is counted, and for the keys.
#[derive(Debug, Default)]
pub(crate) struct Discard;

impl BatchSink for Discard {
    fn row(
        &mut self,
        _: u64,
        _: IdentitySpec,
        _: &[Credential],
    ) -> Result<Option<CredentialConflict>, LedgerError> {
        Ok(None)
    }

    fn problem(&mut self, _: Problem) {}
}

//! A batch in a temporary ledger, for work without a run.

use std::path::{Path, PathBuf};

use cert_tool::IssuedList;
use sha2::Sha256;

use super::ledger_sink::{BatchFile, LedgerSink, LoadRules};
use super::load::{LoadError, Loaded};
use super::row::CertificateSource;
use crate::clock::Timestamp;
use crate::ledger::{Ledger, LedgerError, LedgerLocation, Loader, Operator, RunFacts, RunOptions};
use crate::model::digest::Sha256Digest;
use crate::model::observer::RunObserver;
use crate::model::run_id::RunId;
use crate::model::service_status::StatusListener;

/// A batch in a temporary ledger.
pub(crate) struct TemporaryRun {
    pub(crate) ledger: Ledger,
    pub(crate) run: RunId,
    pub(crate) loaded: Loaded,
    /// The SHA-256 of the batch file.
    pub(crate) input_sha256: Sha256Digest,
    /// The SHA-256 over the specifications: see [`LedgerSink::hashing`].
    pub(crate) spec_sha256: Sha256Digest,
}

impl TemporaryRun {
    /// Loads a batch. Rows with a credential that belongs to a different identity, by the ledger
    /// `owners`, are bad.
    pub(crate) fn load(
        batch: &BatchFile,
        certificates: CertificateSource,
        rules: LoadRules,
        owners: Option<&mut Ledger>,
        observer: &dyn RunObserver,
    ) -> Result<Self, LoadError> {
        let mut ledger = Ledger::open_temporary()?;
        let loader = begin_temporary(&mut ledger, &batch.path)?;
        let mut hasher = Sha256::default();
        let sink = LedgerSink::new(&loader, rules, observer).owned_by(owners).hashing(&mut hasher);
        let (loaded, input_sha256) = sink.load(batch, certificates)?;
        let run = loader.commit(input_sha256, loaded.bad_rows)?;
        Ok(Self { ledger, run, loaded, input_sha256, spec_sha256: hasher.into() })
    }
}

/// Begins a run that nobody works on.
pub(crate) fn begin_temporary<'l>(ledger: &'l mut Ledger, batch: &Path) -> Result<Loader<'l>, LedgerError> {
    let input = batch.to_string_lossy().into_owned();
    let (options, by) = (RunOptions::default(), Operator::default());
    ledger.load_run(&RunFacts {
        hub: "",
        test_hub: false,
        input: &input,
        started: &Timestamp::now(),
        by: &by,
        options: &options,
    })
}

/// Opens the list of the certificates in a folder, if the folder exists.
pub(crate) fn open_issued(folder: Option<&PathBuf>) -> Result<Option<IssuedList>, cert_tool::Error> {
    folder.filter(|folder| folder.exists()).map(|folder| IssuedList::open(folder)).transpose()
}

/// Opens the ledger that knows the owners of credentials and the disabled devices, if it exists.
pub(crate) fn open_owners(
    location: &LedgerLocation,
    status: StatusListener,
) -> Result<Option<Ledger>, LedgerError> {
    match Ledger::open_to_read(location, status) {
        Err(LedgerError::Missing { .. }) => Ok(None),
        opened => opened.map(Some),
    }
}

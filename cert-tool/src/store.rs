//! [`IssuedStore`]: a folder with issued certificates, their keys, and `issued.csv`, which says
//! what is there.
//!
//! The rows of `issued.csv` are the commit records. A kill at any moment leaves at worst something
//! that no row refers to; it is dropped when the store is opened the next time.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use hub_types::IdentityId;

use crate::bundle::{self, Bundle, Contents};
use crate::ca::CertificateAuthority;
use crate::certificate::read_certificate;
use crate::error::Error;
use crate::facts::{IssuedFacts, Row};
use crate::folders::Folders;
use crate::fs;
use crate::issuing::Made;
use crate::journal::{self, Journal, Key};
use crate::pem;
use crate::refusal::Refusal;

/// The form in which certificates and keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sink {
    /// One file with all certificates and one with all keys: as fast as they can be made.
    Bundle,
    /// A folder with `cert.pem`, `chain.pem` and `key.pem` for each identity: much slower.
    Folder,
}

/// A folder with issued certificates, found by identity.
pub struct IssuedStore {
    folder: PathBuf,
    journal: Journal,
    dropped_rows: u64,
    writer: Option<Writer>,
}

struct Writer {
    sink: Sink,
    bundle: Option<Bundle>,
    /// The rows that public keys belong to; read in when the first request of a device comes.
    keys: Option<HashMap<Key, u64>>,
    /// Held as long as the store is open.
    _lock: Lock,
}

impl IssuedStore {
    /// Opens a store for issuing, and makes it if need be. Only one process can.
    pub fn open(folder: &Path, sink: Sink) -> Result<Self, Error> {
        fs::create_private_folder(folder)?;
        let lock = Lock::take(folder)?;
        let path = journal::path_in(folder);
        let journal = Journal::open(path.clone(), fs::open_private(&path)?);
        let writer = Writer { sink, bundle: None, keys: None, _lock: lock };
        let mut store = Self { folder: folder.to_owned(), journal, dropped_rows: 0, writer: Some(writer) };
        store.load(sink)?;
        fs::sync_folder(folder)?;
        Ok(store)
    }

    /// Opens a store to look things up; nothing in it is changed, and another process may issue to it.
    pub fn open_to_read(folder: &Path) -> Result<Self, Error> {
        let path = journal::path_in(folder);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let journal = Journal::open(path, file);
        let mut store = Self { folder: folder.to_owned(), journal, dropped_rows: 0, writer: None };
        if folder.join(bundle::CERTIFICATES).exists() {
            store.read_rows(Some(Sink::Bundle), &mut Some(Bundle::open_to_read(folder)?))?;
        } else {
            store.read_rows(None, &mut None)?;
        }
        Ok(store)
    }

    /// What is known of an identity's certificate.
    pub fn find(&self, identity: &IdentityId) -> Result<Option<IssuedFacts>, Error> {
        Ok(self.journal.find(identity)?.map(|row| self.absolute(row.facts)))
    }

    /// Whether an identity has a certificate.
    pub fn contains(&self, identity: &IdentityId) -> bool {
        self.journal.contains(Key::of(identity))
    }

    /// The file that lists what is there: itself a batch file.
    pub fn list_path(&self) -> PathBuf {
        journal::path_in(&self.folder)
    }

    /// How many rows were dropped when the store was opened, because the bundle was cut off before
    /// what they refer to. A killed process leaves none; a full or broken disk may.
    pub fn dropped_rows(&self) -> u64 {
        self.dropped_rows
    }

    /// The certificate of the CA that everything here is from.
    pub fn issuing_certificate_path(&self) -> PathBuf {
        self.folder.join(ISSUING_CERTIFICATE)
    }

    /// Makes sure that everything in the store is from one CA.
    pub(crate) fn belong_to(&mut self, ca: &CertificateAuthority) -> Result<(), Error> {
        if self.writer.is_none() {
            return Err(Error::ReadOnly { path: self.folder.clone() });
        }
        let path = self.issuing_certificate_path();
        if !path.exists() {
            return fs::write_new_private(
                &path,
                &pem::encode(pem::CERTIFICATE, ca.issuing_certificate().der()),
            );
        }
        if read_certificate(&path)?.der() == ca.issuing_certificate().der() {
            return Ok(());
        }
        Err(Error::OtherCa { path: self.folder.clone() })
    }

    /// Why nothing can be written for an identity that has no certificate here.
    pub(crate) fn refusal(&self, identity: &IdentityId) -> Option<Refusal> {
        match self.writer.as_ref()?.sink {
            Sink::Bundle => None,
            Sink::Folder => Folders::new(&self.folder, Vec::new()).refusal(identity),
        }
    }

    /// Writes certificates and keys and then their rows; when it returns all of it is certain.
    pub(crate) fn commit(
        &mut self,
        made: &[Made],
        ca: &CertificateAuthority,
    ) -> Result<Vec<IssuedFacts>, Error> {
        let Some(writer) = &mut self.writer else {
            return Err(Error::ReadOnly { path: self.folder.clone() });
        };
        let references = match &mut writer.bundle {
            Some(bundle) => bundle.append(made)?,
            None => {
                let issuing_pem = pem::encode(pem::CERTIFICATE, ca.issuing_certificate().der()).to_vec();
                let folders = Folders::new(&self.folder, issuing_pem);
                made.iter().map(|made| folders.write(&made.identity, made)).collect::<Result<_, _>>()?
            }
        };
        let rows: Vec<_> = made.iter().zip(references).map(|(made, reference)| made.row(reference)).collect();
        let offsets = self.journal.commit(&rows)?;
        if let Some(keys) = &mut writer.keys {
            keys.extend(made.iter().map(|made| made.key).zip(offsets));
        }
        Ok(rows.into_iter().map(|row| self.absolute(row.facts)).collect())
    }

    /// The identity that a public key belongs to.
    pub(crate) fn owner_of(&mut self, key: Key) -> Result<Option<IdentityId>, Error> {
        let loaded = match self.writer.as_mut().and_then(|writer| writer.keys.take()) {
            Some(keys) => keys,
            None => self.load_keys()?,
        };
        let offset = loaded.get(&key).copied();
        if let Some(writer) = &mut self.writer {
            writer.keys = Some(loaded);
        }
        Ok(offset.map(|offset| self.journal.row_at(offset)).transpose()?.map(|row| row.identity))
    }

    fn load_keys(&self) -> Result<HashMap<Key, u64>, Error> {
        let of_row = |offset| {
            let certificate = self.absolute(self.journal.row_at(offset)?.facts).certificate;
            Ok((Key::of_bytes(read_certificate(&certificate)?.public_key_info()), offset))
        };
        self.journal.offsets().map(of_row).collect()
    }

    fn load(&mut self, sink: Sink) -> Result<(), Error> {
        let mut bundle = None;
        if sink == Sink::Bundle {
            self.journal.scan(|_, row| check_sink(&self.folder, Some(sink), row).map(|()| true))?;
            let has_rows = self.journal.offsets().next().is_some();
            let contents = if has_rows { Contents::Something } else { Contents::None };
            bundle = Some(Bundle::open(&self.folder, contents)?);
        }
        self.read_rows(Some(sink), &mut bundle)?;
        self.check_before_repair(bundle.as_mut())?;
        // The rows go first: while they are there, what they refer to must be there too.
        self.journal.repair()?;
        if let Some(bundle) = &mut bundle {
            bundle.repair()?;
        }
        if let Some(writer) = &mut self.writer {
            writer.bundle = bundle;
        }
        Ok(())
    }

    /// A kill leaves rows that are whole and, behind what they refer to, a commit's worth at most.
    /// Where much more would have to go, somebody took a file away: nothing is dropped then.
    fn check_before_repair(&self, bundle: Option<&mut Bundle>) -> Result<(), Error> {
        let damaged = |reason| Err(Error::Damaged { path: self.list_path(), offset: 0, reason });
        if self.dropped_rows > MAX_DROPPED_ROWS {
            return damaged("most of what it refers to is gone");
        }
        match bundle {
            Some(bundle) if self.journal.is_begun() => bundle.check_before_repair(),
            Some(bundle) if !bundle.is_empty() => damaged("it is gone, but not what it listed"),
            _ => Ok(()),
        }
    }

    /// Reads all rows up to the first that refers to something that is not there.
    fn read_rows(&mut self, sink: Option<Sink>, bundle: &mut Option<Bundle>) -> Result<(), Error> {
        let mut limit = u64::MAX;
        loop {
            let folder = &self.folder;
            if let Some(bundle) = bundle.as_mut() {
                bundle.forget_rows();
            }
            self.dropped_rows = self.journal.scan(|offset, row| {
                check_sink(folder, sink, row)?;
                Ok(offset < limit && bundle.as_mut().is_none_or(|bundle| bundle.accept(offset, row)))
            })?;
            match bundle.as_ref().map_or(Ok(None), Bundle::first_torn_row)? {
                Some(torn) => limit = torn,
                None => return Ok(()),
            }
        }
    }

    fn absolute(&self, facts: IssuedFacts) -> IssuedFacts {
        IssuedFacts {
            certificate: self.folder.join(facts.certificate),
            private_key: facts.private_key.map(|path| self.folder.join(path)),
            ..facts
        }
    }
}

fn check_sink(folder: &Path, sink: Option<Sink>, row: &Row) -> Result<(), Error> {
    let is_bundled = row.facts.certificate.to_string_lossy().contains('#');
    let found = match (sink, is_bundled) {
        (Some(Sink::Bundle), false) => "folders",
        (Some(Sink::Folder), true) => "a bundle",
        _ => return Ok(()),
    };
    Err(Error::OtherSink { path: folder.to_owned(), found })
}

/// The right to write, held by one process at a time.
struct Lock(File);

impl Lock {
    fn take(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(LOCK);
        let file = fs::open_private(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: folder.to_owned() }),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path)(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough while a process that is just being started shares the open file.
        let _ = self.0.unlock();
    }
}

const ISSUING_CERTIFICATE: &str = "issuing.pem";
const LOCK: &str = ".lock";
/// As many as are committed at once.
const MAX_DROPPED_ROWS: u64 = 1024;

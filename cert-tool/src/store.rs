//! [`IssuedStore`]: a CA's index together with one output of it, a folder to which certificates are
//! issued.
//!
//! A commit enters certificates into the index, writes their bytes, then their rows in `issued.csv`,
//! each on the disk before the next begins. So what a kill leaves is told by the rows: entries whose row
//! is whole stay, the others are taken back and the bytes behind the last whole row go. None of
//! them was ever told to anybody.

use std::path::{Path, PathBuf};

use hub_types::IdentityId;
use hub_types::thumbprint::upper_hex;

use crate::ca::CertificateAuthority;
use crate::certificate::{Certificate, read_certificates};
use crate::error::Error;
use crate::facts::{Dates, IssuedFacts, Row};
use crate::fingerprint::Fingerprint;
use crate::fs;
use crate::index::{IndexEntry, IssuanceIndex, NewEntry, Output};
use crate::issuing::Made;
use crate::list::{self, ISSUING_CERTIFICATE, ListFile};
use crate::refusal::Refusal;
use crate::sink::{Contents, Extras, Payload, Sink};

/// A folder to which a CA issues.
pub struct IssuedStore {
    folder: PathBuf,
    issuing: Certificate,
    index: IssuanceIndex,
    output: Output,
    payload: Payload,
    list: ListFile,
    dropped: u64,
    /// A commit failed half-way, and has to be settled before the next one.
    is_unsettled: bool,
    /// Nothing was issued before: nothing has to be looked up.
    is_fresh: bool,
    /// Nothing was issued to this folder before.
    is_empty: bool,
}

impl IssuedStore {
    /// Opens a folder to issue to, and makes it if need be. Only one process can issue with a CA.
    pub fn open(ca: &CertificateAuthority, folder: &Path, sink: Sink) -> Result<Self, Error> {
        Self::open_with(ca, folder, sink, false)
    }

    /// The same, with the chain behind each certificate in streams.
    pub fn open_with_chain(ca: &CertificateAuthority, folder: &Path, sink: Sink) -> Result<Self, Error> {
        Self::open_with(ca, folder, sink, true)
    }

    fn open_with(
        ca: &CertificateAuthority,
        folder: &Path,
        sink: Sink,
        with_chain: bool,
    ) -> Result<Self, Error> {
        let mut index = IssuanceIndex::open(ca.folder())?;
        fs::create_private_folder(folder)?;
        let issuing = ca.issuing_certificate().clone();
        let chain_pem = ca.chain().map(Certificate::to_pem).collect::<String>().into_bytes();
        belong_to(folder, &issuing, &chain_pem)?;
        let token = token(folder)?;
        if !index.knows_output(&token)? && has_rows(folder)? {
            return Err(Error::NotIndexed { path: folder.to_owned() });
        }
        let output = index.output(&token, folder, sink)?;
        if output.sink != sink {
            return Err(Error::OtherSink { path: folder.to_owned(), found: output.sink.as_str() });
        }
        let has_entries = index.last_released(&output)?.is_some();
        let contents = if has_entries { Contents::Something } else { Contents::None };
        contents.check(&list::path_in(folder))?;
        let payload = Payload::open(folder, sink, Extras { chain_pem, with_chain }, contents)?;
        let list = ListFile::open(folder)?;
        let is_fresh = index.is_empty()?;
        let mut store = Self {
            folder: folder.to_owned(),
            issuing,
            index,
            output,
            payload,
            list,
            dropped: 0,
            is_unsettled: true,
            is_fresh,
            is_empty: !has_entries,
        };
        store.settle()?;
        fs::sync_folder(folder)?;
        Ok(store)
    }

    /// What is known of an identity's certificate, if it is in this folder.
    pub fn find(&self, identity: &IdentityId) -> Result<Option<IssuedFacts>, Error> {
        let entry = self.index.current(identity)?;
        Ok(entry.filter(|entry| entry.output == self.output.id).map(|entry| entry.facts))
    }

    /// The folder that has an identity's certificate, where that is another than this one and to this one nothing was
    /// issued yet: then it is the wrong one.
    pub fn folder_elsewhere(&self, identity: &IdentityId) -> Result<Option<PathBuf>, Error> {
        match self.is_empty && !self.is_fresh {
            true => self.index.folder_of(identity),
            false => Ok(None),
        }
    }

    /// The CA's index.
    pub fn index(&self) -> &IssuanceIndex {
        &self.index
    }

    /// The file that lists what is there: itself a batch file.
    pub fn list_path(&self) -> PathBuf {
        list::path_in(&self.folder)
    }

    /// How many certificates were taken back when the store was opened, because a kill had kept them
    /// from the disk.
    pub fn dropped_rows(&self) -> u64 {
        self.dropped
    }

    /// The certificate of the CA that everything here is from, and behind it those between it and the root.
    pub fn issuing_certificate_path(&self) -> PathBuf {
        self.folder.join(ISSUING_CERTIFICATE)
    }

    /// Makes sure that this is a store of a CA.
    pub(crate) fn belongs_to(&self, ca: &CertificateAuthority) -> Result<(), Error> {
        if self.issuing.der() == ca.issuing_certificate().der() {
            return Ok(());
        }
        Err(Error::OtherCa { path: self.folder.clone() })
    }

    /// Whether an identity has a certificate from this CA, anywhere.
    pub(crate) fn knows(&self, identity: &IdentityId) -> Result<bool, Error> {
        if self.is_fresh { Ok(false) } else { self.index.contains(identity) }
    }

    /// The newest certificate of an identity, and whether it is in this folder.
    pub(crate) fn current(&self, identity: &IdentityId) -> Result<Option<(IndexEntry, bool)>, Error> {
        let entry = self.index.current(identity)?;
        Ok(entry.map(|entry| {
            let is_here = entry.output == self.output.id;
            (entry, is_here)
        }))
    }

    /// Whether any certificate of an identity is in this folder.
    pub(crate) fn has_here(&self, identity: &IdentityId) -> Result<bool, Error> {
        self.index.has_in(identity, &self.output)
    }

    /// The identity that a public key belongs to.
    pub(crate) fn owner_of(&mut self, key: Fingerprint) -> Result<Option<IdentityId>, Error> {
        self.index.owner_of(key)
    }

    /// Why nothing can be written for an identity that has no certificate here.
    pub(crate) fn refusal(&self, identity: &IdentityId) -> Option<Refusal> {
        self.payload.refusal(identity)
    }

    /// Enters and writes certificates; when it returns all of it is certain.
    pub(crate) fn commit(&mut self, made: &[Made]) -> Result<Vec<IssuedFacts>, Error> {
        self.settle()?;
        let mut planned = self.payload.plan(made)?;
        let mut text = Vec::with_capacity(made.len() * 400);
        let mut facts = Vec::with_capacity(made.len());
        let mut dates = Dates::default();
        for (made, place) in made.iter().zip(&mut planned.places) {
            place.list = self.list.length() + text.len() as u64;
            let row = self.row(made, place);
            row.append_to(&mut text, &mut dates);
            facts.push(self.absolute(row.facts));
        }
        self.is_unsettled = true;
        self.is_fresh = false;
        let entries = made.iter().zip(&planned.places).map(|(made, place)| NewEntry { made, place });
        let last = self.index.enter(&self.output, entries)?;
        self.payload.write(&planned, made)?;
        self.list.append(&text)?;
        IssuanceIndex::will_release(&mut self.output, last);
        self.is_unsettled = false;
        Ok(facts)
    }

    /// Says that everything committed is there for good: from now on what is missing was lost.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.settle()?;
        self.index.release(&self.output)
    }

    /// Takes back what a kill or a failure left half-written.
    fn settle(&mut self) -> Result<(), Error> {
        if !self.is_unsettled {
            return Ok(());
        }
        let before = self.index.last_released(&self.output)?;
        let mut end = match &before {
            Some(last) => Some(self.list.row_end(last.place.list, &last.sha256)?.ok_or_else(|| {
                self.list.damaged(last.place.list, "the certificates that stood here are gone")
            })?),
            None => None,
        };
        let pending = self.index.pending(&self.output)?;
        let mut whole = 0;
        for placed in &pending {
            match self.list.row_end(placed.place.list, &placed.sha256)? {
                Some(row_end) => end = Some(row_end),
                None => break,
            }
            whole += 1;
        }
        let (kept, lost) = pending.split_at(whole);
        if let Some(first) = lost.first() {
            let places: Vec<_> = lost.iter().map(|placed| placed.place).collect();
            // The row goes first: while it is there, so is what it refers to.
            self.list.cut(first.place.list)?;
            self.payload.cut(&places)?;
            self.index.take_back(&self.output, first.id)?;
            self.dropped += lost.len() as u64;
        }
        if let Some(last) = kept.last() {
            IssuanceIndex::will_release(&mut self.output, last.id);
            self.index.release(&self.output)?;
        }
        match end {
            Some(end) if self.list.length() > end => {
                return Err(self.list.damaged(end, "the CA's index does not know what follows"));
            }
            Some(_) => {}
            None => self.list.begin()?,
        }
        self.is_unsettled = false;
        Ok(())
    }

    fn row(&self, made: &Made, place: &crate::sink::Place) -> Row {
        let sink = self.output.sink;
        let facts = IssuedFacts {
            auth: made.auth,
            sha256: made.sha256,
            sha1: made.sha1,
            serial: upper_hex(made.serial.as_bytes()),
            not_before: made.validity.not_before,
            not_after: made.validity.not_after,
            certificate: sink.certificate_reference(&made.identity, place),
            private_key: match &made.key_elsewhere {
                Some(path) => Some(path.clone()),
                None => sink.key_reference(&made.identity, place),
            },
            replaced: made.replaced,
        };
        Row { identity: made.identity.clone(), facts }
    }

    fn absolute(&self, facts: IssuedFacts) -> IssuedFacts {
        IssuedFacts {
            certificate: self.folder.join(facts.certificate),
            private_key: facts.private_key.map(|path| self.folder.join(path)),
            ..facts
        }
    }
}

/// Makes sure that everything in a folder is from one CA.
fn belong_to(folder: &Path, issuing: &Certificate, chain_pem: &[u8]) -> Result<(), Error> {
    let path = folder.join(ISSUING_CERTIFICATE);
    if !path.exists() {
        return fs::write_new_private(&path, chain_pem);
    }
    match read_certificates(&path)?.first() {
        Some(found) if found.der() == issuing.der() => Ok(()),
        // The CA was renewed since.
        Some(found) if found.is_same_ca(issuing) => fs::replace_private(&path, chain_pem),
        _ => Err(Error::OtherCa { path: folder.to_owned() }),
    }
}

/// What the index knows a folder by, wherever it is moved.
fn token(folder: &Path) -> Result<String, Error> {
    let path = folder.join(TOKEN);
    if !path.exists() {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Crypto("drawing random bytes"))?;
        fs::write_new_private(&path, upper_hex(&bytes).as_bytes())?;
    }
    let text = fs::read_bounded(&path, MAX_TOKEN_BYTES)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Whether a folder has a list with more than its header.
fn has_rows(folder: &Path) -> Result<bool, Error> {
    let path = list::path_in(folder);
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len() > crate::facts::HEADER.len() as u64),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

const TOKEN: &str = ".output";
const MAX_TOKEN_BYTES: u64 = 64;

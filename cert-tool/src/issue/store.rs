//! [`IssuedStore`]: a CA's index together with one output of it, a folder to which certificates are
//! issued.
//!
//! A commit enters certificates into the index, writes their bytes, then their rows in `issued.csv`,
//! each on the disk before the next begins. After a kill, entries with a complete
//! row are kept; the others are removed from the index, and the bytes after the last complete row
//! are truncated. No caller has been told about these.

use std::path::{Path, PathBuf};

use hub_types::IdentityId;
use hub_types::thumbprint::upper_hex;

use crate::ca::CertificateAuthority;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issued::index::{IndexEntry, IndexedOutput, IssuanceIndex, NewEntry};
use crate::issued::list::{self, ISSUING_CERTIFICATE, ListFile};
use crate::issued::new_certificate::NewCertificate;
use crate::issued::record::{Dates, IssuedCertificate, Row};
use crate::issued::sink::{Contents, Extras, Payload, Sink};
use crate::keys::fingerprint::Fingerprint;
use crate::platform::fs;
use crate::x509::certificate::{Certificate, read_certificates};

/// A folder to which a CA issues.
pub struct IssuedStore {
    folder: PathBuf,
    issuing: Certificate,
    index: IssuanceIndex,
    output: IndexedOutput,
    payload: Payload,
    list: ListFile,
    dropped: u64,
    /// A commit failed half-way, and has to be settled before the next one.
    is_unsettled: bool,
    /// Nothing was issued before: nothing has to be looked up.
    is_fresh: bool,
    /// Nothing was issued to this folder before.
    is_empty: bool,
    /// The files that this process made for the output; they are removed if nothing is issued to
    /// it.
    claim: Option<Claim>,
}

/// An output that this process began.
struct Claim {
    is_new_folder: bool,
    /// The files that were not there before.
    files: Vec<PathBuf>,
    /// It may stay though it is empty: nothing was asked for.
    may_stay: bool,
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
        ca.check_is_not_revoked()?;
        let mut index = IssuanceIndex::open(ca.folder())?;
        let claim = Claim::of(folder, sink);
        fs::create_private_folder(folder)?;
        let opened = Self::claimed(&mut index, ca, folder, sink, with_chain);
        let (output, payload, list) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(claim) = claim {
                    claim.remove(folder);
                }
                return Err(error);
            }
        };
        let issuing = ca.issuing_certificate().clone();
        settle_others(&index, &output)?;
        let mut store = Self {
            folder: folder.to_owned(),
            issuing,
            index,
            output,
            payload,
            list,
            dropped: 0,
            is_unsettled: true,
            is_fresh: false,
            is_empty: false,
            claim,
        };
        store.settle()?;
        // Only now: what an interruption left is settled, and stays or goes.
        store.is_fresh = store.index.is_empty()?;
        store.is_empty = store.index.last_flushed(&store.output)?.is_none();
        fs::sync_folder(folder)?;
        Ok(store)
    }

    /// Makes a folder an output of a CA, or opens it as one.
    fn claimed(
        index: &mut IssuanceIndex,
        ca: &CertificateAuthority,
        folder: &Path,
        sink: Sink,
        with_chain: bool,
    ) -> Result<(IndexedOutput, Payload, ListFile), Error> {
        let chain_pem = ca.chain().map(Certificate::to_pem).collect::<String>().into_bytes();
        belong_to(folder, ca.issuing_certificate(), &chain_pem)?;
        let token = token(folder)?;
        if !index.knows_output(&token)? && has_rows(folder)? {
            return Err(Error::NotIndexed { path: folder.to_owned() });
        }
        let output = index.output(&token, folder, sink)?;
        if output.sink != sink {
            return Err(Error::OtherSink { path: folder.to_owned(), found: output.sink.as_str() });
        }
        let has_entries = index.last_flushed(&output)?.is_some();
        let contents = if has_entries { Contents::Something } else { Contents::None };
        contents.check(&list::path_in(folder))?;
        let payload = Payload::open(folder, sink, Extras { chain_pem, with_chain }, contents)?;
        let list = ListFile::open(folder)?;
        Ok((output, payload, list))
    }

    /// Returns the record of an identity's newest certificate, if it is in this folder.
    pub fn find(&self, identity: &IdentityId) -> Result<Option<IssuedCertificate>, Error> {
        let entry = self.index.current(identity)?;
        Ok(entry.filter(|entry| entry.output == self.output.id).map(|entry| entry.record))
    }

    /// The folder with an identity's certificate, if it is a different folder and nothing was issued to
    /// this one yet: then this is the wrong folder.
    pub fn folder_elsewhere(&self, identity: &IdentityId) -> Result<Option<PathBuf>, Error> {
        match self.is_empty && !self.is_fresh {
            true => self.folder_of(identity),
            false => Ok(None),
        }
    }

    /// The folder with an identity's newest certificate, if there is one.
    pub fn folder_of(&self, identity: &IdentityId) -> Result<Option<PathBuf>, Error> {
        self.index.folder_of(identity)
    }

    /// Records that all requests were refused: an empty output is removed.
    pub fn has_refused_all(&mut self) {
        if let Some(claim) = &mut self.claim {
            claim.may_stay = false;
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

    /// Returns the number of certificates that were taken back when the store was opened, because
    /// an interruption had kept them from the disk.
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

    /// Returns whether an identity has a certificate from this CA, anywhere.
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

    /// Returns whether any certificate of an identity is in this folder.
    pub(crate) fn has_here(&self, identity: &IdentityId) -> Result<bool, Error> {
        self.index.has_in(identity, &self.output)
    }

    /// The identity that a public key belongs to.
    pub(crate) fn owner_of(&mut self, key: Fingerprint) -> Result<Option<IdentityId>, Error> {
        self.index.owner_of(key)
    }

    /// Tells whether a key is compromised, as its certificates' revocations say.
    pub(crate) fn is_compromised(&mut self, key: Fingerprint) -> Result<bool, Error> {
        self.index.is_compromised(key)
    }

    /// Returns the reason why nothing can be written for an identity that has no certificate here,
    /// if there is one.
    pub(crate) fn refusal(&self, identity: &IdentityId) -> Option<Refusal> {
        self.payload.refusal(identity)
    }

    /// Enters and writes certificates; when it returns all of it is certain.
    pub(crate) fn commit(&mut self, made: &[NewCertificate]) -> Result<Vec<IssuedCertificate>, Error> {
        self.settle()?;
        let mut planned = self.payload.plan(made)?;
        let mut text = Vec::with_capacity(made.len() * 400);
        let mut record = Vec::with_capacity(made.len());
        let mut dates = Dates::default();
        for (made, place) in made.iter().zip(&mut planned.places) {
            place.list = self.list.length() + text.len() as u64;
            let row = self.row(made, place);
            row.append_to(&mut text, &mut dates);
            record.push(self.absolute(row.record));
        }
        self.is_unsettled = true;
        self.is_fresh = false;
        let entries = made.iter().zip(&planned.places).map(|(made, place)| NewEntry { made, place });
        let last = self.index.enter(&self.output, entries)?;
        let written = self.payload.write(&planned, made).and_then(|()| self.list.append(&text));
        if let Err(error) = written {
            // Entries without rows would keep their identities from a certificate elsewhere. Where that fails too,
            // whoever issues next takes them back.
            let _ = self.settle();
            return Err(error);
        }
        IssuanceIndex::mark_flushed(&mut self.output, last);
        self.claim = None;
        self.is_unsettled = false;
        Ok(record)
    }

    /// Records that everything committed is on the disk: whatever is missing later was lost. An empty
    /// output is kept only if nothing was refused.
    pub(crate) fn finish(&mut self, has_refused: bool) -> Result<(), Error> {
        if let Some(claim) = &mut self.claim {
            claim.may_stay = !has_refused;
        }
        self.settle()?;
        self.index.flush(&self.output)
    }

    /// Takes back what a kill or a failure left half-written.
    fn settle(&mut self) -> Result<(), Error> {
        if !self.is_unsettled {
            return Ok(());
        }
        self.dropped += settle(&self.index, &mut self.output, &mut self.payload, &mut self.list)?;
        self.is_unsettled = false;
        Ok(())
    }

    fn row(&self, made: &NewCertificate, place: &crate::issued::sink::Place) -> Row {
        let sink = self.output.sink;
        let record = IssuedCertificate {
            auth: made.auth,
            sha256: made.sha256,
            sha1: made.sha1,
            serial: upper_hex(made.serial.as_bytes()),
            not_before: made.validity.not_before,
            not_after: made.validity.not_after,
            certificate: sink.certificate_location(&made.identity, place),
            private_key: match &made.key_elsewhere {
                Some(path) => Some(path.clone()),
                None => sink.key_location(&made.identity, place),
            },
            replaced: made.replaced,
        };
        Row { identity: made.identity.clone(), record }
    }

    fn absolute(&self, record: IssuedCertificate) -> IssuedCertificate {
        IssuedCertificate {
            certificate: self.folder.join(record.certificate),
            private_key: record.private_key.map(|path| self.folder.join(path)),
            ..record
        }
    }
}

/// A lookup of what a CA has issued, before anything is issued to a folder. It writes nothing.
pub struct IssuedLookup {
    index: IssuanceIndex,
    /// The folder's number in the index, if the CA has issued to it.
    output: Option<i64>,
}

impl IssuedLookup {
    /// Opens the index of a CA; `None` if the CA is not there or has issued nothing yet.
    pub fn open(ca: &Path, folder: &Path) -> Result<Option<Self>, Error> {
        let Some(index) = IssuanceIndex::open_to_read(ca)? else { return Ok(None) };
        let output = match folder.join(TOKEN).exists() {
            true => index.find_output(&read_token(folder)?)?,
            false => None,
        };
        Ok(Some(Self { index, output }))
    }

    /// Returns the number of certificates that the CA has issued. It reads the whole index.
    pub fn count(&self) -> Result<u64, Error> {
        self.index.count()
    }

    /// Returns true if the CA has issued a certificate for an identity, in any folder.
    pub fn contains(&self, identity: &IdentityId) -> Result<bool, Error> {
        self.index.contains(identity)
    }

    /// The reason why an identity would get no certificate in the folder because of the one that it has.
    pub fn refusal(&self, identity: &IdentityId) -> Result<Option<Refusal>, Error> {
        if !self.index.contains(identity)? {
            return Ok(None);
        }
        let entry = self.index.current(identity)?;
        Ok(entry.and_then(|entry| entry.refusal(Some(entry.output) == self.output)))
    }

    /// The folder with an identity's newest certificate, if there is one.
    pub fn folder_of(&self, identity: &IdentityId) -> Result<Option<PathBuf>, Error> {
        self.index.folder_of(identity)
    }
}

/// Takes back what a kill or a failure left half-written in an output, and counts it.
fn settle(
    index: &IssuanceIndex,
    output: &mut IndexedOutput,
    payload: &mut Payload,
    list: &mut ListFile,
) -> Result<u64, Error> {
    let mut dropped = 0;
    let before = index.last_flushed(output)?;
    let mut end = match &before {
        Some(last) => Some(
            list.row_end(last.place.list, &last.sha256)?
                .ok_or_else(|| list.damaged(last.place.list, "the certificates that stood here are gone"))?,
        ),
        None => None,
    };
    let pending = index.pending(output)?;
    let mut whole = 0;
    for placed in &pending {
        match list.row_end(placed.place.list, &placed.sha256)? {
            Some(row_end) => end = Some(row_end),
            None => break,
        }
        whole += 1;
    }
    let (kept, lost) = pending.split_at(whole);
    if let Some(first) = lost.first() {
        let places: Vec<_> = lost.iter().map(|placed| placed.place).collect();
        // The row goes first: while it is there, so is what it refers to.
        list.cut(first.place.list)?;
        payload.cut(&places)?;
        index.rollback_from(output, first.id)?;
        dropped = lost.len() as u64;
    }
    if let Some(last) = kept.last() {
        IssuanceIndex::mark_flushed(output, last.id);
        index.flush(output)?;
    }
    match end {
        Some(end) if list.length() > end => {
            return Err(list.damaged(end, "the CA's index does not know what follows"));
        }
        Some(_) => {}
        None => list.begin()?,
    }
    Ok(dropped)
}

/// Takes back what was entered for other outputs of the CA and has no row there, as after a full disk. An output that
/// is not where it was, or can't be read, keeps its entries: its rows may be elsewhere.
fn settle_others(index: &IssuanceIndex, own: &IndexedOutput) -> Result<(), Error> {
    for (mut output, folder, token) in index.unsettled_outputs()? {
        if output.id == own.id || read_token(&folder).ok().as_ref() != Some(&token) {
            continue;
        }
        let extras = Extras { chain_pem: Vec::new(), with_chain: false };
        // What it has is looked at below.
        let opened = Payload::open(&folder, output.sink, extras, Contents::None);
        if let (Ok(mut payload), Ok(mut list)) = (opened, ListFile::open(&folder)) {
            let _ = settle(index, &mut output, &mut payload, &mut list);
        }
    }
    Ok(())
}

impl Claim {
    /// Returns the files that will be made for an output; `None` if the folder is an output
    /// already.
    fn of(folder: &Path, sink: Sink) -> Option<Self> {
        let token = folder.join(TOKEN);
        if token.exists() {
            return None;
        }
        let lists = [list::path_in(folder), folder.join(ISSUING_CERTIFICATE), token];
        let files = sink.files().iter().map(|file| folder.join(file)).chain(lists);
        let files = files.filter(|file| !file.exists()).collect();
        Some(Self { is_new_folder: !folder.exists(), files, may_stay: false })
    }

    /// Removes what was made for an output to which nothing was issued.
    fn remove(&self, folder: &Path) {
        // What can't be removed does no harm.
        self.files.iter().for_each(|file| drop(std::fs::remove_file(file)));
        if self.is_new_folder {
            let _ = std::fs::remove_dir(folder);
        }
    }
}

impl Drop for IssuedStore {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take().filter(|claim| !claim.may_stay) else { return };
        if self.index.forget_output(&self.output).is_ok_and(|is_forgotten| is_forgotten) {
            claim.remove(&self.folder);
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

/// Returns the token by which the index knows a folder, wherever it is moved; makes one if there is
/// none.
fn token(folder: &Path) -> Result<String, Error> {
    let path = folder.join(TOKEN);
    if !path.exists() {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Crypto("drawing random bytes"))?;
        fs::write_new_private(&path, upper_hex(&bytes).as_bytes())?;
    }
    read_token(folder)
}

fn read_token(folder: &Path) -> Result<String, Error> {
    let text = fs::read_bounded(&folder.join(TOKEN), MAX_TOKEN_BYTES)?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Returns whether a folder has a list with more than its header.
fn has_rows(folder: &Path) -> Result<bool, Error> {
    let path = list::path_in(folder);
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len() > crate::issued::record::HEADER.len() as u64),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

const TOKEN: &str = ".output";
const MAX_TOKEN_BYTES: u64 = 64;

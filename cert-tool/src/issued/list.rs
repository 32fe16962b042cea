//! `issued.csv`, the list in a folder with certificates: itself a batch file. [`ListFile`] writes it,
//! [`IssuedList`] looks things up in it where there is no index, because the folder was handed on
//! without the CA.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use hub_types::{IdentityId, Sha256Thumbprint};

use crate::error::Error;
use crate::issued::record::{HEADER, IssuedCertificate, Row};
use crate::platform::fs;

/// The list while it is written.
pub(crate) struct ListFile {
    path: PathBuf,
    file: File,
    length: u64,
}

impl ListFile {
    /// Opens the list, and makes it if need be.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let path = path_in(folder);
        let file = fs::open_private(&path)?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Self { path, file, length })
    }

    /// Begins it; what a kill left of the beginning goes.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        let found = fs::read_at(&self.file, &self.path, 0, HEADER.len() + 1)?;
        if !HEADER.as_bytes().starts_with(&found) {
            return Err(self.damaged(0, "it is not a list of issued certificates, or not of this CA"));
        }
        self.length = 0;
        self.append(HEADER.as_bytes())
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the end of the row of the certificate with this thumbprint, which begins at
    /// `offset`; `None` if the row is incomplete.
    pub(crate) fn row_end(&self, offset: u64, sha256: &Sha256Thumbprint) -> Result<Option<u64>, Error> {
        let bytes = fs::read_at(&self.file, &self.path, offset, MAX_ROW_BYTES)?;
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        let line = bytes.get(..end).and_then(|line| std::str::from_utf8(line).ok());
        let is_whole = line.and_then(Row::parse).is_some_and(|row| row.record.sha256 == *sha256);
        Ok(is_whole.then_some(offset + end as u64 + 1))
    }

    /// Appends rows; when it returns they survive a power cut.
    pub(crate) fn append(&mut self, text: &[u8]) -> Result<(), Error> {
        fs::append_at(&self.file, &self.path, self.length, text)?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.length += text.len() as u64;
        Ok(())
    }

    /// Drops what stands behind `end`.
    pub(crate) fn cut(&mut self, end: u64) -> Result<(), Error> {
        fs::cut(&self.file, &self.path, end)?;
        self.length = self.length.min(end);
        Ok(())
    }

    pub(crate) fn damaged(&self, offset: u64, reason: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), offset, reason }
    }
}

/// The certificates in a folder, by identity, in 16 bytes of memory for each.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (temporary, now) = (tempfile::tempdir()?, time::OffsetDateTime::now_utc());
/// # let ca = cert_tool::CertificateAuthority::init(&temporary.path().join("ca"), &Default::default(), now)?;
/// # let out = temporary.path().join("out");
/// # let mut store = cert_tool::IssuedStore::open(&ca, &out, cert_tool::Sink::Bundle)?;
/// # let identity: hub_types::IdentityId = hub_types::IdentityId::parse("pump-1", None)?;
/// # let request = cert_tool::IssueRequest::new(identity.clone(), cert_tool::KeySource::Generate);
/// # cert_tool::issue_batch(&ca, &cert_tool::IssueOptions::new(now), [request].into_iter(), &mut store, &mut |_| {})?;
/// # drop(store);
/// use cert_tool::IssuedList;
///
/// let list = IssuedList::open(&out)?;
/// assert!(list.find(&identity)?.is_some());
/// for entry in list.entries()? {
///     let (identity, record) = entry?;
///     println!("{identity} has {}", record.sha256);
/// }
/// # Ok(())
/// # }
/// ```
pub struct IssuedList {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    hasher: RandomState,
    rows: HashMap<u64, u64>,
    /// Rows whose hash another one has too: as rare as can be.
    others: HashMap<IdentityId, u64>,
}

impl IssuedList {
    /// Reads the list in a folder. Another process may issue to it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = path_in(folder);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        let mut list = Self {
            folder: folder.to_owned(),
            path,
            file,
            hasher: RandomState::new(),
            rows: HashMap::new(),
            others: HashMap::new(),
        };
        list.read()?;
        Ok(list)
    }

    /// Returns the number of certificates.
    pub fn len(&self) -> u64 {
        (self.rows.len() + self.others.len()) as u64
    }

    /// Returns whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the record of an identity's certificate.
    pub fn find(&self, identity: &IdentityId) -> Result<Option<IssuedCertificate>, Error> {
        let offset = self.others.get(identity).or_else(|| self.rows.get(&self.hasher.hash_one(identity)));
        let Some(offset) = offset else { return Ok(None) };
        let bytes = fs::read_at(&self.file, &self.path, *offset, MAX_ROW_BYTES)?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let row = std::str::from_utf8(line).ok().and_then(Row::parse);
        let row = row.ok_or_else(|| self.damaged(*offset, NOT_A_ROW))?;
        Ok((row.identity == *identity).then(|| self.absolute(row.record)))
    }

    /// All that the folder has, in the order in which it was issued, one row at a time.
    pub fn entries(
        &self,
    ) -> Result<impl Iterator<Item = Result<(IdentityId, IssuedCertificate), Error>>, Error> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        let mut lines = BufReader::with_capacity(1 << 16, file);
        let mut line = String::new();
        let mut offset = lines.read_line(&mut line).map_err(Error::io("read", &self.path))? as u64;
        Ok(std::iter::from_fn(move || {
            line.clear();
            let read = match lines.read_line(&mut line) {
                Ok(read) => read as u64,
                Err(error) => return Some(Err(Error::io("read", &self.path)(error))),
            };
            // What is being written has no end yet.
            let row = Row::parse(line.strip_suffix('\n')?).ok_or_else(|| self.damaged(offset, NOT_A_ROW));
            offset += read;
            Some(row.map(|row| (row.identity, self.absolute(row.record))))
        }))
    }

    /// The certificate of the CA that everything here is from, and behind it those between it and the root.
    pub fn issuing_certificate_path(&self) -> PathBuf {
        self.folder.join(ISSUING_CERTIFICATE)
    }

    /// Makes a folder one for files of this list, made with some options, of which this is a digest. All files of
    /// a folder are from one list and made with the same options: what is there already would be taken for that of
    /// a newer certificate, or for what was asked for.
    pub(crate) fn claim(&self, folder: &Path, what: &'static str, options: &str) -> Result<(), Error> {
        let Some(first) = self.entries()?.next().transpose()? else { return Ok(()) };
        let (path, list) = (folder.join(ORIGIN), first.1.sha256.to_string());
        if !fs::is_present(&path)? {
            return fs::write_new_private(&path, format!("{list}{options}").as_bytes());
        }
        let origin = fs::read_bounded(&path, MAX_ORIGIN_BYTES)?;
        match origin.strip_prefix(list.as_bytes()) {
            None => Err(Error::OtherList { path: folder.to_owned(), what }),
            Some(found) if found != options.as_bytes() => {
                Err(Error::OtherOptions { path: folder.to_owned(), what })
            }
            Some(_) => Ok(()),
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        let broken = |source| Error::io("read", &self.path)(source);
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        let mut line = String::new();
        let mut offset = reader.read_line(&mut line).map_err(broken)? as u64;
        if line != HEADER {
            return Err(self.damaged(0, "it is not a list of issued certificates"));
        }
        loop {
            line.clear();
            let read = reader.read_line(&mut line).map_err(broken)? as u64;
            // What is being written has no end yet.
            let Some(text) = line.strip_suffix('\n') else { return Ok(()) };
            let row = Row::parse(text).ok_or_else(|| self.damaged(offset, NOT_A_ROW))?;
            match self.rows.entry(self.hasher.hash_one(&row.identity)) {
                std::collections::hash_map::Entry::Vacant(vacant) => drop(vacant.insert(offset)),
                std::collections::hash_map::Entry::Occupied(_) => {
                    self.others.extend([(row.identity, offset)])
                }
            }
            offset += read;
        }
    }

    fn absolute(&self, record: IssuedCertificate) -> IssuedCertificate {
        IssuedCertificate {
            certificate: self.folder.join(record.certificate),
            private_key: record.private_key.map(|path| self.folder.join(path)),
            ..record
        }
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), offset, reason }
    }
}

pub(crate) fn path_in(folder: &Path) -> PathBuf {
    folder.join("issued.csv")
}

/// The file in an output with the certificate of its CA.
pub(crate) const ISSUING_CERTIFICATE: &str = "issuing.pem";
/// Has the thumbprint of the first certificate in the list that a folder's files are from.
const ORIGIN: &str = ".issued";
const MAX_ORIGIN_BYTES: u64 = 1024;
const NOT_A_ROW: &str = "this row is not one of ours";
/// Two ids, two paths with both ids escaped, and what else a row has.
const MAX_ROW_BYTES: usize = 4096;

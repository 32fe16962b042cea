//! [`Bundle`]: all certificates in one file and all private keys in another, of whatever number.

use std::fs::File;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;
use crate::facts::Row;
use crate::fs;
use crate::issuing::Made;

/// The two files of a bundle.
pub(crate) struct Bundle {
    certificates: PemFile,
    /// `None` where there is nothing but to look.
    keys: Option<PemFile>,
}

impl Bundle {
    /// Opens the two files, and makes them where nothing was issued yet.
    pub(crate) fn open(folder: &Path, contents: Contents) -> Result<Self, Error> {
        let open = |name| PemFile::open(folder, name, contents);
        Ok(Self { certificates: open(CERTIFICATES)?, keys: Some(open(KEYS)?) })
    }

    /// Opens the certificates to look at what is there. The keys may have been moved away.
    pub(crate) fn open_to_read(folder: &Path) -> Result<Self, Error> {
        Ok(Self { certificates: PemFile::open_to_read(folder, CERTIFICATES)?, keys: None })
    }

    /// Takes note of a row that is certain so far; says no to one that refers beyond the files' ends.
    pub(crate) fn accept(&mut self, offset: u64, row: &Row) -> bool {
        let facts = &row.facts;
        self.certificates.accept(offset, Some(&facts.certificate))
            && self.keys.as_mut().is_none_or(|keys| keys.accept(offset, facts.private_key.as_deref()))
    }

    /// The place of the first row whose certificate or key is not whole, among those accepted.
    pub(crate) fn first_torn_row(&self) -> Result<Option<u64>, Error> {
        let of_keys = self.keys.as_ref().map_or(Ok(None), PemFile::torn_row)?;
        Ok([self.certificates.torn_row()?, of_keys].into_iter().flatten().min())
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        [Some(&self.certificates), self.keys.as_ref()].into_iter().flatten().all(|file| file.length == 0)
    }

    /// Begins anew to take note of rows.
    pub(crate) fn forget_rows(&mut self) {
        self.files().for_each(|file| file.last = None);
    }

    /// Refuses to drop more than an interrupted run can leave behind: then it is the list that is
    /// wrong, and private keys would be lost.
    pub(crate) fn check_before_repair(&mut self) -> Result<(), Error> {
        self.files().try_for_each(|file| file.check_before_repair())
    }

    /// Drops what no row refers to.
    pub(crate) fn repair(&mut self) -> Result<(), Error> {
        self.files().try_for_each(PemFile::repair)
    }

    /// Appends certificates and keys; when it returns they survive a power cut.
    pub(crate) fn append(&mut self, made: &[Made]) -> Result<Vec<(PathBuf, Option<PathBuf>)>, Error> {
        let certificates = made.iter().map(|made| Some(made.certificate_pem.as_slice()));
        let certificates = self.certificates.append(certificates)?;
        let keys = made.iter().map(|made| made.key_pem.as_ref().map(|pem| pem.as_slice()));
        let keys = self.keys.as_mut().map_or_else(|| Ok(Vec::new()), |file| file.append(keys))?;
        Ok(certificates.into_iter().map(Option::unwrap_or_default).zip(keys).collect())
    }

    fn files(&mut self) -> impl Iterator<Item = &mut PemFile> {
        [Some(&mut self.certificates), self.keys.as_mut()].into_iter().flatten()
    }
}

/// What a bundle must hold already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing was issued yet.
    None,
    /// What a list refers to.
    Something,
}

struct PemFile {
    name: &'static str,
    path: PathBuf,
    file: File,
    length: u64,
    /// Where the last block that a row refers to begins, and the place of that row.
    last: Option<(u64, u64)>,
}

impl PemFile {
    fn open(folder: &Path, name: &'static str, contents: Contents) -> Result<Self, Error> {
        let path = folder.join(name);
        if contents == Contents::Something && !path.exists() {
            return Err(Error::Damaged {
                path,
                offset: 0,
                reason: "it is gone, and `issued.csv` refers to it",
            });
        }
        let file = fs::open_private(&path)?;
        Self::new(name, path, file)
    }

    fn open_to_read(folder: &Path, name: &'static str) -> Result<Self, Error> {
        let path = folder.join(name);
        let file = File::open(&path).map_err(Error::io("open", &path))?;
        Self::new(name, path, file)
    }

    fn new(name: &'static str, path: PathBuf, file: File) -> Result<Self, Error> {
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok(Self { name, path, file, length, last: None })
    }

    fn accept(&mut self, row: u64, reference: Option<&Path>) -> bool {
        let Some(reference) = reference else {
            return true;
        };
        let offset = self.offset_of(reference);
        match offset.filter(|offset| *offset < self.length) {
            Some(offset) => {
                self.last = Some((offset, row));
                true
            }
            None => false,
        }
    }

    fn offset_of(&self, reference: &Path) -> Option<u64> {
        reference.to_str()?.strip_prefix(self.name)?.strip_prefix('#')?.parse().ok()
    }

    fn torn_row(&self) -> Result<Option<u64>, Error> {
        let Some((offset, row)) = self.last else {
            return Ok(None);
        };
        Ok(if self.block_end(offset)?.is_none() { Some(row) } else { None })
    }

    /// Where the block that begins at `offset` ends; `None` where it is torn.
    fn block_end(&self, offset: u64) -> Result<Option<u64>, Error> {
        let text = Zeroizing::new(fs::read_at(&self.file, &self.path, offset, MAX_BLOCK_BYTES)?);
        let end = text.windows(END.len()).position(|window| window == END);
        let line_end =
            end.and_then(|end| text.iter().skip(end).position(|byte| *byte == b'\n').map(|n| end + n + 1));
        Ok(line_end.filter(|_| text.starts_with(BEGIN)).map(|length| offset + length as u64))
    }

    fn end(&self) -> Result<u64, Error> {
        Ok(match self.last {
            Some((offset, _)) => self.block_end(offset)?.unwrap_or(offset),
            None => 0,
        })
    }

    fn check_before_repair(&self) -> Result<(), Error> {
        let offset = self.end()?;
        if self.length.saturating_sub(offset) <= MAX_UNCERTAIN_BYTES {
            return Ok(());
        }
        let reason = "`issued.csv` does not list what follows, more than an interrupted run leaves";
        Err(Error::Damaged { path: self.path.clone(), offset, reason })
    }

    fn repair(&mut self) -> Result<(), Error> {
        let end = self.end()?;
        fs::cut(&self.file, &self.path, end)?;
        self.length = end;
        Ok(())
    }

    fn append<'a>(
        &mut self,
        blocks: impl Iterator<Item = Option<&'a [u8]>> + Clone,
    ) -> Result<Vec<Option<PathBuf>>, Error> {
        let total = blocks.clone().flatten().map(<[u8]>::len).sum();
        // Made to measure: growing would leave copies of private keys behind.
        let mut text = Zeroizing::new(Vec::with_capacity(total));
        let mut references = Vec::new();
        for block in blocks {
            references
                .push(block.map(|_| format!("{}#{}", self.name, self.length + text.len() as u64).into()));
            text.extend_from_slice(block.unwrap_or_default());
        }
        fs::append_at(&self.file, &self.path, self.length, &text)?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.length += total as u64;
        Ok(references)
    }
}

pub(crate) const CERTIFICATES: &str = "certificates.pem";
const KEYS: &str = "private-keys.pem";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const MAX_BLOCK_BYTES: usize = 16 * 1024;
/// What is appended before the rows are: a commit's worth of the largest certificates.
const MAX_UNCERTAIN_BYTES: u64 = 4 * 1024 * 1024;

//! [`Spill`]: keys of rows beyond the memory bound, stored in files and compared at the end.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};

use hub_types::shown::without_os_codes;

use crate::across::table::Key;
use crate::problem::Flaw;

/// The subject of a key; only keys with the same subject can collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    Device,
    EdgeDevice,
    Module,
    Credential,
    /// A module, with the key of its device.
    ModuleOf,
}

/// The key of a row beyond the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpilledKey {
    pub(crate) subject: Subject,
    pub(crate) key: Key,
    pub(crate) line: u32,
    /// The number of the column, if the subject does not determine it.
    pub(crate) column: u8,
    /// True if a different spelling of it was already reported.
    pub(crate) is_reported: bool,
}

/// Keys in unnamed files. Those that may collide are in the same file, which is small enough to
/// be sorted in memory.
#[derive(Default)]
pub(crate) struct Spill {
    parts: Vec<BufWriter<File>>,
    failed: Option<io::Error>,
}

impl Spill {
    /// Stores a key. A write error is returned when the keys are read.
    pub(crate) fn push(&mut self, spilled: SpilledKey) {
        if self.failed.is_none()
            && let Err(error) = self.write(spilled)
        {
            self.failed = Some(error);
        }
    }

    /// Returns the keys of a part; keys that can collide are adjacent, in the order of their
    /// lines.
    pub(crate) fn part(&mut self, part: usize) -> io::Result<Vec<SpilledKey>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let Some(file) = self.parts.get_mut(part) else { return Ok(Vec::new()) };
        file.flush()?;
        file.seek(SeekFrom::Start(0))?;
        let bytes = usize::try_from(file.get_ref().metadata()?.len()).unwrap_or_default();
        let mut keys = read(BufReader::new(file.get_ref()), bytes / BYTES)?;
        keys.sort_unstable_by_key(|spilled| (spilled.subject.group(), spilled.key, spilled.line));
        Ok(keys)
    }

    fn write(&mut self, spilled: SpilledKey) -> io::Result<()> {
        while self.parts.len() < PARTS {
            self.parts.push(BufWriter::with_capacity(BUFFER_BYTES, tempfile::tempfile()?));
        }
        match self.parts.get_mut(spilled.key.part(PARTS)) {
            Some(part) => part.write_all(&spilled.to_bytes()),
            None => Ok(()),
        }
    }
}

impl Subject {
    const ALL: [Self; 5] = [Self::Device, Self::EdgeDevice, Self::Module, Self::Credential, Self::ModuleOf];

    /// The group of a subject; all identities are one group.
    pub(crate) fn group(self) -> u8 {
        match self {
            Self::Device | Self::EdgeDevice | Self::Module => 0,
            Self::Credential => 1,
            Self::ModuleOf => 2,
        }
    }
}

impl SpilledKey {
    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let (key, rest) = bytes.split_at_mut(10);
        key.copy_from_slice(&self.key.to_bytes());
        let (line, rest) = rest.split_at_mut(4);
        line.copy_from_slice(&self.line.to_le_bytes());
        let reported = if self.is_reported { REPORTED } else { 0 };
        rest.copy_from_slice(&[self.subject as u8 | reported, self.column]);
        bytes
    }

    fn from_bytes(bytes: [u8; BYTES]) -> Option<Self> {
        let [key @ .., a, b, c, d, subject, column] = bytes;
        Some(Self {
            subject: *Subject::ALL.get(usize::from(subject & !REPORTED))?,
            key: Key::from_bytes(key),
            line: u32::from_le_bytes([a, b, c, d]),
            column,
            is_reported: subject & REPORTED != 0,
        })
    }
}

fn read(mut file: impl Read, count: usize) -> io::Result<Vec<SpilledKey>> {
    let mut keys = Vec::with_capacity(count);
    let mut bytes = [0; BYTES];
    loop {
        match file.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(keys),
            read => read?,
        }
        keys.push(SpilledKey::from_bytes(bytes).ok_or(ErrorKind::InvalidData)?);
    }
}

/// The flaw of a temporary file that can't be used.
pub(crate) fn unusable(what: &str, error: &io::Error) -> Flaw {
    Flaw::new(
        format!("{what}: the temporary file can't be used: {}", without_os_codes(&error.to_string())),
        "make room in the folder for temporary files (TMPDIR), or split the batch",
    )
}

const BYTES: usize = 16;
const REPORTED: u8 = 1 << 7;
/// The number of parts. With ten million rows that have a thumbprint each, a part has some 140,000
/// keys.
pub(crate) const PARTS: usize = 128;
const BUFFER_BYTES: usize = 4096;

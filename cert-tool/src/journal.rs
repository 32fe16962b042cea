//! [`Journal`]: `issued.csv`, whose rows are what is certain. What a row refers to is on the disk
//! before the row is.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use hub_types::IdentityId;

use crate::error::Error;
use crate::facts::{HEADER, Row};
use crate::fs;

/// The rows of `issued.csv`, with an index in memory that has 24 bytes for each.
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the last whole row ends.
    end: u64,
    rows: HashMap<Key, u64>,
}

/// Stands for an identity in the index. Half a SHA-256 does not collide, and the row is compared
/// anyway.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key([u64; 2]);

impl Key {
    pub(crate) fn of(identity: &IdentityId) -> Self {
        Self::of_bytes(identity.common_name().as_bytes())
    }

    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, bytes);
        let mut halves = digest.as_ref().chunks_exact(8).filter_map(|half| half.try_into().ok());
        let mut half = || halves.next().map_or(0, u64::from_le_bytes);
        Self([half(), half()])
    }
}

impl Journal {
    /// Opens the file, or begins it when it may be written.
    pub(crate) fn open(path: PathBuf, file: File) -> Self {
        Self { path, file, end: 0, rows: HashMap::new() }
    }

    /// Reads every whole row and shows it, with its place, to `visit`; stops at the first that
    /// `visit` does not accept. Returns how many it did not show.
    pub(crate) fn scan(
        &mut self,
        mut visit: impl FnMut(u64, &Row) -> Result<bool, Error>,
    ) -> Result<u64, Error> {
        self.rows.clear();
        self.end = 0;
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        reader.seek(SeekFrom::Start(0)).map_err(Error::io("read", &self.path))?;
        let mut line = String::new();
        let mut is_accepting = true;
        let mut dropped = 0;
        loop {
            line.clear();
            let read = reader.read_line(&mut line).map_err(Error::io("read", &self.path))? as u64;
            let Some(text) = line.strip_suffix('\n') else {
                // Only what is the beginning of our header may be overwritten.
                let is_ours = self.end > 0 || HEADER.starts_with(&line);
                return if is_ours { Ok(dropped) } else { Err(self.damaged(0, NOT_OURS)) };
            };
            if self.end == 0 {
                if line != HEADER {
                    return Err(self.damaged(0, NOT_OURS));
                }
                self.end += read;
                continue;
            }
            if is_accepting {
                let row =
                    Row::parse(text).ok_or_else(|| self.damaged(self.end, "this row is none of ours"))?;
                is_accepting = visit(self.end, &row)?;
                if is_accepting {
                    self.rows.insert(Key::of(&row.identity), self.end);
                    self.end += read;
                    continue;
                }
            }
            dropped += 1;
        }
    }

    /// Drops what stands behind the last accepted row, and writes the header of a new file.
    pub(crate) fn repair(&mut self) -> Result<(), Error> {
        fs::cut(&self.file, &self.path, self.end)?;
        if self.end == 0 {
            self.append(HEADER.as_bytes())?;
        }
        Ok(())
    }

    /// Whether there is a header: nothing is ever issued before there is.
    pub(crate) fn is_begun(&self) -> bool {
        self.end > 0
    }

    /// Whether an identity has a row.
    pub(crate) fn contains(&self, key: Key) -> bool {
        self.rows.contains_key(&key)
    }

    /// The row of an identity.
    pub(crate) fn find(&self, identity: &IdentityId) -> Result<Option<Row>, Error> {
        let Some(offset) = self.rows.get(&Key::of(identity)) else {
            return Ok(None);
        };
        let row = self.row_at(*offset)?;
        if row.identity != *identity {
            return Err(self.damaged(*offset, "this row is for another identity than it was"));
        }
        Ok(Some(row))
    }

    /// The row at a place.
    pub(crate) fn row_at(&self, offset: u64) -> Result<Row, Error> {
        let bytes = fs::read_at(&self.file, &self.path, offset, MAX_ROW_BYTES)?;
        let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let row = std::str::from_utf8(line).ok().and_then(Row::parse);
        row.ok_or_else(|| self.damaged(offset, "this row is none of ours"))
    }

    /// The places of all rows.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = u64> {
        self.rows.values().copied()
    }

    /// Appends rows; when it returns they survive a power cut. Returns their places.
    pub(crate) fn commit(&mut self, rows: &[Row]) -> Result<Vec<u64>, Error> {
        let mut text = Vec::with_capacity(rows.len() * 320);
        let mut offsets = Vec::with_capacity(rows.len());
        for row in rows {
            offsets.push(self.end + text.len() as u64);
            row.append_to(&mut text);
        }
        self.append(&text)?;
        self.rows.extend(rows.iter().map(|row| Key::of(&row.identity)).zip(offsets.iter().copied()));
        Ok(offsets)
    }

    fn append(&mut self, text: &[u8]) -> Result<(), Error> {
        fs::append_at(&self.file, &self.path, self.end, text)?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.end += text.len() as u64;
        Ok(())
    }

    fn damaged(&self, offset: u64, reason: &'static str) -> Error {
        Error::Damaged { path: self.path.clone(), offset, reason }
    }
}

pub(crate) fn path_in(folder: &Path) -> PathBuf {
    folder.join("issued.csv")
}

const NOT_OURS: &str = "it is no list of issued certificates";
/// Two ids, two paths with both ids escaped, and what else a row has.
const MAX_ROW_BYTES: usize = 4096;

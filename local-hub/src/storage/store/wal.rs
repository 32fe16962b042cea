//! The check of the database's write-ahead log, before SQLite reads it.
//!
//! SQLite reads a log up to the first damaged frame and silently discards the rest. This module
//! counts the transactions that it would discard.
//!
//! Source: "Database File Format", section 4, "The Write-Ahead Log".

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// The transactions behind the first damaged frame of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// The offset of the damaged frame, in bytes from the beginning of the file.
    pub(super) at: u64,
    /// Transactions that end at or behind it.
    pub(super) transactions: u64,
}

/// Checks a log. Returns `None` if nothing of it would be lost, or if it does not exist.
pub(super) fn lost(path: &Path) -> io::Result<Option<Lost>> {
    let mut file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER];
    if !read_whole(&mut file, &mut header)? {
        return Ok(None);
    }
    // The lowest bit of the magic number says in which order checksums take their bytes.
    let Some(order) =
        [ByteOrder::Little, ByteOrder::Big].into_iter().find(|order| word(&header, 0) == order.magic())
    else {
        return Ok(Some(Lost { at: 0, transactions: commits_of(&mut file, &header)? }));
    };
    let mut checksum = order.checksum((0, 0), &header[..24]);
    if checksum != (word(&header, 24), word(&header, 28)) {
        return Ok(Some(Lost { at: 0, transactions: commits_of(&mut file, &header)? }));
    }
    let (mut head, mut page) = ([0; FRAME_HEADER], vec![0; page_size(&header)]);
    let mut at = HEADER as u64;
    let mut lost: Option<Lost> = None;
    while read_whole(&mut file, &mut head)? && read_whole(&mut file, &mut page)? {
        // Frames of an earlier round of the log have other salts: here the log ends.
        let is_of_this_round = head[8..16] == header[16..24];
        if !is_of_this_round && lost.is_none() {
            return Ok(None);
        }
        let is_commit = is_of_this_round && word(&head, 4) != 0;
        match &mut lost {
            Some(lost) => lost.transactions += u64::from(is_commit),
            None => {
                checksum = order.checksum(order.checksum(checksum, &head[..8]), &page);
                if checksum != (word(&head, 16), word(&head, 20)) {
                    lost = Some(Lost { at, transactions: u64::from(is_commit) });
                }
            }
        }
        at += (FRAME_HEADER + page.len()) as u64;
    }
    Ok(lost.filter(|lost| lost.transactions > 0))
}

/// Counts the frames that end a transaction, in a log whose header is damaged.
fn commits_of(file: &mut impl Read, header: &[u8; HEADER]) -> io::Result<u64> {
    let (mut head, mut page) = ([0; FRAME_HEADER], vec![0; page_size(header)]);
    let mut commits = 0;
    while read_whole(file, &mut head)? && read_whole(file, &mut page)? {
        commits += u64::from(word(&head, 4) != 0);
    }
    Ok(commits)
}

/// Fills a buffer; returns false if the file ends before.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The size of a page; the default one if the header's size is not possible.
fn page_size(header: &[u8; HEADER]) -> usize {
    match word(header, 8) {
        size @ 512..=65_536 => size as usize,
        _ => 4096,
    }
}

/// A big-endian number of four bytes.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

#[derive(Debug, Clone, Copy)]
enum ByteOrder {
    Big,
    Little,
}

impl ByteOrder {
    fn magic(self) -> u32 {
        match self {
            Self::Big => 0x377f_0683,
            Self::Little => 0x377f_0682,
        }
    }

    /// The running checksum of a log, over pairs of words.
    fn checksum(self, (mut first, mut second): (u32, u32), bytes: &[u8]) -> (u32, u32) {
        let read = |word: [u8; 4]| match self {
            Self::Big => u32::from_be_bytes(word),
            Self::Little => u32::from_le_bytes(word),
        };
        let (words, _) = bytes.as_chunks::<4>();
        let (pairs, _) = words.as_chunks::<2>();
        for [left, right] in pairs {
            first = first.wrapping_add(read(*left)).wrapping_add(second);
            second = second.wrapping_add(read(*right)).wrapping_add(first);
        }
        (first, second)
    }
}

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rusqlite::Connection;

    use super::*;

    /// A log with `writes` transactions, in the state that a killed process leaves.
    fn log(folder: &Path, writes: u32) -> PathBuf {
        let (database, kept) = (folder.join("a.db"), folder.join("kept-wal"));
        let connection = Connection::open(&database).unwrap();
        connection.pragma_update(None, "journal_mode", "WAL").unwrap();
        connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        connection.execute_batch("CREATE TABLE t (n)").unwrap();
        for number in 0..writes {
            connection.execute("INSERT INTO t VALUES (?1)", [number]).unwrap();
        }
        std::fs::copy(folder.join("a.db-wal"), &kept).unwrap();
        kept
    }

    #[test]
    fn a_whole_log_and_none_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(lost(&log(folder.path(), 20)).unwrap(), None);
        assert_eq!(lost(&folder.path().join("none")).unwrap(), None);
    }

    #[test]
    fn what_is_behind_a_damaged_frame_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), 20);
        let mut bytes = std::fs::read(&path).unwrap();
        let frame = FRAME_HEADER + page_size(bytes[..HEADER].try_into().unwrap());
        let frames = (bytes.len() - HEADER) / frame;
        // Each insertion is one frame; the damage is in the tenth from the end.
        let damaged = HEADER + (frames - 10) * frame;
        bytes[damaged + FRAME_HEADER + 100] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(lost(&path).unwrap(), Some(Lost { at: damaged as u64, transactions: 10 }));
        // The same where the header is damaged: then all of it is lost.
        bytes[16] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(lost(&path).unwrap().is_some_and(|lost| lost.at == 0 && lost.transactions >= 20));
    }

    #[test]
    fn a_log_that_ends_in_the_middle_of_its_last_frame_loses_nothing_that_was_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let path = log(folder.path(), 3);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
        assert_eq!(lost(&path).unwrap(), None);
    }
}

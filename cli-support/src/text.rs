//! Text files: UTF-8, with or without a byte order mark, and UTF-16 with one, as PowerShell and Notepad write them.
//!
//! Short files, which may be secrets, are read as a whole ([`read`], [`decode`]); long ones as a
//! stream ([`Utf8Stream`]).

mod stream;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

pub use stream::{DAMAGED, Utf8Stream};

/// The encoding of a text, as its first bytes tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, also where there is no byte order mark.
    Utf8,
    /// UTF-16 with the lower byte first.
    Utf16Le,
    /// UTF-16 with the higher byte first.
    Utf16Be,
}

impl EncodingError {
    /// The line, from 1.
    pub fn line(&self) -> usize {
        match self {
            Self::Nul { line } | Self::Utf8 { line, .. } | Self::Utf16 { line, .. } => *line,
        }
    }
}

impl Encoding {
    /// Returns the encoding of a text that begins with these bytes, and the length of its byte order
    /// mark, 0 without one.
    pub fn of(start: &[u8]) -> (Self, usize) {
        match start {
            [0xFF, 0xFE, ..] => (Self::Utf16Le, 2),
            [0xFE, 0xFF, ..] => (Self::Utf16Be, 2),
            [0xEF, 0xBB, 0xBF, ..] => (Self::Utf8, 3),
            _ => (Self::Utf8, 0),
        }
    }

    /// Returns a decoder of UTF-16; `None` for UTF-8, which needs none.
    fn decoder(self) -> Option<encoding_rs::Decoder> {
        match self {
            Self::Utf8 => None,
            Self::Utf16Le => Some(encoding_rs::UTF_16LE.new_decoder_without_bom_handling()),
            Self::Utf16Be => Some(encoding_rs::UTF_16BE.new_decoder_without_bom_handling()),
        }
    }
}

/// The reason why bytes are not text. It repeats none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// A NUL byte: a binary file, or UTF-16 without a byte order mark.
    #[error(
        "there is a NUL byte in line {line}: this is no text, or UTF-16 without a byte order mark; save it as UTF-8"
    )]
    Nul {
        /// The line, from 1.
        line: usize,
    },
    /// A byte that UTF-8 does not have there.
    #[error("a byte in line {line}, column {column} is not UTF-8; save the file as UTF-8")]
    Utf8 {
        /// The line, from 1.
        line: usize,
        /// The character of the line, from 1.
        column: usize,
    },
    /// Half a character, or an odd number of bytes.
    #[error("the file begins as UTF-16 and is damaged in line {line}, column {column}; save it as UTF-8")]
    Utf16 {
        /// The line, from 1.
        line: usize,
        /// The character of the line, from 1.
        column: usize,
    },
}

/// Reads a file. Bytes that are not text are [`io::ErrorKind::InvalidData`], with an
/// [`EncodingError`] as the source. The text may be a secret, so its memory is wiped when it is
/// dropped.
pub fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    decode(&bytes_of(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Reads a regular file, or what the shell has opened already (`<(…)`, `/dev/stdin`). Other pipes and devices
/// are not read, because they may never begin or never end.
fn bytes_of(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let metadata = std::fs::metadata(path)?;
    let is_open = ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|place| path.starts_with(place));
    if !(metadata.is_file() || metadata.is_dir() || is_open) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a pipe or a device; name a file"));
    }
    // Made to measure: growing would leave copies of a secret behind.
    let capacity = usize::try_from(metadata.len().min(MAX_BYTES) + 1).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB")),
        false => Ok(bytes),
    }
}

/// No short text is larger.
const MAX_BYTES: u64 = 16 << 20;

/// Decodes bytes into text, without the byte order mark.
pub fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, EncodingError> {
    let (encoding, mark) = Encoding::of(bytes);
    let bytes = bytes.get(mark..).unwrap_or_default();
    let text = match encoding.decoder() {
        None => utf8(bytes)?,
        Some(decoder) => utf16(bytes, decoder)?,
    };
    match text.split_once('\0') {
        None => Ok(text),
        Some((before, _)) => Err(EncodingError::Nul { line: end_of(before.as_bytes()).0 }),
    }
}

fn utf8(bytes: &[u8]) -> Result<Zeroizing<String>, EncodingError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let (line, column) = end_of(bytes.get(..error.valid_up_to()).unwrap_or_default());
        EncodingError::Utf8 { line, column }
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn utf16(bytes: &[u8], mut decoder: encoding_rs::Decoder) -> Result<Zeroizing<String>, EncodingError> {
    // Made to measure: growing would leave copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() / 2 * 3 + 16));
    match decoder.decode_to_string_without_replacement(bytes, &mut text, true).0 {
        encoding_rs::DecoderResult::InputEmpty => Ok(text),
        _ => {
            let (line, column) = end_of(text.as_bytes());
            Err(EncodingError::Utf16 { line, column })
        }
    }
}

/// Returns the line and the character, both from 1, of what comes after these bytes.
fn end_of(before: &[u8]) -> (usize, usize) {
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let last_line = before.get(line_start..).unwrap_or_default();
    (line, String::from_utf8_lossy(last_line).chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn every_encoding_with_a_mark_is_the_same_text() {
        let text = "pässword\r\nzweite Zeile 🔑\n";
        let marked = ["\u{FEFF}", text].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            marked.into_bytes(),
            utf16(text, u16::to_le_bytes),
            utf16(text, u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).unwrap().as_str(), text);
        }
        assert_eq!(decode(b"\xEF\xBB\xBF").unwrap().as_str(), "");
        assert_eq!(decode(b"\xFF\xFE").unwrap().as_str(), "");
    }

    #[test]
    fn what_never_ends_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is larger than 16 MiB");
        std::fs::write(&path, "short").unwrap();
        assert_eq!(read(&path).unwrap().as_str(), "short");
        if cfg!(unix) {
            let error = read(Path::new("/dev/zero")).unwrap_err();
            assert_eq!(error.to_string(), "it is a pipe or a device; name a file");
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        assert_eq!(decode(b"a\nb\xE4c"), Err(EncodingError::Utf8 { line: 2, column: 2 }));
        assert_eq!(decode(b"a\0b\0"), Err(EncodingError::Nul { line: 1 }));
        assert_eq!(decode(b"\xFF\xFEa\0b"), Err(EncodingError::Utf16 { line: 1, column: 2 }));
        assert_eq!(decode(b"\xFF\xFE\x0A\0\x00\xD8"), Err(EncodingError::Utf16 { line: 2, column: 1 }));
        assert_eq!(decode(b"\xFE\xFF\0\x0A\0a\xD8\x00\0b"), Err(EncodingError::Utf16 { line: 2, column: 2 }));
    }
}

//! Text files: UTF-8, with or without a byte order mark, and UTF-16 with one, as PowerShell and Notepad write them.

use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// The reason why bytes are not text. It repeats only the first wrong byte.
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
    #[error("the file begins as UTF-16 and is damaged in line {line}; save it as UTF-8")]
    Utf16 {
        /// The line, from 1.
        line: usize,
    },
}

/// Reads a file. Bytes that are not text are [`io::ErrorKind::InvalidData`], with an
/// [`EncodingError`] as the source. The text may be a secret, so its memory is wiped when it is
/// dropped.
pub fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    let bytes = Zeroizing::new(std::fs::read(path)?);
    decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Decodes bytes to text, without a byte order mark.
pub fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, EncodingError> {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)),
    }
}

fn utf8(bytes: &[u8]) -> Result<Zeroizing<String>, EncodingError> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let line = before.get(line_start..).unwrap_or_default();
        EncodingError::Utf8 {
            line: line_of(before),
            column: String::from_utf8_lossy(line).chars().count() + 1,
        }
    })?;
    without_nul(text)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, EncodingError> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    // Made to measure: growing would leave copies of a secret behind.
    let mut text = Zeroizing::new(String::with_capacity(pairs.len() * 3));
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match character {
            Ok(character) => text.push(character),
            Err(_) => return Err(EncodingError::Utf16 { line: line_of(text.as_bytes()) }),
        }
    }
    if !odd.is_empty() {
        return Err(EncodingError::Utf16 { line: line_of(text.as_bytes()) });
    }
    without_nul(&text)?;
    Ok(text)
}

fn without_nul(text: &str) -> Result<(), EncodingError> {
    match text.split_once('\0') {
        None => Ok(()),
        Some((before, _)) => Err(EncodingError::Nul { line: line_of(before.as_bytes()) }),
    }
}

fn line_of(before: &[u8]) -> usize {
    before.iter().filter(|byte| **byte == b'\n').count() + 1
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
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_place() {
        assert_eq!(decode(b"a\nb\xE4c"), Err(EncodingError::Utf8 { line: 2, column: 2 }));
        assert_eq!(decode(b"a\0b\0"), Err(EncodingError::Nul { line: 1 }));
        assert_eq!(decode(b"\xFF\xFEa\0b"), Err(EncodingError::Utf16 { line: 1 }));
        assert_eq!(decode(b"\xFF\xFE\x0A\0\x00\xD8"), Err(EncodingError::Utf16 { line: 2 }));
    }
}

//! Physical lines of a file: the encoding is checked at its start, memory is bounded, lines count
//! from 1.

use std::io::{self, BufRead, Cursor, Read};

use cli_support::text::{Encoding, Utf8Stream};

use crate::problem::Flaw;
use crate::text::dialect::ByteOrderMark;

/// The maximum number of bytes of a line, or of a row of several lines.
pub(crate) const MAX_ROW_BYTES: usize = 1 << 20;

/// The result of [`Lines::append_next`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextLine {
    /// The end of the file.
    End,
    /// A line, appended with its line end.
    Line,
    /// A line that does not fit after the present content of the row; it is still to be read.
    NoRoom,
    /// A line that does not fit at all; it is skipped.
    TooLong,
}

/// Reads a file line by line.
pub(crate) struct Lines {
    input: Input,
    number: u64,
}

/// The rest of the file, after returned bytes.
struct Input {
    unread: Cursor<Vec<u8>>,
    rest: Utf8Stream,
}

/// The reason why the file can't be read at all.
#[derive(Debug)]
pub(crate) enum LinesError {
    Io(io::Error),
    Refused(Flaw),
}

impl Lines {
    /// Checks the first bytes of the input. Also returns the presence of a byte order mark.
    pub(crate) fn open(mut input: impl Read + Send + 'static) -> Result<(Self, ByteOrderMark), LinesError> {
        let mut start = Vec::new();
        input.by_ref().take(SNIFFED_BYTES).read_to_end(&mut start).map_err(LinesError::Io)?;
        check_start(&start).map_err(LinesError::Refused)?;
        let rest = Utf8Stream::new(start, input);
        let mark = match rest.has_mark() {
            true => ByteOrderMark::Present,
            false => ByteOrderMark::Absent,
        };
        Ok((Self { input: Input { unread: Cursor::default(), rest }, number: 0 }, mark))
    }

    /// Returns the encoding of the file; its lines are UTF-8, except where it is damaged.
    pub(crate) fn encoding(&self) -> Encoding {
        self.input.rest.encoding()
    }

    /// The number of the line that was read last.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Appends the next line to `row`, which never grows over [`MAX_ROW_BYTES`].
    pub(crate) fn append_next(&mut self, row: &mut Vec<u8>) -> io::Result<NextLine> {
        let before = row.len();
        let room = MAX_ROW_BYTES.saturating_sub(before);
        let read = self.input.by_ref().take(room as u64).read_until(b'\n', row)?;
        let is_complete = read > 0 && row.last() == Some(&b'\n');
        let is_at_end = !is_complete && self.input.fill_buf()?.is_empty();
        if read == 0 && is_at_end {
            return Ok(NextLine::End);
        }
        if !is_complete && !is_at_end {
            return self.refuse(row, before);
        }
        self.number += 1;
        Ok(NextLine::Line)
    }

    /// Returns the last lines, which must be whole, to the input, so that they are read again.
    pub(crate) fn unread(&mut self, lines: &[u8]) {
        self.number -= lines.split_inclusive(|&byte| byte == b'\n').count() as u64;
        self.input.unread(lines);
    }

    /// Handles a line that continues beyond the available room.
    fn refuse(&mut self, row: &mut Vec<u8>, before: usize) -> io::Result<NextLine> {
        let part = row.split_off(before);
        if before > 0 {
            self.input.unread(&part);
            return Ok(NextLine::NoRoom);
        }
        self.input.skip_until(b'\n')?;
        self.number += 1;
        Ok(NextLine::TooLong)
    }
}

impl Input {
    fn unread(&mut self, bytes: &[u8]) {
        let unread = self.unread.fill_buf().unwrap_or_default();
        self.unread = Cursor::new([bytes, unread].concat());
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.unread.read(buffer)? {
            0 => self.rest.read(buffer),
            count => Ok(count),
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread.fill_buf()?.is_empty() {
            return self.rest.fill_buf();
        }
        self.unread.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if self.unread.fill_buf().is_ok_and(|bytes| !bytes.is_empty()) {
            self.unread.consume(count);
        } else {
            self.rest.consume(count);
        }
    }
}

/// Refuses a file that is not text. UTF-16 with a mark is checked while it is decoded.
fn check_start(start: &[u8]) -> Result<(), Flaw> {
    if start.starts_with(b"PK\x03\x04") {
        return Err(Flaw::new(
            "the file is a ZIP archive or an Excel workbook; a batch is CSV or JSON Lines",
            "in Excel: save as `CSV UTF-8 (comma delimited)`",
        ));
    }
    if Encoding::of(start).0 != Encoding::Utf8 {
        return Ok(());
    }
    let Some(first) = start.iter().position(|&byte| byte == 0) else {
        return Ok(());
    };
    if is_every_second_byte_zero(start) {
        return Err(Flaw::new(
            "the file looks like UTF-16 without a byte order mark",
            "save the file as UTF-8, or with a byte order mark; in Excel: `CSV UTF-8 (comma delimited)`",
        ));
    }
    Err(Flaw::new(
        format!("byte {} of the file is NUL; a batch is text", first + 1),
        "name a CSV or JSON Lines file; if it was one, write it again: it is damaged",
    ))
}

/// Returns true for Latin text in UTF-16, in which every pair has a zero on the same side.
fn is_every_second_byte_zero(start: &[u8]) -> bool {
    let pairs = || start.chunks_exact(2).take(16);
    let all = |side: fn(&[u8]) -> bool| start.len() >= 2 && pairs().all(side);
    all(|pair| matches!(pair, [0, other] if *other != 0))
        || all(|pair| matches!(pair, [other, 0] if *other != 0))
}

const SNIFFED_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<(Lines, ByteOrderMark), LinesError> {
        Lines::open(Cursor::new(bytes.to_vec()))
    }

    fn refusal(bytes: &[u8]) -> String {
        match open(bytes) {
            Err(LinesError::Refused(flaw)) => flaw.message,
            _ => panic!("not refused"),
        }
    }

    #[test]
    fn what_is_no_text_is_refused_with_its_name() {
        assert!(refusal(b"d\0e\0v\0").contains("looks like UTF-16"));
        assert!(refusal(b"\0d\0e\0v").contains("looks like UTF-16"));
        assert!(refusal(&[0; 5000]).contains("byte 1 of the file is NUL"));
        assert!(refusal(b"device_id\nab\0c\n").contains("byte 13 "));
        assert!(refusal(b"PK\x03\x04rest").contains("Excel workbook"));
    }

    #[test]
    fn lines_come_with_their_ends_and_a_mark_is_dropped() {
        let (mut lines, mark) = open(b"\xEF\xBB\xBFone\r\ntwo").unwrap();
        assert_eq!(mark, ByteOrderMark::Present);
        let mut row = Vec::new();
        assert_eq!(lines.append_next(&mut row).unwrap(), NextLine::Line);
        assert_eq!(lines.append_next(&mut row).unwrap(), NextLine::Line);
        assert_eq!(row, b"one\r\ntwo");
        assert_eq!(lines.number(), 2);
        assert_eq!(lines.append_next(&mut row).unwrap(), NextLine::End);
    }

    #[test]
    fn utf16_with_a_mark_is_read_as_lines() {
        let text = "one\r\nzw\u{F6}lf\n";
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> =
                "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect();
            let (mut lines, mark) = open(&bytes).unwrap();
            assert_eq!(mark, ByteOrderMark::Present);
            let mut row = Vec::new();
            while lines.append_next(&mut row).unwrap() != NextLine::End {}
            assert_eq!((row.as_slice(), lines.number()), (text.as_bytes(), 2));
        }
    }

    #[test]
    fn a_line_over_the_bound_is_skipped_whole() {
        let mut bytes = vec![b'x'; 3 * MAX_ROW_BYTES];
        bytes.extend_from_slice(b"\nnext\n");
        let (mut lines, _) = open(&bytes).unwrap();
        let mut row = Vec::new();
        assert_eq!(lines.append_next(&mut row).unwrap(), NextLine::TooLong);
        assert!(row.is_empty() && row.capacity() <= 2 * MAX_ROW_BYTES);
        assert_eq!(lines.append_next(&mut row).unwrap(), NextLine::Line);
        assert_eq!((row.as_slice(), lines.number()), (&b"next\n"[..], 2));
    }

    #[test]
    fn lines_given_back_are_read_again_with_their_numbers() {
        let (mut lines, _) = open(b"a\nb\nc").unwrap();
        let mut row = Vec::new();
        while lines.append_next(&mut row).unwrap() != NextLine::End {}
        lines.unread(b"b\nc");
        assert_eq!(lines.number(), 1);
        row.clear();
        lines.append_next(&mut row).unwrap();
        assert_eq!((row.as_slice(), lines.number()), (&b"b\n"[..], 2));
    }
}

//! [`Records`]: the records of a CSV file, with reports of everything that the `csv` crate
//! tolerates.
//!
//! The strict layer reads one record's text and checks its quotes and its encoding. It splits
//! records without quotes, which nearly all are, itself; `csv` splits well-formed text with quotes.

use std::io::{self, Read};

use cli_support::text::Encoding;
use csv::StringRecord;
use memchr::{memchr, memchr_iter, memchr2};

use crate::problem::Flaw;
use crate::text::dialect::LineEnd;
use crate::text::lines::{Lines, MAX_ROW_BYTES, NextLine};
use crate::text::quotes::{Place, QuoteState, Quotes, unclosed};

/// Reads a CSV file record by record.
pub(crate) struct Records {
    lines: Lines,
    delimiter: u8,
    text: Vec<u8>,
    splitter: csv::Reader<OneRecord>,
    is_unclosed: bool,
}

/// The result of [`Records::next`].
pub(crate) struct NextRecord {
    /// The line on which the record begins.
    pub(crate) line: u64,
    /// The reason why it can't be split.
    pub(crate) broken: Option<Flaw>,
    /// True if a quote is never closed, so that later lines may belong to its cell.
    pub(crate) is_unclosed: bool,
}

impl Records {
    pub(crate) fn new(lines: Lines, delimiter: u8) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(delimiter);
        let splitter = builder.from_reader(OneRecord::default());
        Self { lines, delimiter, text: Vec::new(), splitter, is_unclosed: false }
    }

    /// Reads the next record that is not blank into `record`, unless it is broken.
    pub(crate) fn next(&mut self, record: &mut StringRecord) -> io::Result<Option<NextRecord>> {
        loop {
            self.text.clear();
            let next = self.lines.append_next(&mut self.text)?;
            let line = self.lines.number();
            self.is_unclosed = false;
            let broken = match next {
                NextLine::End => return Ok(None),
                NextLine::TooLong => Some(too_long()),
                NextLine::Line if self.text.trim_ascii().is_empty() => continue,
                _ if is_plain(&self.text) => self.split_plain(line, record),
                _ => self.split_quoted(line, record)?,
            };
            return Ok(Some(NextRecord { line, broken, is_unclosed: self.is_unclosed }));
        }
    }

    /// Returns the record that was read last to the file, so that it is read again.
    pub(crate) fn unread(&mut self) {
        let text = std::mem::take(&mut self.text);
        self.lines.unread(&text);
    }

    /// The line end of the last record.
    pub(crate) fn line_end(&self) -> LineEnd {
        match self.text.ends_with(b"\r\n") {
            true => LineEnd::CrLf,
            false => LineEnd::Lf,
        }
    }

    /// Splits a record of one line, where each delimiter ends a cell; returns its fault.
    #[expect(clippy::expect_used, reason = "the places are those of delimiters in the text, in order")]
    fn split_plain(&self, line: u64, record: &mut StringRecord) -> Option<Flaw> {
        let text = match text_of(without_line_end(&self.text), line, self.lines.encoding()) {
            Ok(text) => text,
            Err(flaw) => return Some(flaw),
        };
        record.clear();
        let mut start = 0;
        for end in memchr_iter(self.delimiter, text.as_bytes()).chain([text.len()]) {
            record.push_field(
                text.get(start..end).expect("a delimiter is ASCII, and none comes before the last"),
            );
            start = end + 1;
        }
        None
    }

    /// Splits a record that may extend over several lines; returns its fault.
    fn split_quoted(&mut self, first_line: u64, record: &mut StringRecord) -> io::Result<Option<Flaw>> {
        let broken = self.complete(first_line)?;
        if broken.is_none() {
            self.splitter.get_mut().load(&self.text);
            self.splitter.read_record(record).map_err(io::Error::from)?;
        }
        Ok(broken)
    }

    /// Appends the lines that belong to the record; returns its fault.
    fn complete(&mut self, first_line: u64) -> io::Result<Option<Flaw>> {
        let mut quotes = Quotes::new(self.delimiter);
        let first_line_end = self.text.len();
        let mut opened = None;
        let wrong = loop {
            match quotes.scan(&self.text) {
                Ok(QuoteState::Closed) => {
                    return Ok(encoding_flaw(&self.text, first_line, self.lines.encoding()));
                }
                Ok(QuoteState::Open { since }) => {
                    opened.get_or_insert(since);
                    if self.lines.append_next(&mut self.text)? != NextLine::Line {
                        break None;
                    }
                }
                Err(fault) => break Some(fault),
            }
        };
        let place = |offset| Place::of(&self.text, offset, first_line);
        let flaw = match (opened, wrong) {
            (Some(since), None) => {
                self.is_unclosed = true;
                unclosed(place(since), None)
            }
            (Some(since), wrong) => unclosed(place(since), wrong.map(|fault| place(fault.offset()))),
            (None, Some(fault)) => fault.flaw(place(fault.offset())),
            (None, None) => return Ok(None),
        };
        // The quote was probably not meant to swallow the lines after the first: they may be good rows.
        let rest = self.text.split_off(first_line_end);
        self.lines.unread(&rest);
        Ok(Some(flaw))
    }
}

/// The fault of a line that does not fit.
pub(crate) fn too_long() -> Flaw {
    Flaw::new(
        format!("the line is longer than {} KiB", MAX_ROW_BYTES / 1024),
        "a row is far shorter: look for a missing line end, or for a file that is no batch",
    )
}

/// The fault of the text's encoding.
pub(crate) fn encoding_flaw(text: &[u8], first_line: u64, encoding: Encoding) -> Option<Flaw> {
    text_of(text, first_line, encoding).err()
}

/// The bytes as text, or the fault of their encoding.
fn text_of(bytes: &[u8], first_line: u64, encoding: Encoding) -> Result<&str, Flaw> {
    let text = str::from_utf8(bytes).map_err(|error| {
        let place = Place::of(bytes, error.valid_up_to(), first_line);
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        match encoding {
            Encoding::Utf8 => Flaw::new(
                format!("byte 0x{byte:02X} at {place} is not UTF-8"),
                "save the file as UTF-8; in Excel: `CSV UTF-8 (comma delimited)`, not `CSV`",
            ),
            Encoding::Utf16Le | Encoding::Utf16Be => Flaw::new(
                format!("half a character of UTF-16 stands at {place}"),
                "the file is damaged: write it again, best as UTF-8",
            ),
        }
    })?;
    match memchr(0, bytes) {
        None => Ok(text),
        Some(offset) => Err(Flaw::new(
            format!("there is a NUL byte at {}", Place::of(bytes, offset, first_line)),
            "write the file again: it is damaged",
        )),
    }
}

/// Returns true if the text consists of plain cells and a line end only.
fn is_plain(text: &[u8]) -> bool {
    memchr2(b'"', b'\r', without_line_end(text)).is_none()
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Passes one record at a time to the splitter, which must not read beyond it.
#[derive(Default)]
struct OneRecord {
    text: Vec<u8>,
    taken: usize,
}

impl OneRecord {
    fn load(&mut self, text: &[u8]) {
        self.text.clear();
        self.text.extend_from_slice(without_line_end(text));
        self.text.push(b'\n');
        self.taken = 0;
    }
}

impl Read for OneRecord {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = self.text.get(self.taken..).unwrap_or_default();
        let count = rest.read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    /// The records, or their faults, with their lines.
    fn read(text: &[u8]) -> Vec<(u64, Result<Vec<String>, String>)> {
        let Ok((lines, _)) = Lines::open(Cursor::new(text.to_vec())) else {
            return Vec::new();
        };
        let mut records = Records::new(lines, b',');
        let mut record = StringRecord::new();
        let mut all = Vec::new();
        while let Some(found) = records.next(&mut record).unwrap() {
            let cells = || record.iter().map(str::to_owned).collect();
            all.push((found.line, found.broken.map_or_else(|| Ok(cells()), |flaw| Err(flaw.message))));
        }
        all
    }

    /// The records as the `csv` crate alone reads them, without those that are blank.
    fn read_by_csv(text: &[u8]) -> Vec<Vec<String>> {
        let mut builder = csv::ReaderBuilder::new();
        let reader = builder.has_headers(false).flexible(true).from_reader(text);
        let records =
            reader.into_records().map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>());
        records.filter(|cells| !is_blank(cells)).collect()
    }

    fn is_blank(cells: &[String]) -> bool {
        matches!(cells, [only] if only.trim().is_empty())
    }

    #[test]
    fn records_may_span_lines_and_know_their_first() {
        let found = read(b"a,b\r\n\r\n\"x\r\ny\",2\nlast");
        let cells = |texts: &[&str]| Ok(texts.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(found, [(1, cells(&["a", "b"])), (3, cells(&["x\r\ny", "2"])), (5, cells(&["last"]))]);
    }

    #[test]
    fn an_unclosed_quote_costs_one_line_only() {
        let found = read(b"a,1\nb,\"2\nc,3\nd,4");
        assert_eq!(found.len(), 4);
        assert!(found[1].1.as_ref().unwrap_err().contains("line 2, character 3"), "{found:?}");
        assert_eq!(found[2], (3, Ok(vec!["c".into(), "3".into()])));
        assert_eq!(found[3].0, 4);
    }

    #[test]
    fn a_quote_that_meets_another_cells_quote_costs_one_line_only() {
        let found = read(b"a,\"1\nb,2\n\"c\",3\n");
        let lines: Vec<_> = found.iter().map(|(line, cells)| (*line, cells.is_ok())).collect();
        assert_eq!(lines, [(1, false), (2, true), (3, true)]);
        let message = found[0].1.as_ref().unwrap_err();
        assert!(
            message.contains("line 1, character 3") && message.contains("line 3, character 2"),
            "{message}"
        );
    }

    #[test]
    fn an_unclosed_quote_before_a_huge_line_does_not_upset_the_count() {
        let huge = "y".repeat(2 * MAX_ROW_BYTES);
        let found = read(format!("a\n\"b\nc\n{huge}\nd\n").as_bytes());
        let lines: Vec<_> = found.iter().map(|(line, cells)| (*line, cells.is_ok())).collect();
        assert_eq!(lines, [(1, true), (2, false), (3, true), (4, false), (5, true)]);
        assert!(found[3].1.as_ref().unwrap_err().contains("longer than 1024 KiB"));
    }

    #[test]
    fn bytes_that_are_no_text_are_found_with_their_place() {
        let mut text = b"a,b\n".repeat(2000);
        text.extend_from_slice(b"x,\xF6\ny,\0\nz,1\n");
        let found = read(&text);
        assert!(
            found[2000].1.as_ref().unwrap_err().contains("0xF6 at line 2001, character 3"),
            "{:?}",
            found[2000]
        );
        assert!(
            found[2001].1.as_ref().unwrap_err().contains("NUL byte at line 2002, character 3"),
            "{:?}",
            found[2001]
        );
        assert!(found[2002].1.is_ok());
    }

    proptest! {
        #[test]
        fn what_the_strict_layer_lets_pass_csv_reads_alike(text in "[ab\",\r\n ]{0,60}") {
            let found = read(text.as_bytes());
            if found.iter().all(|(_, cells)| cells.is_ok()) {
                let own: Vec<_> = found
                    .into_iter()
                    .map(|(_, cells)| cells.unwrap())
                    .filter(|cells| !is_blank(cells))
                    .collect();
                prop_assert_eq!(own, read_by_csv(text.as_bytes()));
            }
        }

        #[test]
        fn what_csv_writes_the_strict_layer_lets_pass(
            rows in proptest::collection::vec(proptest::collection::vec("[ab\",;\r\n üx]{0,6}", 1..5), 1..8)
        ) {
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let own: Vec<_> = read(&text).into_iter().map(|(_, cells)| cells.unwrap()).collect();
            let rows: Vec<_> = rows.into_iter().filter(|row| !matches!(row.as_slice(), [only] if only.trim().is_empty() && !only.is_empty() && !only.contains(['\r', '\n']))).collect();
            prop_assert_eq!(own, rows);
        }

        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            read(&bytes);
        }
    }
}

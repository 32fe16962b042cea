//! [`Records`]: the records of a CSV file, with everything that the `csv` crate lets pass reported.
//!
//! The strict layer reads one record's text, judges its quotes and its encoding, and hands only
//! well-formed text on; `csv` splits it.

use std::io::{self, Read};

use csv::StringRecord;

use crate::dialect::LineEnd;
use crate::lines::{Lines, MAX_ROW_BYTES, NextLine};
use crate::problem::Flaw;
use crate::quotes::{Fault, Place, QuoteState, Quotes};

/// Reads a CSV file record by record.
pub(crate) struct Records {
    lines: Lines,
    delimiter: u8,
    text: Vec<u8>,
    splitter: csv::Reader<OneRecord>,
}

/// What [`Records::next`] found.
pub(crate) struct Found {
    /// The line on which the record begins.
    pub(crate) line: u64,
    /// Why it can't be split.
    pub(crate) broken: Option<Flaw>,
}

impl Records {
    pub(crate) fn new(lines: Lines, delimiter: u8) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(delimiter);
        Self { lines, delimiter, text: Vec::new(), splitter: builder.from_reader(OneRecord::default()) }
    }

    /// Reads the next record that is not blank into `record`, unless it is broken.
    pub(crate) fn next(&mut self, record: &mut StringRecord) -> io::Result<Option<Found>> {
        loop {
            self.text.clear();
            let next = self.lines.append_next(&mut self.text)?;
            let line = self.lines.number();
            let broken = match next {
                NextLine::End => return Ok(None),
                NextLine::TooLong => Some(too_long()),
                NextLine::Line if self.text.trim_ascii().is_empty() => continue,
                _ => self.complete(line)?,
            };
            if broken.is_none() {
                self.splitter.get_mut().load(&self.text);
                self.splitter.read_record(record).map_err(io::Error::from)?;
            }
            return Ok(Some(Found { line, broken }));
        }
    }

    /// How the record that was read last ends.
    pub(crate) fn line_end(&self) -> LineEnd {
        match self.text.ends_with(b"\r\n") {
            true => LineEnd::CrLf,
            false => LineEnd::Lf,
        }
    }

    /// Appends the lines that belong to the record; tells what is wrong with it.
    fn complete(&mut self, first_line: u64) -> io::Result<Option<Flaw>> {
        if !needs_care(&self.text) {
            return Ok(encoding_flaw(&self.text, first_line));
        }
        let mut quotes = Quotes::new(self.delimiter);
        let first_line_end = self.text.len();
        loop {
            match quotes.scan(&self.text) {
                Err(fault) => {
                    return Ok(Some(fault.flaw(Place::of(&self.text, fault.offset(), first_line))));
                }
                Ok(QuoteState::Closed) => return Ok(encoding_flaw(&self.text, first_line)),
                Ok(QuoteState::Open { since }) => {
                    if self.lines.append_next(&mut self.text)? != NextLine::Line {
                        let place = Place::of(&self.text, since, first_line);
                        // The lines after the first may well be good rows.
                        let rest = self.text.split_off(first_line_end);
                        self.lines.give_back(&rest);
                        return Ok(Some(Fault::Unclosed(since).flaw(place)));
                    }
                }
            }
        }
    }
}

/// What is wrong with a line that does not fit.
pub(crate) fn too_long() -> Flaw {
    Flaw::new(
        format!("the line is longer than {} KiB", MAX_ROW_BYTES / 1024),
        "a row is far shorter: look for a missing line end, or for a file that is no batch",
    )
}

/// What is wrong with the text's encoding.
pub(crate) fn encoding_flaw(text: &[u8], first_line: u64) -> Option<Flaw> {
    if let Err(error) = str::from_utf8(text) {
        let place = Place::of(text, error.valid_up_to(), first_line);
        let byte = text.get(error.valid_up_to()).copied().unwrap_or_default();
        return Some(Flaw::new(
            format!("byte 0x{byte:02X} at {place} is not UTF-8"),
            "save the file as UTF-8; in Excel: `CSV UTF-8 (comma delimited)`, not `CSV`",
        ));
    }
    let offset = text.iter().position(|&byte| byte == 0)?;
    Some(Flaw::new(
        format!("there is a NUL byte at {}", Place::of(text, offset, first_line)),
        "write the file again: it is damaged",
    ))
}

/// Whether the text may be more than plain cells and a line's end.
fn needs_care(text: &[u8]) -> bool {
    let body = without_line_end(text);
    body.contains(&b'"') || body.contains(&b'\r')
}

fn without_line_end(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

/// Hands one record at a time to the splitter, which must not read beyond it.
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

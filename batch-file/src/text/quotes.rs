//! [`Quotes`]: the check that the quotes of a CSV record are where RFC 4180 allows them.

use std::fmt;

use crate::problem::Flaw;

/// Scans the quotes of one record, which may extend over several lines.
pub(crate) struct Quotes {
    delimiter: u8,
    state: State,
    scanned: usize,
    opened_at: usize,
}

/// The state of the record after the text so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuoteState {
    /// The record is complete.
    Closed,
    /// A quoted cell continues on the next line.
    Open { since: usize },
}

/// A character in a forbidden place, by its offset in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuoteError {
    AfterClosing(usize),
    InsideCell(usize),
    LoneReturn(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    AfterQuote,
    CellStart,
    Plain,
    Quoted,
}

impl Quotes {
    pub(crate) fn new(delimiter: u8) -> Self {
        Self { delimiter, state: State::CellStart, scanned: 0, opened_at: 0 }
    }

    /// Scans to the end of the text, which has grown by a line since the last call.
    pub(crate) fn scan(&mut self, text: &[u8]) -> Result<QuoteState, QuoteError> {
        for (at, &byte) in text.iter().enumerate().skip(self.scanned) {
            let is_lone_return = || byte == b'\r' && !matches!(text.get(at + 1), None | Some(b'\n'));
            self.state = match (self.state, byte) {
                (State::CellStart, b'"') => {
                    self.opened_at = at;
                    State::Quoted
                }
                (State::Quoted, b'"') => State::AfterQuote,
                (State::Quoted, _) | (State::AfterQuote, b'"') => State::Quoted,
                (State::Plain, b'"') => return Err(QuoteError::InsideCell(at)),
                _ if byte == self.delimiter => State::CellStart,
                _ if is_lone_return() => return Err(QuoteError::LoneReturn(at)),
                (state, b'\r' | b'\n') => state,
                (State::AfterQuote, _) => return Err(QuoteError::AfterClosing(at)),
                (State::CellStart | State::Plain, _) => State::Plain,
            };
        }
        self.scanned = text.len();
        Ok(match self.state {
            State::Quoted => QuoteState::Open { since: self.opened_at },
            _ => QuoteState::Closed,
        })
    }
}

impl QuoteError {
    pub(crate) fn offset(self) -> usize {
        match self {
            Self::AfterClosing(at) | Self::InsideCell(at) | Self::LoneReturn(at) => at,
        }
    }

    pub(crate) fn flaw(self, place: Place) -> Flaw {
        let doubled = "put the whole cell in quotes and write a quote inside it twice: `\"5\"\" valve\"`";
        match self {
            Self::AfterClosing(_) => {
                Flaw::new(format!("there is text after a cell's closing quote, at {place}"), doubled)
            }
            Self::InsideCell(_) => {
                Flaw::new(format!("there is a quote inside a cell without quotes, at {place}"), doubled)
            }
            Self::LoneReturn(_) => Flaw::new(
                format!("there is a carriage return without a line feed, at {place}"),
                "end lines with LF or CRLF; put a cell of several lines in quotes",
            ),
        }
    }
}

/// The message for an opening quote that is not closed, or not in the intended place.
pub(crate) fn unclosed(opened: Place, closed_wrongly: Option<Place>) -> Flaw {
    let at_best = closed_wrongly.map(|place| format!(", or only at {place}, before other text"));
    Flaw::new(
        format!("the quote that opens a cell at {opened} is never closed{}", at_best.unwrap_or_default()),
        "close it, or write it twice where it is part of the text",
    )
}

/// A place in the file, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    line: u64,
    character: usize,
}

impl Place {
    /// The place of a byte in a text that begins on `first_line`.
    pub(crate) fn of(text: &[u8], offset: usize, first_line: u64) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let last_line = before.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        Self {
            line: first_line + before.iter().filter(|&&byte| byte == b'\n').count() as u64,
            character: String::from_utf8_lossy(last_line).chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, character {}", self.line, self.character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<QuoteState, QuoteError> {
        Quotes::new(b',').scan(text.as_bytes())
    }

    #[test]
    fn well_formed_records_are_closed_or_open() {
        for text in
            ["", "a,b", "\"a\",\"b\"\r\n", "\"a\"\"b\",c\n", "\"\",x", "\"\"\"\"", "a,\"b\r\nc\"\r\n", "a\r"]
        {
            assert_eq!(scan(text), Ok(QuoteState::Closed), "{text:?}");
        }
        assert_eq!(scan("a,\"b\nc"), Ok(QuoteState::Open { since: 2 }));
        assert_eq!(scan("\"a\"\""), Ok(QuoteState::Open { since: 0 }));
    }

    #[test]
    fn stray_quotes_and_returns_are_faults() {
        assert_eq!(scan("a\"b"), Err(QuoteError::InsideCell(1)));
        assert_eq!(scan("\"a\"b"), Err(QuoteError::AfterClosing(3)));
        assert_eq!(scan("\"a\" ,b"), Err(QuoteError::AfterClosing(3)));
        assert_eq!(scan("a\rb"), Err(QuoteError::LoneReturn(1)));
    }

    #[test]
    fn places_count_lines_and_characters() {
        let text = "äö,\nü\"x".as_bytes();
        let place = Place::of(text, 8, 10);
        assert_eq!(place.to_string(), "line 11, character 2");
    }
}

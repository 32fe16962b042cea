//! Data on the standard output. A file or a pipe gets it to the byte; on a terminal, characters that a terminal
//! would obey are shown as their numbers in Unicode.
//!
//! Data for programs, such as CSV, has no escape for such characters, so only the place that it goes to can
//! decide.

use std::io::{self, IsTerminal, Stdout, Write};

use hub_types::shown::ShownLines;

/// The standard output, for data that may hold foreign text.
pub fn stdout() -> TerminalSafe<Stdout> {
    let out = io::stdout();
    let is_terminal = out.is_terminal();
    TerminalSafe { out, is_terminal, rest: Vec::new() }
}

/// A stream whose text a terminal can't obey.
#[derive(Debug)]
pub struct TerminalSafe<W> {
    out: W,
    is_terminal: bool,
    /// The beginning of a character whose other bytes are still to come.
    rest: Vec<u8>,
}

impl<W: Write> Write for TerminalSafe<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.is_terminal {
            return self.out.write(bytes);
        }
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => self.rest.len(),
        };
        let begun = self.rest.split_off(whole);
        let text = std::mem::replace(&mut self.rest, begun);
        write!(self.out, "{}", ShownLines(&String::from_utf8_lossy(&text)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &[u8] = "a\u{1b}[2J,\u{9b}31m\u{202e}\u{61c},ü\n".as_bytes();

    fn written(is_terminal: bool, sizes: usize) -> Vec<u8> {
        let mut out = TerminalSafe { out: Vec::new(), is_terminal, rest: Vec::new() };
        HOSTILE.chunks(sizes).for_each(|part| out.write_all(part).unwrap());
        out.out
    }

    #[test]
    fn a_terminal_is_shown_what_it_would_obey_and_a_file_gets_every_byte() {
        for sizes in 1..HOSTILE.len() {
            assert_eq!(written(false, sizes), HOSTILE);
            let shown = "a<U+001B>[2J,<U+009B>31m<U+202E><U+061C>,ü\n";
            assert_eq!(String::from_utf8(written(true, sizes)).unwrap(), shown, "{sizes}");
        }
    }
}

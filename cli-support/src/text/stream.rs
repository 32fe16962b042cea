//! [`Utf8Stream`]: a text of any length as UTF-8, in bounded memory.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::Range;

use encoding_rs::{Decoder, DecoderResult};

use super::Encoding;

/// The byte that stands for half a character of UTF-16. UTF-8 never has it.
pub const DAMAGED: u8 = 0xFF;

/// A text as UTF-8, without its byte order mark. Bytes of UTF-8 pass as they are, legal or not; where UTF-16 is damaged,
/// [`DAMAGED`] stands in the place of each half character.
pub struct Utf8Stream {
    encoding: Encoding,
    has_mark: bool,
    text: Box<dyn BufRead + Send>,
}

impl Utf8Stream {
    /// Begins a text that starts with bytes that were read from `rest` already. They have the byte order mark, if the
    /// text has one.
    pub fn new(start: Vec<u8>, rest: impl Read + Send + 'static) -> Self {
        let (encoding, mark) = Encoding::of(&start);
        let mut start = Cursor::new(start);
        start.set_position(mark as u64);
        let bytes = start.chain(rest);
        let text: Box<dyn BufRead + Send> = match encoding.decoder() {
            None => Box::new(BufReader::with_capacity(BUFFER_BYTES, bytes)),
            Some(decoder) => Box::new(Utf16Stream::new(bytes, decoder)),
        };
        Self { encoding, has_mark: mark > 0, text }
    }

    /// Returns how the text is written down.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns whether it begins with a byte order mark.
    pub fn has_mark(&self) -> bool {
        self.has_mark
    }
}

impl fmt::Debug for Utf8Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Utf8Stream").field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

impl Read for Utf8Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.text.read(buffer)
    }
}

impl BufRead for Utf8Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.text.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.text.consume(count);
    }
}

/// UTF-16, decoded a block at a time.
struct Utf16Stream<R> {
    input: R,
    decoder: Decoder,
    /// A block of the input, and the part of it that is still to be decoded.
    block: Vec<u8>,
    encoded: Range<usize>,
    /// Decoded text, and the part of it that is still to be given away.
    text: Vec<u8>,
    decoded: Range<usize>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The input is at its end, the decoder is not.
    LastBlock,
    Done,
}

impl<R: Read> Utf16Stream<R> {
    fn new(input: R, decoder: Decoder) -> Self {
        Self {
            input,
            decoder,
            block: vec![0; BUFFER_BYTES],
            encoded: 0..0,
            text: vec![0; BUFFER_BYTES],
            decoded: 0..0,
            state: State::Reading,
        }
    }

    fn decode_more(&mut self) -> io::Result<()> {
        if self.encoded.is_empty() && self.state == State::Reading {
            let count = self.input.read(&mut self.block)?;
            self.encoded = 0..count;
            if count == 0 {
                self.state = State::LastBlock;
            }
        }
        let encoded = self.block.get(self.encoded.clone()).unwrap_or_default();
        // One byte is left for the mark of damage.
        let Some((last, text)) = self.text.split_last_mut() else { return Ok(()) };
        let is_last = self.state == State::LastBlock;
        let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(encoded, text, is_last);
        self.encoded.start += read;
        self.decoded = 0..written;
        match result {
            DecoderResult::InputEmpty if is_last => self.state = State::Done,
            DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
            DecoderResult::Malformed(..) => {
                *text.get_mut(written).unwrap_or(last) = DAMAGED;
                self.decoded.end += 1;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Utf16Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for Utf16Stream<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.decoded.is_empty() && self.state != State::Done {
            self.decode_more()?;
        }
        Ok(self.text.get(self.decoded.clone()).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.decoded.start = (self.decoded.start + count).min(self.decoded.end);
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A reader that gives few bytes at a time.
    struct Slow(Cursor<Vec<u8>>, usize);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.1);
            self.0.read(buffer.get_mut(..count).unwrap_or_default())
        }
    }

    fn read(bytes: &[u8], at_once: usize) -> Vec<u8> {
        let (start, rest) = bytes.split_at(bytes.len().min(3));
        let mut text = Vec::new();
        let mut stream = Utf8Stream::new(start.to_vec(), Slow(Cursor::new(rest.to_vec()), at_once));
        stream.read_to_end(&mut text).unwrap();
        text
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    proptest! {
        #[test]
        fn a_text_is_the_same_in_every_encoding_and_in_pieces_of_any_size(
            text in "[a-z;\r\nä€🔑]{0,200}", repeat in 1..400_usize, at_once in 1..70_000_usize
        ) {
            let text = text.repeat(repeat);
            for bytes in [
                ["\u{FEFF}", &text].concat().into_bytes(),
                utf16(&text, u16::to_le_bytes),
                utf16(&text, u16::to_be_bytes),
            ] {
                prop_assert_eq!(read(&bytes, at_once), text.as_bytes());
            }
        }

        #[test]
        fn damage_stays_where_it_is(before in "[a-zä🔑]{0,9}", after in "[a-zä]{0,9}", at_once in 1..9_usize) {
            let mut bytes = utf16(&before, u16::to_le_bytes);
            bytes.extend_from_slice(&[0, 0xD8]);
            bytes.extend(after.encode_utf16().flat_map(u16::to_le_bytes));
            bytes.push(7);
            let expected = [before.as_bytes(), &[DAMAGED], after.as_bytes(), &[DAMAGED]].concat();
            // Two halves one after the other at the end are one damaged place, or two.
            let found = read(&bytes, at_once);
            prop_assert!(found == expected || after.is_empty() && found == expected[..expected.len() - 1]);
        }
    }
}

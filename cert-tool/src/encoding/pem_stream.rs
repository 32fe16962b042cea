//! [`PemStream`]: the PEM blocks of an input of any length, one at a time, in bounded memory.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use zeroize::Zeroizing;

use crate::encoding::pem::{self, Block, PemError};

/// The beginning of an input.
pub(crate) enum Start<R> {
    /// PEM, and there may be more of it than fits into memory.
    Pem(PemStream<R>),
    /// All of an input without PEM.
    Other(Zeroizing<Vec<u8>>),
    /// More than [`MAX_BYTES`] without PEM.
    TooLarge,
}

/// The blocks of an input.
pub(crate) struct PemStream<R> {
    input: BufReader<io::Chain<Cursor<Zeroizing<Vec<u8>>>, R>>,
    /// The bytes that were read and do not belong to the block before them.
    pending: Zeroizing<Vec<u8>>,
    /// The place in the input at which `pending` begins.
    offset: u64,
    /// The place in `pending` up to which everything was given out.
    place: usize,
    /// The place in `pending` before which no block ends.
    searched: usize,
    /// The place behind the marker of an end whose line is not whole yet.
    label_of_end: Option<usize>,
}

/// A block, and at which byte of the input it begins.
pub(crate) struct FoundBlock {
    pub(crate) offset: u64,
    pub(crate) block: Result<Block, PemError>,
}

/// Reads as much as is needed to tell PEM from the rest.
pub(crate) fn start<R: Read>(mut input: R) -> io::Result<Start<R>> {
    let mut head = Zeroizing::new(Vec::new());
    loop {
        let before = head.len();
        input.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        let searched = before.saturating_sub(pem::BEGIN.len());
        if pem::find(head.get(searched..).unwrap_or_default(), pem::BEGIN).is_some() {
            return Ok(Start::Pem(PemStream::new(head, input)));
        }
        if head.len() == before {
            return Ok(match pem::of_utf16(&head) {
                Some(text) => Start::Pem(PemStream::new(Zeroizing::new(text.as_bytes().to_vec()), input)),
                None => Start::Other(head),
            });
        }
        if head.len() > MAX_BYTES {
            return Ok(Start::TooLarge);
        }
    }
}

impl<R: Read> PemStream<R> {
    fn new(head: Zeroizing<Vec<u8>>, rest: R) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(rest)),
            pending: Zeroizing::default(),
            offset: 0,
            place: 0,
            searched: 0,
            label_of_end: None,
        }
    }

    /// The next block; `None` at the end. What stands between blocks does not count.
    ///
    /// Each byte is searched a bounded number of times, whatever the input: what is known of the bytes behind the
    /// place is kept from one block to the next.
    pub(crate) fn next_block(&mut self) -> io::Result<Option<FoundBlock>> {
        while !self.skip_to_begin() {
            if !self.read_line()? {
                return Ok(None);
            }
        }
        let offset = self.offset + self.place as u64;
        let end = loop {
            if let Some(end) = self.end_of_block() {
                break end;
            }
            if self.pending.len() - self.place > MAX_BYTES || !self.read_line()? {
                self.consume_to(self.place + pem::BEGIN.len());
                return Ok(Some(FoundBlock { offset, block: Err(PemError::Truncated) }));
            }
        };
        let block = pem::first_block(self.pending.get(self.place..end).unwrap_or_default());
        self.consume_to(end);
        Ok(Some(FoundBlock { offset, block }))
    }

    /// Drops what stands before the next block; says whether there is one.
    fn skip_to_begin(&mut self) -> bool {
        let found = pem::find_from(&self.pending, pem::BEGIN, self.place);
        // The marker may have begun at the end of what was read.
        let keep = found.unwrap_or_else(|| self.pending.len().saturating_sub(pem::BEGIN.len()));
        self.consume_to(keep.max(self.place));
        found.is_some()
    }

    /// Returns the end of the block that begins at the place. A block in which another one begins has no end.
    fn end_of_block(&mut self) -> Option<usize> {
        let label = match self.label_of_end {
            Some(label) => label,
            None => {
                let found = pem::find_from(&self.pending, END, self.searched.max(self.place));
                let Some(start) = found else {
                    // The marker may have begun at the end of what was read.
                    self.searched = self.pending.len().saturating_sub(END.len() - 1).max(self.searched);
                    return None;
                };
                self.searched = start + END.len();
                *self.label_of_end.insert(start + END.len())
            }
        };
        match pem::find_from(&self.pending, DASHES, self.searched.max(label)) {
            Some(dashes) => Some(dashes + DASHES.len()),
            None => {
                self.searched = self.pending.len().saturating_sub(DASHES.len() - 1).max(self.searched);
                None
            }
        }
    }

    /// Moves the place. Bytes before the place are dropped when they are the greater part, so that each byte is
    /// moved a bounded number of times.
    fn consume_to(&mut self, place: usize) {
        self.place = place.min(self.pending.len());
        if self.label_of_end.is_some_and(|label| label <= self.place) {
            self.label_of_end = None;
        }
        if self.place * 2 < self.pending.len() {
            return;
        }
        self.offset += self.place as u64;
        self.searched = self.searched.saturating_sub(self.place);
        self.label_of_end = self.label_of_end.map(|label| label - self.place);
        self.pending.drain(..std::mem::take(&mut self.place));
    }

    fn read_line(&mut self) -> io::Result<bool> {
        let line = self.input.by_ref().take(HEAD_BYTES).read_until(b'\n', &mut self.pending)?;
        Ok(line > 0)
    }
}

const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const HEAD_BYTES: u64 = 64 * 1024;
const BUFFER_BYTES: usize = 64 * 1024;
/// More than a certificate, request or key ever has, and room for a list of 400,000 revoked ones.
pub(crate) const MAX_BYTES: usize = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An input that hands out a few bytes at a time, as a pipe may.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(out.len()).min(self.0.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn all(text: &[u8], step: usize) -> Vec<(u64, Result<Vec<u8>, PemError>)> {
        let Start::Pem(mut stream) = start(Drip(text, step)).unwrap() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        while let Some(next) = stream.next_block().unwrap() {
            found.push((next.offset, next.block.map(|block| block.der.to_vec())));
        }
        found
    }

    #[test]
    fn a_damaged_block_does_not_hide_the_next() {
        let bad = b"-----BEGIN X-----\n*\n-----END X-----\n".to_vec();
        let good = pem::encode("Y", &[1, 2, 3]);
        let text = [b"\xef\xbb\xbfnote\n", bad.as_slice(), b"between\n", &good].concat();
        let first = 8;
        assert_eq!(
            all(&text, 7),
            [(first, Err(PemError::BadBase64)), (first + bad.len() as u64 + 8, Ok(vec![1, 2, 3])),]
        );
    }

    #[test]
    fn the_end_that_is_missing_is_told() {
        let whole = pem::encode("Y", &[7; 100]);
        assert_eq!(all(&whole[..whole.len() - 20], 9), [(0, Err(PemError::Truncated))]);
    }

    #[test]
    fn zeros_are_read_no_further_than_the_limit() {
        assert!(matches!(start(io::repeat(0)).unwrap(), Start::TooLarge));
    }

    #[test]
    fn the_effort_grows_with_the_input_and_no_faster() {
        for text in [
            "-----BEGIN ",
            "-----BEGIN X-----\n",
            "-----BEGIN X-----\n-----END Y-----\n",
            "-----BEGIN X-----\nAAAA\n-----END X-----\n",
            "-----END X-----\n",
            "-----END X\n",
            "-----BEGIN X-----\n-----END \n",
            "A\n",
            "-",
            "-----\n",
        ] {
            let begin = if text.contains("BEGIN") { "" } else { "-----BEGIN X-----\n" };
            let input = format!("{begin}{}", text.repeat(100_000 / text.len()));
            let before = pem::searched_bytes();
            all(input.as_bytes(), 4096);
            let searched = pem::searched_bytes() - before;
            assert!(searched < 10 * input.len() as u64, "{text:?}: {searched} of {}", input.len());
        }
    }

    proptest! {
        #[test]
        fn offsets_lead_back_to_the_blocks(
            ders in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 1..6),
            gap in "[a-z \r\n-]{0,30}",
            step in 1_usize..40,
        ) {
            let mut text = Vec::new();
            for der in &ders {
                text.extend_from_slice(gap.as_bytes());
                text.push(b'\n');
                text.extend_from_slice(&pem::encode("CERTIFICATE", der));
            }
            let found = all(&text, step);
            prop_assert_eq!(found.len(), ders.len());
            for ((offset, block), der) in found.into_iter().zip(ders) {
                prop_assert_eq!(block, Ok(der.clone()));
                let there = pem::first_block(&text[usize::try_from(offset).unwrap()..]).ok().unwrap();
                prop_assert_eq!(there.der.as_slice(), der.as_slice());
            }
        }

        #[test]
        fn no_text_is_a_panic(text in "(-----BEGIN |-----END |X|-----|\n|QUFB|\\PC){0,40}", step in 1_usize..50) {
            all(text.as_bytes(), step);
        }
    }
}

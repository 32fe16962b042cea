//! PEM (RFC 7468): blocks of base64 between `BEGIN` and `END` lines.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
use base64::engine::general_purpose::{GeneralPurpose, STANDARD};
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
use base64::engine::{general_purpose::PAD, simd::Simd};
use cli_support::text::{self, Encoding};
use memchr::memmem::Finder;
use zeroize::Zeroizing;

/// One block.
pub(crate) struct Block {
    /// The kind of its content, as in `CERTIFICATE`.
    pub(crate) label: String,
    /// The bytes. They may be a private key.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

impl Block {
    /// The bytes of what is no secret: there is nothing to be wiped.
    pub(crate) fn into_public(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.der)
    }
}

/// The reason why a text is not a PEM block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PemError {
    /// No `BEGIN` line.
    Absent,
    /// Neither base64 nor a header between the lines.
    BadBase64,
    /// A block that is encrypted as its header says (RFC 1421), not in itself.
    Encrypted,
    /// A `BEGIN` line, but no `END` line that fits.
    Truncated,
}

/// Reads the first block of a text; what stands before and after it does not count.
pub(crate) fn first_block(text: &[u8]) -> Result<Block, PemError> {
    take_block(text).map(|(block, _)| block)
}

/// Reads the first block that has one of the labels. Others are passed over, whatever they hold (RFC 7468 §2).
pub(crate) fn first_of(text: &[u8], labels: &[&str]) -> Result<Block, PemError> {
    Blocks::new(text).next_of(labels)
}

/// Reads every block that has one of the labels, and passes over the others. There is one at least.
pub(crate) fn all_of(text: &[u8], labels: &[&str]) -> Result<Vec<Block>, PemError> {
    let mut found = Vec::new();
    let mut blocks = Blocks::new(text);
    loop {
        match blocks.next_of(labels) {
            Ok(block) => found.push(block),
            Err(PemError::Absent) if !found.is_empty() => return Ok(found),
            Err(error) => return Err(error),
        }
    }
}

/// The labels of the blocks of a text, in their order.
pub(crate) fn labels(text: &[u8]) -> impl Iterator<Item = &str> {
    BEGIN_FINDER.find_iter(text).filter_map(|at| label_at(text, at)).map(|(label, _)| label)
}

/// The blocks of a text, one after the other.
struct Blocks<'a> {
    text: &'a [u8],
    /// The place up to which the text was read.
    at: usize,
    /// The places of the ends for each label, in their order; made when the first block is passed over.
    ends: Option<HashMap<&'a [u8], Vec<usize>>>,
}

impl<'a> Blocks<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, ends: None }
    }

    fn next_of(&mut self, labels: &[&str]) -> Result<Block, PemError> {
        loop {
            let start = find_from(self.text, BEGIN, self.at).ok_or(PemError::Absent)?;
            match label_at(self.text, start) {
                // One without an end is of a wanted kind perhaps.
                None => return Err(PemError::Truncated),
                Some((label, _)) if labels.contains(&label) => {
                    let (block, after) = take_block(self.text.get(start..).unwrap_or_default())?;
                    self.at = self.text.len() - after.len();
                    return Ok(block);
                }
                Some((label, body)) => {
                    let body = self.text.len() - body.len();
                    self.at = self.end_after(label, body).unwrap_or(body);
                }
            }
        }
    }

    /// The first end of a label behind a place.
    fn end_after(&mut self, label: &str, place: usize) -> Option<usize> {
        let text = self.text;
        let ends = self.ends.get_or_insert_with(|| ends_of(text)).get(label.as_bytes())?;
        ends.get(ends.partition_point(|end| *end < place)).copied()
    }
}

/// The places of all ends, by their labels.
fn ends_of(text: &[u8]) -> HashMap<&[u8], Vec<usize>> {
    let mut ends: HashMap<&[u8], Vec<usize>> = HashMap::new();
    let mut place = 0;
    while let Some(start) = find_from(text, END, place) {
        place = start + END.len();
        // The line of an end reaches to the next dashes, before any other marker.
        let Some(dashes) = find_from(text, b"-----", place) else { break };
        ends.entry(text.get(place..dashes).unwrap_or_default()).or_default().push(start);
    }
    ends
}

/// The label of the block that begins at a place, and what stands behind its first line.
fn label_at(text: &[u8], at: usize) -> Option<(&str, &[u8])> {
    let rest = text.get(at + BEGIN.len()..)?;
    let end = find_from(rest, b"-----", 0)?;
    let label = std::str::from_utf8(rest.get(..end)?).ok()?;
    Some((label, rest.get(end + DASHES..)?))
}

/// The DER in a text that is nothing but its base64, as PEM is without its first and last line.
pub(crate) fn bare_base64(text: &[u8]) -> Option<Vec<u8>> {
    // As every SEQUENCE of more than 127 bytes begins.
    let begins = text.trim_ascii_start().starts_with(b"MI");
    begins.then(|| decode(text)).flatten().map(|der| der.to_vec())
}

fn take_block(text: &[u8]) -> Result<(Block, &[u8]), PemError> {
    let start = find(text, BEGIN).ok_or(PemError::Absent)?;
    let rest = text.get(start + BEGIN.len()..).unwrap_or_default();
    let label_end = find(rest, b"-----").ok_or(PemError::Truncated)?;
    let label = rest.get(..label_end).unwrap_or_default();
    let label = std::str::from_utf8(label).map_err(|_| PemError::Absent)?;
    let body = rest.get(label_end + DASHES..).unwrap_or_default();
    let (body, after) = split_at_end(body, label).ok_or(PemError::Truncated)?;
    // Base64 has no colons, headers have.
    if memchr::memchr(b':', body).is_some() && find(body, b"ENCRYPTED").is_some() {
        return Err(PemError::Encrypted);
    }
    let der = decode(body).ok_or(PemError::BadBase64)?;
    Ok((Block { label: label.to_owned(), der }, after))
}

/// Splits a text before the `END` line of a label.
fn split_at_end<'a>(body: &'a [u8], label: &str) -> Option<(&'a [u8], &'a [u8])> {
    let mut from = 0;
    loop {
        let at = find_from(body, END, from)?;
        from = at + END.len();
        let line = body.get(from..).and_then(|line| line.strip_prefix(label.as_bytes()));
        if line.is_some_and(|rest| rest.starts_with(b"-----")) {
            return body.split_at_checked(at);
        }
    }
}

/// Decodes base64 in lines, or with white space in whatever places.
fn decode(body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    decode_pieces(body.len(), lines).or_else(|| {
        let has_spaces = body.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | 0x0c));
        has_spaces.then(|| decode_pieces(body.len(), body.split(u8::is_ascii_whitespace))).flatten()
    })
}

fn decode_pieces<'a>(capacity: usize, pieces: impl Iterator<Item = &'a [u8]>) -> Option<Zeroizing<Vec<u8>>> {
    // Made to measure: growing would leave copies of private keys behind.
    let mut digits = Zeroizing::new(Vec::with_capacity(capacity));
    pieces.for_each(|piece| digits.extend_from_slice(piece));
    BASE64.decode(digits.as_slice()).ok().map(Zeroizing::new)
}

/// Appends a block to `out`, which has room enough for it when the caller reserved
/// [`encoded_len`]: then no copy of a private key stays behind.
pub(crate) fn append(out: &mut Vec<u8>, label: &str, der: &[u8]) {
    out.extend_from_slice(BEGIN);
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(b"-----\n");
    append_lines(out, der);
    out.extend_from_slice(b"-----END ");
    out.extend_from_slice(label.as_bytes());
    out.extend_from_slice(b"-----\n");
}

/// Appends base64 in lines. It is encoded as a whole, which is faster than by lines, so far behind
/// that each line then moves forward to its place: no further buffer has to be wiped.
#[expect(clippy::expect_used, reason = "the buffer was made for this number of digits")]
fn append_lines(out: &mut Vec<u8>, der: &[u8]) {
    let digits = der.len().div_ceil(3) * 4;
    let lines = digits.div_ceil(LINE_CHARS);
    let start = out.len();
    out.resize(start + digits + lines, b'\n');
    let (_, body) = out.split_at_mut(start);
    let (_, behind) = body.split_at_mut(lines);
    BASE64.encode_slice(der, behind).expect("there is just room for the digits");
    for line in 0..lines {
        let from = line * LINE_CHARS;
        let length = LINE_CHARS.min(digits - from);
        let to = from + line;
        body.copy_within(lines + from..lines + from + length, to);
        body.iter_mut().skip(to + length).take(1).for_each(|end| *end = b'\n');
    }
}

/// An upper bound on what [`append`] writes.
pub(crate) fn encoded_len(label: &str, der: &[u8]) -> usize {
    let digits = der.len().div_ceil(3) * 4;
    digits + digits.div_ceil(LINE_CHARS) + 2 * label.len() + 40
}

/// A text of one block, which may be a private key.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(encode_public(label, der))
}

/// A text of one block that is no secret: there is nothing to be wiped.
pub(crate) fn encode_public(label: &str, der: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_len(label, der));
    append(&mut out, label, der);
    out
}

pub(crate) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    find_from(text, wanted, 0)
}

/// The first place of a marker, at a place or behind it.
pub(crate) fn find_from(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    // A searcher for each call would cost more than the search in a small text.
    let found = match wanted {
        BEGIN => BEGIN_FINDER.find(rest),
        END => END_FINDER.find(rest),
        _ => memchr::memmem::find(rest, wanted),
    };
    #[cfg(test)]
    SEARCHED.set(SEARCHED.get() + found.unwrap_or(rest.len()) as u64);
    found.map(|at| from + at)
}

#[cfg(test)]
std::thread_local! {
    /// The number of bytes that this thread has searched.
    static SEARCHED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Returns the number of bytes that this thread has searched for markers: what tests bound is effort, not time.
#[cfg(test)]
pub(crate) fn searched_bytes() -> u64 {
    SEARCHED.get()
}

pub(crate) const CERTIFICATE: &str = "CERTIFICATE";
pub(crate) const CERTIFICATE_REQUEST: &str = "CERTIFICATE REQUEST";
pub(crate) const PUBLIC_KEY: &str = "PUBLIC KEY";
pub(crate) const ENCRYPTED_PRIVATE_KEY: &str = "ENCRYPTED PRIVATE KEY";
pub(crate) const PRIVATE_KEY: &str = "PRIVATE KEY";

/// Certificates (RFC 7468 §5), as old programs name them, and OpenSSL's with what it trusts them for behind.
pub(crate) const CERTIFICATES: &[&str] =
    &[CERTIFICATE, "X509 CERTIFICATE", TRUSTED_CERTIFICATE, "PKCS7", "CMS", "PKCS #7 SIGNED DATA"];
pub(crate) const TRUSTED_CERTIFICATE: &str = "TRUSTED CERTIFICATE";
/// Private keys that are not encrypted.
pub(crate) const PLAIN_KEYS: &[&str] = &[PRIVATE_KEY, "EC PRIVATE KEY", "RSA PRIVATE KEY"];
pub(crate) const PRIVATE_KEYS: &[&str] =
    &[PRIVATE_KEY, "EC PRIVATE KEY", "RSA PRIVATE KEY", ENCRYPTED_PRIVATE_KEY];
/// Requests; the second label is what old programs write (RFC 7468 §7).
pub(crate) const REQUESTS: &[&str] = &[CERTIFICATE_REQUEST, "NEW CERTIFICATE REQUEST"];
/// `SubjectPublicKeyInfo` (RFC 7468 §13), and RSA keys of PKCS #1.
pub(crate) const PUBLIC_KEYS: &[&str] = &[PUBLIC_KEY, RSA_PUBLIC_KEY];
pub(crate) const RSA_PUBLIC_KEY: &str = "RSA PUBLIC KEY";
/// The name of a curve, which OpenSSL writes before a key on it.
pub(crate) const EC_PARAMETERS: &str = "EC PARAMETERS";

pub(crate) const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: usize = 5;
const LINE_CHARS: usize = 64;
static BEGIN_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BEGIN));
static END_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(END));
/// The fastest Base64 engine for the processor.
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon")))]
static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_feature = "neon"))))]
static BASE64: GeneralPurpose = STANDARD;

/// The text of PEM in UTF-16 with a byte order mark, as PowerShell writes it; `None` for all others.
pub(crate) fn of_utf16(bytes: &[u8]) -> Option<Zeroizing<String>> {
    if Encoding::of(bytes).0 == Encoding::Utf8 {
        return None;
    }
    text::decode(bytes).ok().filter(|text| find(text.as_bytes(), BEGIN).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_told_apart() {
        let cases: [(&[u8], PemError); 5] = [
            (b"", PemError::Absent),
            (b"-----BEGIN X-----\nAAAA", PemError::Truncated),
            (b"-----BEGIN X-----\nAAAA\n-----END Y-----", PemError::Truncated),
            (b"-----BEGIN X-----\nA*AA\n-----END X-----", PemError::BadBase64),
            (
                b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----",
                PemError::Encrypted,
            ),
        ];
        for (text, error) in cases {
            assert_eq!(first_block(text).err(), Some(error), "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn text_around_a_block_and_crlf_do_not_count() {
        let block =
            first_block(b"subject=x\r\n-----BEGIN X-----\r\nAQ\r\nID\r\n-----END X-----\r\nmore").unwrap();
        assert_eq!((block.label.as_str(), block.der.as_slice()), ("X", [1, 2, 3].as_slice()));
    }

    #[test]
    fn blocks_of_other_labels_are_passed_over() {
        let text = b"-----BEGIN A-----\n*\n-----END A-----\n-----BEGIN B-----\n-----BEGIN X-----\nAQ==\n-----END X-----\n\
            -----BEGIN C-----\nAg==\n-----END C-----\n-----BEGIN X-----\nAw==\n-----END X-----\n-----BEGIN D-----\n";
        let found: Vec<_> = all_of(text, &["X"]).unwrap().iter().map(|block| block.der.to_vec()).collect();
        assert_eq!(found, [[1], [3]]);
        assert_eq!(first_of(text, &["C"]).unwrap().der.as_slice(), [2]);
        assert_eq!(first_of(text, &["A"]).err(), Some(PemError::BadBase64));
        assert_eq!(first_of(text, &["Z"]).err(), Some(PemError::Absent));
        assert_eq!(labels(text).collect::<Vec<_>>(), ["A", "B", "X", "C", "X", "D"]);
    }

    #[test]
    fn the_effort_grows_with_the_text_and_no_faster() {
        for text in [
            "-----BEGIN ",
            "-----BEGIN X-----\n",
            "-----BEGIN X-----\n-----END Y-----\n",
            "-----BEGIN X-----\nAAAA\n-----END X-----\n",
            "-----BEGIN Z-----\nAAAA\n-----END Z-----\n",
            "-----END X-----\n",
            "-----END ",
        ] {
            for begin in ["", "-----BEGIN X-----\n", "-----BEGIN Z-----\n"] {
                let input = format!("{}{}", begin.repeat(2000), text.repeat(100_000 / text.len()));
                let before = searched_bytes();
                let _ = all_of(input.as_bytes(), &["Z"]);
                labels(input.as_bytes()).count();
                let searched = searched_bytes() - before;
                assert!(
                    searched < 10 * input.len() as u64,
                    "{begin:?} {text:?}: {searched} of {}",
                    input.len()
                );
            }
        }
    }

    proptest! {
        #[test]
        fn blocks_come_back(der in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = encode(CERTIFICATE, &der);
            prop_assert!(text.len() <= encoded_len(CERTIFICATE, &der));
            prop_assert_eq!(text.capacity(), encoded_len(CERTIFICATE, &der));
            let block = first_block(&text).unwrap();
            prop_assert_eq!(block.der.as_slice(), der.as_slice());
        }

        #[test]
        fn no_text_is_a_panic(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = first_block(&text);
        }
    }
}

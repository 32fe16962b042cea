//! Thumbprints: the hash of a certificate's DER, by which a hub knows a self-signed or pinned
//! certificate.
//!
//! On the wire a thumbprint is 40 (SHA-1) or 64 (SHA-256) hex digits without separators; the hub
//! keeps and echoes the case it was given and compares without regard to it. People write colons
//! and spaces too: [`Thumbprint::parse_lenient`] is for them, [`Thumbprint::from_str`] is the wire.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use faster_hex::hex_decode;
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::shown::ShownChar;

/// A SHA-1 thumbprint: 20 bytes, shown as 40 upper-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha1Thumbprint([u8; 20]);

impl Sha1Thumbprint {
    /// The thumbprint of a certificate, given its DER.
    pub fn of_der(der: &[u8]) -> Self {
        Self(Sha1::digest(der).into())
    }

    /// The thumbprint with a digest.
    pub fn from_bytes(digest: [u8; 20]) -> Self {
        Self(digest)
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A SHA-256 thumbprint: 32 bytes, shown as 64 upper-case hex digits. Prefer it for registration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Thumbprint([u8; 32]);

impl Sha256Thumbprint {
    /// The thumbprint of a certificate, given its DER.
    pub fn of_der(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// The thumbprint with a digest.
    pub fn from_bytes(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A thumbprint of either kind, in the letter case it was written in.
///
/// Two thumbprints are equal when their digests are: `ab…` equals `AB…`.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Thumbprint {
    digest: ThumbprintDigest,
    /// Bit n is set where hex digit n was written in lower case.
    lower_case: u64,
}

/// The digest inside a [`Thumbprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ThumbprintDigest {
    /// 40 hex digits on the wire.
    Sha1(Sha1Thumbprint),
    /// 64 hex digits on the wire.
    Sha256(Sha256Thumbprint),
}

impl Thumbprint {
    /// Parses a thumbprint from a person, a spreadsheet or `openssl -fingerprint`. Colons, spaces
    /// and dashes between digits are dropped, and the case becomes upper. The name of the algorithm
    /// may precede it, as in `sha256 Fingerprint=`; the number of digits must then match the
    /// algorithm.
    pub fn parse_lenient(text: &str) -> Result<Self, ThumbprintError> {
        // As a machine writes it, there is nothing to drop.
        if let Ok(digest) = ThumbprintDigest::parse(text) {
            return Ok(Self { digest, lower_case: 0 });
        }
        let (stated, digits) = split_label(text);
        let digits: String = digits
            .chars()
            .filter(|c| !matches!(c, ':' | ' ' | '-'))
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let parsed: Self = digits.parse()?;
        match stated {
            Some((stated, due)) if due != digits.len() => {
                Err(ThumbprintError::Algorithm { stated, length: digits.len() })
            }
            _ => Ok(parsed),
        }
    }

    /// The digest, without regard to the case it was written in.
    pub fn digest(&self) -> ThumbprintDigest {
        self.digest
    }

    /// The same thumbprint, written in upper case.
    pub fn in_upper_case(self) -> Self {
        Self { lower_case: 0, ..self }
    }

    /// Returns true if a certificate with this DER has this thumbprint.
    pub fn matches_der(&self, der: &[u8]) -> bool {
        match self.digest {
            ThumbprintDigest::Sha1(own) => own == Sha1Thumbprint::of_der(der),
            ThumbprintDigest::Sha256(own) => own == Sha256Thumbprint::of_der(der),
        }
    }

    fn bytes(&self) -> &[u8] {
        match &self.digest {
            ThumbprintDigest::Sha1(own) => own.as_bytes(),
            ThumbprintDigest::Sha256(own) => own.as_bytes(),
        }
    }
}

impl FromStr for Thumbprint {
    type Err = ThumbprintError;

    /// Parses the wire form: exactly 40 or 64 hex digits.
    fn from_str(text: &str) -> Result<Self, ThumbprintError> {
        let digest = ThumbprintDigest::parse(text)?;
        let lower_case = text
            .bytes()
            .enumerate()
            .fold(0, |bits, (index, digit)| bits | u64::from(digit.is_ascii_lowercase()) << index);
        Ok(Self { digest, lower_case })
    }
}

impl ThumbprintDigest {
    /// Parses exactly 40 or 64 hex digits.
    fn parse(text: &str) -> Result<Self, ThumbprintError> {
        let (mut sha1, mut sha256) = ([0; 20], [0; 32]);
        let digits = text.as_bytes();
        let parsed = match digits.len() {
            SHA1_HEX_DIGITS => hex_decode(digits, &mut sha1).map(|()| Self::Sha1(Sha1Thumbprint(sha1))).ok(),
            SHA256_HEX_DIGITS => {
                hex_decode(digits, &mut sha256).map(|()| Self::Sha256(Sha256Thumbprint(sha256))).ok()
            }
            _ => None,
        };
        parsed.ok_or_else(|| match text.chars().enumerate().find(|(_, c)| !c.is_ascii_hexdigit()) {
            Some((index, character)) => ThumbprintError::NotHex { character, position: index + 1 },
            None => ThumbprintError::Length { length: text.len() },
        })
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |index: usize, byte: &u8| {
            [(0, byte >> 4), (1, byte & 0x0f)].map(|(half, value)| {
                let digit = UPPER_DIGITS.get(usize::from(value)).copied().unwrap_or_default();
                match self.lower_case >> (2 * index + half) & 1 {
                    1 => digit.to_ascii_lowercase(),
                    _ => digit,
                }
            })
        };
        // Batches have millions of these: one call to the formatter for each, not one per digit.
        let mut text = [0_u8; SHA256_HEX_DIGITS];
        let bytes = self.bytes();
        for (pair, (index, byte)) in text.chunks_exact_mut(2).zip(bytes.iter().enumerate()) {
            for (place, digit) in pair.iter_mut().zip(digits(index, byte)) {
                *place = digit;
            }
        }
        let text = text.get(..2 * bytes.len()).unwrap_or_default();
        f.write_str(str::from_utf8(text).unwrap_or_default())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

impl PartialEq for Thumbprint {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Thumbprint {}

impl Hash for Thumbprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl From<Sha1Thumbprint> for Thumbprint {
    fn from(thumbprint: Sha1Thumbprint) -> Self {
        Self { digest: ThumbprintDigest::Sha1(thumbprint), lower_case: 0 }
    }
}

impl From<Sha256Thumbprint> for Thumbprint {
    fn from(thumbprint: Sha256Thumbprint) -> Self {
        Self { digest: ThumbprintDigest::Sha256(thumbprint), lower_case: 0 }
    }
}

impl TryFrom<String> for Thumbprint {
    type Error = ThumbprintError;

    fn try_from(text: String) -> Result<Self, ThumbprintError> {
        text.parse()
    }
}

impl From<Thumbprint> for String {
    fn from(thumbprint: Thumbprint) -> Self {
        thumbprint.to_string()
    }
}

/// The reason why a text is not a thumbprint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThumbprintError {
    /// An algorithm's name, followed by a number of digits that belongs to a different algorithm.
    #[error("this is called a {stated} fingerprint, but has {length} hex digits")]
    Algorithm {
        /// The algorithm that is named.
        stated: &'static str,
        /// The number of digits.
        length: usize,
    },
    /// Neither 40 nor 64 digits.
    #[error("a thumbprint has 40 (SHA-1) or 64 (SHA-256) hex digits, this has {length}")]
    Length {
        /// The number of digits in the text.
        length: usize,
    },
    /// A character that is not a hex digit.
    #[error("character {} at position {position} is not a hex digit", ShownChar(*character))]
    NotHex {
        /// The first offending character.
        character: char,
        /// Its position, counted in characters from 1.
        position: usize,
    },
}

/// Splits off the label that OpenSSL and others write before the digits. Returns the algorithm with
/// its number of digits, and the digits.
fn split_label(text: &str) -> (Option<(&'static str, usize)>, &str) {
    let Some((label, digits)) = text.split_once('=') else { return (None, text) };
    let label: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
    match label.to_ascii_lowercase().as_str() {
        "sha1" | "sha1fingerprint" | "sha1thumbprint" => (Some(("SHA-1", SHA1_HEX_DIGITS)), digits),
        "sha256" | "sha256fingerprint" | "sha256thumbprint" => (Some(("SHA-256", SHA256_HEX_DIGITS)), digits),
        _ => (None, text),
    }
}

const SHA1_HEX_DIGITS: usize = 40;
const SHA256_HEX_DIGITS: usize = 64;
const UPPER_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

macro_rules! upper_case_hex {
    ($thumbprint:ident) => {
        impl fmt::Display for $thumbprint {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&upper_hex(&self.0))
            }
        }

        impl fmt::Debug for $thumbprint {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($thumbprint), "({})"), self)
            }
        }
    };
}

/// Bytes as upper-case hex digits, the usual form of thumbprints and serial numbers.
pub fn upper_hex(bytes: &[u8]) -> String {
    let mut digits = Vec::with_capacity(2 * bytes.len());
    append_upper_hex(&mut digits, bytes);
    // Digits are ASCII.
    String::from_utf8(digits).unwrap_or_default()
}

/// Appends bytes in the form of [`upper_hex`].
pub fn append_upper_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'A' + half - 10 };
    let start = out.len();
    out.resize(start + 2 * bytes.len(), b'0');
    let added = out.get_mut(start..).unwrap_or_default();
    for (pair, byte) in added.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0x0f)];
    }
}

upper_case_hex!(Sha1Thumbprint);
upper_case_hex!(Sha256Thumbprint);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-4 examples for the message "abc".
        assert_eq!(Sha1Thumbprint::of_der(b"abc").to_string(), "A9993E364706816ABA3E25717850C26C9CD0D89D");
        assert_eq!(
            Sha256Thumbprint::of_der(b"abc").to_string(),
            "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"
        );
    }

    #[test]
    fn the_wire_takes_no_separators_but_people_may_write_them() {
        let written = "a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d";
        assert_eq!(
            written.parse::<Thumbprint>(),
            Err(ThumbprintError::NotHex { character: ':', position: 3 })
        );
        let parsed = Thumbprint::parse_lenient(written).unwrap();
        assert_eq!(parsed.to_string(), "A9993E364706816ABA3E25717850C26C9CD0D89D");
        assert!(parsed.matches_der(b"abc"));
        assert!(!parsed.matches_der(b"abd"));
    }

    #[test]
    fn lengths_other_than_40_and_64_are_refused() {
        for length in [0, 1, 39, 41, 63, 65, 128, 1000] {
            assert_eq!("a".repeat(length).parse::<Thumbprint>(), Err(ThumbprintError::Length { length }));
        }
    }

    #[test]
    fn what_openssl_writes_in_front_is_taken_and_must_agree() {
        let (sha1, sha256) = ("AB:".repeat(19) + "AB", "ab:".repeat(31) + "ab");
        for label in ["sha256 Fingerprint=", "SHA256 Fingerprint=", "SHA-256 Thumbprint = ", "sha256="] {
            let parsed = Thumbprint::parse_lenient(&format!("{label}{sha256}")).unwrap();
            assert_eq!(parsed.to_string(), "AB".repeat(32), "{label}");
        }
        assert!(Thumbprint::parse_lenient(&format!("SHA1 Fingerprint={sha1}")).is_ok());
        for (label, digits, stated, length) in
            [("SHA1 Fingerprint=", &sha256, "SHA-1", 64), ("sha256 Fingerprint=", &sha1, "SHA-256", 40)]
        {
            let error = Thumbprint::parse_lenient(&format!("{label}{digits}")).unwrap_err();
            assert_eq!(error, ThumbprintError::Algorithm { stated, length });
        }
        assert!(Thumbprint::parse_lenient(&format!("MD5 Fingerprint={sha1}")).is_err());
    }

    proptest! {
        #[test]
        fn the_case_given_comes_back_but_does_not_count(text in "([0-9a-fA-F]{40}|[0-9a-fA-F]{64})") {
            let thumbprint: Thumbprint = text.parse().unwrap();
            prop_assert_eq!(thumbprint.to_string(), text.clone());
            prop_assert_eq!(thumbprint, text.to_lowercase().parse().unwrap());
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = text.parse::<Thumbprint>();
            let _ = Thumbprint::parse_lenient(&text);
        }
    }
}

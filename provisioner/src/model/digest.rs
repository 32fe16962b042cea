//! [`Sha256Digest`]: the SHA-256 of a file, of a specification or of an audit pack.

use std::fmt;
use std::str::FromStr;

use faster_hex::hex_decode;
use hub_types::thumbprint::upper_hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A SHA-256 digest: 32 bytes, shown as 64 upper-case hex digits, or lower-case with `{:x}`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Sha256Digest([u8; 32]);

/// The error of a text that is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 has 64 hex digits, and nothing else")]
pub(crate) struct NoDigest;

impl Sha256Digest {
    /// The digest of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl From<Sha256> for Sha256Digest {
    fn from(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl FromStr for Sha256Digest {
    type Err = NoDigest;

    /// Parses hex digits in either case.
    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let mut bytes = [0; 32];
        match text.len() == 2 * bytes.len() && hex_decode(text.as_bytes(), &mut bytes).is_ok() {
            true => Ok(Self(bytes)),
            false => Err(NoDigest),
        }
    }
}

impl TryFrom<String> for Sha256Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

impl From<Sha256Digest> for String {
    fn from(digest: Sha256Digest) -> Self {
        upper_hex(&digest.0)
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&upper_hex(&self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::LowerHex for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_digest_is_that_of_the_standard() {
        let empty = Sha256Digest::of(b"");
        assert_eq!(format!("{empty:x}"), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn other_texts_are_refused() {
        let digest = Sha256Digest::of(b"a").to_string();
        for text in
            ["", "AB", &digest[1..], &format!("{digest}0"), &format!(" {}", &digest[1..]), &"g".repeat(64)]
        {
            assert_eq!(text.parse::<Sha256Digest>(), Err(NoDigest), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_digest_is_read_back_in_either_case(bytes: [u8; 32]) {
            let digest = Sha256Digest(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
            prop_assert_eq!(format!("{digest:x}").parse(), Ok(digest));
        }
    }
}

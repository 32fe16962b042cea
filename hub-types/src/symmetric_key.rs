//! Symmetric keys: base64 text that a hub shares with a device, a module or a policy.
//!
//! Rule: standard base64 that decodes to 16 to 64 bytes; a hub echoes the text byte for byte.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A symmetric key. Its text is wiped from memory when dropped, and `Debug` never shows it.
#[derive(Clone, Zeroize, ZeroizeOnDrop, Deserialize)]
#[serde(try_from = "String")]
pub struct SymmetricKey(String);

impl SymmetricKey {
    /// A key made of these bytes, as a hub does with 32 random ones.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(STANDARD.encode(bytes))
    }

    /// The base64 text: the secret itself. Only for the wire and for files of mode 0600.
    pub fn expose_text(&self) -> &str {
        &self.0
    }

    /// The decoded bytes: the secret itself.
    #[expect(clippy::expect_used, reason = "every key was decoded when it was made")]
    pub fn expose_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(STANDARD.decode(&self.0).expect("a key is checked when it is made"))
    }
}

impl FromStr for SymmetricKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = Zeroizing::new(STANDARD.decode(text).map_err(|_| KeyError::NotBase64)?);
        if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&bytes.len()) {
            return Err(KeyError::Length { length: bytes.len() });
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for SymmetricKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Zeroizing::new(text).parse()
    }
}

impl PartialEq for SymmetricKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SymmetricKey {}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(…)")
    }
}

impl Serialize for SymmetricKey {
    /// Writes the secret: documents of the registry carry it.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The two keys of an identity or a policy. Both are accepted, so that one can be exchanged at a
/// time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymmetricKeys {
    /// The first key.
    pub primary: SymmetricKey,
    /// The second key.
    pub secondary: SymmetricKey,
}

/// The member `symmetricKey` of a document as clients write it: a key may be absent, null, or an
/// empty string.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyDocument {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

impl KeyDocument {
    /// Reads both keys, or none.
    pub(crate) fn parse(self) -> Result<Option<SymmetricKeys>, KeyPairError> {
        let key = |member, text: Option<String>| match text {
            Some(text) if !text.is_empty() => {
                SymmetricKey::try_from(text).map(Some).map_err(|source| KeyPairError::Key { member, source })
            }
            _ => Ok(None),
        };
        match (key("primaryKey", self.primary_key)?, key("secondaryKey", self.secondary_key)?) {
            (Some(primary), Some(secondary)) => Ok(Some(SymmetricKeys { primary, secondary })),
            (None, None) => Ok(None),
            _ => Err(KeyPairError::OneKeyOnly),
        }
    }
}

/// The same member as services write it.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyMembers<'a> {
    primary_key: Option<&'a SymmetricKey>,
    secondary_key: Option<&'a SymmetricKey>,
}

impl<'a> KeyMembers<'a> {
    /// The members for keys; nulls without keys.
    pub(crate) fn of(keys: Option<&'a SymmetricKeys>) -> Self {
        Self { primary_key: keys.map(|keys| &keys.primary), secondary_key: keys.map(|keys| &keys.secondary) }
    }
}

/// The reason why two texts are not a pair of keys. It never repeats the texts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyPairError {
    /// A text that is not a valid key.
    #[error("{member} is not valid: {source}")]
    Key {
        /// The member with the key.
        member: &'static str,
        /// The fault of the key.
        source: KeyError,
    },
    /// Only one of the two keys.
    #[error("either no keys or both keys can be set")]
    OneKeyOnly,
}

/// The reason why a text is not a symmetric key. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Decodes to fewer than 16 or more than 64 bytes.
    #[error("a key decodes to {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes, this to {length}")]
    Length {
        /// The number of bytes that it decodes to.
        length: usize,
    },
    /// Not standard base64 with padding.
    #[error("a key is standard base64 with padding, this is not")]
    NotBase64,
}

const MIN_KEY_BYTES: usize = 16;
const MAX_KEY_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_16_to_64_bytes_are_taken_and_echoed() {
        for length in [16, 32, 64] {
            let text = STANDARD.encode(vec![7_u8; length]);
            let key: SymmetricKey = text.parse().unwrap();
            assert_eq!(key.expose_text(), text);
            assert_eq!(key.expose_bytes().len(), length);
        }
    }

    #[test]
    fn other_lengths_and_other_alphabets_are_refused() {
        for length in [0, 15, 65] {
            let text = STANDARD.encode(vec![7_u8; length]);
            assert_eq!(text.parse::<SymmetricKey>(), Err(KeyError::Length { length }));
        }
        for text in ["not base64!", "AAAA-_AAAAAAAAAAAAAAAA==", "QUJD\n"] {
            assert_eq!(text.parse::<SymmetricKey>(), Err(KeyError::NotBase64), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let key = SymmetricKey::from_bytes(&[0xA5; 32]);
        assert!(!format!("{key:?}").contains("paWl"));
        assert_eq!(key.expose_text().len(), 44);
    }
}

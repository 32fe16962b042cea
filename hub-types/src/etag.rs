//! Etags and the `If-Match` header: optimistic concurrency of identities and twins.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The version tag of an identity or a twin: opaque, compared byte for byte.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Etag(Arc<str>);

impl Etag {
    /// An etag with this text, without quotes.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text as HTTP headers carry it, in double quotes (RFC 9110 §8.8.3).
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl fmt::Display for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Etag({})", self.0)
    }
}

impl From<String> for Etag {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Etag> for String {
    fn from(etag: Etag) -> Self {
        etag.0.as_ref().into()
    }
}

/// The condition of an `If-Match` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: the object must exist, whatever its version.
    Any,
    /// The object must have exactly this version.
    Exactly(Etag),
}

impl IfMatch {
    /// Reads the header's value. Clients send `*` and etags both bare and in quotes. Returns `None`
    /// for an empty etag, which .NET's service client sends with every creation.
    pub fn parse(value: &str) -> Option<Self> {
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        match bare {
            "" => None,
            "*" => Some(Self::Any),
            text => Some(Self::Exactly(Etag::new(text))),
        }
    }

    /// Returns true if an object with this etag meets the condition.
    pub fn allows(&self, current: &Etag) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(wanted) => wanted == current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_and_etags_are_read_bare_and_quoted() {
        let etag = Etag::new("MA==");
        for (header, wanted) in [
            ("*", IfMatch::Any),
            ("\"*\"", IfMatch::Any),
            ("MA==", IfMatch::Exactly(etag.clone())),
            ("\"MA==\"", IfMatch::Exactly(etag.clone())),
        ] {
            assert_eq!(IfMatch::parse(header), Some(wanted.clone()), "{header}");
            assert!(wanted.allows(&etag));
        }
        assert!(!IfMatch::Exactly(Etag::new("MQ==")).allows(&etag));
    }

    #[test]
    fn an_empty_etag_demands_nothing() {
        for header in ["\"\"", "", " "] {
            assert_eq!(IfMatch::parse(header), None, "{header:?}");
        }
    }
}

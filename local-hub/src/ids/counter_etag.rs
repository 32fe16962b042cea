//! Counter etags: the base64 of a decimal number, used for identities and configurations.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::Etag;
use serde::{Deserialize, Serialize};

/// The etag of a counter.
pub(crate) fn encode(number: u64) -> Etag {
    Etag::new(&STANDARD.encode(number.to_string()))
}

/// The counter of an etag; `None` if the etag is not of this kind.
pub(crate) fn decode(etag: &Etag) -> Option<u64> {
    let bytes = STANDARD.decode(etag.as_str()).ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
}

/// A counter that documents show as its etag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Etag", into = "Etag")]
pub(crate) struct Counter(u64);

impl Counter {
    pub(crate) const FIRST: Self = Self(1);

    pub(crate) fn etag(self) -> Etag {
        encode(self.0)
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl From<Counter> for Etag {
    fn from(counter: Counter) -> Self {
        counter.etag()
    }
}

impl TryFrom<Etag> for Counter {
    type Error = &'static str;

    fn try_from(etag: Etag) -> Result<Self, Self::Error> {
        decode(&etag).map(Self).ok_or("the etag is no counter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_counter_is_told_apart() {
        assert_eq!(encode(1).as_str(), "MQ==");
        assert_eq!(decode(&Etag::new("AAAAAAAAAAE=")), None);
        assert_eq!(decode(&Etag::new("no base64")), None);
        assert!(serde_json::from_str::<Counter>("\"AAAAAAAAAAE=\"").is_err());
    }

    proptest! {
        #[test]
        fn every_counter_comes_back(number: u64) {
            prop_assert_eq!(decode(&encode(number)), Some(number));
        }
    }
}

//! Etags that count: the base64 of a decimal number, as identities and configurations have them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::Etag;

/// The etag of a counter.
pub(crate) fn encode(number: u64) -> Etag {
    Etag::new(&STANDARD.encode(number.to_string()))
}

/// The counter of an etag; `None` where it is no such etag.
pub(crate) fn decode(etag: &Etag) -> Option<u64> {
    let bytes = STANDARD.decode(etag.as_str()).ok()?;
    String::from_utf8(bytes).ok()?.parse().ok()
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
    }

    proptest! {
        #[test]
        fn every_counter_comes_back(number: u64) {
            prop_assert_eq!(decode(&encode(number)), Some(number));
        }
    }
}

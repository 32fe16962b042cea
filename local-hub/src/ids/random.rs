//! Random values: keys that a hub generates, and ids for requests.

use std::sync::atomic::{AtomicU64, Ordering};

use hub_types::SymmetricKey;
use hub_types::dps::IdScope;
use hub_types::symmetric_key::SymmetricKeys;
use zeroize::Zeroizing;

/// A new symmetric key of 32 random bytes.
pub(crate) fn symmetric_key() -> SymmetricKey {
    SymmetricKey::from_bytes(&Zeroizing::new(bytes()))
}

/// A new pair of keys.
pub(crate) fn symmetric_keys() -> SymmetricKeys {
    SymmetricKeys { primary: symmetric_key(), secondary: symmetric_key() }
}

/// A new id scope, in the form of those of the service.
#[expect(clippy::expect_used, reason = "letters and digits are legal in an id scope")]
pub(crate) fn id_scope() -> IdScope {
    let [a, b, c, d, ..] = bytes();
    let text = format!("0ne{:08X}", u32::from_be_bytes([a, b, c, d]));
    text.parse().expect("an id scope of letters and digits")
}

/// Makes GUIDs for requests and jobs: unique in this process, and very unlikely to equal those of a
/// different process.
#[derive(Debug)]
pub(crate) struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new() -> Self {
        let [a, b, c, d, e, f, g, h, ..] = bytes();
        Self { prefix: u64::from_be_bytes([a, b, c, d, e, f, g, h]), next: AtomicU64::new(1) }
    }

    /// A GUID in lower case, with dashes.
    pub(crate) fn next(&self) -> String {
        let (high, low) = (self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

/// 32 random bytes.
pub(crate) fn bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        // Going on without randomness would hand out guessable keys.
        .unwrap_or_else(|_| panic!("the operating system gives no randomness"));
    bytes
}

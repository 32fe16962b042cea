//! The display of values in messages, and the detection of secrets that a batch may not hold.

use hub_types::SymmetricKey;
use hub_types::secret_text::{holds_private_key, holds_service_key};
use memchr::memchr2;

use crate::problem::Flaw;

/// The value, shortened for a message; `None` when it may be a secret.
pub fn redact(value: &str) -> Option<String> {
    if secret_in(value).is_some() || looks_like_a_key(value) {
        return None;
    }
    let mut chars = value.chars();
    let mut short: String = chars.by_ref().take(MAX_CHARS_SHOWN).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    Some(short)
}

/// The fault of a value that holds a secret which may not be in a batch.
pub(crate) fn secret_in(value: &str) -> Option<Flaw> {
    if value.len() < SHORTEST_SECRET || memchr2(b' ', b'=', value.as_bytes()).is_none() {
        return None;
    }
    if holds_private_key(value) {
        return Some(Flaw::new(
            "the cell holds a private key; it is not repeated here",
            "a batch never holds private keys: remove it, treat the key as leaked, and name \
             a certificate, a CSR or a thumbprint instead",
        ));
    }
    holds_service_key(value).then(|| {
        Flaw::new(
            "the cell holds a shared access key, connection string or token; it is not repeated here",
            "a batch never holds access to a hub: remove it and renew the key, then pass the \
             connection string by IOTHUB_CONNECTION_STRING",
        )
    })
}

/// Returns true for a padded base64 text of a key's length. Thumbprints have no padding, so they
/// are not affected.
fn looks_like_a_key(value: &str) -> bool {
    let value = value.trim();
    value.ends_with('=') && value.parse::<SymmetricKey>().is_ok()
}

const MAX_CHARS_SHOWN: usize = 40;
const SHORTEST_SECRET: usize = "SharedAccessKey=".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut() {
        assert_eq!(redact("short"), Some("short".into()));
        assert_eq!(redact(&"ü".repeat(41)), Some("ü".repeat(40) + "…"));
    }

    #[test]
    fn secrets_are_recognised_and_never_shown() {
        for secret in [
            "-----BEGIN PRIVATE KEY-----\nMIIE",
            "cert -----BEGIN EC PRIVATE KEY-----",
            "HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0",
            "hostname=h;sharedaccesskey = c2VjcmV0",
            "SharedAccessSignature sr=h&sig=abc&se=1",
        ] {
            assert!(secret_in(secret).is_some(), "{secret}");
            assert_eq!(redact(secret), None, "{secret}");
        }
        assert_eq!(redact("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="), None);
    }

    #[test]
    fn harmless_values_are_not_taken_for_secrets() {
        for value in [
            "-----BEGIN CERTIFICATE REQUEST-----\nMIIB",
            "SharedAccessKeyName=iothubowner",
            "a=b;c=d;e=f;g=h;i=j;k=l",
            "A9993E364706816ABA3E25717850C26C9CD0D89D",
        ] {
            assert!(secret_in(value).is_none(), "{value}");
            assert!(redact(value).is_some(), "{value}");
        }
    }
}

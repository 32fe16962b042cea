//! The display of values in messages, and the detection of secrets that a batch may not hold.

use std::ops::RangeInclusive;

use hub_types::SymmetricKey;
use hub_types::secret_text::{holds_private_key, holds_service_key, holds_symmetric_key};
use memchr::memchr2;

use crate::problem::Flaw;

/// The value, shortened for a message; `None` when it may be a secret.
pub fn redact(value: &str) -> Option<String> {
    if may_be_secret(value) {
        return None;
    }
    let mut chars = value.chars();
    let mut short: String = chars.by_ref().take(MAX_CHARS_SHOWN).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    Some(short)
}

/// Returns true for a value that holds a secret, or what may be one.
pub(crate) fn may_be_secret(value: &str) -> bool {
    secret_in(value).is_some() || holds_symmetric_key(value) || parts(value).any(looks_like_a_key)
}

/// The texts of a value, which may be JSON, and what stands behind each slash of a path.
fn parts(value: &str) -> impl Iterator<Item = &str> {
    let texts = value.split(|letter: char| letter.is_whitespace() || "\"'`,;:[]{}()\\".contains(letter));
    texts.flat_map(|text| {
        let behind = text.match_indices('/').filter_map(|(at, _)| text.get(at + 1..));
        std::iter::once(text).chain(behind)
    })
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

/// Returns true for a symmetric key, and for what remains of one that was damaged. Thumbprints are
/// hex, have no padding, and have other lengths, so they are not affected; neither are names of files
/// with a dot.
fn looks_like_a_key(text: &str) -> bool {
    if text.ends_with('=') && text.parse::<SymmetricKey>().is_ok() {
        return true;
    }
    let digits = text.trim_end_matches('=').as_bytes();
    let has = |is: fn(&u8) -> bool| digits.iter().any(is);
    DAMAGED_LENGTHS.iter().any(|lengths| lengths.contains(&digits.len()))
        && digits.iter().filter(|byte| !byte.is_ascii_alphanumeric() && !b"+/".contains(byte)).count() <= 1
        && !has(|byte| *byte == b'.')
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
        && has(|byte| !byte.is_ascii_hexdigit())
}

/// The lengths of keys of 32 and 64 bytes in base64, without padding, of which a digit may be lost or
/// doubled.
const DAMAGED_LENGTHS: [RangeInclusive<usize>; 2] = [41..=45, 84..=88];
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
        let key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
        for text in [key.to_owned(), format!("[\"{key}\"]"), format!("lot/{key}")] {
            assert_eq!(redact(&text), None, "{text}");
        }
        let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
        let damaged = [&key[..43], &key[..42], &key[1..], &key.replacen('W', "!", 1), &format!("x{key}")];
        for text in damaged {
            assert_eq!(redact(text), None, "{text}");
            assert_eq!(redact(&format!("lot/certs/{text}")), None, "{text}");
            assert_eq!(redact(&format!("{{\"a\":[\"{text}\"]}}")), None, "{text}");
        }
    }

    #[test]
    fn harmless_values_are_not_taken_for_secrets() {
        for value in [
            "-----BEGIN CERTIFICATE REQUEST-----\nMIIB",
            "SharedAccessKeyName=iothubowner",
            "a=b;c=d;e=f;g=h;i=j;k=l",
            "A9993E364706816ABA3E25717850C26C9CD0D89D",
            "A9993E364706816ABA3E25717850C26C9CD0D89D001",
            "line-3-Building-12-Temperature-Sensor-000001",
            "/home/User1/Factory3/batches/line17/certificates/a.pem",
        ] {
            assert!(secret_in(value).is_none(), "{value}");
            assert!(redact(value).is_some(), "{value}");
        }
    }
}

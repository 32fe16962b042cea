//! Recognition of texts that hold a secret, so that no message repeats them.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Returns whether the text holds a private key in PEM.
pub fn holds_private_key(text: &str) -> bool {
    text.find("-----BEGIN ")
        .and_then(|start| text.get(start..))
        .is_some_and(|pem| pem.contains("PRIVATE KEY"))
}

/// Returns whether the text holds a shared access key, a connection string with one, or a token.
pub fn holds_service_key(text: &str) -> bool {
    let names_a_key = text.match_indices('=').any(|(at, _)| {
        let before = text.as_bytes().get(..at).unwrap_or_default();
        ["SharedAccessKey", "SharedAccessSignature"]
            .iter()
            .any(|name| ends_with_ignoring_case(before.trim_ascii_end(), name.as_bytes()))
    });
    names_a_key || text.contains("SharedAccessSignature sr=")
}

/// Returns whether the text holds a secret of one of the kinds above.
pub fn holds_secret(text: &str) -> bool {
    holds_private_key(text) || holds_service_key(text)
}

/// Returns whether the text holds a symmetric key of the length that a hub makes: padded base64 of 32
/// or 64 bytes.
pub fn holds_symmetric_key(text: &str) -> bool {
    next_key(text, 0).is_some()
}

/// The text with an ellipsis in place of each secret, for messages about texts of unknown content.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    while let Some(secret) = next_key(&shown, 0).or_else(|| private_key(&shown)) {
        shown.to_mut().replace_range(secret, ELLIPSIS);
    }
    let mut from = 0;
    while let Some(secret) = service_key(&shown, from) {
        from = secret.start + ELLIPSIS.len();
        shown.to_mut().replace_range(secret, ELLIPSIS);
    }
    shown
}

/// The place of the next symmetric key.
fn next_key(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let ends = (from..bytes.len()).filter(|&at| bytes.get(at) == Some(&b'='));
    let keys = ends.flat_map(|at| KEY_SHAPES.map(|(digits, padding)| (at, digits, padding)));
    keys.filter_map(|(at, digits, padding)| {
        let place = at.checked_sub(digits)?..at + padding;
        // A longer text in base64, such as a certificate, is no key. A slash may end a folder's name.
        let before = place.start.checked_sub(1).and_then(|before| bytes.get(before));
        let begins = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && *byte != b'+');
        let is_key = begins && STANDARD.decode(bytes.get(place.clone())?).is_ok();
        is_key.then_some(place)
    })
    .next()
}

/// The place of a private key: up to the end of the text.
fn private_key(text: &str) -> Option<Range<usize>> {
    let start = text.find("-----BEGIN ")?;
    text.get(start..)?.contains("PRIVATE KEY").then_some(start..text.len())
}

/// The place of the next shared access key or signature, without its name.
fn service_key(text: &str, from: usize) -> Option<Range<usize>> {
    let ends = text.char_indices().skip_while(|(at, _)| *at < from).filter(|(_, letter)| *letter == '=');
    let mut starts = ends.map(|(at, _)| at + 1).filter(|&start| {
        text.get(..start).is_some_and(holds_service_key_at_end)
            && text.get(start..).is_some_and(|rest| {
                let rest = rest.trim_start();
                !rest.is_empty() && !rest.starts_with(ELLIPSIS)
            })
    });
    let start = starts.next()?;
    let rest = text.get(start..)?;
    let blanks = rest.len() - rest.trim_start().len();
    let length = rest.trim_start().find([';', '"', '\'', '`', ' ', '\n', ',']);
    Some(start..length.map_or(text.len(), |length| start + blanks + length))
}

fn holds_service_key_at_end(text: &str) -> bool {
    let name = text.strip_suffix('=').unwrap_or(text).trim_ascii_end().as_bytes();
    let names = ["SharedAccessKey", "SharedAccessSignature", "SharedAccessSignature sr"];
    names.iter().any(|own| ends_with_ignoring_case(name, own.as_bytes()))
}

/// The digits and the padding of keys of 32 and 64 bytes in base64.
const KEY_SHAPES: [(usize, usize); 2] = [(43, 1), (86, 2)];
const ELLIPSIS: &str = "…";

fn ends_with_ignoring_case(text: &[u8], end: &[u8]) -> bool {
    text.len()
        .checked_sub(end.len())
        .and_then(|start| text.get(start..))
        .is_some_and(|tail| tail.eq_ignore_ascii_case(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognised_and_their_names_are_not() {
        let secrets = [
            "HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0",
            "connection_string = \"hostname=h;sharedaccesskey = c2VjcmV0\"",
            "SharedAccessSignature sr=h&sig=x&se=1",
            "-----BEGIN EC PRIVATE KEY-----\nMHcC",
        ];
        for secret in secrets {
            assert!(holds_secret(secret), "{secret}");
        }
        for harmless in ["SharedAccessKeyName=iothubowner", "line-3", "-----BEGIN CERTIFICATE-----", ""] {
            assert!(!holds_secret(harmless), "{harmless}");
        }
    }

    #[test]
    fn secrets_within_a_text_become_an_ellipsis() {
        let (short, long) = (STANDARD.encode([7; 32]), STANDARD.encode([9; 64]));
        for key in [&short, &long] {
            assert!(holds_symmetric_key(key) && holds_symmetric_key(&format!("[\"a\",\"{key}\"]")), "{key}");
            let told = format!("can't read `lot/certs/{key}`: no such file; {key}");
            assert_eq!(without_secrets(&told), "can't read `lot/certs/…`: no such file; …");
        }
        let told = format!("a string \"HostName=h;SharedAccessKey = {short};x=1\", and SharedAccessKey=abc");
        let shown = "a string \"HostName=h;SharedAccessKey = …;x=1\", and SharedAccessKey=…";
        assert_eq!(without_secrets(&told), shown);
        assert_eq!(
            without_secrets("no `SharedAccessSignature sr=h&sig=abc&se=1` here"),
            "no `SharedAccessSignature sr=…` here"
        );
        assert_eq!(without_secrets("in -----BEGIN EC PRIVATE KEY-----\nMHcC"), "in …");
        let harmless = format!("SharedAccessKeyName=owner, M{short}, {}", "AB".repeat(32));
        assert!(!holds_symmetric_key(&harmless));
        assert_eq!(without_secrets(&harmless), harmless);
    }
}

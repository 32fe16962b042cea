//! Recognition of texts that hold a secret, so that no message repeats them.

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
}

//! Shared access signatures: the tokens with which services, devices and modules authenticate.
//!
//! `SharedAccessSignature sr=<uri>&sig=<signature>&se=<expiry>[&skn=<policy>]`, where the signature
//! is the base64 HMAC-SHA256 over `<sr as it stands>\n<expiry>` with the decoded key. Source:
//! "Control access to IoT Hub with shared access signatures". Clients order the fields and encode
//! them differently, so a token keeps `sr` as it was received and signs that.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::symmetric_key::SymmetricKey;

/// A token, parsed or signed. `Debug` never shows its signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SasToken {
    raw_resource: String,
    resource: String,
    signature: Vec<u8>,
    expiry: u64,
    policy: Option<String>,
}

impl SasToken {
    /// Signs a token for a resource, such as `hub.example` or `hub.example/devices/d`, that is
    /// valid until `expiry`, in seconds since 1970-01-01. `policy` names the policy of a policy's
    /// key; it is `None` for the key of a device or a module.
    pub fn sign(resource: &str, policy: Option<&str>, key: &SymmetricKey, expiry: u64) -> Self {
        let raw_resource = encode(resource);
        let signature = mac_over(&raw_resource, expiry, key).finalize().into_bytes().to_vec();
        Self {
            raw_resource,
            resource: resource.to_owned(),
            signature,
            expiry,
            policy: policy.map(str::to_owned),
        }
    }

    /// Parses the value of an `Authorization` header or of an MQTT password.
    pub fn parse(text: &str) -> Result<Self, SasError> {
        let fields = text.trim().strip_prefix(SCHEME).ok_or(SasError::Scheme)?;
        let (mut resource, mut signature, mut expiry, mut policy) = (None, None, None, None);
        for field in fields.trim_start().split('&') {
            let (name, value) = field.split_once('=').ok_or(SasError::Field)?;
            let slot = match name {
                "sr" => &mut resource,
                "sig" => &mut signature,
                "se" => &mut expiry,
                "skn" => &mut policy,
                _ => return Err(SasError::Field),
            };
            if slot.replace(value).is_some() {
                return Err(SasError::Field);
            }
        }
        let raw_resource = resource.ok_or(SasError::Missing("sr"))?.to_owned();
        let signature = decode(signature.ok_or(SasError::Missing("sig"))?)?;
        Ok(Self {
            resource: decode(&raw_resource)?,
            raw_resource,
            signature: STANDARD.decode(signature).map_err(|_| SasError::Signature)?,
            expiry: expiry.ok_or(SasError::Missing("se"))?.parse().map_err(|_| SasError::Expiry)?,
            policy: policy.map(decode).transpose()?.filter(|name| !name.is_empty()),
        })
    }

    /// The token as an `Authorization` header or an MQTT password carries it: a secret.
    pub fn expose_text(&self) -> Zeroizing<String> {
        let signature = encode(&STANDARD.encode(&self.signature));
        let mut text = format!("{SCHEME} sr={}&sig={signature}&se={}", self.raw_resource, self.expiry);
        if let Some(policy) = &self.policy {
            text.push_str("&skn=");
            text.push_str(&encode(policy));
        }
        Zeroizing::new(text)
    }

    /// Returns true if this key signed the token. The time taken is the same for every wrong
    /// signature.
    pub fn is_signed_by(&self, key: &SymmetricKey) -> bool {
        mac_over(&self.raw_resource, self.expiry, key).verify_slice(&self.signature).is_ok()
    }

    /// Returns true if the token has expired at `now`, in seconds since 1970-01-01.
    pub fn is_expired(&self, now: u64) -> bool {
        self.expiry <= now
    }

    /// Returns true if the token's resource covers `resource`: the same host in any letter case,
    /// and a prefix of its path by whole segments (`/a/b` covers `/a/b/c`, not `/a/bc`).
    pub fn covers(&self, resource: &str) -> bool {
        let (own_host, own_path) = split_host(&self.resource);
        let (host, path) = split_host(resource);
        let own_segments = own_path.split('/').filter(|segment| !segment.is_empty());
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        own_host.eq_ignore_ascii_case(host)
            && own_segments.into_iter().all(|own| segments.next() == Some(own))
    }

    /// The policy whose key signed the token; `None` for the key of a device or a module.
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// The time at which the token expires, in seconds since 1970-01-01.
    pub fn expiry(&self) -> u64 {
        self.expiry
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SasToken")
            .field("resource", &self.resource)
            .field("expiry", &self.expiry)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// The reason why a text is not a token. It never repeats the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SasError {
    /// A field is percent-encoded wrongly.
    #[error("a field of the token is not percent-encoded UTF-8")]
    Encoding,
    /// `se` is not a number of seconds.
    #[error("`se` is not a number of seconds since 1970-01-01")]
    Expiry,
    /// A field that is unknown, repeated, or has no value.
    #[error("the token has a field that is unknown, doubled or without value; known are sr, sig, se, skn")]
    Field,
    /// A required field is missing.
    #[error("the token has no `{0}`")]
    Missing(&'static str),
    /// It does not begin with `SharedAccessSignature`.
    #[error("a token begins with `SharedAccessSignature`")]
    Scheme,
    /// `sig` is not base64.
    #[error("`sig` is not base64")]
    Signature,
}

fn mac_over(raw_resource: &str, expiry: u64, key: &SymmetricKey) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.expose_bytes()).unwrap_or_else(|_| {
        // HMAC takes keys of any length (RFC 2104 §2).
        unreachable!("an HMAC key of illegal length")
    });
    mac.update(raw_resource.as_bytes());
    mac.update(b"\n");
    mac.update(expiry.to_string().as_bytes());
    mac
}

fn split_host(resource: &str) -> (&str, &str) {
    resource.split_once('/').unwrap_or((resource, ""))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, TOKEN_FIELD).to_string()
}

fn decode(text: &str) -> Result<String, SasError> {
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| SasError::Encoding)
}

const SCHEME: &str = "SharedAccessSignature";
const TOKEN_FIELD: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> SymmetricKey {
        SymmetricKey::from_bytes(&[byte; 32])
    }

    #[test]
    fn fields_may_come_in_any_order() {
        let token = SasToken::sign("hub.example", Some("service"), &key(1), 1_790_000_000);
        let text = token.expose_text();
        let mut fields: Vec<&str> = text.strip_prefix("SharedAccessSignature ").unwrap().split('&').collect();
        fields.rotate_left(2);
        let shuffled = SasToken::parse(&format!("SharedAccessSignature {}", fields.join("&"))).unwrap();
        assert_eq!(shuffled, token);
        assert!(shuffled.is_signed_by(&key(1)));
    }

    #[test]
    fn another_key_or_a_changed_field_is_noticed() {
        let token = SasToken::sign("hub.example", Some("service"), &key(1), 1_790_000_000);
        assert!(!token.is_signed_by(&key(2)));
        let later = token.expose_text().replace("se=1790000000", "se=1790000001");
        assert!(!SasToken::parse(&later).unwrap().is_signed_by(&key(1)));
    }

    #[test]
    fn a_token_covers_whole_segments_below_its_resource() {
        let token = SasToken::sign("Hub.Example/devices/d", None, &key(1), 0);
        assert!(token.covers("hub.example/devices/d"));
        assert!(token.covers("hub.example/devices/d/modules/m"));
        assert!(!token.covers("hub.example/devices/d2"));
        assert!(!token.covers("hub.example/devices"));
        assert!(!token.covers("hub.example/devices/D"), "ids are case-sensitive");
        assert!(!token.covers("other.example/devices/d"));
    }

    #[test]
    fn a_token_ends_at_its_expiry() {
        let token = SasToken::sign("h", None, &key(1), 100);
        assert!(!token.is_expired(99));
        assert!(token.is_expired(100));
    }

    #[test]
    fn debug_shows_no_signature() {
        let token = SasToken::sign("h", None, &key(1), 100);
        let shown = format!("{token:?}");
        assert!(!shown.contains("sig") && shown.contains("expiry: 100"), "{shown}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, error) in [
            ("Bearer x", SasError::Scheme),
            ("SharedAccessSignature sr=h&se=1", SasError::Missing("sig")),
            ("SharedAccessSignature sr=h&sig=AA%3D%3D", SasError::Missing("se")),
            ("SharedAccessSignature sr=h&sig=AA%3D%3D&se=soon", SasError::Expiry),
            ("SharedAccessSignature sr=h&sig=!&se=1", SasError::Signature),
            ("SharedAccessSignature sr=h&sr=h&sig=AA%3D%3D&se=1", SasError::Field),
            ("SharedAccessSignature sr=%ff&sig=AA%3D%3D&se=1", SasError::Encoding),
        ] {
            assert_eq!(SasToken::parse(text).unwrap_err(), error, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_parses_back(resource in "[ -~]{1,40}", policy in proptest::option::of("[a-zA-Z@.-]{1,20}"), expiry: u64) {
            let token = SasToken::sign(&resource, policy.as_deref(), &key(3), expiry);
            let parsed = SasToken::parse(&token.expose_text()).unwrap();
            prop_assert!(parsed.is_signed_by(&key(3)));
            prop_assert_eq!(parsed, token);
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = SasToken::parse(&text);
            let _ = SasToken::parse(&format!("SharedAccessSignature {text}"));
        }
    }
}

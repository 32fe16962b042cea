//! Comparison of tokens and thumbprints with those of other implementations: Microsoft's Python SDK
//! made the tokens of `vectors.json`, OpenSSL the thumbprints (`scripts/regen-vectors`). Client and
//! local hub share this crate, so a mistake in it would not show between the two.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "in a test a panic is a failure")]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub_types::dps::device_token;
use hub_types::sas::SasToken;
use hub_types::{Sha1Thumbprint, Sha256Thumbprint, SymmetricKey, Thumbprint};
use serde_json::Value;

fn vectors(kind: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let vectors = all[kind].as_array().unwrap().clone();
    assert!(!vectors.is_empty());
    vectors
}

#[test]
fn tokens_of_the_python_sdk_are_understood_and_ours_are_the_same() {
    for vector in vectors("tokens") {
        let text = |name: &str| vector[name].as_str().unwrap();
        let key: SymmetricKey = text("key").parse().unwrap();
        let expiry = vector["expiry"].as_u64().unwrap();
        let theirs = SasToken::parse(text("token")).unwrap();
        assert!(theirs.is_signed_by(&key), "{vector}");
        assert!(theirs.covers(text("uri")), "{vector}");
        assert!(!theirs.is_expired(expiry - 1) && theirs.is_expired(expiry), "{vector}");
        let ours = SasToken::sign(text("uri"), vector["policy"].as_str(), &key, expiry);
        assert_eq!(ours, theirs, "{vector}");
    }
}

#[test]
fn tokens_of_registering_devices_are_understood_and_ours_are_the_same() {
    for vector in vectors("registrations") {
        let text = |name: &str| vector[name].as_str().unwrap();
        let (scope, id) = (text("scope").parse().unwrap(), text("registrationId").parse().unwrap());
        let key: SymmetricKey = text("key").parse().unwrap();
        let theirs = SasToken::parse(text("token")).unwrap();
        assert!(theirs.is_signed_by(&key) && theirs.covers(&device_token::resource(&scope, &id)), "{vector}");
        let ours = device_token::sign(&scope, &id, &key, vector["expiry"].as_u64().unwrap());
        assert_eq!(ours, theirs, "{vector}");
    }
}

#[test]
fn thumbprints_are_those_of_openssl() {
    for vector in vectors("thumbprints") {
        let der = STANDARD.decode(vector["der"].as_str().unwrap()).unwrap();
        let theirs = |hash: &str| Thumbprint::parse_lenient(vector[hash].as_str().unwrap()).unwrap();
        assert_eq!(theirs("sha1"), Sha1Thumbprint::of_der(&der).into());
        assert_eq!(theirs("sha256"), Sha256Thumbprint::of_der(&der).into());
        assert!(theirs("sha1").matches_der(&der) && theirs("sha256").matches_der(&der));
    }
}

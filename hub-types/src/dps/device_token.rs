//! Keys and tokens of devices that prove themselves with a symmetric key.
//!
//! A device of an individual enrolment has the enrolment's key. A device of a group has a key that
//! follows from the group's key and its registration id. With the key it signs a token for the
//! resource `{idScope}/registrations/{registrationId}` and the policy `registration`. Sources:
//! "Symmetric key attestation", "How to use symmetric key enrollment groups".

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::dps::id::{IdScope, RegistrationId};
use crate::sas::SasToken;
use crate::symmetric_key::SymmetricKey;

/// The policy in the token of a device.
pub const POLICY: &str = "registration";

/// The key of a device of a group: the HMAC-SHA256 over its registration id with the group's key.
pub fn device_key(group_key: &SymmetricKey, registration_id: &RegistrationId) -> SymmetricKey {
    let mut mac = Hmac::<Sha256>::new_from_slice(&group_key.expose_bytes()).unwrap_or_else(|_| {
        // HMAC takes keys of any length (RFC 2104 §2).
        unreachable!("an HMAC key of illegal length")
    });
    mac.update(registration_id.as_str().as_bytes());
    SymmetricKey::from_bytes(&mac.finalize().into_bytes().into())
}

/// The resource that the token of a device is for.
pub fn resource(scope: &IdScope, registration_id: &RegistrationId) -> String {
    format!("{scope}/registrations/{registration_id}")
}

/// Signs the token of a device, valid until `expiry`, in seconds since 1970-01-01.
pub fn sign(scope: &IdScope, registration_id: &RegistrationId, key: &SymmetricKey, expiry: u64) -> SasToken {
    SasToken::sign(&resource(scope, registration_id), Some(POLICY), key, expiry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_key_of_the_service_documentation_is_derived() {
        // The example of "How to use symmetric key enrollment groups".
        let group: SymmetricKey =
            "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw=="
                .parse()
                .unwrap();
        let id = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6".parse().unwrap();
        assert_eq!(device_key(&group, &id).expose_text(), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
    }

    proptest! {
        #[test]
        fn a_token_is_for_its_scope_and_registration(id in "[a-z0-9:._-]{0,20}[a-z]", expiry in 1..u64::MAX) {
            let (scope, id) = ("0ne00A1B2C3".parse::<IdScope>().unwrap(), id.parse::<RegistrationId>().unwrap());
            let key = device_key(&SymmetricKey::from_bytes(&[7; 32]), &id);
            let token = SasToken::parse(&sign(&scope, &id, &key, expiry).expose_text()).unwrap();
            prop_assert!(token.is_signed_by(&key));
            prop_assert!(token.covers(&resource(&scope, &id)));
            prop_assert!(!token.covers(&resource(&"0ne1".parse().unwrap(), &id)));
            prop_assert_eq!(token.policy(), Some(POLICY));
        }
    }
}

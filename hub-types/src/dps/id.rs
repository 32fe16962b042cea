//! Registration ids, ids of enrolment groups, and id scopes.
//!
//! Rule: 1 to 128 ASCII letters, digits and `- . _ :`, of which the last is a letter, a digit or
//! `-`; letter case does not distinguish ids. Source: "Azure IoT Hub Device Provisioning Service
//! terminology" and "Understand how DPS uses X.509 certificates".

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dps::limits::MAX_REGISTRATION_ID_CHARS;
use crate::id::{DeviceId, text_id};
use crate::limits::MAX_COMMON_NAME_CHARS;
use crate::shown::ShownChar;

macro_rules! registration_text_id {
    ($(#[$doc:meta])* $id:ident) => {
        $(#[$doc])*
        #[derive(Clone, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $id(Arc<str>);

        text_id!($id, RegistrationIdError, check);

        impl $id {
            fn folded(&self) -> impl Iterator<Item = u8> {
                self.0.bytes().map(|byte| byte.to_ascii_lowercase())
            }
        }

        impl PartialEq for $id {
            fn eq(&self, other: &Self) -> bool {
                self.0.eq_ignore_ascii_case(&other.0)
            }
        }

        impl Eq for $id {}

        impl PartialOrd for $id {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $id {
            fn cmp(&self, other: &Self) -> Ordering {
                self.folded().cmp(other.folded())
            }
        }

        impl Hash for $id {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.folded().for_each(|byte| state.write_u8(byte));
                state.write_u8(0xff);
            }
        }
    };
}

registration_text_id! {
    /// The id by which a device registers. Two ids that differ in letter case only are equal.
    RegistrationId
}

registration_text_id! {
    /// The id of an enrolment group. Two ids that differ in letter case only are equal.
    EnrollmentGroupId
}

impl RegistrationId {
    /// Returns true if the id can be the common name of a certificate, which has at most 64
    /// characters.
    pub fn fits_common_name(&self) -> bool {
        self.0.len() <= MAX_COMMON_NAME_CHARS
    }

    /// The id of the device that registers by this id, if the enrolment names no other one.
    pub fn device_id(&self) -> DeviceId {
        // All characters and lengths of a registration id are legal in a device id.
        DeviceId::new(&self.0).unwrap_or_else(|_| unreachable!("a registration id that is no device id"))
    }
}

/// The reason why a text is not the id of a registration or of an enrolment group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationIdError {
    /// An empty text.
    #[error("an id of DPS is empty")]
    Empty,
    /// A character outside the legal set.
    #[error(
        "character {} at position {position} is not allowed in an id of DPS; legal are ASCII letters, digits and - . _ :",
        ShownChar(*character)
    )]
    IllegalCharacter {
        /// The first offending character.
        character: char,
        /// Its position, counted in characters from 1.
        position: usize,
    },
    /// A last character that is neither a letter nor a digit nor `-`.
    #[error("the last character of an id of DPS must be a letter, a digit or -, this is {}", ShownChar(*.0))]
    LastCharacter(char),
    /// More than 128 characters.
    #[error("an id of DPS has at most {MAX_REGISTRATION_ID_CHARS} characters, this has {length}")]
    TooLong {
        /// The number of characters in the text.
        length: usize,
    },
}

fn check(text: &str) -> Result<(), RegistrationIdError> {
    let Some(last) = text.chars().next_back() else { return Err(RegistrationIdError::Empty) };
    if let Some((index, character)) = text.chars().enumerate().find(|(_, c)| !is_id_char(*c)) {
        return Err(RegistrationIdError::IllegalCharacter { character, position: index + 1 });
    }
    if text.len() > MAX_REGISTRATION_ID_CHARS {
        return Err(RegistrationIdError::TooLong { length: text.len() });
    }
    match last {
        '.' | '_' | ':' => Err(RegistrationIdError::LastCharacter(last)),
        _ => Ok(()),
    }
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':')
}

/// The name of a DPS for devices, such as `0ne00A1B2C3`.
///
/// Azure documents no form. This type takes 1 to 32 ASCII letters and digits, in their letter case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdScope(String);

impl IdScope {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for IdScope {
    type Err = IdScopeError;

    fn from_str(text: &str) -> Result<Self, IdScopeError> {
        let is_legal =
            (1..=MAX_ID_SCOPE_CHARS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if is_legal { Ok(Self(text.to_owned())) } else { Err(IdScopeError) }
    }
}

impl TryFrom<String> for IdScope {
    type Error = IdScopeError;

    fn try_from(text: String) -> Result<Self, IdScopeError> {
        text.parse()
    }
}

impl From<IdScope> for String {
    fn from(scope: IdScope) -> Self {
        scope.0
    }
}

/// A text is not an id scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id scope has 1 to {MAX_ID_SCOPE_CHARS} ASCII letters and digits, such as 0ne00A1B2C3")]
pub struct IdScopeError;

const MAX_ID_SCOPE_CHARS: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rules_of_the_service_are_kept() {
        for text in ["a", "A1", "-", "a.b_c:d-e", "x-", &"a".repeat(128)] {
            assert!(RegistrationId::new(text).is_ok(), "{text}");
        }
        for (text, error) in [
            ("", RegistrationIdError::Empty),
            ("a/b", RegistrationIdError::IllegalCharacter { character: '/', position: 2 }),
            ("pümpe", RegistrationIdError::IllegalCharacter { character: 'ü', position: 2 }),
            ("a.", RegistrationIdError::LastCharacter('.')),
            ("a_", RegistrationIdError::LastCharacter('_')),
            ("a:", RegistrationIdError::LastCharacter(':')),
            ("a".repeat(129).as_str(), RegistrationIdError::TooLong { length: 129 }),
        ] {
            assert_eq!(RegistrationId::new(text), Err(error.clone()), "{text}");
            assert_eq!(EnrollmentGroupId::new(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_common_name_holds_64_characters() {
        assert!(RegistrationId::new(&"a".repeat(64)).unwrap().fits_common_name());
        assert!(!RegistrationId::new(&"a".repeat(65)).unwrap().fits_common_name());
    }

    #[test]
    fn an_id_scope_is_letters_and_digits() {
        assert_eq!("0ne00A1B2C3".parse::<IdScope>().unwrap().as_str(), "0ne00A1B2C3");
        for text in ["", "0ne 1", "0ne/1", &"0".repeat(33)] {
            assert_eq!(text.parse::<IdScope>(), Err(IdScopeError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn letter_case_is_kept_and_does_not_count(text in "[a-zA-Z0-9._:-]{0,20}[a-zA-Z0-9-]") {
            let id = RegistrationId::new(&text).unwrap();
            let upper = RegistrationId::new(&text.to_ascii_uppercase()).unwrap();
            prop_assert_eq!(id.as_str(), &text);
            prop_assert_eq!(&id, &upper);
            prop_assert_eq!(id.cmp(&upper), Ordering::Equal);
            prop_assert!(HashSet::from([id.clone()]).contains(&upper));
            let device = id.device_id();
            prop_assert_eq!(device.as_str(), text);
        }

        #[test]
        fn the_order_is_that_of_the_lower_case(a in "[a-zA-Z0-9:-]{1,4}[a-z]", b in "[a-zA-Z0-9:-]{1,4}[A-Z]") {
            let (one, two) = (RegistrationId::new(&a).unwrap(), RegistrationId::new(&b).unwrap());
            prop_assert_eq!(one.cmp(&two), a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()));
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = RegistrationId::new(&text);
            let _ = text.parse::<IdScope>();
        }
    }
}

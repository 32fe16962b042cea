//! Device ids, module ids, and the identity they name together.
//!
//! Rule: 1 to 128 characters, ASCII letters and digits and `- : . + % _ # * ? ! ( ) , = @ ; $ '`,
//! case-sensitive (Azure IoT Hub, "Identity registry"; the service SDKs carry the same pattern).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_COMMON_NAME_CHARS, MAX_ID_CHARS};
use crate::shown::ShownChar;

/// The id of a device: unique in its hub, case-sensitive.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(Arc<str>);

/// The id of a module: unique in its device, case-sensitive.
///
/// Ids that begin with `$` belong to the system (`$edgeAgent`, `$edgeHub`): they exist on a hub and
/// can be read, but nobody may create them. [`ModuleId::is_system`] recognises them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleId(Arc<str>);

impl ModuleId {
    /// Returns true if the id is reserved for the hub's own modules.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// One identity in a hub's registry: a device, or a module of a device.
///
/// Its order is that of provisioning: a device comes before its modules.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId {
    device: DeviceId,
    module: Option<ModuleId>,
}

impl IdentityId {
    /// The identity of a device, or of one of its modules.
    pub fn new(device: DeviceId, module: Option<ModuleId>) -> Self {
        Self { device, module }
    }

    /// Parses the two ids; an empty or absent `module` names the device itself.
    pub fn parse(device: &str, module: Option<&str>) -> Result<Self, IdError> {
        let device = DeviceId::new(device)?;
        let module = match module {
            None | Some("") => None,
            Some(text) => Some(ModuleId::new(text)?),
        };
        Ok(Self { device, module })
    }

    /// Parses `deviceId` or `deviceId/moduleId`, the form a certificate's common name has.
    pub fn from_common_name(name: &str) -> Result<Self, IdError> {
        match name.split_once('/') {
            None => Self::parse(name, None),
            Some((_, "")) => Err(IdError::Empty),
            Some((device, module)) => Self::parse(device, Some(module)),
        }
    }

    /// The device, which for a module is the device that it belongs to.
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The module, or `None` when the identity is the device itself.
    pub fn module(&self) -> Option<&ModuleId> {
        self.module.as_ref()
    }

    /// The common name of an X.509 certificate for this identity: `deviceId` or
    /// `deviceId/moduleId`. Same text as [`fmt::Display`].
    pub fn common_name(&self) -> String {
        self.to_string()
    }

    /// Returns true if the common name fits X.509's bound of 64 characters (RFC 5280, appendix A.1,
    /// `ub-common-name`), which is lower than the hub's bound on ids.
    pub fn common_name_fits(&self) -> bool {
        let module = self.module.as_ref().map_or(0, |module| "/".len() + module.as_str().len());
        self.device.as_str().len() + module <= MAX_COMMON_NAME_CHARS
    }
}

impl From<DeviceId> for IdentityId {
    fn from(device: DeviceId) -> Self {
        Self::new(device, None)
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.device.as_str())?;
        match &self.module {
            None => Ok(()),
            Some(module) => write!(f, "/{module}"),
        }
    }
}

impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityId({self})")
    }
}

/// The reason why a text is not a device id or a module id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// An empty text.
    #[error("the id is empty")]
    Empty,
    /// A character outside the legal set.
    #[error(
        "character {} at position {position} is not allowed in an id; \
         legal are ASCII letters, digits and - : . + % _ # * ? ! ( ) , = @ ; $ '",
        ShownChar(*character)
    )]
    IllegalCharacter {
        /// The first offending character.
        character: char,
        /// Its position, counted in characters from 1.
        position: usize,
    },
    /// More than 128 characters.
    #[error("the id has {length} characters, more than {MAX_ID_CHARS}")]
    TooLong {
        /// The number of characters in the text.
        length: usize,
    },
}

/// Decodes one percent-encoded segment of a URL path; `None` where the bytes are not UTF-8.
///
/// Clients escape different characters (`!'()*`), so ids are compared after decoding.
pub fn decode_path_segment(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(Into::into)
}

pub(crate) fn encode_path_segment(id: &str) -> String {
    // The URL standard folds `.` and `..` segments away, encoded or not: `%2E` is the most that
    // can be done here, and callers that go through a URL parser must refuse those two ids.
    utf8_percent_encode(id, PATH_SEGMENT).to_string()
}

fn check_charset(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    // Legal ids, which nearly all are, are not read character by character.
    if !text.bytes().all(|byte| is_id_char(char::from(byte)))
        && let Some((index, character)) = text.chars().enumerate().find(|(_, c)| !is_id_char(*c))
    {
        return Err(IdError::IllegalCharacter { character, position: index + 1 });
    }
    if text.len() > MAX_ID_CHARS {
        return Err(IdError::TooLong { length: text.len() });
    }
    Ok(())
}

fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '-' | ':' | '.' | '+' | '%' | '_' | '#' | '*' | '?' | '!' | '(' | ')')
        || matches!(c, ',' | '=' | '@' | ';' | '$' | '\'')
}

/// Everything but the unreserved characters of RFC 3986 §2.3, as Microsoft's clients do it.
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Implements reading and writing for an id in a text, whose rule a function checks.
macro_rules! text_id {
    ($id:ident, $error:ident, $check:ident) => {
        impl $id {
            /// Parses an id.
            pub fn new(text: &str) -> Result<Self, $error> {
                $check(text)?;
                Ok(Self(text.into()))
            }

            /// The id as text, in the letter case in which it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The id as one segment of a URL path, percent-encoded.
            pub fn path_segment(&self) -> String {
                $crate::id::encode_path_segment(&self.0)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($id), "({})"), self.0)
            }
        }

        impl FromStr for $id {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $id {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, $error> {
                Self::new(&text)
            }
        }

        impl From<$id> for String {
            fn from(id: $id) -> Self {
                id.0.as_ref().into()
            }
        }
    };
}

pub(crate) use text_id;

text_id!(DeviceId, IdError, check_charset);
text_id!(ModuleId, IdError, check_charset);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVERY_PUNCTUATION: &str = "-:.+%_#*?!(),=@;$'";

    #[test]
    fn every_legal_punctuation_mark_is_taken() {
        assert_eq!(DeviceId::new(EVERY_PUNCTUATION).unwrap().as_str(), EVERY_PUNCTUATION);
    }

    #[test]
    fn the_first_illegal_character_is_named_with_its_position() {
        for (text, character, position) in
            [("a b", ' ', 2), ("a/b", '/', 2), ("ümlaut", 'ü', 1), ("x\0", '\0', 2)]
        {
            assert_eq!(
                DeviceId::new(text),
                Err(IdError::IllegalCharacter { character, position }),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_length_bound_is_128() {
        assert!(ModuleId::new(&"m".repeat(128)).is_ok());
        assert_eq!(ModuleId::new(&"m".repeat(129)), Err(IdError::TooLong { length: 129 }));
        assert_eq!(ModuleId::new(""), Err(IdError::Empty));
    }

    #[test]
    fn case_makes_another_device() {
        assert_ne!(DeviceId::new("Dev1").unwrap(), DeviceId::new("dev1").unwrap());
    }

    #[test]
    fn a_device_sorts_before_its_modules() {
        let device = IdentityId::parse("d", None).unwrap();
        let module = IdentityId::parse("d", Some("a")).unwrap();
        assert!(device < module);
        assert!(module < IdentityId::parse("e", None).unwrap());
    }

    #[test]
    fn a_common_name_is_device_slash_module() {
        let module = IdentityId::parse("device01", Some("module01")).unwrap();
        assert_eq!(module.common_name(), "device01/module01");
        assert_eq!(IdentityId::from_common_name("device01/module01"), Ok(module));
        assert_eq!(IdentityId::from_common_name("device01/"), Err(IdError::Empty));
        assert!(IdentityId::from_common_name("a/b/c").is_err());
    }

    #[test]
    fn a_common_name_of_65_characters_does_not_fit_x509() {
        let device = "d".repeat(32);
        assert!(IdentityId::parse(&device, Some(&"m".repeat(31))).unwrap().common_name_fits());
        assert!(!IdentityId::parse(&device, Some(&"m".repeat(32))).unwrap().common_name_fits());
    }

    #[test]
    fn a_path_segment_encodes_what_a_url_would_misread() {
        let id = DeviceId::new("a%b#c?d+e'").unwrap();
        assert_eq!(id.path_segment(), "a%25b%23c%3Fd%2Be%27");
    }

    proptest! {
        #[test]
        fn path_segments_decode_to_the_same_id(text in "[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}") {
            let id = DeviceId::new(&text).unwrap();
            prop_assert_eq!(decode_path_segment(&id.path_segment()).unwrap(), text);
        }

        #[test]
        fn common_names_come_back(
            device in "[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}",
            module in proptest::option::of("[A-Za-z0-9\\-:.+%_#*?!(),=@;$']{1,128}"),
        ) {
            let id = IdentityId::parse(&device, module.as_deref()).unwrap();
            prop_assert_eq!(IdentityId::from_common_name(&id.common_name()).unwrap(), id);
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            let _ = DeviceId::new(&text);
            let _ = IdentityId::from_common_name(&text);
            let _ = decode_path_segment(&text);
        }
    }
}

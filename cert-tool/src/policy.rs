//! [`Policy`]: what a CA may issue, in `policy.toml` beside it.

use std::path::Path;

use hub_types::IdentityId;
use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::fs;
use crate::key::KeyType;
use crate::refusal::Refusal;

/// What a CA may issue. What is not said is not limited.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use cert_tool::{CaOptions, CertificateAuthority, KeyType, Policy};
///
/// # let temporary = tempfile::tempdir()?;
/// # let folder = temporary.path().join("ca");
/// CertificateAuthority::init(&folder, &CaOptions::default(), time::OffsetDateTime::now_utc())?;
/// let policy = Policy::new().with_identities("pump-[0-9]{6}")?.with_key_types([KeyType::P256]);
/// policy.write(&folder)?;
/// assert_eq!(CertificateAuthority::open(&folder)?.policy(), &policy);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// A regular expression that a whole common name, `deviceId` or `deviceId/moduleId`, must match.
    #[serde(default, with = "pattern", skip_serializing_if = "Option::is_none")]
    identities: Option<Regex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_certificates: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_types: Option<Vec<KeyType>>,
}

impl Policy {
    /// One that limits nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only identities whose whole common name matches a regular expression.
    pub fn with_identities(mut self, pattern: &str) -> Result<Self, Error> {
        let whole = whole(pattern).map_err(|error| Error::BadPattern { source: Box::new(error) })?;
        self.identities = Some(whole);
        Ok(self)
    }

    /// Certificates that are good for so many days at most.
    pub fn with_max_days(mut self, days: u32) -> Self {
        self.max_days = Some(days);
        self
    }

    /// So many certificates at most in the CA's life; those issued before count.
    pub fn with_max_certificates(mut self, count: u64) -> Self {
        self.max_certificates = Some(count);
        self
    }

    /// Only for keys of these kinds.
    pub fn with_key_types(mut self, key_types: impl IntoIterator<Item = KeyType>) -> Self {
        self.key_types = Some(key_types.into_iter().collect());
        self
    }

    /// The regular expression for common names.
    pub fn identities(&self) -> Option<&str> {
        self.identities.as_ref().map(inner)
    }

    /// How many days a certificate may be good.
    pub fn max_days(&self) -> Option<u32> {
        self.max_days
    }

    /// How many certificates there may be.
    pub fn max_certificates(&self) -> Option<u64> {
        self.max_certificates
    }

    /// The kinds of keys.
    pub fn key_types(&self) -> Option<&[KeyType]> {
        self.key_types.as_deref()
    }

    /// Reads the policy of the CA in a folder; without a file nothing is limited.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = fs::read_bounded(&path, MAX_BYTES)?;
        let bad = |reason: String| Error::BadPolicy { path: path.clone(), reason };
        let text = std::str::from_utf8(&bytes).map_err(|_| bad("it is no text in UTF-8".to_owned()))?;
        toml::from_str(text).map_err(|error| bad(error.to_string().trim_end().to_owned()))
    }

    /// Makes this the policy of the CA in a folder.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let text = toml::to_string(self).map_err(|_| Error::Crypto("writing a policy"))?;
        fs::replace_private(&folder.join(FILE), text.as_bytes())
    }

    /// Why an identity gets no certificate for a key; `None` as the kind stands for any other kind.
    pub(crate) fn refusal(&self, identity: &IdentityId, key_type: Option<KeyType>) -> Option<Refusal> {
        if let Some(pattern) = self.identities.as_ref().filter(|it| !it.is_match(&identity.common_name())) {
            let reason = format!("its common name does not match `{}`", inner(pattern));
            return Some(Refusal::Policy { rule: "identities", reason });
        }
        let allowed = self.key_types.as_ref()?;
        if key_type.is_some_and(|key_type| allowed.contains(&key_type)) {
            return None;
        }
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        let found = key_type.map_or_else(|| "of another kind".to_owned(), |it| it.to_string());
        let reason = format!("its key is {found}, allowed are {}", allowed.join(", "));
        Some(Refusal::Policy { rule: "key_types", reason })
    }

    /// Why no further certificate can be issued, where so many are there already.
    pub(crate) fn refusal_after(&self, issued: u64) -> Option<Refusal> {
        let limit = self.max_certificates.filter(|limit| issued >= *limit)?;
        let reason = format!("the CA has issued {issued} certificates, and may issue {limit}");
        Some(Refusal::Policy { rule: "max_certificates", reason })
    }

    pub(crate) fn check_days(&self, days: u32, folder: &Path) -> Result<(), Error> {
        match self.max_days {
            Some(longest) if days > longest => {
                Err(Error::TooManyDays { path: folder.join(FILE), days, longest })
            }
            _ => Ok(()),
        }
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.identities() == other.identities()
            && self.max_days == other.max_days
            && self.max_certificates == other.max_certificates
            && self.key_types == other.key_types
    }
}

impl Eq for Policy {}

/// A pattern stands for whole names, so that `pump` does not allow `my-pump-2`.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // Alone first: what is no pattern by itself must not become one between the parentheses.
    Regex::new(pattern)?;
    Regex::new(&format!("{BEGIN}{pattern}{END}"))
}

fn inner(regex: &Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END)).unwrap_or(text)
}

mod pattern {
    use regex::Regex;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(regex: &Option<Regex>, out: S) -> Result<S::Ok, S::Error> {
        match regex {
            Some(regex) => out.serialize_str(super::inner(regex)),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Regex>, D::Error> {
        let text = Option::<String>::deserialize(input)?;
        text.map(|text| super::whole(&text)).transpose().map_err(D::Error::custom)
    }
}

/// The policy's file beside a CA.
pub(crate) const FILE: &str = "policy.toml";
const BEGIN: &str = "^(?:";
const END: &str = ")$";
const MAX_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> IdentityId {
        IdentityId::from_common_name(name).unwrap()
    }

    #[test]
    fn a_pattern_is_for_the_whole_name() {
        let policy = Policy::new().with_identities("pump|valve").unwrap();
        assert!(policy.refusal(&id("pump"), None).is_none());
        for name in ["pump2", "my-pump", "valve/m"] {
            let refusal = policy.refusal(&id(name), None).unwrap().to_string();
            assert!(refusal.contains("`identities`") && refusal.contains("pump|valve"), "{refusal}");
        }
    }

    #[test]
    fn a_key_of_no_known_kind_is_of_no_allowed_kind() {
        let policy = Policy::new().with_key_types([KeyType::P256, KeyType::Rsa2048]);
        assert!(policy.refusal(&id("d"), Some(KeyType::Rsa2048)).is_none());
        for other in [None, Some(KeyType::P384)] {
            assert!(matches!(
                policy.refusal(&id("d"), other),
                Some(Refusal::Policy { rule: "key_types", .. })
            ));
        }
    }

    #[test]
    fn the_last_certificate_is_the_last() {
        let policy = Policy::new().with_max_certificates(2);
        assert!(policy.refusal_after(1).is_none());
        assert!(matches!(policy.refusal_after(2), Some(Refusal::Policy { rule: "max_certificates", .. })));
    }

    #[test]
    fn a_mistake_in_the_file_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        for (text, told) in [
            ("max_days = 30\nidentitys = \"a\"", "identitys"),
            ("identities = \"(\"", "unclosed"),
            ("max_days = -1", "max_days"),
        ] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let error = Policy::read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_pattern_can_not_escape_its_parentheses() {
        assert!(matches!(Policy::new().with_identities("a)|(?:.*"), Err(Error::BadPattern { .. })));
    }
}

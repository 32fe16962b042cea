//! [`Policy`]: what a CA may issue, in `policy.toml` beside it.

use std::net::IpAddr;
use std::path::Path;

use cli_support::wrong_form::TomlMistake;
use hub_types::IdentityId;
use ipnet::IpNet;
use regex::Regex;
use serde::{Deserialize, Serialize};
use time::Duration;

use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::keys::private::KeyType;
use crate::platform::fs;
use crate::x509::extended_key_usage::ExtendedKeyUsage;
use crate::x509::oid::parse_oid;
use crate::x509::publication::Publication;

/// The rules for what a CA may issue. A missing rule limits nothing.
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
    /// A regular expression that a whole subject without its common name must match.
    #[serde(default, with = "pattern", skip_serializing_if = "Option::is_none")]
    subjects: Option<Regex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_key_usages: Option<Vec<String>>,
    #[serde(default, with = "pattern", skip_serializing_if = "Option::is_none")]
    dns_names: Option<Regex>,
    #[serde(default, with = "pattern", skip_serializing_if = "Option::is_none")]
    uris: Option<Regex>,
    #[serde(default, with = "networks", skip_serializing_if = "Option::is_none")]
    ip_addresses: Option<Vec<IpNet>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Vec<String>>,
    /// The addresses in what the issuing CA signs.
    #[serde(default, skip_serializing_if = "Publication::is_empty")]
    publication: Publication,
    /// The addresses in what the root beside it signs.
    #[serde(default, skip_serializing_if = "Publication::is_empty")]
    root_publication: Publication,
    /// The text of the file, for the lines of its rules.
    #[serde(skip)]
    text: String,
}

/// One of the two CAs that a folder may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The root, which signs CAs.
    Root,
    /// The CA that signs devices' certificates, and CAs where its path length allows.
    Issuing,
}

/// A kind of alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameKind {
    Dns,
    Ip,
    Uri,
}

impl NameKind {
    /// The key in a profile.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Dns => "san.dns",
            Self::Ip => "san.ip",
            Self::Uri => "san.uri",
        }
    }
}

impl Policy {
    /// One that limits nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only identities whose whole common name matches a regular expression.
    pub fn with_identities(mut self, pattern: &str) -> Result<Self, Error> {
        self.identities = Some(compiled(pattern)?);
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

    /// Only subjects that match a regular expression as a whole, without their common names: `C=DE,O=Acme`.
    pub fn with_subjects(mut self, pattern: &str) -> Result<Self, Error> {
        self.subjects = Some(compiled(pattern)?);
        Ok(self)
    }

    /// Only these purposes of keys, by name or OID; clientAuth is always one of them.
    pub fn with_extended_key_usages(mut self, usages: impl IntoIterator<Item = String>) -> Self {
        let mut usages: Vec<_> = usages.into_iter().collect();
        if !usages.iter().any(|usage| usage == CLIENT_AUTH) {
            usages.insert(0, CLIENT_AUTH.to_owned());
        }
        self.extended_key_usages = Some(usages);
        self
    }

    /// Only DNS names that match a regular expression as a whole.
    pub fn with_dns_names(mut self, pattern: &str) -> Result<Self, Error> {
        self.dns_names = Some(compiled(pattern)?);
        Ok(self)
    }

    /// Only URIs that match a regular expression as a whole.
    pub fn with_uris(mut self, pattern: &str) -> Result<Self, Error> {
        self.uris = Some(compiled(pattern)?);
        Ok(self)
    }

    /// Only IP addresses in these networks.
    pub fn with_ip_addresses(mut self, networks: impl IntoIterator<Item = IpNet>) -> Self {
        self.ip_addresses = Some(networks.into_iter().collect());
        self
    }

    /// Only extensions of one's own with these OIDs.
    pub fn with_extensions(mut self, oids: impl IntoIterator<Item = String>) -> Self {
        self.extensions = Some(oids.into_iter().collect());
        self
    }

    /// The rules that bind profiles, by their names, as they are written.
    pub fn profile_rules(&self) -> Vec<(&'static str, String)> {
        let joined = |list: &[String]| list.join(" ");
        let networks = |list: &[IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        [
            ("subjects", self.subjects.as_ref().map(|it| inner(it).to_owned())),
            ("extended_key_usages", self.extended_key_usages.as_deref().map(joined)),
            ("dns_names", self.dns_names.as_ref().map(|it| inner(it).to_owned())),
            ("uris", self.uris.as_ref().map(|it| inner(it).to_owned())),
            ("ip_addresses", self.ip_addresses.as_deref().map(networks)),
            ("extensions", self.extensions.as_deref().map(joined)),
        ]
        .into_iter()
        .filter_map(|(rule, value)| Some((rule, value?)))
        .collect()
    }

    /// The addresses at which one of the CAs of the folder publishes its list and its certificate.
    pub fn with_publication(mut self, tier: Tier, publication: Publication) -> Self {
        match tier {
            Tier::Root => self.root_publication = publication,
            Tier::Issuing => self.publication = publication,
        }
        self
    }

    /// The addresses in the certificates that one of the CAs of the folder signs.
    pub fn publication(&self, tier: Tier) -> &Publication {
        match tier {
            Tier::Root => &self.root_publication,
            Tier::Issuing => &self.publication,
        }
    }

    /// The regular expression for common names.
    pub fn identities(&self) -> Option<&str> {
        self.identities.as_ref().map(inner)
    }

    /// Returns the longest lifetime of a certificate, in days.
    pub fn max_days(&self) -> Option<u32> {
        self.max_days
    }

    /// Returns the highest number of certificates.
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
        if !fs::is_present(&path)? {
            return Ok(Self::default());
        }
        let bytes = fs::read_bounded(&path, MAX_BYTES)?;
        let bad = |reason: String| Error::BadPolicy { path: path.clone(), reason };
        let text = cli_support::text::decode(&bytes).map_err(|error| bad(error.to_string()))?;
        let policy: Self =
            toml::from_str(&text).map_err(|error| bad(TomlMistake::new(&text, &error).to_string()))?;
        let policy = Self { text: text.as_str().to_owned(), ..policy };
        policy.check_rules().map_err(bad)?;
        Ok(policy)
    }

    fn check_rules(&self) -> Result<(), String> {
        self.check_possible()?;
        self.check_usages()?;
        self.check_extensions()
    }

    /// Refuses rules that no certificate could keep.
    fn check_possible(&self) -> Result<(), String> {
        if self.max_days == Some(0) {
            return Err(format!("{} allows no certificate: it must be 1 or more", self.rule("max_days")));
        }
        if self.key_types.as_ref().is_some_and(Vec::is_empty) {
            return Err(format!("{} allows no key: it must list one or more", self.rule("key_types")));
        }
        Ok(())
    }

    /// Checks the OIDs of the extensions that are allowed.
    fn check_extensions(&self) -> Result<(), String> {
        let oids = self.extensions.iter().flatten();
        match oids.map(|oid| parse_oid(oid)).find_map(Result::err) {
            Some(reason) => Err(format!("{}: {reason}", self.rule("extensions"))),
            None => Ok(()),
        }
    }

    /// Checks the purposes of keys that are allowed.
    fn check_usages(&self) -> Result<(), String> {
        let Some(usages) = &self.extended_key_usages else { return Ok(()) };
        let lacks_client = !usages.iter().any(|usage| usage == CLIENT_AUTH);
        match usages.iter().find_map(|usage| ExtendedKeyUsage::parse(usage).err()) {
            Some(reason) => Err(format!("{}: {reason}", self.rule("extended_key_usages"))),
            None if lacks_client => {
                Err("rule `extended_key_usages` lacks clientAuth, without which no hub lets a device in"
                    .to_owned())
            }
            None => Ok(()),
        }
    }

    /// Makes this the policy of the CA in a folder.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(FILE);
        self.check_rules().map_err(|reason| Error::BadPolicy { path: path.clone(), reason })?;
        let text = toml::to_string(self).map_err(|_| Error::Crypto("writing a policy"))?;
        fs::replace_private(&path, text.as_bytes())
    }

    /// Returns the reason why an identity gets no certificate for a key, if there is one; the key
    /// type `None` stands for any other kind of key.
    pub(crate) fn refusal(&self, identity: &IdentityId, key_type: Option<KeyType>) -> Option<Refusal> {
        if let Some(refusal) = self.refusal_of_identity(identity) {
            return Some(refusal);
        }
        let allowed = self.key_types.as_ref()?;
        if key_type.is_some_and(|key_type| allowed.contains(&key_type)) {
            return None;
        }
        let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
        let found = key_type.map_or_else(|| "of a different kind".to_owned(), |it| it.to_string());
        let reason = format!("its key is {found}, allowed are {}", allowed.join(", "));
        Some(Refusal::Policy { rule: "key_types", reason })
    }

    /// Returns the reason why an identity gets no certificate for any key, if there is one.
    pub(crate) fn refusal_of_identity(&self, identity: &IdentityId) -> Option<Refusal> {
        let pattern = self.identities.as_ref().filter(|it| !it.is_match(&identity.common_name()))?;
        let reason = format!("its common name does not match `{}`", inner(pattern));
        Some(Refusal::Policy { rule: "identities", reason })
    }

    /// Returns the reason why no further certificate can be issued after so many, if there is one.
    pub(crate) fn refusal_after(&self, issued: u64) -> Option<Refusal> {
        let limit = self.max_certificates.filter(|limit| issued >= *limit)?;
        let reason = format!("the CA has issued {issued} certificates, and may issue {limit}");
        Some(Refusal::Policy { rule: "max_certificates", reason })
    }

    /// Returns whether there is a rule for subjects.
    pub(crate) fn has_subject_rule(&self) -> bool {
        self.subjects.is_some()
    }

    /// Checks a subject without its common name.
    pub(crate) fn check_subject(&self, subject: &str) -> Result<(), String> {
        self.check_pattern("subjects", self.subjects.as_ref(), subject)
    }

    pub(crate) fn check_name(&self, kind: NameKind, name: &str) -> Result<(), String> {
        match kind {
            NameKind::Dns => self.check_pattern("dns_names", self.dns_names.as_ref(), name),
            NameKind::Uri => self.check_pattern("uris", self.uris.as_ref(), name),
            NameKind::Ip => {
                let (Some(networks), Ok(address)) = (&self.ip_addresses, name.parse::<IpAddr>()) else {
                    return Ok(());
                };
                match networks.iter().any(|network| network.contains(&address)) {
                    true => Ok(()),
                    false => Err(format!("{} does not allow `{name}`", self.rule("ip_addresses"))),
                }
            }
        }
    }

    pub(crate) fn check_extended_key_usage(&self, usage: &ExtendedKeyUsage) -> Result<(), String> {
        let allowed = self.extended_key_usages.as_ref();
        let is_allowed = |list: &Vec<String>| {
            list.iter().any(|allowed| ExtendedKeyUsage::parse(allowed).is_ok_and(|allowed| allowed == *usage))
        };
        match allowed.is_none_or(is_allowed) {
            true => Ok(()),
            false => {
                Err(format!("{} does not allow `{}`", self.rule("extended_key_usages"), usage.to_text()))
            }
        }
    }

    pub(crate) fn check_extension(&self, oid: &str) -> Result<(), String> {
        match self.extensions.as_ref().is_none_or(|allowed| allowed.iter().any(|allowed| allowed == oid)) {
            true => Ok(()),
            false => Err(format!("{} does not allow `{oid}`", self.rule("extensions"))),
        }
    }

    /// Checks how long a certificate is valid.
    pub(crate) fn check_span(&self, span: Duration) -> Result<(), String> {
        match self.max_days {
            Some(longest) if span > Duration::days(longest.into()) => {
                let days = (span.as_seconds_f64() / Duration::DAY.as_seconds_f64()).ceil();
                Err(format!("{} allows {longest} days, not {days}", self.rule("max_days")))
            }
            _ => Ok(()),
        }
    }

    fn check_pattern(&self, rule: &str, pattern: Option<&Regex>, value: &str) -> Result<(), String> {
        match pattern.filter(|pattern| !pattern.is_match(value)) {
            None => Ok(()),
            Some(pattern) => Err(format!(
                "`{value}` does not match `{}`, which {} asks for",
                inner(pattern),
                self.rule(rule)
            )),
        }
    }

    /// A rule with the line of the file on which it stands.
    fn rule(&self, name: &str) -> String {
        let line = self.text.lines().position(|line| {
            line.trim_start().strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
        });
        match line {
            Some(line) => format!("rule `{name}` of the policy ({FILE}:{})", line + 1),
            None => format!("rule `{name}` of the policy"),
        }
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
            && self.profile_rules() == other.profile_rules()
            && self.publication == other.publication
            && self.root_publication == other.root_publication
    }
}

impl Eq for Policy {}

/// A pattern stands for whole names, so that `pump` does not allow `my-pump-2`.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // Alone first: what is no pattern by itself must not become one between the parentheses.
    Regex::new(pattern)?;
    Regex::new(&format!("{BEGIN}{pattern}{END}"))
}

fn compiled(pattern: &str) -> Result<Regex, Error> {
    whole(pattern).map_err(|error| Error::BadPattern { source: one_line(&error).into() })
}

/// The fault of a pattern, without the lines that show where it is.
fn one_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

fn inner(regex: &Regex) -> &str {
    let text = regex.as_str();
    text.strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END)).unwrap_or(text)
}

mod networks {
    use ipnet::IpNet;
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(networks: &Option<Vec<IpNet>>, out: S) -> Result<S::Ok, S::Error> {
        networks.as_ref().map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>()).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Vec<IpNet>>, D::Error> {
        let parse = |text: String| {
            text.parse::<IpNet>()
                .map_err(|_| D::Error::custom(format!("`{text}` is not a network as 10.0.0.0/8")))
        };
        let texts = Option::<Vec<String>>::deserialize(input)?;
        texts.map(|texts| texts.into_iter().map(parse).collect()).transpose()
    }
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
        text.map(|text| super::whole(&text))
            .transpose()
            .map_err(|error| D::Error::custom(super::one_line(&error)))
    }
}

/// The policy's file beside a CA.
pub(crate) const FILE: &str = "policy.toml";
const CLIENT_AUTH: &str = "clientAuth";
/// The files beside a CA that say what it may issue, and how.
pub(crate) const FILES: [&str; 2] = [FILE, "profile.toml"];
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
            ("max_days = 0", "rule `max_days` of the policy (policy.toml:1) allows no certificate"),
            (
                "identities = \"a\"\nkey_types = []",
                "rule `key_types` of the policy (policy.toml:2) allows no key",
            ),
            ("max_days = -1", "line 1, column 12: `max_days`: a value out of range: integer `-1`"),
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

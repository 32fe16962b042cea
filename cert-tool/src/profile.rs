//! [`Profiles`]: what certificates say beyond an identity and its key, in `profile.toml` beside the CA.
//!
//! A profile is compiled once and encoded once as a template ([`leaf_template`](crate::x509::leaf_template)); for each certificate only its
//! templates are filled in.

mod alternative_name;
mod attribute;
mod columns;
mod der;
mod file;
mod own_extension;
pub(crate) mod points;
mod previous;
mod row_check;
mod subject;
mod template;

use hub_types::shown::ShownPath;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;

use crate::encoding::time::rfc3339;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::policy::{NameKind, Policy};
use crate::x509::extended_key_usage::ExtendedKeyUsage;
use crate::x509::leaf_template::ProfileParts;
use crate::x509::publication::Publication;
use alternative_name::NameTemplate;
pub(crate) use attribute::check_common_name;
pub(crate) use columns::RowValues;
pub use columns::{Columns, ProfileRow};
use own_extension::OwnExtension;
pub(crate) use previous::parts_of_a_profile;
pub use row_check::RowCheck;
pub(crate) use subject::{SubjectTemplate, ca_subject, rest_of_subject};

/// The profiles of a CA by their names.
#[derive(Debug, Clone, Default)]
pub struct Profiles {
    profiles: BTreeMap<String, Profile>,
}

/// The parts that the certificates of one kind have beside an identity and its key.
#[derive(Debug, Clone)]
pub struct Profile {
    name: String,
    /// The file, and the line on which the profile begins.
    path: PathBuf,
    line: usize,
    subject: Option<SubjectTemplate>,
    subject_line: usize,
    extended_key_usages: Vec<ExtendedKeyUsage>,
    dates: ProfileDates,
    names: Vec<NameTemplate>,
    own: Vec<OwnExtension>,
    /// The extensions that are the same for every row, in DER.
    fixed_extensions: Vec<u8>,
    crl_distribution_points: Vec<String>,
    ca_issuers: Vec<String>,
    ocsp: Vec<String>,
}

/// The dates of certificates, where a profile has its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ProfileDates {
    pub(crate) days: Option<u32>,
    pub(crate) not_before: Option<OffsetDateTime>,
    pub(crate) not_after: Option<OffsetDateTime>,
}

impl Profiles {
    /// Reads the profiles of the CA in a folder; without a file there are none.
    pub fn read(folder: &Path, policy: &Policy) -> Result<Self, Error> {
        file::read(folder, policy)
    }

    /// The profile with a name.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// The profile with a name that a call chose, which must exist.
    pub fn find(&self, name: &str) -> Result<&Profile, Error> {
        self.get(name).ok_or_else(|| Error::ProfileChoice(self.unknown(name)))
    }

    /// All profiles, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values()
    }

    /// Says that there is no profile with a name, and which there are.
    pub fn unknown(&self, name: &str) -> String {
        match self.profiles.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") {
            known if known.is_empty() => {
                format!("there is no profile `{name}`: the CA has no `{}`", file::FILE)
            }
            known => format!("there is no profile `{name}`; the CA has {known}"),
        }
    }
}

impl Profile {
    /// The profile of a call that names none, with the subject that was given on its own.
    pub(crate) fn of_subject(subject: SubjectTemplate) -> Self {
        Self { subject: Some(subject), ..Self::plain() }
    }

    /// A profile that adds nothing.
    fn plain() -> Self {
        Self {
            name: String::new(),
            path: PathBuf::new(),
            line: 0,
            subject: None,
            subject_line: 0,
            extended_key_usages: vec![ExtendedKeyUsage::ClientAuth],
            dates: ProfileDates::default(),
            names: Vec::new(),
            own: Vec::new(),
            fixed_extensions: Vec::new(),
            crl_distribution_points: Vec::new(),
            ca_issuers: Vec::new(),
            ocsp: Vec::new(),
        }
    }

    /// The addresses of the CA that certificates have beside those of the profile: a profile's own take their places.
    pub(crate) fn addresses_beside(&self, of_ca: &Publication) -> Publication {
        of_ca.without(
            !self.crl_distribution_points.is_empty(),
            !(self.ca_issuers.is_empty() && self.ocsp.is_empty()),
        )
    }

    /// The same with a subject; `None` where it has one of its own.
    pub(crate) fn with_subject(&self, subject: SubjectTemplate) -> Option<Self> {
        self.subject.is_none().then(|| Self { subject: Some(subject), ..self.clone() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file and the line on which the profile begins.
    pub fn place(&self) -> String {
        self.place_of(self.line)
    }

    /// Returns a short description of what the profile adds to a certificate.
    pub fn summary(&self) -> String {
        let mut words = Vec::new();
        if self.subject.is_some() {
            words.push("subject".to_owned());
        }
        let usages: Vec<_> = self.extended_key_usages.iter().map(ExtendedKeyUsage::to_text).collect();
        words.push(usages.join("+"));
        for kind in [NameKind::Dns, NameKind::Ip, NameKind::Uri] {
            let count = self.names.iter().filter(|name| name.kind == kind).count();
            if count > 0 {
                words.push(format!("{count} {}", kind.key()));
            }
        }
        words.extend(self.own.iter().map(|own| format!("extension {}", own.oid)));
        words.extend(self.dates.days.map(|days| format!("{days} days")));
        words.extend(self.dates.not_before.map(|date| format!("from {}", rfc3339(date))));
        words.extend(self.dates.not_after.map(|date| format!("until {}", rfc3339(date))));
        for (count, what) in [
            (self.crl_distribution_points.len(), "CRL distribution points"),
            (self.ca_issuers.len(), "CA issuers"),
            (self.ocsp.len(), "OCSP responders"),
        ] {
            if count > 0 {
                words.push(format!("{count} {what}"));
            }
        }
        words.join(", ")
    }

    pub(crate) fn extended_key_usages(&self) -> &[ExtendedKeyUsage] {
        &self.extended_key_usages
    }

    pub(crate) fn has_subject(&self) -> bool {
        self.subject.is_some()
    }

    /// Builds an error about the profile, with its place.
    pub(crate) fn fault(&self, reason: String) -> Error {
        Error::BadProfile {
            path: self.path.clone(),
            line: self.line,
            reason: format!("profile `{}`: {reason}", self.name),
        }
    }

    pub(crate) fn dates(&self) -> ProfileDates {
        self.dates
    }

    /// Tells whether it has addresses of revocation lists, certificates of CAs or OCSP responders.
    pub fn has_addresses(&self) -> bool {
        [&self.crl_distribution_points, &self.ca_issuers, &self.ocsp].iter().any(|all| !all.is_empty())
    }

    /// Tells whether it sets how long certificates are valid.
    pub fn has_dates(&self) -> bool {
        self.dates != ProfileDates::default()
    }

    /// Builds the parts of a certificate for a row, or returns the reason why it can't be made.
    pub(crate) fn render(&self, row: RowValues<'_>, policy: &Policy) -> Result<ProfileParts, Refusal> {
        let refusal = |line, key: &str, reason| self.refusal(line, key, reason);
        let mut parts = ProfileParts::default();
        if let Some(subject) = &self.subject {
            let rendered = subject.render(row, policy.has_subject_rule());
            let rendered = rendered.map_err(|reason| refusal(self.subject_line, "subject", reason))?;
            policy.check_subject(&rendered.text).map_err(|it| refusal(self.subject_line, "subject", it))?;
            parts.subject = rendered.der;
        }
        let mut value = String::new();
        if !self.names.is_empty() {
            parts.extensions.reserve(256);
            der::wrap(&mut parts.extensions, der::SEQUENCE, |out| {
                der::push(out, der::OBJECT_IDENTIFIER, SUBJECT_ALT_NAME);
                der::wrap(out, der::OCTET_STRING, |out| {
                    alternative_name::render(&self.names, row, policy, &mut value, out)
                })
            })
            .map_err(|(kind, line, reason)| refusal(line, kind.key(), reason))?;
        }
        for own in &self.own {
            let rendered = own.render(row, &mut value, &mut parts.extensions);
            rendered.map_err(|it| refusal(own.line, &format!("extensions.{}", own.form.key()), it))?;
        }
        parts.extensions.extend_from_slice(&self.fixed_extensions);
        Ok(parts)
    }

    fn refusal(&self, line: usize, key: &str, reason: String) -> Refusal {
        let place = self.place_of(line);
        let profile = if self.name.is_empty() { place } else { format!("`{}` ({place})", self.name) };
        Refusal::Profile { profile, reason: format!("`{key}`: {reason}") }
    }

    fn place_of(&self, line: usize) -> String {
        match self.path.as_os_str().is_empty() {
            true => "--subject".to_owned(),
            false => format!("{}:{line}", ShownPath(&self.path)),
        }
    }
}

/// id-ce-subjectAltName, 2.5.29.17.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

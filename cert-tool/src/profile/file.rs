//! The file `profile.toml`: read, checked by itself and against the CA's policy.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use cli_support::wrong_form::TomlMistake;
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::{Spanned, Value};

use super::alternative_name::NameTemplate;
use super::own_extension::{self, OwnExtension, ValueForm};
use super::points;
use super::subject::SubjectTemplate;
use super::template::Template;
use super::{Profile, ProfileDates, Profiles};
use crate::error::Error;
use crate::platform::fs;
use crate::policy::{NameKind, Policy};
use crate::x509::extended_key_usage::ExtendedKeyUsage;
use crate::x509::oid::parse_oid;

/// A profile as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    subject: Option<Spanned<String>>,
    extended_key_usages: Option<Vec<Spanned<String>>>,
    days: Option<Spanned<u32>>,
    not_before: Option<Spanned<Value>>,
    not_after: Option<Spanned<Value>>,
    #[serde(default)]
    san: WrittenNames,
    #[serde(default)]
    crl_distribution_points: Vec<Spanned<String>>,
    #[serde(default)]
    ca_issuers: Vec<Spanned<String>>,
    #[serde(default)]
    ocsp: Vec<Spanned<String>>,
    #[serde(default)]
    extensions: Vec<Spanned<WrittenExtension>>,
    // What a profile can't say, so that it is refused by name.
    ca: Option<Spanned<Value>>,
    basic_constraints: Option<Spanned<Value>>,
    path_length: Option<Spanned<Value>>,
    key_usages: Option<Spanned<Value>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenNames {
    #[serde(default)]
    dns: Vec<Spanned<String>>,
    #[serde(default)]
    uri: Vec<Spanned<String>>,
    #[serde(default)]
    ip: Vec<Spanned<String>>,
    // Names by which a user or an account is found, so that they are refused by name.
    upn: Option<Spanned<Value>>,
    #[serde(alias = "otherName", alias = "othername")]
    other_name: Option<Spanned<Value>>,
    #[serde(alias = "rfc822")]
    email: Option<Spanned<Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenExtension {
    oid: Spanned<String>,
    critical: Option<Spanned<bool>>,
    der: Option<Spanned<String>>,
    ia5: Option<Spanned<String>>,
    integer: Option<Spanned<String>>,
    octets: Option<Spanned<String>>,
    utf8: Option<Spanned<String>>,
}

/// Reads the profiles of the CA in a folder; without a file there are none.
pub(super) fn read(folder: &Path, policy: &Policy) -> Result<Profiles, Error> {
    let path = folder.join(FILE);
    if !fs::is_present(&path)? {
        return Ok(Profiles::default());
    }
    let bytes = fs::read_bounded(&path, MAX_BYTES)?;
    let bad = |line, reason| Error::BadProfile { path: path.clone(), line, reason };
    let text = cli_support::text::decode(&bytes).map_err(|error| bad(error.line(), error.to_string()))?;
    let written: BTreeMap<Spanned<String>, Spanned<Written>> = toml::from_str(&text).map_err(|error| {
        let mistake = TomlMistake::new(&text, &error);
        bad(mistake.line, format!("column {}: {}", mistake.column, mistake.reason))
    })?;
    let reader = Reader { path: &path, text: &text, policy };
    let profiles = written.into_iter().map(|(name, written)| {
        let profile = reader.profile(&name, written).map_err(|(place, reason)| {
            bad(line_of(&text, place), format!("profile `{}`: {reason}", name.get_ref()))
        })?;
        Ok((name.into_inner(), profile))
    });
    Ok(Profiles { profiles: profiles.collect::<Result<_, Error>>()? })
}

/// A fault and the byte at which it stands.
type Fault = (usize, String);

struct Reader<'a> {
    path: &'a PathBuf,
    text: &'a str,
    policy: &'a Policy,
}

impl Reader<'_> {
    fn profile(&self, name: &Spanned<String>, written: Spanned<Written>) -> Result<Profile, Fault> {
        let place = name.span().start;
        check_profile_name(name.get_ref()).map_err(|reason| (place, reason))?;
        let written = written.into_inner();
        refuse_ca(&written)?;
        let dates = self.dates(&written)?;
        let (subject, subject_line) = match &written.subject {
            Some(text) => (Some(self.subject(text)?), self.line(text)),
            None => (None, 0),
        };
        let extended_key_usages = self.extended_key_usages(written.extended_key_usages.as_deref())?;
        let names = self.names(&written.san)?;
        if extended_key_usages.contains(&ExtendedKeyUsage::ServerAuth) && names.is_empty() {
            let place = written
                .extended_key_usages
                .as_deref()
                .and_then(<[_]>::first)
                .map_or(place, |it| it.span().start);
            let reason = "`extended_key_usages` has serverAuth, but there is no name under `san`: clients find a server's name there only (RFC 6125)";
            return Err((place, reason.to_owned()));
        }
        let own = self.own_extensions(written.extensions)?;
        let [crl_distribution_points, ca_issuers, ocsp] = [
            ("crl_distribution_points", written.crl_distribution_points),
            ("ca_issuers", written.ca_issuers),
            ("ocsp", written.ocsp),
        ]
        .map(|(key, addresses)| {
            for address in &addresses {
                points::check(address.get_ref())
                    .map_err(|it| (address.span().start, format!("`{key}`: {it}")))?;
            }
            Ok::<Vec<String>, Fault>(addresses.into_iter().map(Spanned::into_inner).collect())
        });
        let (crl_distribution_points, ca_issuers, ocsp) = (crl_distribution_points?, ca_issuers?, ocsp?);
        let mut fixed_extensions = Vec::new();
        let encoding = || (place, "its distribution points can't be encoded".to_owned());
        if !crl_distribution_points.is_empty() {
            fixed_extensions
                .extend(points::crl_distribution_points(&crl_distribution_points).ok_or_else(encoding)?);
        }
        if !ca_issuers.is_empty() || !ocsp.is_empty() {
            fixed_extensions.extend(points::authority_information(&ca_issuers, &ocsp).ok_or_else(encoding)?);
        }
        Ok(Profile {
            name: name.get_ref().clone(),
            path: self.path.clone(),
            line: line_of(self.text, place),
            subject,
            subject_line,
            extended_key_usages,
            dates,
            names,
            own,
            fixed_extensions,
            crl_distribution_points,
            ca_issuers,
            ocsp,
        })
    }

    fn subject(&self, text: &Spanned<String>) -> Result<SubjectTemplate, Fault> {
        let fault = |reason: String| (text.span().start, format!("`subject`: {reason}"));
        let subject = SubjectTemplate::parse(text.get_ref()).map_err(fault)?;
        if subject.common_name().is_some() {
            return Err(fault("it has a second CN; the CN of a device or module is its identity".to_owned()));
        }
        if let Some(text) = subject.fixed_text() {
            self.policy.check_subject(&text).map_err(fault)?;
        }
        Ok(subject)
    }

    fn extended_key_usages(
        &self,
        written: Option<&[Spanned<String>]>,
    ) -> Result<Vec<ExtendedKeyUsage>, Fault> {
        let Some(written) = written else { return Ok(vec![ExtendedKeyUsage::ClientAuth]) };
        let mut usages = Vec::new();
        for text in written {
            let fault = |reason: String| (text.span().start, format!("`extended_key_usages`: {reason}"));
            let usage = ExtendedKeyUsage::parse(text.get_ref()).map_err(fault)?;
            self.policy.check_extended_key_usage(&usage).map_err(fault)?;
            if usages.contains(&usage) {
                return Err(fault(format!("`{}` stands there twice", text.get_ref())));
            }
            usages.push(usage);
        }
        if !usages.contains(&ExtendedKeyUsage::ClientAuth) {
            let place = written.first().map_or(0, |first| first.span().start);
            let reason = "`extended_key_usages` lacks clientAuth, without which no hub lets a device in";
            return Err((place, reason.to_owned()));
        }
        Ok(usages)
    }

    fn names(&self, written: &WrittenNames) -> Result<Vec<NameTemplate>, Fault> {
        let all = [(NameKind::Dns, &written.dns), (NameKind::Uri, &written.uri), (NameKind::Ip, &written.ip)];
        let of_users =
            [("upn", &written.upn), ("other_name", &written.other_name), ("email", &written.email)];
        for (key, value) in of_users {
            if let Some(value) = value {
                let reason = format!(
                    "`san.{key}`: it names a user, by which Windows and others give an account's rights; a device has `dns`, `uri` and `ip`"
                );
                return Err((value.span().start, reason));
            }
        }
        let mut names: Vec<NameTemplate> = Vec::new();
        let mut seen = HashSet::new();
        for (kind, text) in
            all.into_iter().flat_map(|(kind, texts)| texts.iter().map(move |text| (kind, text)))
        {
            let fault = |reason: String| (text.span().start, format!("`{}`: {reason}", kind.key()));
            let value = Template::compile(text.get_ref()).map_err(fault)?;
            if let Some(name) = value.fixed() {
                kind.encode(name, &mut Vec::new()).map_err(fault)?;
                self.policy.check_name(kind, name).map_err(fault)?;
            }
            if !seen.insert(text.get_ref().to_ascii_lowercase()) {
                return Err(fault(format!("`{}` stands there twice", text.get_ref())));
            }
            names.push(NameTemplate { kind, value, line: self.line(text) });
        }
        Ok(names)
    }

    fn own_extensions(&self, written: Vec<Spanned<WrittenExtension>>) -> Result<Vec<OwnExtension>, Fault> {
        let mut own: Vec<OwnExtension> = Vec::new();
        for extension in written {
            let place = extension.span().start;
            let WrittenExtension { oid, critical, der, ia5, integer, octets, utf8 } = extension.into_inner();
            let oid_place = oid.span().start;
            let fault = |reason: String| (oid_place, format!("`extensions.oid`: {reason}"));
            let parsed = parse_oid(oid.get_ref()).map_err(fault)?;
            if let Some(reason) = own_extension::refusal(parsed) {
                return Err(fault(reason));
            }
            if own.iter().any(|other| other.oid == parsed) {
                return Err(fault(format!("`{parsed}` stands there twice")));
            }
            self.policy.check_extension(&parsed.to_string()).map_err(fault)?;
            if let Some(critical) = critical.filter(|critical| *critical.get_ref()) {
                let reason = "`extensions.critical`: no hub knows an extension of yours, and who does not know a critical one must refuse the certificate (RFC 5280 §4.2)";
                return Err((critical.span().start, reason.to_owned()));
            }
            let forms = [
                (ValueForm::Der, der),
                (ValueForm::Ia5, ia5),
                (ValueForm::Integer, integer),
                (ValueForm::Octets, octets),
                (ValueForm::Utf8, utf8),
            ];
            let mut given = forms.into_iter().filter_map(|(form, text)| Some((form, text?)));
            let (Some((form, text)), None) = (given.next(), given.next()) else {
                let reason = format!(
                    "the extension {parsed} needs one value: `utf8`, `ia5`, `integer`, `octets` or `der`"
                );
                return Err((place, reason));
            };
            let fault =
                |reason: String| (text.span().start, format!("`extensions.{}`: {reason}", form.key()));
            let value = Template::compile(text.get_ref()).map_err(fault)?;
            if let Some(text) = value.fixed() {
                form.encode(text).map_err(fault)?;
            }
            own.push(OwnExtension { oid: parsed, form, value, line: self.line(&text) });
        }
        Ok(own)
    }

    fn dates(&self, written: &Written) -> Result<ProfileDates, Fault> {
        if let (Some(days), Some(_)) = (&written.days, &written.not_after) {
            let reason = "`days` and `not_after` are both given: a certificate has one end";
            return Err((days.span().start, reason.to_owned()));
        }
        let days_place = written.days.as_ref().map_or(0, |days| days.span().start);
        let days = written.days.as_ref().map(|days| match *days.get_ref() {
            0 => Err((
                days.span().start,
                "`days` is 0: a certificate is valid for one day at least".to_owned(),
            )),
            days if days > MAX_DAYS => {
                Err((days_place, format!("`days` is {days}: it leads beyond the year 9999")))
            }
            days => Ok(days),
        });
        let date = |key, value: &Option<Spanned<Value>>, time| {
            let Some(value) = value else { return Ok(None) };
            let parsed = parse_date(value.get_ref(), time);
            parsed.map(Some).ok_or_else(|| {
                let reason =
                    format!("`{key}` is not a day as 2027-01-31 nor a moment as 2027-01-31T12:00:00Z");
                (value.span().start, reason)
            })
        };
        let dates = ProfileDates {
            days: days.transpose()?,
            not_before: date("not_before", &written.not_before, "00:00:00")?,
            not_after: date("not_after", &written.not_after, "23:59:59")?,
        };
        let end_place = written.not_after.as_ref().map_or(0, |value| value.span().start);
        if let (Some(from), Some(until)) = (dates.not_before, dates.not_after) {
            if until <= from {
                return Err((end_place, "`not_after` is not later than `not_before`".to_owned()));
            }
            self.policy
                .check_span(until - from)
                .map_err(|reason| (end_place, format!("`not_after`: {reason}")))?;
        }
        if let (Some(days), Some(place)) = (dates.days, &written.days) {
            let span = time::Duration::days(days.into());
            self.policy
                .check_span(span)
                .map_err(|reason| (place.span().start, format!("`days`: {reason}")))?;
        }
        Ok(dates)
    }

    fn line<T>(&self, value: &Spanned<T>) -> usize {
        line_of(self.text, value.span().start)
    }
}

/// Refuses what would make a CA of a device.
fn refuse_ca(written: &Written) -> Result<(), Fault> {
    let asked = [
        ("ca", &written.ca),
        ("basic_constraints", &written.basic_constraints),
        ("path_length", &written.path_length),
    ];
    for (key, value) in asked {
        if let Some(value) = value {
            let reason = format!("`{key}`: a profile is for devices and modules, never for a CA (CA:TRUE)");
            return Err((value.span().start, reason));
        }
    }
    match &written.key_usages {
        Some(value) => Err((value.span().start, "`key_usages`: it is always digitalSignature".to_owned())),
        None => Ok(()),
    }
}

fn check_profile_name(name: &str) -> Result<(), String> {
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        return Err("a name has 1 to 64 letters, digits, hyphens, underscores and dots".to_owned());
    }
    match name {
        DEFAULT => Err("this name stands for the certificates without a profile".to_owned()),
        _ => Ok(()),
    }
}

/// A date of TOML or a text: a day, of which `time` is meant, or a moment.
fn parse_date(value: &Value, time: &str) -> Option<OffsetDateTime> {
    let text = match value {
        Value::Datetime(date) => date.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let moment = if text.contains(['T', ' ']) { text } else { format!("{text}T{time}Z") };
    let moment = OffsetDateTime::parse(&moment, &Rfc3339).ok()?;
    moment.truncate_to_second().checked_to_offset(time::UtcOffset::UTC)
}

fn line_of(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1
}

/// The profiles' file beside a CA.
pub(super) const FILE: &str = "profile.toml";
/// The name that stands for certificates without a profile.
const DEFAULT: &str = "default";
const MAX_BYTES: u64 = 1024 * 1024;
/// From the year 2025, the earliest that a clock may say, to 9999.
const MAX_DAYS: u32 = 2_912_800;

//! [`PreparedProfiles`]: the profiles of a CA, prepared for the certificates of one call.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hub_types::IdentityId;

use crate::ca::CertificateAuthority;
use crate::error::Error;
use crate::error::refusal::Refusal;
use crate::issue::request::IssueOptions;
use crate::policy::{Policy, Tier};
use crate::profile::{Profile, ProfileRow, Profiles, RowValues, SubjectTemplate};
use crate::x509::encoder::Validity;
use crate::x509::extended_key_usage::ExtendedKeyUsage;
use crate::x509::leaf_template::{LeafTemplates, ProfileParts};

/// The profiles of one call, and the one of rows without a profile.
pub(crate) struct PreparedProfiles<'a> {
    profiles: &'a Profiles,
    /// For rows that name no profile.
    base: PreparedProfile<'a>,
    /// Those that can't be used now have the reason.
    named: BTreeMap<&'a str, Result<PreparedProfile<'a>, String>>,
}

/// A profile with its templates and dates, or the same for certificates without a profile.
pub(crate) struct PreparedProfile<'a> {
    policy: &'a Policy,
    profile: Option<Cow<'a, Profile>>,
    /// The reason why the policy refuses certificates without a subject, if it does.
    subject_fault: Option<String>,
    pub(crate) templates: LeafTemplates<'a>,
    pub(crate) validity: Validity,
}

impl<'a> PreparedProfiles<'a> {
    pub(crate) fn new(ca: &'a CertificateAuthority, options: &IssueOptions) -> Result<Self, Error> {
        let profiles = ca.profiles()?;
        let subject = options.subject.as_deref().map(leaf_subject).transpose()?;
        let chosen = match &options.profile {
            Some(name) => Some(Cow::Borrowed(without_days(profiles.find(name)?, options)?)),
            None => None,
        };
        let base = match (chosen, subject) {
            (None, Some(subject)) => Some(Cow::Owned(Profile::of_subject(subject))),
            (Some(profile), Some(subject)) => {
                let both = || {
                    let (name, place) = (profile.name(), profile.place());
                    Error::ProfileChoice(format!(
                        "profile `{name}` ({place}) has a subject: leave out the one that is given beside it"
                    ))
                };
                Some(Cow::Owned(profile.with_subject(subject).ok_or_else(both)?))
            }
            (chosen, None) => chosen,
        };
        let named = profiles.iter().map(|profile| {
            let prepared = PreparedProfile::new(ca, options, Some(Cow::Borrowed(profile)));
            (profile.name(), prepared.map_err(|error| error.to_string()))
        });
        Ok(Self { profiles, base: PreparedProfile::new(ca, options, base)?, named: named.collect() })
    }

    /// Returns the prepared profile of a row.
    pub(crate) fn of(&self, row: &ProfileRow) -> Result<&PreparedProfile<'a>, Refusal> {
        let Some(name) = &row.profile else { return Ok(&self.base) };
        match self.named.get(name.as_str()) {
            Some(Ok(prepared)) => Ok(prepared),
            Some(Err(reason)) => Err(Refusal::ProfileChoice { reason: reason.clone() }),
            None => Err(Refusal::ProfileChoice { reason: self.profiles.unknown(name) }),
        }
    }
}

impl<'a> PreparedProfile<'a> {
    fn new(
        ca: &'a CertificateAuthority,
        options: &IssueOptions,
        profile: Option<Cow<'a, Profile>>,
    ) -> Result<Self, Error> {
        let plain = [ExtendedKeyUsage::ClientAuth];
        let (usages, validity) = match &profile {
            Some(profile) => (
                profile.extended_key_usages(),
                ca.profile_validity(profile, options.lifetime(), options.now)?,
            ),
            None => (plain.as_slice(), ca.leaf_validity(options.lifetime(), options.now)?),
        };
        let has_subject = profile.as_ref().is_some_and(|profile| profile.has_subject());
        let policy = ca.policy();
        let subject_fault = if has_subject { None } else { policy.check_subject("").err() };
        let published = policy.publication(Tier::Issuing);
        let published = match &profile {
            Some(profile) => profile.addresses_beside(published),
            None => published.clone(),
        };
        let templates = ca.leaves(usages, &published, validity)?;
        Ok(Self { policy, profile, subject_fault, templates, validity })
    }

    /// Returns whether certificates have nothing beside their identities.
    pub(crate) fn is_plain(&self) -> bool {
        self.profile.is_none()
    }

    /// Builds the parts of a certificate that a row adds to the identity and its key.
    pub(crate) fn render(&self, identity: &IdentityId, row: &ProfileRow) -> Result<ProfileParts, Refusal> {
        if let Some(reason) = &self.subject_fault {
            return Err(Refusal::Policy { rule: "subjects", reason: reason.clone() });
        }
        match &self.profile {
            None => Ok(ProfileParts::default()),
            Some(profile) => profile.render(RowValues { identity, columns: &row.columns }, self.policy),
        }
    }
}

/// Refuses days that were asked for beside a profile with dates of its own.
fn without_days<'a>(profile: &'a Profile, options: &IssueOptions) -> Result<&'a Profile, Error> {
    match profile.has_dates() && options.days.is_some() {
        true => Err(Error::ProfileChoice(format!(
            "profile `{}` ({}) has dates of its own: leave out --days",
            profile.name(),
            profile.place()
        ))),
        false => Ok(profile),
    }
}

/// Parses a subject for devices and modules, whose common name is their identity.
fn leaf_subject(text: &str) -> Result<SubjectTemplate, Error> {
    let bad = |reason| Error::BadSubject { text: text.to_owned(), reason };
    let subject = SubjectTemplate::parse(text).map_err(bad)?;
    match subject.common_name() {
        None => Ok(subject),
        Some(_) => Err(bad("it has a second CN; the CN of a device or module is its identity".to_owned())),
    }
}

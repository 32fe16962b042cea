//! What the issuers on a valid path say, as far as webpki leaves it open: it takes a trusted
//! certificate for a name and a key, and no certificate's key usage for more than advice.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{Check, CheckName, Verification, leaf};
use crate::certificate::Certificate;
use crate::name::{self, name_text};
use crate::public_key::PublicKey;

/// Looks at every certificate above the leaf, from its issuer up, and the trusted one.
pub(super) fn checks(
    certificate: &Certificate,
    above: &[&Certificate],
    anchor: Option<&Certificate>,
    by: &Verification<'_>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    for one in above {
        if let Ok((_, issuer)) = X509Certificate::from_der(one.der()) {
            checks.extend(faults_of(&issuer, by));
            checks.extend(fault(CheckName::Signature, &issuer, leaf::signature(&issuer)));
        }
    }
    // One that is trusted itself has been looked at.
    let anchor = anchor.filter(|anchor| *anchor != certificate);
    if let Some((_, anchor)) = anchor.and_then(|anchor| X509Certificate::from_der(anchor.der()).ok()) {
        checks.extend(faults_of(&anchor, by));
        checks.extend(fault(CheckName::Chain, &anchor, path_length(&anchor, above)));
    }
    checks
}

fn faults_of(issuer: &X509Certificate<'_>, by: &Verification<'_>) -> Vec<Check> {
    let found = [
        (CheckName::Chain, may_issue(issuer)),
        (CheckName::Dates, dates(issuer, by)),
        (CheckName::Usage, usage(issuer)),
        (CheckName::Key, key(issuer)),
        (CheckName::Extensions, leaf::extensions(issuer)),
    ];
    found.into_iter().filter_map(|(name, text)| fault(name, issuer, text)).collect()
}

fn fault(name: CheckName, issuer: &X509Certificate<'_>, text: Option<String>) -> Option<Check> {
    text.map(|text| Check::new(name, Some(format!("{}: {text}", name_text(issuer.subject())))))
}

fn may_issue(issuer: &X509Certificate<'_>) -> Option<String> {
    if !issuer.is_ca() {
        return Some("it is no CA".to_owned());
    }
    let may = issuer.key_usage().ok().flatten().is_none_or(|usage| usage.value.key_cert_sign());
    (!may).then(|| "its key usage lacks keyCertSign".to_owned())
}

fn dates(issuer: &X509Certificate<'_>, by: &Verification<'_>) -> Option<String> {
    let validity = issuer.validity();
    let (from, until) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    if by.at < from {
        return Some(format!("it is good from {from} on"));
    }
    (by.at > until).then(|| format!("it was good until {until}"))
}

fn usage(issuer: &X509Certificate<'_>) -> Option<String> {
    let usage = issuer.extended_key_usage().ok().flatten()?.value;
    (!usage.client_auth && !usage.any).then(|| "its extended key usage lacks clientAuth".to_owned())
}

fn key(issuer: &X509Certificate<'_>) -> Option<String> {
    PublicKey::from_der(issuer.public_key().raw)?.weakness().map(str::to_owned)
}

fn path_length(anchor: &X509Certificate<'_>, above: &[&Certificate]) -> Option<String> {
    let allowed = anchor.basic_constraints().ok().flatten()?.value.path_len_constraint?;
    // RFC 5280 §4.2.1.9: self-issued certificates do not count.
    let is_counted = |one: &&&Certificate| {
        X509Certificate::from_der(one.der())
            .is_ok_and(|(_, one)| !name::is_equal(one.subject(), one.issuer()))
    };
    let below = above.iter().filter(is_counted).count();
    (below > usize::try_from(allowed).unwrap_or(usize::MAX))
        .then(|| format!("it allows {allowed} CAs below it, there are {below}"))
}

//! The issuers on a path, as far as the validator leaves them open: it takes a trusted certificate
//! for a name and a key, and no certificate's key usage for more than advice.

use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::anchor_from_trusted_cert;
use x509_parser::certificate::X509Certificate;

use super::comparable::{Signed, Spelling, copy_issuer};
use super::crls::Named;
use super::graph::Node;
use super::name_constraints::{self, IssuerConstraints, JudgedNames};
use super::profile::{self, PathPosition};
use super::{Check, CheckName, Verification, leaf};
use crate::encoding::time::rfc3339;
use crate::keys::public::PublicKey;
use crate::x509::certificate::Certificate;
use crate::x509::name::{self, name_text};

/// The certificate of an issuer, read once for all certificates below it.
#[derive(Debug)]
pub(super) struct Issuer<'a> {
    pub(super) certificate: &'a Certificate,
    parsed: X509Certificate<'a>,
    /// The copy that the validator reads.
    pub(super) copy: CertificateDer<'static>,
    is_self_issued: bool,
    constraints: Option<Result<IssuerConstraints, String>>,
    /// Its own faults and the advice on it, whatever is below it.
    faults: Vec<Check>,
}

impl<'a> Issuer<'a> {
    /// Reads a certificate.
    pub(super) fn read(
        certificate: &'a Certificate,
        place: PathPosition,
        (spelling, signed): (&Spelling, &mut Signed),
        by: &Verification<'_>,
    ) -> Self {
        let parsed = certificate.parsed();
        Self {
            certificate,
            copy: signed.add(copy_issuer(certificate.der(), spelling)).into(),
            is_self_issued: name::is_equal(parsed.subject(), parsed.issuer()),
            constraints: IssuerConstraints::of(&parsed),
            faults: faults_of(&parsed, place, by),
            parsed,
        }
    }

    /// The issuer as a trusted one; `None` where it can't be one.
    pub(super) fn anchor(&self) -> Option<TrustAnchor<'static>> {
        anchor_from_trusted_cert(&self.copy).ok().map(|anchor| anchor.to_owned())
    }

    /// The issuer in the graph.
    pub(super) fn node(&self) -> Node<'a> {
        Node::new(self.certificate, &self.parsed)
    }

    /// Its issuer and serial number.
    pub(super) fn named(&self) -> Named {
        Named::of(self.certificate, &self.parsed)
    }

    /// The fault in the common names of a certificate below that has no DNS name.
    pub(super) fn fault_of_common_names(&self, below: &X509Certificate<'_>) -> Option<String> {
        let constraints = self.constraints.as_ref()?.as_ref().ok()?;
        let text = constraints.fault_of_common_names(below)?;
        Some(format!("{}: {text}", name_text(self.parsed.subject())))
    }

    fn path_length(&self) -> Option<usize> {
        let length = self.parsed.basic_constraints().ok().flatten()?.value.path_len_constraint?;
        usize::try_from(length).ok()
    }
}

/// Looks at every certificate above the leaf, from its issuer up, and the trusted one.
pub(super) fn checks(
    (certificate, leaf): (&Certificate, &X509Certificate<'_>),
    above: &[&Issuer<'_>],
    anchor: &Issuer<'_>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut below = vec![leaf];
    // RFC 5280 §4.2.1.9: self-issued certificates do not count.
    let mut authorities = 0;
    for issuer in above {
        checks.extend(issuer.faults.iter().cloned());
        checks.extend(fault(CheckName::Signature, &issuer.parsed, leaf::signature(&issuer.parsed)));
        checks.extend(below.last().and_then(|lower| advice_for_pair(lower, &issuer.parsed)));
        checks.extend(limits(issuer, &below, authorities));
        below.push(&issuer.parsed);
        authorities += usize::from(!issuer.is_self_issued);
    }
    // One that is trusted itself has been looked at.
    if anchor.certificate != certificate {
        checks.extend(anchor.faults.iter().cloned());
        checks.extend(below.last().and_then(|lower| advice_for_pair(lower, &anchor.parsed)));
        checks.extend(limits(anchor, &below, authorities));
    }
    checks
}

/// The name that an issuer above a certificate forbids: the issuers are sought by their names.
pub(super) fn forbidden_name(leaf: &X509Certificate<'_>, issuers: &[&Issuer<'_>]) -> Option<String> {
    let mut below = vec![leaf];
    for _ in issuers {
        let last = *below.last()?;
        let above = issuers.iter().filter(|issuer| name::is_equal(issuer.parsed.subject(), last.issuer()));
        let above: Vec<_> = above.filter(|issuer| !std::ptr::eq(&issuer.parsed, last)).collect();
        let fault = above.iter().find_map(|issuer| {
            let constraints = issuer.constraints.as_ref()?;
            name_constraints::fault(&issuer.parsed, constraints, &below, JudgedNames::All)
        });
        if fault.is_some() {
            return fault;
        }
        below.push(&above.first()?.parsed);
    }
    None
}

/// The limits that an issuer has for what is below it.
fn limits(issuer: &Issuer<'_>, below: &[&X509Certificate<'_>], authorities: usize) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(allowed) = issuer.path_length().filter(|allowed| *allowed < authorities) {
        let text = format!("it allows {allowed} CAs below it, there are {authorities} (path length)");
        checks.extend(fault(CheckName::Chain, &issuer.parsed, Some(text)));
    }
    if let Some(constraints) = &issuer.constraints {
        let text = name_constraints::fault(&issuer.parsed, constraints, below, JudgedNames::BesideValidator);
        checks.extend(text.map(|text| Check::new(CheckName::NameConstraints, Some(text))));
    }
    checks
}

fn faults_of(issuer: &X509Certificate<'_>, place: PathPosition, by: &Verification<'_>) -> Vec<Check> {
    let found = [
        (CheckName::Chain, may_issue(issuer)),
        (CheckName::Dates, dates(issuer, by)),
        (CheckName::Usage, usage(issuer, by)),
        (CheckName::Key, key(issuer)),
        (CheckName::Extensions, leaf::extensions(issuer)),
        (CheckName::Profile, profile::fault(issuer, place)),
    ];
    let advice = profile::advice_for_issuer(issuer).map(|text| advice(issuer, &text));
    found.into_iter().filter_map(|(name, text)| fault(name, issuer, text)).chain(advice).collect()
}

fn advice_for_pair(below: &X509Certificate<'_>, above: &X509Certificate<'_>) -> Option<Check> {
    profile::advice_for_pair(below, above).map(|text| advice(below, &text))
}

fn advice(certificate: &X509Certificate<'_>, text: &str) -> Check {
    let advice = Some(format!("{}: {text}", name_text(certificate.subject())));
    Check { advice, ..Check::new(CheckName::Profile, None) }
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
        return Some(format!("it is good from {} on", rfc3339(from)));
    }
    (by.at > until).then(|| format!("it was good until {}", rfc3339(until)))
}

fn usage(issuer: &X509Certificate<'_>, by: &Verification<'_>) -> Option<String> {
    let usage = issuer.extended_key_usage().ok().flatten()?.value;
    let (is_given, name) = match by.purpose.is_server() {
        true => (usage.server_auth, "serverAuth"),
        false => (usage.client_auth, "clientAuth"),
    };
    (!is_given && !usage.any).then(|| format!("its extended key usage lacks {name}"))
}

fn key(issuer: &X509Certificate<'_>) -> Option<String> {
    PublicKey::from_der(issuer.public_key().raw)?.weakness().map(str::to_owned)
}

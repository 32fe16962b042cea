//! The profile of RFC 5280: rules for those who make certificates, which most readers do not
//! enforce.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::extensions::{AuthorityKeyIdentifier, GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_X509_EXT_NAME_CONSTRAINTS, OID_X509_EXT_SUBJECT_ALT_NAME};
use x509_parser::x509::X509Version;

use crate::x509::certificate::only_common_name;
use crate::x509::name::{self, name_text};

/// The place of a certificate on its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PathPosition {
    Client,
    Server,
    Issuer,
    /// A trusted certificate, whose own issuer does not matter.
    Trusted,
}

/// The first thing in which a certificate departs from the profile.
pub(super) fn fault(certificate: &X509Certificate<'_>, place: PathPosition) -> Option<String> {
    criticality(certificate)
        .or_else(|| authority_key(certificate, place))
        .or_else(|| match place {
            PathPosition::Client => of_end(certificate),
            PathPosition::Server => of_end(certificate).or_else(|| of_server(certificate)),
            PathPosition::Issuer | PathPosition::Trusted => of_issuer(certificate),
        })
        .or_else(|| alternative_names(certificate))
}

/// A departure of a CA's certificate that no path fails for: whoever makes it must give it a key usage, and whoever
/// validates a path looks at one that is there (§6.1.4).
pub(super) fn advice_for_issuer(certificate: &X509Certificate<'_>) -> Option<String> {
    let has_none = certificate.key_usage().is_ok_and(|usage| usage.is_none());
    (certificate.version() == X509Version::V3 && has_none)
        .then(|| "it is a CA's, and has no key usage (RFC 5280 §4.2.1.3)".to_owned())
}

/// A departure that no path fails for, though some validators do not find the issuer: RFC 5280 lets them search by key
/// identifiers.
pub(super) fn advice_for_pair(below: &X509Certificate<'_>, above: &X509Certificate<'_>) -> Option<String> {
    let found = authority_key_of(below)?;
    let other_key =
        found.key_identifier.as_ref().zip(subject_key(above)).is_some_and(|(it, own)| it.0 != own);
    let other_serial = found.authority_cert_serial.is_some_and(|serial| serial != above.raw_serial());
    let differing = match (other_key, other_serial) {
        (true, _) => "subject key identifier",
        (false, true) => "serial number",
        (false, false) => return None,
    };
    Some(format!(
        "its authority key identifier names a different {differing} than that of {}, so OpenSSL does not find its \
         issuer (RFC 5280 §4.2.1.1)",
        name_text(above.subject())
    ))
}

/// RFC 5280 §4.2 and §5.2 say of most extensions whether they are critical.
fn criticality(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.extensions().iter().find_map(|extension| {
        let (_, name, must) = CRITICALITY.iter().find(|(known, ..)| *known == extension.oid)?;
        (extension.critical != *must).then(|| {
            let must = if *must { "must be" } else { "must not be" };
            format!("its extension {name} {must} critical (RFC 5280 §4.2)")
        })
    })
}

fn authority_key(certificate: &X509Certificate<'_>, place: PathPosition) -> Option<String> {
    let is_self_issued = name::is_equal(certificate.subject(), certificate.issuer());
    let Some(found) = authority_key_of(certificate) else {
        // A root may leave it out (§4.2.1.1).
        return (!is_self_issued && place != PathPosition::Trusted)
            .then(|| "it has no authority key identifier (RFC 5280 §4.2.1.1)".to_owned());
    };
    let Some(key) = &found.key_identifier else {
        return Some("its authority key identifier has no key identifier (RFC 5280 §4.2.1.1)".to_owned());
    };
    if found.authority_cert_issuer.is_some() != found.authority_cert_serial.is_some() {
        let text = "its authority key identifier has an issuer without a serial number, or the reverse";
        return Some(format!("{text} (RFC 5280 appendix A.2)"));
    }
    let own =
        subject_key(certificate).filter(|_| is_self_issued && certificate.verify_signature(None).is_ok());
    own.filter(|own| *own != key.0).map(|_| {
        "it is self-signed, but its authority key identifier is that of a different key (RFC 5280 §4.2.1.1)"
            .to_owned()
    })
}

fn of_end(certificate: &X509Certificate<'_>) -> Option<String> {
    if certificate.extensions().iter().any(|one| one.oid == OID_X509_EXT_NAME_CONSTRAINTS) {
        return Some("it has name constraints, and is no CA's (RFC 5280 §4.2.1.10)".to_owned());
    }
    let is_nameless = certificate.subject().iter().next().is_none();
    let is_critical =
        certificate.extensions().iter().any(|one| one.oid == OID_X509_EXT_SUBJECT_ALT_NAME && one.critical);
    match (is_nameless, is_critical) {
        (true, false) => Some("its subject is empty, and its alternative names are not critical".to_owned()),
        (false, true) => Some("its alternative names are critical, although it has a subject".to_owned()),
        _ => None,
    }
    .map(|text| format!("{text} (RFC 5280 §4.2.1.6)"))
}

/// A common name that is a host's stands among the alternative names of its kind, or old clients
/// see another host than new ones.
fn of_server(certificate: &X509Certificate<'_>) -> Option<String> {
    let name = only_common_name(certificate.subject()).filter(|name| name.contains(['.', ':']))?;
    let is_address = name.contains(':') || name.ends_with(|last: char| last.is_ascii_digit());
    let names = certificate.subject_alternative_name().ok().flatten()?.value;
    let mut of_its_kind = names.general_names.iter().filter_map(|other| match other {
        GeneralName::DNSName(other) if !is_address => Some((*other).to_owned()),
        GeneralName::IPAddress(bytes) if is_address => address(bytes).map(|address| address.to_string()),
        _ => None,
    });
    let first = of_its_kind.next()?;
    (first != name && of_its_kind.all(|other| other != name)).then(|| {
        format!("its common name `{name}` is not among its alternative names (CA/Browser Forum BR §7.1.4.3)")
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    four().or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

fn of_issuer(certificate: &X509Certificate<'_>) -> Option<String> {
    // Certificates of version 1 have none.
    let constraints = certificate.basic_constraints().ok().flatten();
    if constraints.is_some_and(|constraints| !constraints.critical) {
        return Some("its basic constraints must be critical (RFC 5280 §4.2.1.9)".to_owned());
    }
    if certificate.subject().iter().next().is_none() {
        return Some("it is a CA's, and its subject is empty (RFC 5280 §4.1.2.6)".to_owned());
    }
    if subject_key(certificate).is_none() {
        return Some("it is a CA's, and has no subject key identifier (RFC 5280 §4.2.1.2)".to_owned());
    }
    let constraints = certificate.name_constraints().ok().flatten()?.value;
    let subtrees = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
    let dotted = subtrees.into_iter().flatten().flatten().find_map(|subtree| match subtree.base {
        GeneralName::DNSName(name) if name.starts_with('.') => Some(name),
        _ => None,
    })?;
    Some(format!("its name constraint `{dotted}` for DNS names begins with a dot (RFC 5280 §4.2.1.10)"))
}

/// There is a name in the extension. DNS names have the preferred syntax of RFC 1034 §3.5; the first label may be a
/// wildcard.
fn alternative_names(certificate: &X509Certificate<'_>) -> Option<String> {
    let names = certificate.subject_alternative_name().ok().flatten()?.value;
    if names.general_names.is_empty() {
        return Some("its extension subjectAltName has no name (RFC 5280 §4.2.1.6)".to_owned());
    }
    names.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) if !is_dns_name(name) => {
            Some(format!("`{name}` is no DNS name (RFC 5280 §4.2.1.6)"))
        }
        _ => None,
    })
}

fn is_dns_name(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let is_label = |label: &str| {
        let inner = |char: char| char.is_ascii_alphanumeric() || char == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label) && !last.chars().all(|char| char.is_ascii_digit())
}

fn authority_key_of<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a AuthorityKeyIdentifier<'a>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(found) => Some(found),
        _ => None,
    })
}

fn subject_key<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a [u8]> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(found) => Some(found.0),
        _ => None,
    })
}

/// Extensions, their names, and whether they must be critical.
static CRITICALITY: [(Oid<'static>, &str, bool); 8] = [
    (oid!(1.3.6.1.5.5.7.1.1), "authorityInfoAccess", false),
    (oid!(1.3.6.1.5.5.7.1.11), "subjectInfoAccess", false),
    (oid!(2.5.29.14), "subjectKeyIdentifier", false),
    (oid!(2.5.29.30), "nameConstraints", true),
    (oid!(2.5.29.35), "authorityKeyIdentifier", false),
    (oid!(2.5.29.36), "policyConstraints", true),
    (oid!(2.5.29.46), "freshestCRL", false),
    (oid!(2.5.29.54), "inhibitAnyPolicy", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_have_the_preferred_syntax() {
        for good in ["example.com", "*.example.com", "a-b.example", "xn--bcher-kva.example", "localhost"] {
            assert!(is_dns_name(good), "{good}");
        }
        for bad in
            ["foo_bar.example.com", "192.0.2.1", "-a.example", "a..example", "", "*", "ba*.example.com"]
        {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}

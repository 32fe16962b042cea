//! Checks of the certificate itself, whoever issued it.

use hub_types::IdentityId;
use hub_types::shown::ShownText;
use hub_types::thumbprint::ThumbprintDigest;
use rustls_pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use super::profile::{self, PathPosition};
use super::{Check, CheckName, Purpose, Verification};
use crate::encoding::time::rfc3339;
use crate::keys::public::PublicKey;
use crate::x509::algorithm::{algorithm_text, has_broken_hash};
use crate::x509::certificate::Certificate;
use crate::x509::damage;
use crate::x509::name::attribute_text;

/// Looks at everything that needs no other certificate.
pub(super) fn checks(
    (certificate, parsed): (&Certificate, &X509Certificate<'_>),
    by: &Verification<'_>,
) -> Vec<Check> {
    let mut checks = vec![
        Check::new(CheckName::Dates, dates(certificate, by)),
        Check { advice: netscape_type(parsed, by), ..Check::new(CheckName::Usage, usage(parsed, by)) },
        Check::new(CheckName::NotACa, not_a_ca(parsed)),
        Check::new(CheckName::CommonName, common_name(parsed, by)),
        Check::new(CheckName::Key, key(certificate)),
        Check::new(CheckName::Signature, signature(parsed)),
        Check::new(CheckName::Serial, serial(parsed.raw_serial())),
        Check::new(CheckName::Extensions, extensions(parsed)),
        Check::new(CheckName::Profile, profile::fault(parsed, place(by))),
    ];
    if let Some(host) = by.host {
        checks.push(Check::new(CheckName::HostName, host_name(certificate, host)));
    }
    if let Some(key) = by.key {
        let fits = key.is_of(certificate.public_key_info());
        let fault = (!fits).then(|| format!("the key ({key}) is not the one that it is for"));
        checks.push(Check::new(CheckName::PrivateKey, fault));
    }
    if !by.thumbprints.is_empty() {
        checks.push(Check::new(CheckName::Thumbprint, thumbprint(certificate, by)));
    }
    checks
}

fn place(by: &Verification<'_>) -> PathPosition {
    if by.purpose.is_server() { PathPosition::Server } else { PathPosition::Client }
}

fn dates(certificate: &Certificate, by: &Verification<'_>) -> Option<String> {
    let (from, until) = (certificate.not_before(), certificate.not_after());
    if until < from {
        return Some(format!("it ends ({}) before it begins ({})", rfc3339(until), rfc3339(from)));
    }
    if by.at < from {
        return Some(format!("it is good from {} on", rfc3339(from)));
    }
    (by.at > until).then(|| format!("it was good until {}", rfc3339(until)))
}

/// A certificate without an extended key usage is for every purpose (RFC 5280 §4.2.1.12).
fn usage(parsed: &X509Certificate<'_>, by: &Verification<'_>) -> Option<String> {
    let extended = parsed.extended_key_usage().ok().flatten();
    let (is_given, name) = match by.purpose.is_server() {
        true => (extended.is_none_or(|usage| usage.value.server_auth), "serverAuth"),
        false => (extended.is_none_or(|usage| usage.value.client_auth), "clientAuth"),
    };
    let may_sign = parsed.key_usage().ok().flatten().is_none_or(|usage| usage.value.digital_signature());
    match (is_given, may_sign) {
        (true, true) => None,
        (false, _) => Some(format!("its extended key usage lacks {name}")),
        (_, false) => Some("its key usage lacks digitalSignature".to_owned()),
    }
}

/// The certificate type of Netscape, which RFC 5280 does not know and OpenSSL obeys.
fn netscape_type(parsed: &X509Certificate<'_>, by: &Verification<'_>) -> Option<String> {
    let types = parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::NSCertType(types) => Some(types),
        _ => None,
    })?;
    let (is_given, name) = match by.purpose.is_server() {
        true => (types.ssl_server(), "servers"),
        false => (types.ssl_client(), "clients"),
    };
    (!is_given).then(|| format!("its Netscape certificate type is not for {name}, and OpenSSL obeys it"))
}

fn not_a_ca(parsed: &X509Certificate<'_>) -> Option<String> {
    if parsed.is_ca() {
        return Some("its basic constraints say CA:TRUE".to_owned());
    }
    let signs = parsed.key_usage().ok().flatten().is_some_and(|usage| usage.value.key_cert_sign());
    signs.then(|| "its key usage has keyCertSign".to_owned())
}

fn key(certificate: &Certificate) -> Option<String> {
    match PublicKey::from_der(certificate.public_key_info()) {
        Some(key) => key.weakness().map(str::to_owned),
        None => Some("its key is damaged".to_owned()),
    }
}

/// A hash for which two documents with the same value can be made.
pub(super) fn signature(parsed: &X509Certificate<'_>) -> Option<String> {
    let algorithm = &parsed.signature_algorithm;
    has_broken_hash(algorithm).then(|| format!("it is signed by {}", algorithm_text(algorithm)))
}

fn serial(bytes: &[u8]) -> Option<String> {
    match bytes {
        [] => Some("it has none".to_owned()),
        [first, ..] if first & 0x80 != 0 => Some("it is negative".to_owned()),
        _ if bytes.iter().all(|byte| *byte == 0) => Some("it is zero".to_owned()),
        _ if bytes.len() > 20 => Some(format!("it has {} bytes, 20 are allowed", bytes.len())),
        _ => None,
    }
}

/// Returns the first fault of the extensions: unknown and critical, damaged, or given twice.
pub(super) fn extensions(parsed: &X509Certificate<'_>) -> Option<String> {
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::UnsupportedExtension { .. } if extension.critical => {
                return Some(format!("{} is critical, and not known", extension.oid.to_id_string()));
            }
            _ if damage::is_damaged(extension) => {
                return Some(format!("{} is damaged", extension.oid.to_id_string()));
            }
            _ => {}
        }
        if parsed.extensions().iter().filter(|other| other.oid == extension.oid).count() > 1 {
            return Some(format!("{} is there twice", extension.oid.to_id_string()));
        }
    }
    None
}

fn common_name(parsed: &X509Certificate<'_>, by: &Verification<'_>) -> Option<String> {
    let names: Vec<_> = parsed.subject().iter_common_name().collect();
    let [name] = names.as_slice() else {
        return Some(format!("its subject has {} common names, it needs exactly one", names.len()));
    };
    let Some(name) = attribute_text(name) else {
        return Some("it is not valid text".to_owned());
    };
    if by.purpose == Purpose::Dps {
        return registration_id(&name, by.expected);
    }
    match (IdentityId::from_common_name(&name), by.expected) {
        (Err(error), _) => Some(format!("{} is not an identity: {error}", ShownText(&name))),
        (Ok(found), Some(expected)) if found != *expected => {
            Some(format!("it is `{found}`, not `{expected}`"))
        }
        (Ok(found), _) if !found.common_name_fits() => Some("it has more than 64 characters".to_owned()),
        (Ok(_), _) => None,
    }
}

/// The common name as a registration id of the Device Provisioning Service, which has no modules.
fn registration_id(name: &str, expected: Option<&IdentityId>) -> Option<String> {
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_' | ':');
    let ends_well = name.ends_with(|last: char| last.is_ascii_alphanumeric() || last == '-');
    if !ends_well || !name.chars().all(is_allowed) {
        let rule = "letters, digits and `- . _ :`, at last a letter, a digit or `-`";
        return Some(format!("{} is not a registration id: {rule}", ShownText(name)));
    }
    if name.len() > 64 {
        return Some("it has more than 64 characters".to_owned());
    }
    let other =
        expected.filter(|id| id.module().is_some() || !id.device().as_str().eq_ignore_ascii_case(name))?;
    Some(format!("it is `{name}`, not `{other}`"))
}

/// The name of a server (RFC 9525), which stands in the alternative names.
fn host_name(certificate: &Certificate, host: &ServerName<'_>) -> Option<String> {
    let der = CertificateDer::from(certificate.der());
    let verified = EndEntityCert::try_from(&der).and_then(|leaf| leaf.verify_is_valid_for_subject_name(host));
    verified.err().map(|_| format!("its alternative names have no `{}`", host.to_str()))
}

fn thumbprint(certificate: &Certificate, by: &Verification<'_>) -> Option<String> {
    let own = [ThumbprintDigest::Sha256(certificate.sha256()), ThumbprintDigest::Sha1(certificate.sha1())];
    let is_known = by.thumbprints.iter().any(|known| own.contains(&known.digest()));
    (!is_known).then(|| format!("it is {}", certificate.sha256()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_follow_the_rfc() {
        for good in [&[1][..], &[0, 0x80], &[0x7f; 20]] {
            assert_eq!(serial(good), None, "{good:?}");
        }
        for bad in [&[][..], &[0], &[0x80], &[1; 21]] {
            assert!(serial(bad).is_some(), "{bad:?}");
        }
    }
}

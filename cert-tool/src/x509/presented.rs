//! The facts about a chain by which a Device Provisioning Service (DPS) decides about a device.

use hub_types::Thumbprint;
use hub_types::dps::certificate::CertificateInfo;
use hub_types::dps::selection::PresentedCertificate;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{AttributeTypeAndValue, X509Certificate, X509Name};

use crate::x509::certificate::Certificate;
use crate::x509::name::attribute_text;

/// The facts about a chain, the device's own certificate first. `issuers` are certificates that the device does
/// not present and that may have signed the chain.
pub fn presented_chain(chain: &[Certificate], issuers: &[Certificate]) -> Vec<PresentedCertificate> {
    let followers = chain.iter().skip(1).map(Some).chain([None]);
    let facts = chain.iter().zip(followers);
    facts.map(|(own, next)| presented(own, next, issuers)).collect()
}

/// The facts of a certificate that a DPS shows in place of it.
pub fn certificate_info(certificate: &Certificate) -> CertificateInfo {
    let parsed = certificate.parsed();
    CertificateInfo {
        subject_name: name(parsed.subject()),
        sha1_thumbprint: certificate.sha1().into(),
        sha256_thumbprint: certificate.sha256().into(),
        issuer_name: name(parsed.issuer()),
        not_before_utc: certificate.not_before().into(),
        not_after_utc: certificate.not_after().into(),
        serial_number: parsed.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect(),
        version: parsed.version().0.saturating_add(1),
    }
}

fn presented(own: &Certificate, next: Option<&Certificate>, issuers: &[Certificate]) -> PresentedCertificate {
    let parsed = own.parsed();
    let has_signed = |issuer: &&Certificate| {
        let issuer = issuer.parsed();
        parsed.issuer().as_raw() == issuer.subject().as_raw()
            && parsed.verify_signature(Some(issuer.public_key())).is_ok()
    };
    let next = next.filter(has_signed);
    // The next one may be the certificate of an entry itself.
    let known = issuers.iter().filter(has_signed).chain(next);
    let signed_by: Vec<Thumbprint> = known.map(|issuer| issuer.sha256().into()).collect();
    PresentedCertificate {
        info: certificate_info(own),
        common_name: own.common_name().map(str::to_owned),
        may_sign: may_sign(&parsed),
        for_tls_clients: for_tls_clients(&parsed),
        signed_by_next: next.is_some(),
        signed_by,
    }
}

/// Returns true for a CA that may sign certificates. A damaged extension allows nothing.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage();
    certificate.is_ca() && usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

fn for_tls_clients(certificate: &X509Certificate<'_>) -> bool {
    match certificate.extended_key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.client_auth || usage.value.any),
        Err(_) => false,
    }
}

/// A distinguished name as .NET writes it, and so a DPS: the last part first.
fn name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_attributes().map(part).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(", ")
}

fn part(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute_text(attribute).unwrap_or_default();
    let needs_quotes = value.is_empty() || value.trim() != value || value.contains(SPECIAL);
    let value = if needs_quotes { format!("\"{}\"", value.replace('"', "\"\"")) } else { value };
    match oid2abbrev(attribute.attr_type(), oid_registry()) {
        Ok(abbreviation) => format!("{abbreviation}={value}"),
        Err(_) => format!("OID.{}={value}", attribute.attr_type()),
    }
}

/// The characters with a meaning in a distinguished name.
const SPECIAL: [char; 9] = [',', '+', '"', '=', '\n', '<', '>', '#', ';'];

//! The facts of a certificate that a DPS returns in place of it.

use hub_types::dps::certificate::{CertificateDer, CertificateInfo};
use hub_types::{Sha1Thumbprint, Sha256Thumbprint};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate, X509Name};

use crate::api_error::{ApiError, ApiResult};

/// The facts of a certificate. An error says that it can't be read.
pub(super) fn info(certificate: &CertificateDer) -> ApiResult<CertificateInfo> {
    let der = certificate.as_bytes();
    let unreadable = || ApiError::dps_request("a certificate of the attestation is no X.509 certificate");
    let (rest, parsed) = X509Certificate::from_der(der).map_err(|_| unreadable())?;
    if !rest.is_empty() {
        return Err(unreadable());
    }
    let validity = parsed.validity();
    let (not_before, not_after) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    Ok(CertificateInfo {
        subject_name: name(parsed.subject()),
        sha1_thumbprint: Sha1Thumbprint::of_der(der).into(),
        sha256_thumbprint: Sha256Thumbprint::of_der(der).into(),
        issuer_name: name(parsed.issuer()),
        not_before_utc: not_before.into(),
        not_after_utc: not_after.into(),
        serial_number: parsed.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect(),
        version: parsed.version().0.saturating_add(1),
    })
}

/// A distinguished name as .NET writes it: the last part first.
fn name(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_attributes().map(part).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join(", ")
}

fn part(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.as_str().unwrap_or_default();
    let needs_quotes = value.is_empty() || value.trim() != value || value.contains(SPECIAL);
    let value = if needs_quotes { format!("\"{}\"", value.replace('"', "\"\"")) } else { value.to_owned() };
    match oid2abbrev(attribute.attr_type(), oid_registry()) {
        Ok(abbreviation) => format!("{abbreviation}={value}"),
        Err(_) => format!("OID.{}={value}", attribute.attr_type()),
    }
}

/// The characters with a meaning in a distinguished name.
const SPECIAL: [char; 9] = [',', '+', '"', '=', '\n', '<', '>', '#', ';'];

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber};

    use super::*;

    #[test]
    fn names_and_numbers_are_written_as_a_live_service_does() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Contoso, Ltd.");
        params.distinguished_name.push(DnType::CommonName, "pump-0001");
        params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let info = info(&CertificateDer::new(certificate.der())).unwrap();
        assert_eq!(info.subject_name, r#"CN=pump-0001, O="Contoso, Ltd.""#);
        assert_eq!(info.issuer_name, info.subject_name);
        assert_eq!((info.serial_number.as_str(), info.version), ("0ABC", 3));
        assert_eq!(info.not_before_utc.to_string(), "2026-01-01T00:00:00Z");
        assert!(info.sha256_thumbprint.matches_der(certificate.der()));
        assert!(info.sha1_thumbprint.matches_der(certificate.der()));
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for der in [&b""[..], b"certificate", &[0x30, 0x03, 1, 1, 1]] {
            assert!(info(&CertificateDer::new(der)).is_err());
        }
    }
}

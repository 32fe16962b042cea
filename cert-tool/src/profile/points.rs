//! The addresses of revocation lists, issuers and OCSP responders: extensions that are the same in
//! all certificates of a profile.

use pkcs8::der::Encode as _;
use pkcs8::der::asn1::{Ia5String, ObjectIdentifier};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, CrlDistributionPoints, crl::dp::DistributionPoint,
};

use super::der;
use crate::x509::uri;

/// The extension cRLDistributionPoints (RFC 5280 §4.2.1.13), one point for each address.
pub(crate) fn crl_distribution_points(addresses: &[String]) -> Option<Vec<u8>> {
    let points = addresses.iter().map(|address| {
        Some(DistributionPoint {
            distribution_point: Some(DistributionPointName::FullName(vec![general_name(address)?])),
            reasons: None,
            crl_issuer: None,
        })
    });
    let value = CrlDistributionPoints(points.collect::<Option<_>>()?).to_der().ok()?;
    Some(der::extension(CRL_DISTRIBUTION_POINTS, false, &value))
}

/// The extension authorityInfoAccess (RFC 5280 §4.2.2.1).
pub(crate) fn authority_information(ca_issuers: &[String], ocsp: &[String]) -> Option<Vec<u8>> {
    let description = |method| move |address: &String| Some((method, general_name(address)?));
    let ocsp = ocsp.iter().map(description(OCSP));
    let all: Option<Vec<_>> = ocsp.chain(ca_issuers.iter().map(description(CA_ISSUERS))).collect();
    let all = all?
        .into_iter()
        .map(|(access_method, access_location)| AccessDescription { access_method, access_location });
    let value = AuthorityInfoAccessSyntax(all.collect()).to_der().ok()?;
    Some(der::extension(AUTHORITY_INFORMATION, false, &value))
}

/// Checks an address of a list, a certificate or a responder.
pub(crate) fn check(address: &str) -> Result<(), String> {
    uri::check_address(address)
        .map_err(|reason| format!("`{address}` can't be put into certificates: {reason}"))
}

fn general_name(address: &str) -> Option<GeneralName> {
    Ia5String::new(address).ok().map(GeneralName::UniformResourceIdentifier)
}

const CRL_DISTRIBUTION_POINTS: &[u8] = &[0x55, 0x1d, 0x1f];
const AUTHORITY_INFORMATION: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 1];
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");

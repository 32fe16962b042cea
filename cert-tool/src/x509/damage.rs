//! Damaged extensions. The parser passes over an extension that it can't read: its lookups answer as if the
//! extension were absent, so a CA with an unreadable key usage would look like one without limits.

use pkcs8::der::asn1::AnyRef;
use pkcs8::der::{Decode as _, Reader as _, SliceReader};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{ParsedExtension, X509Extension};

/// Returns the first damaged extension of a certificate, as a sentence for people.
pub(crate) fn damaged_extension(certificate: &X509Certificate<'_>) -> Option<String> {
    let damaged = certificate.extensions().iter().find(|one| is_damaged(one))?;
    Some(format!("{} is damaged", damaged.oid.to_id_string()))
}

/// Tells whether an extension can't be read, or has more behind its value.
pub(crate) fn is_damaged(extension: &X509Extension<'_>) -> bool {
    match extension.parsed_extension() {
        ParsedExtension::ParseError { .. } => true,
        ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::Unparsed => false,
        _ => !is_one_value(extension.value),
    }
}

fn is_one_value(der: &[u8]) -> bool {
    SliceReader::new(der).is_ok_and(|mut reader| AnyRef::decode(&mut reader).is_ok() && reader.is_finished())
}

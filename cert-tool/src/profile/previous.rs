//! The parts of a certificate that come from a profile: a renewal without a profile would lose
//! them.

use x509_parser::prelude::ParsedExtension;

use crate::x509::certificate::Certificate;

/// The parts of a certificate that only a profile gives; empty where there are none.
pub(crate) fn parts_of_a_profile(certificate: &Certificate) -> Vec<&'static str> {
    let parsed = certificate.parsed();
    let mut parts = Vec::new();
    if parsed.subject().iter_attributes().count() > 1 {
        parts.push("a subject");
    }
    for extension in parsed.extensions() {
        parts.push(match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(_) => "alternative names",
            ParsedExtension::ExtendedKeyUsage(usage) if usage.server_auth || !usage.other.is_empty() => {
                "more purposes"
            }
            ParsedExtension::UnsupportedExtension { .. } => "extensions of its own",
            _ => continue,
        });
    }
    parts.dedup();
    parts
}

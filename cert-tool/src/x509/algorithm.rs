//! Names of signature algorithms.

use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::x509::AlgorithmIdentifier;

/// Returns the name of a signature algorithm, or its object identifier.
pub(crate) fn algorithm_text(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let known = ALGORITHMS.iter().find(|(known, _)| *known == algorithm.algorithm);
    known.map_or_else(|| algorithm.algorithm.to_id_string(), |(_, name)| (*name).to_owned())
}

static ALGORITHMS: [(Oid<'static>, &str); 12] = [
    (oid!(1.2.840.10045.4.1), "ECDSA with SHA-1"),
    (oid!(1.2.840.10045.4.3.2), "ECDSA with SHA-256"),
    (oid!(1.2.840.10045.4.3.3), "ECDSA with SHA-384"),
    (oid!(1.2.840.10045.4.3.4), "ECDSA with SHA-512"),
    (oid!(1.2.840.113549.1.1.4), "RSA with MD5"),
    (oid!(1.2.840.113549.1.1.5), "RSA with SHA-1"),
    (oid!(1.2.840.113549.1.1.10), "RSA-PSS"),
    (oid!(1.2.840.113549.1.1.11), "RSA with SHA-256"),
    (oid!(1.2.840.113549.1.1.12), "RSA with SHA-384"),
    (oid!(1.2.840.113549.1.1.13), "RSA with SHA-512"),
    (oid!(1.3.101.112), "Ed25519"),
    (oid!(1.3.101.113), "Ed448"),
];

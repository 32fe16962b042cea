//! Names of signature algorithms.

use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::x509::AlgorithmIdentifier;

/// Returns the name of a signature algorithm, or its object identifier.
pub(crate) fn algorithm_text(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let known = known(algorithm);
    known.map_or_else(|| algorithm.algorithm.to_id_string(), |(_, name, _)| (*name).to_owned())
}

/// Returns true if two documents with the same hash can be made, so that the signature of one is that
/// of the other.
pub(crate) fn has_broken_hash(algorithm: &AlgorithmIdentifier<'_>) -> bool {
    known(algorithm).is_some_and(|(_, _, hash)| *hash == HashStrength::Broken)
}

fn known(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static NamedAlgorithm> {
    ALGORITHMS.iter().find(|(known, _, _)| *known == algorithm.algorithm)
}

/// The hash of a signature algorithm.
#[derive(PartialEq, Eq)]
enum HashStrength {
    /// MD5 or SHA-1.
    Broken,
    /// A newer hash, or one that the parameters of the algorithm name.
    Other,
}

type NamedAlgorithm = (Oid<'static>, &'static str, HashStrength);

static ALGORITHMS: [NamedAlgorithm; 12] = [
    (oid!(1.2.840.10045.4.1), "ECDSA with SHA-1", HashStrength::Broken),
    (oid!(1.2.840.10045.4.3.2), "ECDSA with SHA-256", HashStrength::Other),
    (oid!(1.2.840.10045.4.3.3), "ECDSA with SHA-384", HashStrength::Other),
    (oid!(1.2.840.10045.4.3.4), "ECDSA with SHA-512", HashStrength::Other),
    (oid!(1.2.840.113549.1.1.4), "RSA with MD5", HashStrength::Broken),
    (oid!(1.2.840.113549.1.1.5), "RSA with SHA-1", HashStrength::Broken),
    (oid!(1.2.840.113549.1.1.10), "RSA-PSS", HashStrength::Other),
    (oid!(1.2.840.113549.1.1.11), "RSA with SHA-256", HashStrength::Other),
    (oid!(1.2.840.113549.1.1.12), "RSA with SHA-384", HashStrength::Other),
    (oid!(1.2.840.113549.1.1.13), "RSA with SHA-512", HashStrength::Other),
    (oid!(1.3.101.112), "Ed25519", HashStrength::Other),
    (oid!(1.3.101.113), "Ed448", HashStrength::Other),
];

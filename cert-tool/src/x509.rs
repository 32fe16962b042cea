//! Certificates, signing requests and revocation lists (RFC 5280, RFC 2986).

pub(crate) mod algorithm;
pub(crate) mod certificate;
pub(crate) mod certificate_file;
pub(crate) mod crl;
pub(crate) mod csr;
pub(crate) mod damage;
pub(crate) mod dns_name;
pub(crate) mod encoder;
pub(crate) mod extended_key_usage;
pub(crate) mod leaf_template;
pub(crate) mod name;
pub(crate) mod name_constraints;
pub(crate) mod oid;
pub(crate) mod p7b;
pub(crate) mod pkcs7;
pub(crate) mod presented;
pub(crate) mod publication;
pub(crate) mod rights;
pub(crate) mod signed_by;
pub(crate) mod signer;
pub(crate) mod uri;

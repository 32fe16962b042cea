//! Reading of input files: the location of a value in a file, and PKCS #12 archives.

pub(crate) mod location;
pub(crate) mod pem_database;
pub(crate) mod pkcs12;

//! Issued certificates: the index of a CA, the outputs, and the records in them.

pub(crate) mod extract;
pub(crate) mod file_name;
pub(crate) mod index;
pub(crate) mod list;
pub(crate) mod new_certificate;
pub(crate) mod record;
pub(crate) mod sink;
pub(crate) mod tls_identity;

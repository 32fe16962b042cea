//! Text and binary encodings: PEM, and DER taken apart.

pub(crate) mod der;
pub(crate) mod pem;
pub(crate) mod pem_stream;

//! Text and binary encodings: PEM, DER taken apart, and times.

pub(crate) mod der;
pub(crate) mod pem;
pub(crate) mod pem_stream;
pub(crate) mod time;

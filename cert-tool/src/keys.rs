//! Private and public keys, in files and in PKCS #11 tokens.

pub(crate) mod encrypted;
pub(crate) mod fingerprint;
pub(crate) mod handle;
pub(crate) mod pkcs11;
pub(crate) mod private;
pub(crate) mod public;

//! Passwords, passphrases and PINs, and the places that they are read from.

pub(crate) mod secret;
pub(crate) mod source;

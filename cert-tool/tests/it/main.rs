//! The library and the binary, judged by OpenSSL: one module for each topic or verb.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used, reason = "tests may panic")]

mod advice;
mod batch;
mod ca;
mod ca_life;
mod ca_limits;
mod ca_new_key;
mod crl;
mod csr;
mod damage;
mod damaged_extensions;
mod earlier_end;
mod encrypted_keys;
mod extract;
mod extremes;
mod holds;
mod hostile_text;
mod index;
mod inspect;
mod intake;
mod issue;
mod judges;
mod kill;
mod manual;
mod name_constraints;
mod names;
mod old_files;
#[cfg(unix)]
mod outputs;
mod profile;
mod profiles;
mod purposes;
mod sign;
mod sinks;
mod stdin;
mod support;
mod test_pki;
mod token;
mod verify;

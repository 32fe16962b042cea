//! The library and the binary, judged by OpenSSL: one module for each topic.

mod batch;
mod kill;
mod profile;
mod support;

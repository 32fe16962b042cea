//! The hub over HTTPS: one file per resource, each against a hub of its own on a free port.

mod access;
mod bulk;
mod cli;
mod devices;
mod durability;
mod hostile;
mod modules;
mod query;
mod request_log;
mod support;
mod twins;

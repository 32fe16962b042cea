//! The implementation of each operation: one file per resource.

pub(crate) mod bulk;
pub(crate) mod cloud_to_device;
pub(crate) mod configurations;
pub(crate) mod devices;
pub(crate) mod import_export;
pub(crate) mod keys;
pub(crate) mod methods;
pub(crate) mod modules;
pub(crate) mod query;
pub(crate) mod scheduled_jobs;
pub(crate) mod statistics;
pub(crate) mod twins;

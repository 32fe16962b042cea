//! Issuing of certificates in bulk: the pipeline, its workers, and the store that they fill.

pub(crate) mod key_source;
pub(crate) mod pipeline;
pub(crate) mod prepared_profiles;
pub(crate) mod request;
pub(crate) mod store;
pub(crate) mod worker;

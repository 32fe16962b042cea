//! Issuing of certificates in bulk: the pipeline, its workers, and the store that they fill.

pub(crate) mod layouts;
pub(crate) mod pipeline;
pub(crate) mod store;
pub(crate) mod worker;

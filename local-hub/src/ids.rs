//! Generated values: request ids, keys, and the counters that documents show as their etags.

pub(crate) mod counter_etag;
pub(crate) mod random;

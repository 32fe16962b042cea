//! Files of any kind: the documents in them, and their descriptions.

pub(crate) mod description;
pub(crate) mod document;

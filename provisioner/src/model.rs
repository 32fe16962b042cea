//! The model: states of identities, and decisions about them without I/O.

pub(crate) mod causes;
pub(crate) mod compare;
pub(crate) mod creator_tag;
pub(crate) mod failure;
pub(crate) mod holds;
pub(crate) mod lifecycle;
pub(crate) mod observer;
pub(crate) mod options;
pub(crate) mod secret_file;
pub(crate) mod service_status;
pub(crate) mod spec;
pub(crate) mod text;

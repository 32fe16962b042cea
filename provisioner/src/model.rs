//! The model: states of identities, and decisions about them without I/O.

pub(crate) mod causes;
pub mod compare;
pub mod creator_tag;
pub mod failure;
pub mod holds;
pub mod lifecycle;
pub mod observer;
pub mod options;
pub mod service_status;
pub mod spec;
pub(crate) mod text;

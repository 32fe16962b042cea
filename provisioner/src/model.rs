//! The model: identities, operations on them and outcomes, which all rooms share.

pub(crate) mod compare;
pub(crate) mod conversion;
pub(crate) mod creator_tag;
pub(crate) mod digest;
pub(crate) mod effect;
pub(crate) mod entry_settings;
pub(crate) mod etags;
pub(crate) mod failure;
pub(crate) mod group_row;
pub(crate) mod hold;
pub(crate) mod maintenance;
pub(crate) mod observer;
pub(crate) mod options;
pub(crate) mod overlay;
pub(crate) mod run_id;
pub(crate) mod scopes;
pub(crate) mod secret_file;
pub(crate) mod service;
pub(crate) mod service_status;
pub(crate) mod spec;
pub(crate) mod unknown_value;

//! The decision who may do what: policies, tokens of Entra ID, certificates, and the credentials of
//! devices.

pub(crate) mod certificates;
pub(crate) mod credentials;
pub(crate) mod entra;
pub(crate) mod policy;
pub(crate) mod service_token;

//! The types of Azure IoT Hub: ids, registry documents, twins, tokens, errors and limits.
//!
//! Every type is built by a parser that checks the rules of the service, so every value is valid.
//! This crate has no I/O, no clock and no async; where a rule needs the time, the caller passes it.
//!
//! | noun | module |
//! |---|---|
//! | device and module ids, and the certificate subject of an identity | [`id`] |
//! | credentials: thumbprints, symmetric keys, the `authentication` object | [`thumbprint`], [`symmetric_key`], [`authentication`] |
//! | the registry's documents | [`identity`], [`bulk`] |
//! | the twin's documents and rules | [`twin`] |
//! | numbers, checked in their text form | [`number`] |
//! | versions for optimistic concurrency, times on the wire | [`etag`], [`timestamp`] |
//! | access tokens and connection strings | [`sas`], [`connection_string`] |
//! | the Device Provisioning Service | [`dps`] |
//! | detection of secrets in text | [`secret_text`] |
//! | error codes and limits of the service | [`error_code`], [`limits`] |

pub mod authentication;
pub mod bulk;
pub mod connection_string;
pub mod dps;
pub mod error_code;
pub mod etag;
pub mod id;
pub mod identity;
pub mod limits;
pub mod number;
pub mod repeated_member;
pub mod sas;
pub mod secret_text;
pub mod shown;
pub mod symmetric_key;
pub mod thumbprint;
pub mod timestamp;
pub mod twin;

pub use authentication::Authentication;
pub use error_code::ErrorCode;
pub use etag::{Etag, IfMatch};
pub use id::{DeviceId, IdentityId, ModuleId};
pub use symmetric_key::SymmetricKey;
pub use thumbprint::{Sha1Thumbprint, Sha256Thumbprint, Thumbprint};
pub use timestamp::Timestamp;

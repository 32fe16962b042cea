//! The vocabulary of Azure IoT Hub: what a device, a twin, an error or a token *is*.
//!
//! Parse, don't validate: every type here is built through a parser that checks the rules of the
//! service, so a value that exists is legal. There is no I/O, no clock and no async in this crate;
//! where a rule needs the time, the caller passes it.
//!
//! See [`id`] and [`thumbprint`].

pub mod id;
pub mod limits;
pub mod thumbprint;

pub use id::{DeviceId, IdentityId, ModuleId};
pub use thumbprint::{Sha1Thumbprint, Sha256Thumbprint, Thumbprint};

//! The client's side of IoT Hub's service REST API: single calls, their errors, and which of them
//! may be tried again.

pub use client::{HubClient, HubClientOptions};
pub use error::{ErrorClass, HubError};

mod client;
mod error;
mod retry;

//! An IoT Hub on this machine, for Microsoft's own SDKs, for `az`, and for tests.
//!
//! [`LocalHub::start`] starts one in this process; the `local-hub` binary is a thin shell around
//! it. It serves the registry and the twins of devices and modules over HTTPS, as the service API
//! of IoT Hub does: same errors, etags, versions and metadata. Devices and modules connect over
//! MQTT. Unsupported operations are refused by name, with status 501.
//!
//! From outside in: `listener` accepts TLS connections, `connection_log` records refused ones,
//! `http` is the service API, `mqtt` is the device protocol, `amqp` is the refusal of AMQP, `hub`
//! is the registry under its lock with the table of `connections` and the store; `registry`, `twin`
//! and `query` are plain structures without I/O, `store` is SQLite.

pub use clock::{Clock, MovableClock, SystemClock};

pub use error::{Error, Result};
pub use faults::{Effect, Fault, Faults, FaultsError};
pub use local_hub::LocalHub;
pub use local_hub::config::{Config, Reach};
pub use throttle::{Charging, Throttling};

mod access;
mod amqp;
mod api_error;
mod blobs;
pub mod cli;
mod clock;
mod configuration_content;
mod configurations;
mod device_to_cloud;
mod error;
mod faults;
mod http;
mod hub;
mod ids;
mod job_runner;
mod jobs;
mod listener;
mod local_hub;
mod management;
mod mqtt;
mod query;
mod registry;
mod request_log;
mod roll_out;
mod storage;
mod throttle;
mod twin;

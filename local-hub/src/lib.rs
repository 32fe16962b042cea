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
pub use config::{Config, Reach};
pub use error::{Error, Result};
pub use faults::{Effect, Fault, Faults, FaultsError};
pub use local_hub::LocalHub;
pub use throttle::{Charging, Throttling};

mod amqp;
mod attributes;
mod certificates;
pub mod cli;
mod clock;
mod config;
mod connection_log;
mod connections;
mod counter_etag;
mod data_folder;
mod device_access;
mod device_to_cloud;
mod documents;
mod entra;
mod error;
mod faults;
mod http;
mod hub;
mod jobs;
mod json_error;
mod listener;
mod local_hub;
mod management;
mod methods;
mod mqtt;
mod operations;
mod policy;
mod query;
mod random;
mod refusal;
mod registry;
mod request_log;
mod resettable;
mod roll_out;
mod store;
mod system;
mod throttle;
mod timekeeper;
mod twin;

//! An IoT Hub on this machine, for Microsoft's own SDKs, for `az`, and for tests.
//!
//! [`LocalHub::start`] starts one in this process; the `local-hub` binary is a thin shell around
//! it. It serves the registry and the twins of devices and modules over HTTPS, as the service API
//! of IoT Hub does: same errors, etags, versions and metadata. Devices and modules connect over
//! MQTT. Unsupported operations are refused by name, with status 501.
//!
//! The rooms, from outside in; each imports only rooms that come later:
//!
//! | room | owns |
//! |---|---|
//! | `cli`, `local_hub` | the command line; the start and end of a hub, and its scheduler |
//! | `dps` | the Device Provisioning Service beside the hub |
//! | `management`, `roll_out` | the management port; the application of configurations |
//! | `http` | the service API |
//! | `rest` | requests and responses over HTTPS, whichever service they are for |
//! | `mqtt`, `amqp`, `job_runner` | devices; the error for AMQP clients; imports, exports and scheduled jobs |
//! | `listener`, `request_log` | TLS connections; the log of requests and of refused connections |
//! | `hub` | the registry, configurations, jobs and connections under one lock, and the store behind it |
//! | `storage`, `throttle`, `device_to_cloud`, `blobs` | the data folder; throttles and quotas; messages to the cloud; containers of jobs |
//! | `configurations`, `query`, `jobs`, `access`, `registry`, `configuration_content`, `twin` | plain structures and rules without I/O, except that `access` reads certificates |
//! | `backend`, `faults`, `clock`, `api_error`, `ids` | values that all rooms use |

pub use clock::{Clock, MovableClock, SystemClock};
pub use dps::LocalDps;
pub use error::{Error, Result};
pub use faults::{Effect, Fault, Faults, FaultsError};
pub use local_hub::LocalHub;
pub use local_hub::config::{Config, DpsConfig, Reach};
pub use throttle::{Charging, Throttling};

mod access;
mod amqp;
mod api_error;
mod backend;
mod blobs;
pub mod cli;
mod clock;
mod configuration_content;
mod configurations;
mod device_to_cloud;
mod dps;
mod error;
mod faults;
mod http;
mod http_client;
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
mod rest;
mod roll_out;
mod storage;
mod throttle;
mod twin;

//! The configuration of a hub.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::faults::Faults;
use crate::throttle::Throttling;

/// The configuration of a hub. The default is in memory, on a free port of this machine, without
/// devices.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data folder; `None` keeps everything in memory.
    pub data: Option<PathBuf>,
    /// For a hub in memory: a folder that gets only the data that clients need: the CA certificate
    /// and the connection strings.
    pub credentials: Option<PathBuf>,
    /// The HTTPS address; port 0 takes a free port.
    pub https: SocketAddr,
    /// The address for devices over MQTT with TLS; port 0 takes a free port, `None` lets no device
    /// connect. SDKs know no other port than 8883.
    pub mqtt: Option<SocketAddr>,
    /// The address at which AMQP clients are told that the hub does not support it; port 0 takes a
    /// free port, `None` does not listen. Inside a WebSocket they are told in any case.
    pub amqp: Option<SocketAddr>,
    /// PEM files with the CAs, roots or intermediates, whose certificates devices and modules with
    /// the authentication type `certificateAuthority` may present.
    pub device_cas: Vec<PathBuf>,
    /// Names in addition to localhost, 127.0.0.1 and ::1 by which clients call the hub. The first
    /// one is used in connection strings.
    pub host_names: Vec<String>,
    /// The separate name by which devices call the hub; the service API is not served by this name.
    /// `None` lets devices use any name of the hub.
    pub device_host_name: Option<String>,
    /// The clients that may reach the hub.
    pub reach: Reach,
    /// A file that gets one line of JSON per request.
    pub request_log: Option<PathBuf>,
    /// A file that gets one line of JSON per message to the cloud: device messages, twin changes,
    /// and created or deleted identities.
    pub telemetry: Option<PathBuf>,
    /// The management address, which must be on loopback; port 0 takes a free port, `None` has no
    /// management port.
    pub management: Option<SocketAddr>,
    /// True to accept tokens in the form of Entra ID that the hub itself makes, for tests.
    pub entra_test: bool,
    /// The folder in the file system for containers of import and export jobs; `None` allows only
    /// containers over HTTP.
    pub blob_folder: Option<PathBuf>,
    /// The throttles and quotas of the service; `None` limits nothing.
    pub throttling: Option<Throttling>,
    /// The initial faults.
    pub faults: Faults,
    /// The DPS beside the hub; `None` serves none.
    pub dps: Option<DpsConfig>,
    /// The clock for documents and for the expiry of tokens.
    pub clock: Arc<dyn Clock>,
}

/// The configuration of a Device Provisioning Service (DPS), which assigns devices to the hub of the
/// same process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DpsConfig {
    /// The HTTPS address; port 0 takes a free port. `None` shares the hub's address: clients that
    /// call `host_name` get the DPS.
    pub https: Option<SocketAddr>,
    /// The address for devices over MQTT with TLS, as `https`.
    pub mqtt: Option<SocketAddr>,
    /// The name by which clients call the DPS, needed where it shares an address with the hub. The
    /// default is localhost.
    pub host_name: Option<String>,
    /// PEM files with one CA certificate each, to which enrolments refer by the name of the file
    /// without its ending.
    pub cas: Vec<PathBuf>,
    /// The data folders of other local hubs that devices can be assigned to.
    pub linked_hubs: Vec<PathBuf>,
}

/// The clients that may reach a hub. A hub does not limit password guessing and stores its CA key
/// in a plain file, so it is a tool for one machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// Only this machine: other addresses are refused.
    #[default]
    ThisMachine,
    /// Every machine that can reach the address.
    OtherMachines,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: None,
            credentials: None,
            https: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            mqtt: None,
            amqp: None,
            device_cas: Vec::new(),
            host_names: Vec::new(),
            device_host_name: None,
            reach: Reach::default(),
            request_log: None,
            telemetry: None,
            management: None,
            entra_test: false,
            blob_folder: None,
            throttling: None,
            faults: Faults::default(),
            dps: None,
            clock: Arc::new(SystemClock),
        }
    }
}

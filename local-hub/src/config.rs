//! What a hub is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::faults::Faults;
use crate::throttle::Throttling;

/// How a hub is to run. The default is in memory, on a free port of this machine, without
/// devices.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that keeps everything; none keeps it in memory.
    pub data: Option<PathBuf>,
    /// For a hub in memory: a folder that gets only what clients need, which are the CA certificate
    /// and the connection strings.
    pub credentials: Option<PathBuf>,
    /// Where to listen for HTTPS; port 0 takes a free one.
    pub https: SocketAddr,
    /// Where to listen for devices over MQTT with TLS; port 0 takes a free one, none lets no device
    /// connect. SDKs know no other port than 8883.
    pub mqtt: Option<SocketAddr>,
    /// Where to tell clients of AMQP that the hub does not speak it; port 0 takes a free one, none lets
    /// them find nobody there. Inside a WebSocket they are told in any case.
    pub amqp: Option<SocketAddr>,
    /// PEM files with the CAs, roots or intermediates, whose certificates devices and modules with
    /// the authentication type `certificateAuthority` may present.
    pub device_cas: Vec<PathBuf>,
    /// Names beside localhost, 127.0.0.1 and ::1 by which clients call the hub. The first is the one
    /// in connection strings.
    pub host_names: Vec<String>,
    /// The name by which devices call a hub that has one of its own for them, beside the service's: its
    /// service API is not served by this name. None lets devices call it by any of its names.
    pub device_host_name: Option<String>,
    /// Who may reach the hub.
    pub reach: Reach,
    /// A file that gets one line of JSON per request.
    pub request_log: Option<PathBuf>,
    /// A file that gets one line of JSON per message to the cloud: what devices send, twin changes, and
    /// identities that are created or deleted.
    pub telemetry: Option<PathBuf>,
    /// Where to listen for management, which must be on loopback; port 0 takes a free one, none has
    /// no such port.
    pub management: Option<SocketAddr>,
    /// Whether tokens in the manner of Entra ID are taken, which the hub itself makes: for tests.
    pub entra_test: bool,
    /// Where containers of import and export jobs may lie in the file system; none allows only
    /// containers behind HTTP.
    pub blob_folder: Option<PathBuf>,
    /// The throttles and quotas of the service; none lets everything in at once.
    pub throttling: Option<Throttling>,
    /// What is to go wrong from the start.
    pub faults: Faults,
    /// The time that documents carry and by which tokens expire.
    pub clock: Arc<dyn Clock>,
}

/// Who may reach a hub. It has no throttle against guessing and its CA key lies in a plain file, so
/// it is a tool for one machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// Only this machine: other addresses are refused.
    #[default]
    ThisMachine,
    /// Whoever can reach the address.
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
            clock: Arc::new(SystemClock),
        }
    }
}

//! `verify` as it is typed.

use std::num::NonZeroUsize;

use clap::Args;
use hub_types::dps::IdScope;

use super::group::GroupArgs;
use super::{DpsArgs, JobArgs};
use crate::dps::EntryError;
use crate::model::entry_settings::GroupOptions;
use crate::target::DpsChoice;
use crate::verify::{ConnectRequest, Sample};

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// Report devices and modules without a row as extra if their twins meet this condition of IoT
    /// Hub's query language.
    #[arg(long, value_name = "CONDITION", conflicts_with = "dps")]
    pub(in crate::cli) within: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    #[command(flatten)]
    pub(in crate::cli) job: JobArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
    /// Register with this id scope [default: `id_scope` of the DPS in `provisioner.toml`].
    #[arg(long, value_name = "SCOPE", env = "IOTDPS_ID_SCOPE", help_heading = "DPS")]
    id_scope: Option<IdScope>,
    #[command(flatten)]
    group: GroupArgs,
}

impl VerifyArgs {
    /// The enrolment group by which the devices register.
    pub(in crate::cli) fn group(&self) -> Result<Option<GroupOptions>, EntryError> {
        self.group.options(&self.job)
    }

    /// The choice of the DPS, with the id scope.
    pub(in crate::cli) fn with_id_scope(&self, dps: DpsChoice) -> DpsChoice {
        DpsChoice { id_scope: self.id_scope.clone(), ..dps }
    }

    /// The request for connections as devices, if devices are to connect.
    pub(in crate::cli) fn connect_request(&self) -> Option<ConnectRequest> {
        let ConnectArgs { sample, mqtt, connections } = &self.connect;
        sample.map(|sample| ConnectRequest { sample, address: mqtt.clone(), connections: *connections })
    }
}

/// The devices that connect to the hub, and their address.
#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectArgs {
    /// Connect over MQTT as N of the batch's devices, spread over the batch and always the same, or
    /// as all of them. Each device connects with its modules and with their own certificates or
    /// keys. If the real device is connected, it is disconnected once. With `--dps`, the devices
    /// register first, as they do themselves, and connect to the hub that they are assigned to,
    /// without their modules.
    #[arg(long = "connect", value_name = "N|all")]
    pub(in crate::cli) sample: Option<Sample>,
    /// Connect to this address as a device, for example at the end of a tunnel. The certificate
    /// must still be for the name of the hub. HTTPS_PROXY does not apply to MQTT.
    /// With `--dps`, the address is that for registering. [default: port 8883 of the hub or the DPS]
    #[arg(long, value_name = "HOST:PORT", requires = "sample", value_parser = parse_address)]
    pub(in crate::cli) mqtt: Option<(String, u16)>,
    /// Open at most this many connections at once [default: 8 for each core].
    #[arg(long, value_name = "N", requires = "sample")]
    pub(in crate::cli) connections: Option<NonZeroUsize>,
}

pub(super) fn parse_address(text: &str) -> Result<(String, u16), String> {
    let address = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match address {
        // The brackets of `[::1]:8883` are for people.
        Some((host, port)) if !host.is_empty() && port != 0 => {
            Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
        }
        _ => Err("must have the form HOST:PORT, for example `hub.example:8883`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(parse_address("localhost:18883"), Ok(("localhost".to_owned(), 18883)));
        assert_eq!(parse_address("[::1]:8883"), Ok(("::1".to_owned(), 8883)));
        for wrong in ["8883", ":8883", "hub", "hub:", "hub:0", "hub:70000"] {
            assert!(parse_address(wrong).is_err(), "{wrong}");
        }
    }
}

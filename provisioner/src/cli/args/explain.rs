//! `explain` as it is typed.

use std::path::PathBuf;

use clap::Args;

use super::TargetArgs;
use crate::explain::ExplainRequest;

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainArgs {
    /// Explain for a device that presents the certificates in this file, its own first.
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Explain for this registration id [default: the common name of the certificate].
    #[arg(long, value_name = "ID")]
    device_id: Option<String>,
    /// Check signatures by this CA too, whose certificate the device does not present. Entries refer
    /// to the CA by the name of the file, without its ending.
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Ask this DPS of `provisioner.toml`, or without NAME that of the connection string in the
    /// environment variable IOTDPS_CONNECTION_STRING or, with Entra ID, that of `--host`.
    #[arg(
        long,
        value_name = "NAME",
        num_args = 0..=1,
        required = true,
        help_heading = "DPS",
        conflicts_with_all = ["hub", "local", "device_host", "tier"],
    )]
    dps: Option<Option<String>>,
    #[command(flatten)]
    target: TargetArgs,
}

impl ExplainArgs {
    /// The request to explain a registration.
    pub(in crate::cli) fn request(&self) -> ExplainRequest {
        ExplainRequest {
            chain: self.certificate.clone(),
            id: self.device_id.clone(),
            cas: self.ca.clone(),
            dps: self.target.dps_choice(self.dps.clone().flatten()),
        }
    }
}

//! `follow` as it is typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::choices::TwinPolicyArg;
use super::{IssuedArgs, ProfileArgs, ReadArgs, TargetArgs, UnlockArgs, WorkArgs};
use crate::allocation::{AllocationKey, AllocationKeyError, ListenSettings};
use crate::batch::BatchChoice;
use crate::ledger::RunOptions;
use crate::model::options::ApplyRules;
use crate::model::run_id::RunId;
use crate::run::{FollowRequest, FollowedRows};

#[derive(Debug, Args)]
pub(in crate::cli) struct FollowArgs {
    /// The batch, or the number of a run.
    #[arg(id = "file", value_name = "FILE|RUN")]
    rows: String,
    /// Follow the registrations with this DPS of `provisioner.toml`, or without NAME with that of the
    /// connection string in the environment variable IOTDPS_CONNECTION_STRING. Without the option,
    /// a device has registered when it exists on the hub.
    #[arg(long, value_name = "NAME", num_args = 0..=1, help_heading = "DPS")]
    dps: Option<Option<String>>,
    /// Stop after this time, such as 90s, 30m, 8h or 2d, if devices are still waited for. The run
    /// can be continued later.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Duration>,
    /// Pause for this time after all waiting devices were looked for, such as 5s or 1m.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_time)]
    interval: Duration,
    /// Answer custom allocations at this address of this machine, as POST /allocate: each device of the
    /// batch gets this hub and the twin of its row, for example devices of a group. An entry calls it
    /// by its `webhookUrl`, such as https://station:8445/allocate?code=KEY.
    #[arg(long, value_name = "ADDR:PORT", requires = "listen_key_file", help_heading = "Custom allocation")]
    listen: Option<SocketAddr>,
    /// Read the key, by which a DPS proves itself, from the first line of this private file.
    #[arg(long, value_name = "FILE", requires = "listen", help_heading = "Custom allocation")]
    listen_key_file: Option<PathBuf>,
    /// Serve TLS with the certificates in this file. Without it, only this machine can call.
    #[arg(
        long,
        value_name = "FILE",
        requires_all = ["listen", "listen_private_key"],
        help_heading = "Custom allocation",
    )]
    listen_certificate: Option<PathBuf>,
    /// The private key of that certificate, which is not encrypted.
    #[arg(long, value_name = "FILE", requires = "listen_certificate", help_heading = "Custom allocation")]
    listen_private_key: Option<PathBuf>,
    /// Handle twins with different values by this policy: `initial` keeps values that were written
    /// since the registration, `merge` writes the batch's values into the twin, `replace` also
    /// removes values that the batch does not name, from those of tags and desired properties that
    /// it gives at all. [default: initial]
    #[arg(long, value_enum, value_name = "POLICY")]
    twin: Option<TwinPolicyArg>,
    /// Read the batch of the run from here. It must be unchanged.
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
    #[command(flatten)]
    read: ReadArgs,
    /// Continue with the good rows if others are bad; the bad rows are counted as rejected.
    #[arg(long)]
    skip_bad_rows: bool,
    #[command(flatten)]
    issued: IssuedArgs,
    #[command(flatten)]
    profile: ProfileArgs,
    #[command(flatten)]
    unlock: UnlockArgs,
    /// Do not read everything back at the end.
    #[arg(long)]
    pub(in crate::cli) no_verify: bool,
    #[command(flatten)]
    pub(in crate::cli) work: WorkArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

impl FollowArgs {
    /// The request to follow registrations.
    pub(in crate::cli) fn request(&self) -> Result<FollowRequest, AllocationKeyError> {
        let rows = match self.rows.parse::<RunId>() {
            Ok(run) => FollowedRows::Run(run, self.batch.clone()),
            Err(_) => FollowedRows::Batch(BatchChoice {
                file: PathBuf::from(&self.rows),
                read: self.read.options(),
            }),
        };
        let twin = self.twin.map(Into::into).unwrap_or_default();
        Ok(FollowRequest {
            rows,
            dps: self.dps.clone().map(|name| self.target.dps_beside_hub(name)),
            options: RunOptions {
                rules: ApplyRules { twin, ..ApplyRules::default() },
                issue: self.issued.folders(),
                profile: self.profile.name.clone(),
                ..RunOptions::default()
            },
            skip_bad_rows: self.skip_bad_rows,
            secrets: self.unlock.secrets(),
            interval: self.interval,
            until: self.until,
            listen: self.listen()?,
        })
    }

    fn listen(&self) -> Result<Option<ListenSettings>, AllocationKeyError> {
        let (Some(address), Some(key)) = (self.listen, &self.listen_key_file) else { return Ok(None) };
        let tls = self.listen_certificate.clone().zip(self.listen_private_key.clone());
        Ok(Some(ListenSettings { address, key: AllocationKey::read(key)?, tls }))
    }
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a time such as 90s, 30m, 8h or 2d".to_owned();
    let unit = match text.chars().next_back().ok_or_else(wrong)? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    let number = text.get(..text.len() - 1).and_then(|number| number.parse::<u32>().ok());
    match number {
        Some(number @ 1..) => Ok(Duration::from_secs(u64::from(number) * unit)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("8h", 28_800), ("2d", 172_800)] {
            assert_eq!(parse_time(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "s", "0s", "8", "8 h", "1w", "-1h", "1.5h", "8hh", "5000000000s", "1é"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}

//! What is typed to look certificates up, and to revoke them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::IdentityArgs;
use crate::cli::within;

/// Which certificates of a CA.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["device_id", "name", "serial", "thumbprint"]))]
pub(crate) struct WhichArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// Look into the books of the root in the folder; where there is nothing but a root, they are meant anyhow.
    #[arg(long)]
    pub(crate) root: bool,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// The common name of a CA that it has signed.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The serial number, in hex.
    #[arg(long, value_name = "HEX")]
    pub(crate) serial: Option<String>,
    /// The SHA-1 or SHA-256 thumbprint.
    #[arg(long, value_name = "HEX")]
    pub(crate) thumbprint: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// What the root in the folder has signed; where there is nothing but a root, this is meant anyhow.
    #[arg(long)]
    pub(crate) root: bool,
    /// Only what was revoked.
    #[arg(long)]
    pub(crate) revoked: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExpiringArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// How soon, as in `60d`, `8w` or `36h`.
    #[arg(long, value_name = "TIME", value_parser = within::parse)]
    pub(crate) within: time::Duration,
    /// Where the batch goes; without, what ends is printed.
    #[arg(long, value_name = "BATCH")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// Why.
    #[arg(long, value_enum)]
    pub(crate) reason: Option<ReasonArg>,
    /// Release what is on hold (certificateHold): the next list does not have it any more.
    #[arg(long, conflicts_with = "reason")]
    pub(crate) release: bool,
}

/// Why a certificate is revoked, in the words of RFC 5280.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub(crate) enum ReasonArg {
    KeyCompromise,
    #[value(name = "cACompromise")]
    CaCompromise,
    AffiliationChanged,
    Superseded,
    CessationOfOperation,
    CertificateHold,
    PrivilegeWithdrawn,
}

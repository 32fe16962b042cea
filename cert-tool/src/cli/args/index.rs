//! The arguments of the verbs that look certificates up, and revoke them.

use std::path::PathBuf;

use cert_tool::RevocationReason;
use clap::Args;
use cli_support::choices;

use super::IdentityArgs;
use crate::cli::within;

/// The books of a CA.
#[derive(Debug, Args)]
pub(crate) struct BooksArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// Take what the root in the folder has signed; this is the default if the folder has only a
    /// root.
    #[arg(long)]
    pub(crate) root: bool,
}

/// The choice of certificates of a CA.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["device_id", "name", "serial", "thumbprint"]))]
pub(crate) struct WhichArgs {
    #[command(flatten)]
    pub(crate) books: BooksArgs,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// The common name of a CA that this CA has signed.
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
    #[command(flatten)]
    pub(crate) books: BooksArgs,
    /// List only revoked certificates.
    #[arg(long)]
    pub(crate) revoked: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExpiringArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The time until expiry, as in `60d`, `8w` or `36h`.
    #[arg(long, value_name = "TIME", value_parser = within::parse)]
    pub(crate) within: time::Duration,
    /// The batch file to write; without it, the certificates are printed.
    #[arg(long, value_name = "BATCH")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// The reason of the revocation.
    #[arg(long, value_enum)]
    pub(crate) reason: Option<ReasonArg>,
    /// Release certificates on hold (certificateHold): the next list no longer has them.
    #[arg(long, conflicts_with = "reason")]
    pub(crate) release: bool,
}

choices! {
    /// The reason of a revocation, in the words of RFC 5280.
    #[value(rename_all = "camelCase")]
    pub(crate) ReasonArg: RevocationReason {
        KeyCompromise,
        #[value(name = "cACompromise")]
        CaCompromise,
        AffiliationChanged,
        Superseded,
        CessationOfOperation,
        CertificateHold,
        PrivilegeWithdrawn,
    }
}

//! The arguments of the verbs that request and issue certificates.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use cert_tool::Sink;
use clap::Args;
use cli_support::choices;

use super::{BatchArgs, IdentityArgs, KeyTypeArg, PfxKindArgs, parse_threads};
use crate::cli::unlock::UnlockArgs;
use crate::cli::within;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from"]))]
#[command(group = clap::ArgGroup::new("keys").required(true).args(["key", "key_out", "from"]))]
pub(crate) struct CsrArgs {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// Make a request for each row of a batch file.
    #[arg(long, value_name = "BATCH", group = "batch")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    /// The device's existing key; `-` is stdin.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The file for a new key.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_out: Option<PathBuf>,
    /// A private file whose first line is the passphrase of the key; without it, the passphrase
    /// comes from CERT_TOOL_PASSPHRASE or the terminal.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The kind of new keys.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyTypeArg,
    /// The file for the request; with --from, the folder for the requests.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
}

/// The arguments for issuing.
#[derive(Debug, Args)]
pub(crate) struct IssuingArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The folder for certificates, keys and `issued.csv`; existing certificates are kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The lifetime of the certificates in days (by default 365); never longer than that of the CA.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: Option<u32>,
    /// The profile in the CA's `profile.toml`, for rows whose column `profile` is empty.
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The subject beside the common name, as in 'C=DE,O=Acme,OU=Plant 7' (RFC 4514); values may be
    /// templates over the row, such as serialNumber={{ x_serial }}.
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    /// The kind of output. Bundle: all certificates in one file and all keys in another, fast, the
    /// default for batches. Folder: a folder for each identity, the default for one identity, slow
    /// for many. Csv, tar and sqlite: files of that kind.
    #[arg(long, value_enum)]
    pub(crate) sink: Option<SinkArg>,
    /// Write the chain up to the root, without the root, behind each certificate; folders always
    /// have a `chain.pem`.
    #[arg(long)]
    pub(crate) chain: bool,
    /// The number of threads; by default one for each core.
    #[arg(long, value_parser = parse_threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Write common names of more than 64 characters: X.509 does not allow them, and OpenSSL and
    /// others refuse such certificates.
    #[arg(long)]
    pub(crate) allow_long_cn: bool,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

choices! {
    /// The value of `--sink`.
    pub(crate) SinkArg: Sink {
        Bundle,
        Csv,
        Folder,
        Sqlite,
        Tar,
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from", "count"]))]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// Issue a certificate for each row of a batch file that asks for one and has none.
    #[arg(long, value_name = "BATCH", group = "batch")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    /// The number of devices, named by --pattern.
    #[arg(long, value_name = "N", requires = "pattern", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// The names of the devices: `{}` is the number, `{:06}` the number with six digits.
    #[arg(long, value_name = "NAME", requires = "count")]
    pub(crate) pattern: Option<String>,
    /// The number of the first device.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "count")]
    pub(crate) first: u64,
    /// Issue a new certificate for identities that have one in another folder; register only the
    /// new one then.
    #[arg(long)]
    pub(crate) replace: bool,
    /// The kind of new keys.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyTypeArg,
    /// Write a PFX file to this folder for each identity whose key is made here, as `cert-tool pfx
    /// --all` does.
    #[arg(long, value_name = "DIR")]
    pub(crate) pfx: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pfx_kind: PfxKindArgs,
    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from", "within"]))]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// Renew the certificate of each row of a batch file.
    #[arg(long, value_name = "BATCH", group = "batch")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    /// Renew certificates that expire within this time, as in `60d`, `8w` or `36h`.
    #[arg(long, value_name = "TIME", value_parser = within::parse)]
    pub(crate) within: Option<time::Duration>,
    /// Keep each device's key instead of making a new one.
    #[arg(long, conflicts_with = "key_type")]
    pub(crate) same_key: bool,
    /// The kind of new keys.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyTypeArg,
    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// Requests, PEM or DER; in a folder, all files that end in `.csr`, `.p10` or `.req`. `-` is
    /// stdin.
    #[arg(required_unless_present = "expect")]
    pub(crate) requests: Vec<PathBuf>,
    /// A batch file with the identities that may send requests; others are refused. Requests in its
    /// column `csr` (PEM, DER in base64, or a path) are signed too.
    #[arg(long, value_name = "BATCH", group = "batch")]
    pub(crate) expect: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    /// Issue a new certificate for identities that have one in another folder; register only the
    /// new one then.
    #[arg(long)]
    pub(crate) replace: bool,
    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
}

//! What is typed to read files, and to write others from what was issued.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use hub_types::Thumbprint;
use time::OffsetDateTime;

use super::{IdentityArgs, parse_time};

#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// The folder that `issue` wrote.
    pub(crate) dir: PathBuf,
    /// The device.
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: String,
    /// The module of it; without, the device itself is meant.
    #[arg(long, value_name = "ID")]
    pub(crate) module_id: Option<String>,
    /// The folder for `cert.pem`, `chain.pem` and `key.pem`.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from", "all"]))]
pub(crate) struct PfxArgs {
    /// The folder that `issue` wrote.
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// A batch file: a PFX file for each row of it.
    #[arg(long, value_name = "BATCH")]
    pub(crate) from: Option<PathBuf>,
    /// A PFX file for everything in the folder.
    #[arg(long)]
    pub(crate) all: bool,
    /// The PFX file, which must not be there yet; with --from and --all a folder, in which files that are
    /// there stay.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    /// How many threads; by default one for each core.
    #[arg(long)]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) kind: PfxKindArgs,
}

/// What PFX files are like.
#[derive(Debug, Args)]
pub(crate) struct PfxKindArgs {
    /// A private file whose first line is the password of the PFX files; without, CERT_TOOL_PASSWORD is
    /// taken, or it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Write PFX files for Windows before 2019, Java 8 and the like: 3DES and SHA-1.
    #[arg(long)]
    pub(crate) legacy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    /// PEM, DER or PFX files; `path#offset` is a place in a bundle, `-` is stdin.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// A private file whose first line is the password of PFX files; without, CERT_TOOL_PASSWORD is taken, or
    /// it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TestPkiArgs {
    /// The folder; it must not be there yet.
    pub(crate) dir: PathBuf,
    /// Other keys and serial numbers; the same seed and time give the same bytes.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The time at which the good ones are good, as in 2027-01-31T12:00:00Z; by default the beginning of
    /// today.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<OffsetDateTime>,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Certificates, PEM, DER or PFX; what follows the first in a file is its chain.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Certificates to trust, or the folder of a CA.
    #[arg(long, value_name = "PATH", required_unless_present = "thumbprint")]
    pub(crate) ca: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// The key that it must be for: private, public, or in a PFX file.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Revocation lists; the certificate must be covered by one.
    #[arg(long, value_name = "FILE")]
    pub(crate) crl: Vec<PathBuf>,
    /// The time at which it must be good, as in 2027-01-31T12:00:00Z; by default now.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<OffsetDateTime>,
    /// A thumbprint that the hub knows, SHA-1 or SHA-256; twice for both of an identity.
    #[arg(long, value_name = "HEX", value_parser = Thumbprint::parse_lenient)]
    pub(crate) thumbprint: Vec<Thumbprint>,
    /// A private file whose first line is the password of PFX files; without, CERT_TOOL_PASSWORD is taken, or
    /// it is asked for.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

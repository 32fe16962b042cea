//! What can be typed.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use cert_tool::KeyType;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::failure::Failure;
use super::unlock::UnlockArgs;
use hub_types::{IdentityId, Thumbprint};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Keys, requests, certificates and thumbprints for the devices and modules of an IoT hub.
///
/// Data goes to stdout, everything for people to stderr. Exit codes: 0 all as asked; 1 some failed,
/// the output says which; 2 bad usage or bad input, nothing done; 3 the CA or a file can't be used;
/// 4 interrupted, the same command goes on; 70 a bug.
#[derive(Debug, Parser)]
#[command(name = "cert-tool", version, after_help = OVERVIEW)]
pub(crate) struct Cli {
    /// How data is written: for people, one JSON object a line, or CSV with a header.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How data is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Csv,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a CA, take one over, look at one
    Ca(CaArgs),
    /// Print what a shell needs to complete what is typed
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Make a key and a request for it, on the device or for a whole batch
    #[command(after_help = CSR_EXAMPLES)]
    Csr(CsrArgs),
    /// Take one identity's certificate and key out of a bundle
    #[command(after_help = EXTRACT_EXAMPLES)]
    Extract(ExtractArgs),
    /// List what ends soon, as a batch for `renew`
    #[command(after_help = EXPIRING_EXAMPLES)]
    Expiring(ExpiringArgs),
    /// Find certificates of a CA by identity, serial number or thumbprint
    #[command(after_help = FIND_EXAMPLES)]
    Find(FindArgs),
    /// Issue certificates for one identity or for a batch
    #[command(after_help = ISSUE_EXAMPLES)]
    Issue(Box<IssueArgs>),
    /// Write the manual pages
    Man {
        /// The folder for them.
        dir: PathBuf,
    },
    /// List everything that a CA has issued
    List(ListArgs),
    /// Make a PFX (PKCS #12) file of one identity's certificate and key
    #[command(after_help = PFX_EXAMPLES)]
    Pfx(PfxArgs),
    /// Issue again what was issued before, with the old thumbprint as the secondary one
    #[command(after_help = RENEW_EXAMPLES)]
    Renew(Box<RenewArgs>),
    /// Revoke certificates; `ca crl` makes the list of them
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
    /// Show what certificates, requests, revocation lists, keys and PFX files say
    #[command(after_help = SHOW_EXAMPLES)]
    Show(FilesArgs),
    /// Sign requests that devices sent
    #[command(after_help = SIGN_EXAMPLES)]
    Sign(SignArgs),
    /// Write certificates that must be let in, and one of each kind that must not: for tests of hubs
    /// and firmware
    #[command(after_help = TEST_PKI_EXAMPLES)]
    TestPki(TestPkiArgs),
    /// SHA-1 and SHA-256 thumbprints of certificates, requests, revocation lists and keys
    #[command(after_help = THUMBPRINT_EXAMPLES)]
    Thumbprint(FilesArgs),
    /// Check certificates as a hub would, and as it should: chain, dates, usage, names, revocation, key
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    #[command(subcommand)]
    pub(crate) verb: CaVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaVerb {
    /// Make the key of an issuing CA whose root is elsewhere, and a request for that root
    #[command(after_help = CA_CSR_EXAMPLES)]
    Csr {
        #[command(flatten)]
        new: NewCaArgs,
    },
    /// Take over an existing CA, or the certificate that came back for `ca csr`
    #[command(after_help = CA_IMPORT_EXAMPLES)]
    Import(CaImportArgs),
    /// Make a root CA and an issuing CA in a new folder
    #[command(after_help = CA_INIT_EXAMPLES)]
    Init {
        #[command(flatten)]
        new: NewCaArgs,
        /// How many days the root is good; the issuing CA has half of them.
        #[arg(long, default_value_t = 7300, value_parser = clap::value_parser!(u32).range(1..))]
        days: u32,
        /// No issuing CA: the root signs the requests that `ca csr` makes elsewhere.
        #[arg(long)]
        root_only: bool,
    },
    /// Say what a CA may issue
    #[command(after_help = CA_POLICY_EXAMPLES)]
    Policy(CaPolicyArgs),
    /// Make the certificate with which a hub's owner proves that the CA is theirs
    #[command(after_help = CA_PROVE_EXAMPLES)]
    Prove(CaProveArgs),
    /// Make the list of revoked certificates, for those who trust the CA
    #[command(after_help = CA_CRL_EXAMPLES)]
    Crl(CrlArgs),
    /// Revoke certificates: the same as `cert-tool revoke`
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
    /// Show the certificates, the keys' places and the policy of a CA
    #[command(after_help = CA_SHOW_EXAMPLES)]
    Show {
        /// The CA's folder.
        dir: PathBuf,
    },
    /// Sign the request of an issuing CA with a root
    #[command(after_help = CA_SIGN_EXAMPLES)]
    Sign(CaSignArgs),
}

/// What every new CA has.
#[derive(Debug, Args)]
pub(crate) struct NewCaArgs {
    /// The folder; it must not hold a CA yet.
    pub(crate) dir: PathBuf,
    /// The first part of the CAs' names.
    #[arg(long, default_value = "Factory")]
    pub(crate) name: String,
    /// The kind of the CAs' keys.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyTypeArg,
    /// Encrypt the keys with a passphrase, as --passphrase-file and CERT_TOOL_PASSPHRASE do too.
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Have the issuing CA's key (with --root-only the root's) in a PKCS#11 token: a URI of RFC 7512 with
    /// `object` or `id` and `module-path`. A key that is there is used, otherwise one is made.
    #[arg(long, value_name = "URI")]
    pub(crate) pkcs11: Option<String>,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaImportArgs {
    /// The folder: a new one, or that of `ca csr`.
    pub(crate) dir: PathBuf,
    /// The CA's certificate; what follows it in the file is its chain.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The certificates above it, from below; the root may be left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) chain: Vec<PathBuf>,
    /// Its private key, which is copied; without, the one that `ca csr` made.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The PKCS#11 token that has its private key, as a URI of RFC 7512.
    #[arg(long, value_name = "URI", conflicts_with = "key")]
    pub(crate) pkcs11: Option<String>,
    /// Encrypt the copy of the key; one that comes encrypted stays so.
    #[arg(long, requires = "key")]
    pub(crate) encrypt: bool,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaPolicyArgs {
    /// The CA's folder.
    pub(crate) dir: PathBuf,
    /// A regular expression that the whole common name, `deviceId` or `deviceId/moduleId`, must match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) identities: Option<String>,
    /// How many days a certificate may be good.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_days: Option<u32>,
    /// The kinds of keys, with commas between them.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TYPES")]
    pub(crate) key_types: Vec<KeyTypeArg>,
    /// Forget all rules first.
    #[arg(long)]
    pub(crate) clear: bool,
    /// How many certificates the CA may issue in its life; those issued before count.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_certificates: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct CaProveArgs {
    /// The CA's folder.
    pub(crate) dir: PathBuf,
    /// The verification code that the hub made.
    #[arg(long)]
    pub(crate) code: String,
    /// Where the certificate goes.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Prove the root, if that is the one that was uploaded.
    #[arg(long)]
    pub(crate) root: bool,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaSignArgs {
    /// The request.
    pub(crate) request: PathBuf,
    /// The root's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// Where the certificate goes, with the root's behind it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// How many days it is good; never longer than the root.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

/// The kind of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyTypeArg {
    #[default]
    P256,
    P384,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

impl From<KeyTypeArg> for KeyType {
    fn from(key_type: KeyTypeArg) -> Self {
        match key_type {
            KeyTypeArg::P256 => Self::P256,
            KeyTypeArg::P384 => Self::P384,
            KeyTypeArg::Rsa2048 => Self::Rsa2048,
            KeyTypeArg::Rsa3072 => Self::Rsa3072,
            KeyTypeArg::Rsa4096 => Self::Rsa4096,
        }
    }
}

/// One identity.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// The device.
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: Option<String>,
    /// The module of it; without, the device itself is meant.
    #[arg(long, value_name = "ID", requires = "device_id")]
    pub(crate) module_id: Option<String>,
}

impl IdentityArgs {
    pub(crate) fn identity(&self) -> Result<Option<IdentityId>, Failure> {
        let Some(device) = &self.device_id else {
            return Ok(None);
        };
        let identity = IdentityId::parse(device, self.module_id.as_deref());
        identity.map(Some).map_err(|error| Failure::Usage(error.into()))
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from"]))]
pub(crate) struct CsrArgs {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// A batch file: a request for each row.
    #[arg(long, value_name = "BATCH", conflicts_with = "key")]
    pub(crate) from: Option<PathBuf>,
    /// The device's key, which is there already.
    #[arg(long, value_name = "FILE", conflicts_with = "key_out")]
    pub(crate) key: Option<PathBuf>,
    /// Where to write a new key.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["key", "from"], conflicts_with = "from")]
    pub(crate) key_out: Option<PathBuf>,
    /// The kind of new keys.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyTypeArg,
    /// Where the request goes; with --from a folder.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
}

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

/// How to issue.
#[derive(Debug, Args)]
pub(crate) struct IssuingArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The folder for certificates, keys and `issued.csv`; what is there already stays.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How many days the certificates are good; never longer than the CA.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    /// Bundle: all in one file, fast, the default for batches. Folder: a folder for each identity, the
    /// default for one, slow for many. Csv, tar and sqlite: one file as the name says.
    #[arg(long, value_enum)]
    pub(crate) sink: Option<SinkArg>,
    /// Write the chain up to the root, without it, behind each certificate; folders always have a `chain.pem`.
    #[arg(long)]
    pub(crate) chain: bool,
    /// How many threads; by default one for each core.
    #[arg(long)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Write common names of more than 64 characters: X.509 does not allow them, and OpenSSL and
    /// others refuse such certificates.
    #[arg(long)]
    pub(crate) allow_long_cn: bool,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SinkArg {
    Bundle,
    Csv,
    Folder,
    Sqlite,
    Tar,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from", "count"]))]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// A batch file: a certificate for each row that is to have one and has none.
    #[arg(long, value_name = "BATCH")]
    pub(crate) from: Option<PathBuf>,
    /// How many devices, named by --pattern.
    #[arg(long, value_name = "N", requires = "pattern", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Their names: `{}` is the number, `{:06}` the number with six digits.
    #[arg(long, value_name = "NAME", requires = "count")]
    pub(crate) pattern: Option<String>,
    /// The number of the first one.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "count")]
    pub(crate) first: u64,
    /// Give identities that have a certificate in another folder a new one; only that one is then to be
    /// registered.
    #[arg(long)]
    pub(crate) replace: bool,
    /// The kind of new keys.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyTypeArg,
    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
}

/// Which certificates of a CA.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["device_id", "serial", "thumbprint"]))]
pub(crate) struct WhichArgs {
    /// The CA's folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
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
    #[arg(long, value_name = "TIME", value_parser = super::within::parse)]
    pub(crate) within: time::Duration,
    /// Where the batch goes; without, what ends is printed.
    #[arg(long, value_name = "BATCH")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from", "within"]))]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// A batch file: each row of it is renewed.
    #[arg(long, value_name = "BATCH")]
    pub(crate) from: Option<PathBuf>,
    /// What ends soon, as in `60d`, `8w` or `36h`.
    #[arg(long, value_name = "TIME", value_parser = super::within::parse)]
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
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    pub(crate) which: WhichArgs,
    /// Why.
    #[arg(long, value_enum)]
    pub(crate) reason: Option<ReasonArg>,
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

#[derive(Debug, Args)]
pub(crate) struct CrlArgs {
    /// The CA's folder.
    pub(crate) dir: PathBuf,
    /// Where the list goes, as PEM; an older one is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
    /// How many days it is good.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct PfxArgs {
    /// The folder that `issue` wrote.
    pub(crate) dir: PathBuf,
    /// The device.
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: String,
    /// The module of it; without, the device itself is meant.
    #[arg(long, value_name = "ID")]
    pub(crate) module_id: Option<String>,
    /// The PFX file; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// A private file with its password in the first line; else CERT_TOOL_PASSWORD or a prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Write it for Windows before 2019, Java 8 and the like: 3DES and SHA-1.
    #[arg(long)]
    pub(crate) legacy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// Requests, PEM or DER; of a folder all files that end in `.csr`, `.p10` or `.req`.
    #[arg(required = true)]
    pub(crate) requests: Vec<PathBuf>,
    /// A batch file with the identities that may ask; others are refused.
    #[arg(long, value_name = "BATCH")]
    pub(crate) expect: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) issuing: IssuingArgs,
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

/// Parses a moment (RFC 3339), or a day, of which the first moment is meant.
fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    let moment = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    OffsetDateTime::parse(&moment, &Rfc3339)
        .map_err(|_| "it must look like 2027-01-31 or 2027-01-31T12:00:00Z".to_owned())
}

const OVERVIEW: &str = "\
From a list to certificates:
  cert-tool ca init ca
  cert-tool issue --ca ca --from batch.csv --out issued
  cert-tool extract issued --device-id device01 --out device01

`issued/issued.csv` is a batch file itself, with thumbprints, for `provisioner apply`.";
const CA_CRL_EXAMPLES: &str = "Example:\n  cert-tool ca crl ca --out ca.crl --days 30";
const EXPIRING_EXAMPLES: &str = "\
Example:
  cert-tool expiring --ca ca --within 60d --out ending.csv
  cert-tool renew --ca ca --from ending.csv --out renewed";
const FIND_EXAMPLES: &str = "\
Examples:
  cert-tool find --ca ca --device-id device01 --module-id module01
  cert-tool find --ca ca --thumbprint 4F:1C:…

A thumbprint or serial number is looked for in all entries: a second for some millions.";
const PFX_EXAMPLES: &str = "\
Example:
  cert-tool pfx issued --device-id device01 --out device01.pfx --password-file pfx.password";
const RENEW_EXAMPLES: &str = "\
Examples:
  cert-tool renew --ca ca --within 60d --out renewed
  cert-tool renew --ca ca --device-id device01 --same-key --out renewed

`renewed/issued.csv` registers the new thumbprint beside the old one, which goes when the device has
its new certificate.";
const REVOKE_EXAMPLES: &str = "\
Example:
  cert-tool revoke --ca ca --device-id device01 --reason keyCompromise
  cert-tool ca crl ca --out ca.crl

A hub does not read revocation lists: disable the device there too.";
const CA_INIT_EXAMPLES: &str = "\
Example:
  cert-tool ca init ca --name \"Plant 7\" --encrypt
  cert-tool ca init ca --pkcs11 'pkcs11:token=plant;object=ca?module-path=/usr/lib/softhsm/libsofthsm2.so'

Keep `root.key` somewhere else afterwards: issuing does not need it.";
const CA_CSR_EXAMPLES: &str = "\
Example, the root being on a machine of its own:
  cert-tool ca csr plant7 --name \"Plant 7\"
  cert-tool ca sign plant7/issuing.csr --ca root --out plant7.pem      (where the root is)
  cert-tool ca import plant7 --certificate plant7.pem";
const CA_IMPORT_EXAMPLES: &str = "\
Examples:
  cert-tool ca import ca --certificate ca.pem --chain root.pem --key ca.key
  cert-tool ca import plant7 --certificate plant7.pem";
const CA_POLICY_EXAMPLES: &str = "\
Example:
  cert-tool ca policy ca --identities 'pump-[0-9]{6}(/.*)?' --max-days 400 --key-types p256,p384

The rules are in `policy.toml` beside the CA, and hold however certificates are issued with it.";
const CA_PROVE_EXAMPLES: &str = "Example:\n  cert-tool ca prove ca --code 106A5SD242AF512B --out proof.pem";
const CA_SIGN_EXAMPLES: &str = "Example:\n  cert-tool ca sign plant7/issuing.csr --ca root --out plant7.pem";
const CA_SHOW_EXAMPLES: &str = "Example:\n  cert-tool ca show ca --format json";
const CSR_EXAMPLES: &str = "\
Examples:
  cert-tool csr --device-id device01 --module-id module01 --key-out key.pem --out module01.csr
  cert-tool csr --from batch.csv --out requests

With --from, `requests/requests.csv` is a batch file that `issue --from` takes.";
const EXTRACT_EXAMPLES: &str = "Example:\n  cert-tool extract issued --device-id device01 --out device01";
const ISSUE_EXAMPLES: &str = "\
Examples:
  cert-tool issue --ca ca --from batch.csv --out issued
  cert-tool issue --ca ca --device-id device01 --module-id module01 --out issued
  cert-tool issue --ca ca --count 1000000 --pattern 'pump-{:06}' --out issued

The same command again issues only what is missing. Rows with a `csr` get it signed.";
const SHOW_EXAMPLES: &str = "\
Examples:
  cert-tool show device01/cert.pem --format json
  cert-tool show device01.pfx --password-file password

Of private keys only the public half is shown.";
const SIGN_EXAMPLES: &str = "\
Examples:
  cert-tool sign module01.csr --ca ca --out signed
  cert-tool sign incoming --ca ca --out signed --expect batch.csv

Only the public key is taken from a request. Its subject must be `CN=device01` or
`CN=device01/module01`; one that is refused does not stop the others.";
const TEST_PKI_EXAMPLES: &str = "\
Example:
  cert-tool test-pki pki --seed 1 --at 2027-01-01

`pki/expected.json` says of each what is wrong and who must refuse it; `pki/README.md` how to use it.
Every private key in it is public.";
const THUMBPRINT_EXAMPLES: &str = "\
Examples:
  cert-tool thumbprint device01/cert.pem
  cert-tool thumbprint issued/certificates.pem --format csv
  openssl s_client -connect host:8883 </dev/null | cert-tool thumbprint -

Of a key it is the hash of its SubjectPublicKeyInfo, `public_key_sha256` in what `show` says of the
certificate that it fits.";
const VERIFY_EXAMPLES: &str = "\
Examples:
  cert-tool verify device01/chain.pem --ca ca --device-id device01 --key device01/key.pem
  cert-tool verify *.pem --ca root.pem --crl crl.pem --at 2027-01-31 --format json
  cert-tool verify self-signed.pem --thumbprint 5E884898DA28047151D0E56F8DC6292773603D0D

One line for each check. A trusted thumbprint stands for the chain, as on a hub; with --ca as well,
both are looked at. Exit code 1 when a check fails.";

//! The arguments of the verbs that read files, or write others from issued certificates.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use cert_tool::Purpose;
use clap::{Args, ValueEnum};
use cli_support::choices;
use hub_types::Thumbprint;
use rustls_pki_types::ServerName;
use time::OffsetDateTime;

use super::{BatchArgs, IdentityArgs, parse_threads, parse_time};

#[derive(Debug, Args)]
pub(crate) struct ExtractArgs {
    /// The folder that `issue` wrote.
    pub(crate) dir: PathBuf,
    /// The device.
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: String,
    /// The module of the device; without it, the device itself is meant.
    #[arg(long, value_name = "ID")]
    pub(crate) module_id: Option<String>,
    /// The folder for `cert.pem`, `chain.pem` and `key.pem`.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The encoding of the files; with DER the chain is in `chain.p7b`.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) encoding: EncodingArg,
}

/// The form of extracted files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EncodingArg {
    #[default]
    Pem,
    Der,
}

/// Identities of a folder with certificates.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("who").required(true).args(["device_id", "from", "all"]))]
pub(crate) struct IssuedArgs {
    /// The folder that `issue` wrote.
    pub(crate) dir: PathBuf,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// Take the identity of each row of a batch file.
    #[arg(long, value_name = "BATCH", group = "batch")]
    pub(crate) from: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) batch: BatchArgs,
    /// Take every identity in the folder.
    #[arg(long)]
    pub(crate) all: bool,
    /// The number of threads; by default one for each core.
    #[arg(long, value_parser = parse_threads)]
    pub(crate) threads: Option<NonZeroUsize>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("service").required(true).args(["hub", "dps_scope"]))]
pub(crate) struct BundleArgs {
    #[command(flatten)]
    pub(crate) issued: IssuedArgs,
    /// The hub that the device connects to, by its host name.
    #[arg(long, value_name = "HOST", value_parser = parse_host)]
    pub(crate) hub: Option<String>,
    /// The ID scope of the Device Provisioning Service that the device registers with; its
    /// registration ID is the device ID.
    #[arg(long, value_name = "ID_SCOPE", value_parser = parse_scope)]
    pub(crate) dps_scope: Option<String>,
    /// The host name of the Device Provisioning Service.
    #[arg(long, value_name = "HOST", default_value = "global.azure-devices-provisioning.net", value_parser = parse_host)]
    pub(crate) dps_endpoint: String,
    /// The root of the devices' certificates, in a file or in the folder of a CA; the root of the
    /// chain must be among them.
    #[arg(long, value_name = "PATH")]
    pub(crate) ca: PathBuf,
    /// The certificates with which the device verifies the hub (`server-root.pem`), if they are not
    /// those of its operating system.
    #[arg(long, value_name = "FILE", conflicts_with = "edge")]
    pub(crate) hub_root: Option<PathBuf>,
    /// Write `config.toml` of IoT Edge instead of `connection.json`.
    #[arg(long)]
    pub(crate) edge: bool,
    /// Write a tar file instead of a folder.
    #[arg(long)]
    pub(crate) tar: bool,
    /// The folder on the device in which the files will be, for `config.toml`.
    #[arg(long, value_name = "DIR", default_value = "/var/aziot/identity", value_parser = parse_installed_in)]
    pub(crate) installed_in: String,
    /// The folder or tar file to write, which must not exist yet; with --from and --all, the folder
    /// for all of them, in which existing ones are kept.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Files with certificates, PEM or DER; `path#offset` is a place in a bundle, `-` is stdin.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The format to write.
    #[arg(long, value_enum)]
    pub(crate) to: ConvertTo,
    /// The file to write, which must not exist yet.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// The form of a file with certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertTo {
    /// Base64 between lines, one block for each certificate.
    Pem,
    /// The bytes of one certificate.
    Der,
    /// PKCS #7 in DER: all certificates in one file.
    P7b,
    /// Refused, with what to do instead.
    #[value(hide = true)]
    Jks,
}

/// Checks a host name, with a port where it has one.
fn parse_host(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_host = host.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    // What was given is not shown: it may be a connection string, which is a secret.
    is_host.then(|| text.to_owned()).ok_or_else(|| {
        "it must be a host name, such as plant7.azure-devices.net, with a port if it is not the usual one"
            .to_owned()
    })
}

fn parse_scope(text: &str) -> Result<String, String> {
    let is_scope = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_scope
        .then(|| text.to_owned())
        .ok_or_else(|| "it must be letters and digits, such as 0ne00112233".to_owned())
}

fn parse_installed_in(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._".contains(&byte));
    is_path
        .then(|| text.to_owned())
        .ok_or_else(|| "it must be a path from the root, without blanks".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct PfxArgs {
    #[command(flatten)]
    pub(crate) issued: IssuedArgs,
    /// The PFX file to write, which must not exist yet; with --from and --all, the folder for all
    /// of them, in which existing files are kept.
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) kind: PfxKindArgs,
}

/// The source of the password of PFX files.
#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// A private file whose first line is the password of PFX files; without it, the password comes
    /// from CERT_TOOL_PASSWORD or the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// The arguments for the password and the encryption of PFX files.
#[derive(Debug, Args)]
pub(crate) struct PfxKindArgs {
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
    /// Write PFX files for Windows before 2019, Java 8 and similar old software: 3DES and SHA-1.
    #[arg(long)]
    pub(crate) legacy: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    /// PEM, DER or PFX files; `path#offset` is a place in a bundle, `-` is stdin.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
}

#[derive(Debug, Args)]
pub(crate) struct TestPkiArgs {
    /// The folder to make; it must not exist yet.
    pub(crate) dir: PathBuf,
    /// The seed of keys and serial numbers: the same seed and time give the same bytes.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// The time at which the valid certificates are valid, as in 2027-01-31T12:00:00Z; by default
    /// the beginning of today.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<OffsetDateTime>,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("trusted").required(true).multiple(true).args(["ca", "thumbprint"]))]
pub(crate) struct VerifyArgs {
    /// Certificates, PEM, DER or PFX; those that follow the first one in a file are its chain. `-` is
    /// stdin, here and for one of the other files.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Certificates to trust, or the folder of a CA.
    #[arg(long, value_name = "PATH")]
    pub(crate) ca: Vec<PathBuf>,
    /// Certificates of CAs that may be used in the chain, beside those in the files.
    #[arg(long, value_name = "FILE")]
    pub(crate) intermediates: Vec<PathBuf>,
    /// The party that the certificates are shown to; by default hub-ca with --ca, otherwise
    /// hub-thumbprint.
    #[arg(long = "for", value_enum, value_name = "PURPOSE")]
    pub(crate) purpose: Option<VerifyPurposeArg>,
    /// The host that a server's certificate must be for, with --for tls-server.
    #[arg(long, value_name = "NAME", value_parser = parse_server_name)]
    pub(crate) host: Option<ServerName<'static>>,
    /// Check every certificate of the files, as in a bundle. Those of --ca and --intermediates are
    /// skipped.
    #[arg(long, conflicts_with_all = ["key", "device_id"])]
    pub(crate) each: bool,
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// The key that the certificate must be for: private, public, or in a PFX file.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// Revocation lists; the certificate must be covered by one.
    #[arg(long, value_name = "FILE")]
    pub(crate) crl: Vec<PathBuf>,
    /// The time at which the certificate must be valid, as in 2027-01-31T12:00:00Z; by default now.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<OffsetDateTime>,
    /// A thumbprint that the hub knows, SHA-1 or SHA-256; give it twice for both of an identity.
    #[arg(long, value_name = "HEX", value_parser = Thumbprint::parse_lenient)]
    pub(crate) thumbprint: Vec<Thumbprint>,
    #[command(flatten)]
    pub(crate) password: PasswordArgs,
}

choices! {
    /// The party that a certificate is shown to.
    pub(crate) VerifyPurposeArg: Purpose {
        /// A hub that knows the thumbprint: it checks the thumbprint and the dates; other faults
        /// are advice
        HubThumbprint,
        /// A hub that trusts the CA
        HubCa,
        /// The Device Provisioning Service: the common name is a registration id
        Dps,
        /// Any TLS server, with RFC 5280 to the letter
        TlsClient,
        /// A TLS client that connects to a gateway, with RFC 5280 to the letter
        TlsServer,
    }
}

fn parse_server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| "it is neither a DNS name nor an IP address".to_owned())
}

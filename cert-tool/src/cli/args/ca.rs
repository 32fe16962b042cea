//! What is typed to have a CA, and to have it sign.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;

use super::examples::{
    CA_CRL_EXAMPLES, CA_CSR_EXAMPLES, CA_IMPORT_EXAMPLES, CA_INIT_EXAMPLES, CA_POLICY_EXAMPLES,
    CA_PROVE_EXAMPLES, CA_SHOW_EXAMPLES, CA_SIGN_EXAMPLES, REVOKE_EXAMPLES,
};
use super::{KeyTypeArg, RevokeArgs};
use crate::cli::unlock::UnlockArgs;

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
    /// A regular expression that the whole subject without its common name must match: 'C=DE,O=Acme(,.*)?'.
    #[arg(long, value_name = "REGEX")]
    pub(crate) subjects: Option<String>,
    /// The purposes that profiles may give, with commas between them; clientAuth is always one.
    #[arg(long, value_delimiter = ',', value_name = "USAGES")]
    pub(crate) extended_key_usages: Vec<String>,
    /// A regular expression that each whole DNS name must match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) dns_names: Option<String>,
    /// A regular expression that each whole URI must match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) uris: Option<String>,
    /// The networks that IP addresses must be in, with commas between them: 10.0.0.0/8,fd00::/8.
    #[arg(long, value_delimiter = ',', value_name = "NETWORKS")]
    pub(crate) ip_addresses: Vec<IpNet>,
    /// The OIDs that extensions of profiles may have, with commas between them.
    #[arg(long, value_delimiter = ',', value_name = "OIDS")]
    pub(crate) extensions: Vec<String>,
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

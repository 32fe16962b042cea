//! The arguments of the verbs of a CA.

use std::path::PathBuf;

use cert_tool::NameSubtree;
use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

use super::examples::{
    CA_CRL_EXAMPLES, CA_CROSS_SIGN_EXAMPLES, CA_CSR_EXAMPLES, CA_IMPORT_EXAMPLES, CA_INIT_EXAMPLES,
    CA_POLICY_EXAMPLES, CA_PROVE_EXAMPLES, CA_REKEY_EXAMPLES, CA_RENEW_EXAMPLES, CA_SHOW_EXAMPLES,
    CA_SIGN_EXAMPLES, REVOKE_EXAMPLES,
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
    /// Sign the certificate of a different root, so that parties that trust this CA also trust the
    /// certificates below that root
    #[command(after_help = CA_CROSS_SIGN_EXAMPLES)]
    CrossSign(CaCrossSignArgs),
    /// Make a root CA and an issuing CA in a new folder
    #[command(after_help = CA_INIT_EXAMPLES)]
    Init(Box<CaInitArgs>),
    /// Set the rules for what a CA may issue
    #[command(after_help = CA_POLICY_EXAMPLES)]
    Policy(CaPolicyArgs),
    /// Make the certificate that proves to a hub that you own the CA
    #[command(after_help = CA_PROVE_EXAMPLES)]
    Prove(CaProveArgs),
    /// Make a CA with new keys and a new name that replaces an old one, with cross-certificates in
    /// both directions
    #[command(after_help = CA_REKEY_EXAMPLES)]
    Rekey(CaRekeyArgs),
    /// Renew the certificate of a CA, with the key and the name that it has
    #[command(after_help = CA_RENEW_EXAMPLES)]
    Renew(CaRenewArgs),
    /// Make the list of revoked certificates
    #[command(after_help = CA_CRL_EXAMPLES)]
    Crl(CrlArgs),
    /// Revoke certificates: the same as `cert-tool revoke`
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
    /// Show the certificates, the places of the keys and the policy of a CA
    #[command(after_help = CA_SHOW_EXAMPLES)]
    Show {
        /// The CA's folder.
        dir: PathBuf,
    },
    /// Sign the request of a CA with a root, or with a CA below a root
    #[command(after_help = CA_SIGN_EXAMPLES)]
    Sign(CaSignArgs),
}

/// The arguments of every new CA.
#[derive(Debug, Args)]
pub(crate) struct NewCaArgs {
    /// The folder; it must not hold a CA yet.
    pub(crate) dir: PathBuf,
    /// The first part of the CAs' names.
    #[arg(long, default_value = "Factory")]
    pub(crate) name: String,
    /// The rest of the CAs' subjects, as in 'C=DE,O=Acme,OU=Plant 7' (RFC 4514).
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    #[command(flatten)]
    pub(crate) keys: NewKeyArgs,
}

/// The arguments for the keys of new CAs.
#[derive(Debug, Args)]
pub(crate) struct NewKeyArgs {
    /// The kind of the new keys.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) key_type: KeyTypeArg,
    /// Encrypt the new keys with a passphrase; --passphrase-file and CERT_TOOL_PASSPHRASE do so too,
    /// and open existing keys.
    #[arg(long)]
    pub(crate) encrypt: bool,
    /// Keep the key in a PKCS#11 token: a URI of RFC 7512 with `object` or `id` and `module-path`.
    /// It is the key of the issuing CA, or of the root if no issuing CA is made. An existing key is
    /// used; otherwise a new one is made.
    #[arg(long, value_name = "URI")]
    pub(crate) pkcs11: Option<String>,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaInitArgs {
    #[command(flatten)]
    pub(crate) new: NewCaArgs,
    /// The lifetime of the root in days; the issuing CA has half of it.
    #[arg(long, default_value_t = 7300, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    /// Make no issuing CA: the root signs the requests that `ca csr` makes elsewhere.
    #[arg(long)]
    pub(crate) root_only: bool,
    /// The number of CAs that may stand below the issuing CA (0 if not given), or with --root-only
    /// below the root (any number).
    #[arg(long, value_name = "COUNT")]
    pub(crate) path_length: Option<u8>,
    /// The service that will use the root: the root keeps the service's rules, and options that
    /// contradict them are refused.
    #[arg(long = "for", value_enum, value_name = "SERVICE", requires = "root_only")]
    pub(crate) purpose: Option<PurposeArg>,
    #[command(flatten)]
    pub(crate) publications: NewPublicationsArgs,
}

/// The addresses in what a new root and the issuing CA below it sign.
#[derive(Debug, Args)]
pub(crate) struct NewPublicationsArgs {
    #[command(flatten)]
    pub(crate) own: PublicationArgs,
    /// An address of the root's revocation list, for the certificate of the issuing CA.
    #[arg(long, value_name = "URL")]
    pub(crate) root_crl_url: Vec<String>,
    /// An address of the root's certificate, for the certificate of the issuing CA.
    #[arg(long, value_name = "URL")]
    pub(crate) root_issuer_url: Vec<String>,
}

/// The service that will use a CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurposeArg {
    /// Certificate management of Azure Device Registry.
    AzureDeviceRegistry,
}

/// The addresses in what a CA signs.
#[derive(Debug, Args)]
pub(crate) struct PublicationArgs {
    /// An address at which the CA's revocation list is published, for the certificates that it
    /// signs (`http://…`; may be given several times).
    #[arg(long, value_name = "URL")]
    pub(crate) crl_url: Vec<String>,
    /// An address at which the CA's own certificate is published, for the certificates that it
    /// signs.
    #[arg(long, value_name = "URL")]
    pub(crate) issuer_url: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CaCrossSignArgs {
    /// The certificate of the other root, which must be signed by itself; `-` is stdin.
    pub(crate) certificate: PathBuf,
    #[command(flatten)]
    pub(crate) signer: SigningCaArgs,
    /// The file for the cross-certificate.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// The CA that signs a different CA.
#[derive(Debug, Args)]
pub(crate) struct SigningCaArgs {
    /// The folder of the CA that signs: the root if its key is there, otherwise the issuing CA.
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: PathBuf,
    /// The lifetime in days; never longer than that of the CA that signs, or of a root that is
    /// signed.
    #[arg(long, default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaRenewArgs {
    /// The CA's folder.
    pub(crate) dir: PathBuf,
    /// Renew the root.
    #[arg(long)]
    pub(crate) root: bool,
    /// The lifetime in days from now; by default 3650, or for a root as many as it was made for. An
    /// issuing CA never expires after its root.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: Option<u32>,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaRekeyArgs {
    /// The folder of the old CA, with the key of its root.
    pub(crate) old: PathBuf,
    /// The folder of the new CA, which must not exist yet.
    pub(crate) new: PathBuf,
    /// The first part of the new CAs' names; without it, the old one with its generation: `Plant 7
    /// G2`.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The rest of the new CAs' subjects, as in 'C=DE,O=Acme' (RFC 4514); by default that of the
    /// old root.
    #[arg(long, value_name = "NAME")]
    pub(crate) subject: Option<String>,
    /// The lifetime of the new root in days; the issuing CA has half of it.
    #[arg(long, default_value_t = 7300, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    #[command(flatten)]
    pub(crate) publications: NewPublicationsArgs,
    #[command(flatten)]
    pub(crate) keys: NewKeyArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaImportArgs {
    /// The folder: a new one, or that of `ca csr`.
    pub(crate) dir: PathBuf,
    /// The CA's certificate; the certificates that follow it in the file are its chain. `-` is stdin,
    /// here or for the chain or the key.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// The certificates above it, the nearest first; the root may be left out.
    #[arg(long, value_name = "FILE")]
    pub(crate) chain: Vec<PathBuf>,
    /// The CA's private key, which is copied; without it, the key that `ca csr` made is used.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The PKCS#11 token with the CA's private key, as a URI of RFC 7512.
    #[arg(long, value_name = "URI", conflicts_with = "key")]
    pub(crate) pkcs11: Option<String>,
    /// Encrypt the copy of the key; an encrypted key stays encrypted without this option too.
    #[arg(long, requires = "key")]
    pub(crate) encrypt: bool,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaPolicyArgs {
    /// The CA's folder.
    pub(crate) dir: PathBuf,
    /// A regular expression that the whole common name, `deviceId` or `deviceId/moduleId`, must
    /// match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) identities: Option<String>,
    /// The longest lifetime of a certificate, in days.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_days: Option<u32>,
    /// The allowed kinds of keys, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TYPES")]
    pub(crate) key_types: Vec<KeyTypeArg>,
    /// A regular expression that the whole subject without its common name must match:
    /// 'C=DE,O=Acme(,.*)?'.
    #[arg(long, value_name = "REGEX")]
    pub(crate) subjects: Option<String>,
    /// The purposes that profiles may give, separated by commas; clientAuth is always allowed.
    #[arg(long, value_delimiter = ',', value_name = "USAGES")]
    pub(crate) extended_key_usages: Vec<String>,
    /// A regular expression that each whole DNS name must match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) dns_names: Option<String>,
    /// A regular expression that each whole URI must match.
    #[arg(long, value_name = "REGEX")]
    pub(crate) uris: Option<String>,
    /// The networks that IP addresses must be in, separated by commas: 10.0.0.0/8,fd00::/8.
    #[arg(long, value_delimiter = ',', value_name = "NETWORKS")]
    pub(crate) ip_addresses: Vec<IpNet>,
    /// The OIDs that extensions of profiles may have, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "OIDS")]
    pub(crate) extensions: Vec<String>,
    /// Remove all earlier rules first.
    #[arg(long)]
    pub(crate) clear: bool,
    /// The highest number of certificates that the CA may issue; earlier ones count.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_certificates: Option<u64>,
    #[command(flatten)]
    pub(crate) publication: PublicationArgs,
    /// Set the addresses of the root in the folder instead of the issuing CA's.
    #[arg(long)]
    pub(crate) root: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CaProveArgs {
    /// The CA's folder.
    pub(crate) dir: PathBuf,
    /// The verification code that the hub made.
    #[arg(long)]
    pub(crate) code: String,
    /// The file for the certificate.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Prove the root, if the root was uploaded to the hub.
    #[arg(long)]
    pub(crate) root: bool,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CaSignArgs {
    /// The request; `-` is stdin.
    pub(crate) request: PathBuf,
    #[command(flatten)]
    pub(crate) signer: SigningCaArgs,
    /// The file for the certificate, followed by those of the CAs above it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The number of CAs that may stand below the new one; 0 for a CA that signs only devices'
    /// certificates. The default is that of the earlier certificate of the same name and key, or 0.
    #[arg(long, value_name = "COUNT")]
    pub(crate) path_length: Option<u8>,
    /// Keep the subject of the request byte for byte, whatever it has; without this option it must
    /// be one common name.
    #[arg(long)]
    pub(crate) keep_subject: bool,
    /// Permit only names below this one in certificates: `dns:plant7.example`, `email:…`,
    /// `ip:10.0.0.0/8` (may be given several times; kinds of names that are not given are not
    /// limited). Without this option and --exclude, the limits of the earlier certificate of the same
    /// name and key stay.
    #[arg(long, value_name = "NAME")]
    pub(crate) permit: Vec<NameSubtree>,
    /// Exclude names below this one from certificates.
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude: Vec<NameSubtree>,
    /// The service that will use the CA: `azure-device-registry` keeps the subject, and signs for
    /// 365 days or more with a root that Azure Device Registry accepts.
    #[arg(long = "for", value_enum, value_name = "SERVICE")]
    pub(crate) purpose: Option<PurposeArg>,
}

#[derive(Debug, Args)]
pub(crate) struct CrlArgs {
    /// The CA's folder.
    pub(crate) dir: PathBuf,
    /// The file for the list, as PEM; an older one is replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) unlock: UnlockArgs,
    /// Make the list of the root in the folder; this is the default if the folder has only a root.
    #[arg(long)]
    pub(crate) root: bool,
    /// The time until the next list, in days.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
}

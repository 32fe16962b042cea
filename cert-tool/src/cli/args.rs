//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use batch_file::{ColumnPattern, IdPattern, ReadOptions};
use cert_tool::{KeyType, MAX_THREADS};
use clap::{Args, Parser, Subcommand, ValueEnum};
use cli_support::choices;
use hub_types::{IdentityId, ModuleId};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::failure::Failure;
pub(crate) use ca::*;
use examples::{
    BUNDLE_EXAMPLES, CONVERT_EXAMPLES, CSR_EXAMPLES, EXPIRING_EXAMPLES, EXTRACT_EXAMPLES, FIND_EXAMPLES,
    ISSUE_EXAMPLES, OVERVIEW, PFX_EXAMPLES, RENEW_EXAMPLES, REVOKE_EXAMPLES, SHOW_EXAMPLES, SIGN_EXAMPLES,
    TEST_PKI_EXAMPLES, THUMBPRINT_EXAMPLES, VERIFY_EXAMPLES,
};
pub(crate) use files::*;
pub(crate) use index::*;
pub(crate) use issue::*;

mod ca;
mod examples;
mod files;
mod index;
mod issue;

/// Make and check keys, requests, certificates and thumbprints for the devices and modules of an IoT
/// hub.
///
/// Data goes to stdout, messages for people go to stderr. Exit codes: 0 finished without a fault; 1
/// finished, but some failed, and the output says which; 2 bad usage or bad input, nothing done; 3
/// the CA or a file cannot be used; 4 interrupted, run the same command again; 70 a bug.
#[derive(Debug, Parser)]
#[command(name = "cert-tool", version, after_help = OVERVIEW)]
pub(crate) struct Cli {
    /// Write data in this format: text for people, one JSON object a line, or CSV with a header;
    /// of `csr` also the request as DER, or as DER in base64.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) format: Format,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The format of data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Csv,
    /// Of `csr`: the request as DER in base64, in one line.
    Base64Der,
    /// Of `csr`: the request as DER.
    Der,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write the files that a device needs to connect (certificate, chain, key, root,
    /// configuration), for one identity or all
    #[command(after_help = BUNDLE_EXAMPLES)]
    Bundle(BundleArgs),
    /// Make, import and manage a CA
    Ca(CaArgs),
    /// Print the completion script of a shell
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write certificates as PEM, DER or PKCS #7 (.p7b)
    #[command(after_help = CONVERT_EXAMPLES)]
    Convert(ConvertArgs),
    /// Make a key and a request for it, on the device or for a whole batch
    #[command(after_help = CSR_EXAMPLES)]
    Csr(CsrArgs),
    /// Extract one identity's certificate and key from a bundle
    #[command(after_help = EXTRACT_EXAMPLES)]
    Extract(ExtractArgs),
    /// List certificates that expire soon, as a batch for `renew`
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
    /// Renew certificates, with the old thumbprint as the secondary one
    #[command(after_help = RENEW_EXAMPLES)]
    Renew(Box<RenewArgs>),
    /// Revoke certificates; `ca crl` makes the list of them
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke(RevokeArgs),
    /// Show the contents of certificates, requests, revocation lists, keys and PFX files
    #[command(after_help = SHOW_EXAMPLES)]
    Show(FilesArgs),
    /// Sign requests that devices sent
    #[command(after_help = SIGN_EXAMPLES)]
    Sign(SignArgs),
    /// Write certificates that a server must accept, and one of each kind that it must refuse: for
    /// tests of hubs and firmware
    #[command(after_help = TEST_PKI_EXAMPLES)]
    TestPki(TestPkiArgs),
    /// Print the SHA-1 and SHA-256 thumbprints of certificates, requests, revocation lists and keys
    #[command(after_help = THUMBPRINT_EXAMPLES)]
    Thumbprint(FilesArgs),
    /// Check certificates by the rules of a hub and of RFC 5280: chain, dates, usage, names,
    /// revocation, key
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
}

choices! {
    /// The kind of a key.
    #[derive(Default)]
    pub(crate) KeyTypeArg: KeyType {
        #[default]
        P256,
        P384,
        Rsa2048,
        Rsa3072,
        Rsa4096,
    }
}

/// The arguments for reading a batch.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// Refuse rows whose device ID does not match this regular expression as a whole, as in
    /// `PMP-\d{8}`.
    #[arg(long, value_name = "REGEX", requires = "batch")]
    id_pattern: Option<IdPattern>,
    /// Read the column THEIRS as our column OURS.
    #[arg(long, value_name = "THEIRS=OURS", value_parser = parse_pair, requires = "batch")]
    map: Vec<(String, String)>,
    /// Pass over columns with this name; `*` stands for any text, `?` for one character.
    #[arg(long, value_name = "PATTERN", requires = "batch")]
    ignore: Vec<ColumnPattern>,
    /// Read each row as a device with these modules, whose columns are `modules.<id>.<column>`.
    #[arg(long, value_name = "ID,…", value_delimiter = ',', requires = "batch")]
    modules: Vec<ModuleId>,
    /// Read a CSV file without a header, whose columns have these names; `device_id` for a list of ids.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "batch")]
    columns: Vec<String>,
}

impl BatchArgs {
    /// The options for reading.
    pub(crate) fn options(&self) -> ReadOptions {
        ReadOptions {
            map: self.map.clone(),
            id_pattern: self.id_pattern.clone(),
            modules: self.modules.clone(),
            ignore: self.ignore.clone(),
            columns: self.columns.clone(),
        }
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((theirs, ours)) if !theirs.is_empty() && !ours.is_empty() => Ok((theirs.into(), ours.into())),
        _ => Err("must have the form THEIRS=OURS, for example `Serial=device_id`".into()),
    }
}

/// One identity.
#[derive(Debug, Args)]
pub(crate) struct IdentityArgs {
    /// The device.
    #[arg(long, value_name = "ID")]
    pub(crate) device_id: Option<String>,
    /// The module of the device; without it, the device itself is meant.
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

/// Parses a moment (RFC 3339), or a day, of which the first moment is meant.
fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    let number = text.parse().ok().filter(|number: &NonZeroUsize| number.get() <= MAX_THREADS);
    number.ok_or_else(|| format!("it must be a number from 1 to {MAX_THREADS}"))
}

fn parse_time(text: &str) -> Result<OffsetDateTime, String> {
    let moment = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let parsed = OffsetDateTime::parse(&moment, &Rfc3339)
        .map_err(|_| "it must look like 2027-01-31 or 2027-01-31T12:00:00Z".to_owned())?;
    parsed.checked_to_offset(UtcOffset::UTC).ok_or_else(|| "it is not within the years 0 to 9999".to_owned())
}

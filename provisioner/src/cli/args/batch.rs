//! The batch of a verb, and the certificates that are issued for it.

use std::path::PathBuf;

use batch_file::{ColumnPattern, IdPattern, ReadOptions};
use clap::Args;
use hub_types::ModuleId;

use super::TargetArgs;
use crate::batch::BatchChoice;
use crate::ledger::IssueFolders;
use crate::model::service::ServiceKind;
use crate::target::{TargetError, find_dps};

#[derive(Debug, Args)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    pub(in crate::cli) batch: BatchArgs,
    /// Check the rows against the profiles and the policy of this CA too, which will issue their
    /// certificates. Its key is not used.
    #[arg(long, value_name = "CA_DIR")]
    pub(in crate::cli) issue: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) profile: ProfileArgs,
    /// Check the rows against the rules of a Device Provisioning Service too: this one of
    /// `provisioner.toml`, or without NAME any. It is not called.
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    dps: Option<Option<String>>,
}

impl CheckArgs {
    /// The kind of the service that the batch is for.
    pub(in crate::cli) fn service(&self) -> Result<ServiceKind, TargetError> {
        match &self.dps {
            None => Ok(ServiceKind::Hub),
            Some(None) => Ok(ServiceKind::Dps),
            Some(Some(name)) => find_dps(name, ".".as_ref()).map(|()| ServiceKind::Dps),
        }
    }
}

/// A batch and the hub that it is for.
#[derive(Debug, Args)]
pub(in crate::cli) struct JobArgs {
    #[command(flatten)]
    pub(in crate::cli) batch: BatchArgs,
    #[command(flatten)]
    pub(in crate::cli) issued: IssuedArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

impl JobArgs {
    /// Returns true if an option was given that a plan has, too.
    pub(in crate::cli) fn has_options(&self) -> bool {
        self.issued.issue.is_some() || self.batch.read.options() != ReadOptions::default()
    }
}

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct BatchArgs {
    /// The batch: CSV or JSON Lines, one identity per row.
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) read: ReadArgs,
}

impl BatchArgs {
    /// The choice of a batch.
    pub(in crate::cli) fn choice(&self) -> BatchChoice {
        BatchChoice { file: self.file.clone(), read: self.read.options() }
    }
}

/// The options for reading a batch.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub(in crate::cli) struct ReadArgs {
    /// Read the column THEIRS as our column OURS.
    #[arg(long, value_name = "THEIRS=OURS", value_parser = parse_pair, requires = "file")]
    map: Vec<(String, String)>,
    /// Pass over columns with this name; `*` stands for any text, `?` for one character
    /// [default: `ignore` under `[batch]` in provisioner.toml].
    #[arg(long, value_name = "PATTERN", requires = "file")]
    ignore: Vec<ColumnPattern>,
    /// Read each row as a device with these modules, whose columns are `modules.<id>.<column>`
    /// [default: `modules` under `[batch]` in provisioner.toml].
    #[arg(long, value_name = "ID,…", value_delimiter = ',', requires = "file")]
    modules: Vec<ModuleId>,
    /// Read a CSV file without a header, whose columns have these names; `device_id` for a list of ids.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "file")]
    columns: Vec<String>,
    /// Refuse rows whose whole device id does not match this regular expression, as in `PMP-\d{8}`
    /// [default: `id_pattern` under `[batch]` in provisioner.toml]
    #[arg(long, value_name = "REGEX", requires = "file")]
    id_pattern: Option<IdPattern>,
}

impl ReadArgs {
    /// The options, without those of the configuration file.
    pub(in crate::cli) fn options(&self) -> ReadOptions {
        ReadOptions {
            map: self.map.clone(),
            id_pattern: self.id_pattern.clone(),
            modules: self.modules.clone(),
            ignore: self.ignore.clone(),
            columns: self.columns.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct IssuedArgs {
    /// Take the certificates of rows without a thumbprint from this CA. `apply` issues missing
    /// ones, and with the embedded hub it makes a missing CA. `plan`, `rotate` and `verify` only
    /// read the issued certificates.
    #[arg(long, value_name = "CA_DIR")]
    pub(in crate::cli) issue: Option<PathBuf>,
    /// The folder with the certificates and keys that the CA has issued [default: CA_DIR/issued].
    #[arg(long, value_name = "DIR", requires = "issue")]
    pub(in crate::cli) out: Option<PathBuf>,
}

impl IssuedArgs {
    /// The CA's folder and the folder of its certificates.
    pub(in crate::cli) fn folders(&self) -> Option<IssueFolders> {
        let ca = self.issue.clone()?;
        let out = self.out.clone().unwrap_or_else(|| ca.join("issued"));
        Some(IssueFolders { ca, out })
    }
}

/// The profile of the certificates that are issued.
#[derive(Debug, Args)]
pub(in crate::cli) struct ProfileArgs {
    /// Use this profile of the CA's `profile.toml` for rows whose column `profile` is empty.
    #[arg(long = "profile", value_name = "NAME", requires = "issue")]
    pub(in crate::cli) name: Option<String>,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((theirs, ours)) if !theirs.is_empty() && !ours.is_empty() => Ok((theirs.into(), ours.into())),
        _ => Err("must have the form THEIRS=OURS, for example `Serial=device_id`".into()),
    }
}

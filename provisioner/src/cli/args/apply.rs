//! `plan` and `apply` as they are typed.

use std::path::PathBuf;

use clap::Args;
use hub_types::connection_string::HubHost;
use hub_types::twin::{JsonObject, Nulls, Section, check_section};

use super::choices::{AllocationArg, ApplyModeArg, ReprovisionArg, TwinPolicyArg};
use super::group::GroupArgs;
use super::{DpsArgs, IssuedArgs, JobArgs, ProfileArgs, UnlockArgs, WorkArgs};
use crate::dps::EntryError;
use crate::ledger::RunOptions;
use crate::model::entry_settings::EntryOptions;
use crate::model::options::ApplyRules;

#[derive(Debug, Args)]
pub(in crate::cli) struct PlanArgs {
    #[command(flatten)]
    pub(in crate::cli) rules: RulesArgs,
    /// Write the plan to a new file too, usually FILE.plan, so that `apply` can carry it out.
    #[arg(long, short, value_name = "FILE")]
    pub(in crate::cli) output: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) job: JobArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
    #[command(flatten)]
    group: GroupArgs,
}

impl PlanArgs {
    /// The options of the planned run.
    pub(in crate::cli) fn run_options(&self) -> Result<RunOptions, EntryError> {
        let mut options = self.rules.run_options(&self.job.issued);
        options.entries.group = self.group.options(&self.job)?;
        Ok(options)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ApplyArgs {
    /// Read the batch of the plan from here. It must be unchanged.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) batch: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) rules: RulesArgs,
    /// Do not read everything back at the end.
    #[arg(long)]
    pub(in crate::cli) no_verify: bool,
    #[command(flatten)]
    pub(in crate::cli) unlock: UnlockArgs,
    #[command(flatten)]
    pub(in crate::cli) work: WorkArgs,
    #[command(flatten)]
    pub(in crate::cli) job: JobArgs,
    #[command(flatten)]
    pub(in crate::cli) dps: DpsArgs,
    #[command(flatten)]
    group: GroupArgs,
}

impl ApplyArgs {
    /// The options of the run.
    pub(in crate::cli) fn run_options(&self) -> Result<RunOptions, EntryError> {
        let mut options = self.rules.run_options(&self.job.issued);
        options.entries.group = self.group.options(&self.job)?;
        Ok(options)
    }

    /// Returns true if an option was given that a plan has, too.
    pub(in crate::cli) fn has_options(&self) -> bool {
        self.rules.is_any_given() || self.job.has_options() || self.group.is_given()
    }
}

/// The rules of a batch for existing objects on the hub.
#[derive(Debug, Args)]
pub(in crate::cli) struct RulesArgs {
    /// Change identities in this mode: `create` creates missing ones, `update` changes existing
    /// ones, `upsert` does both. In mode `create`, an existing identity that differs is a conflict.
    /// [default: create]
    #[arg(long, value_enum, value_name = "MODE")]
    mode: Option<ApplyModeArg>,
    /// Handle twins with different values by this policy: `initial` keeps values that were written
    /// since the creation, `merge` writes the batch's values into the twin, `replace` also removes
    /// values that the batch does not name, from those of tags and desired properties that it gives
    /// at all. [default: initial]
    #[arg(long, value_enum, value_name = "POLICY", conflicts_with = "group")]
    twin: Option<TwinPolicyArg>,
    /// Leave every device disabled after its modules are created. `release` enables it later.
    #[arg(long)]
    pub(in crate::cli) quarantine: bool,
    /// Add a tag with this name to the identities that the run creates. The tag names the run.
    /// Nothing changes it later. A row with a tag of this name keeps its own value.
    #[arg(long, value_name = "NAME", value_parser = parse_tag, conflicts_with = "group")]
    pub(in crate::cli) created_by_tag: Option<String>,
    /// Continue with the good rows if others are bad; the bad rows are counted as rejected.
    #[arg(long)]
    pub(in crate::cli) skip_bad_rows: bool,
    #[command(flatten)]
    pub(in crate::cli) profile: ProfileArgs,
    #[command(flatten)]
    entries: EntryArgs,
}

/// The settings of the enrolments of a DPS that no row of a batch has.
#[derive(Debug, Args)]
#[command(next_help_heading = "DPS")]
struct EntryArgs {
    /// When a device registers again, do this. Without the option, an existing setting stays; the
    /// default of DPS is `migrate`.
    #[arg(long, value_enum, value_name = "POLICY", requires = "dps")]
    reprovision: Option<ReprovisionArg>,
    /// Choose the hub of each device in this way. Without the option, an existing setting stays; the
    /// default of DPS is `hashed`.
    #[arg(long, value_enum, value_name = "WAY", requires = "dps")]
    allocation: Option<AllocationArg>,
    /// Choose among these linked hubs only, for example line-3.azure-devices.net. The option can be
    /// repeated.
    #[arg(long, value_name = "HOST", value_parser = parse_hub, requires = "dps")]
    iot_hub: Vec<String>,
    /// Read the address of the function that chooses the hub from this file; it may hold a key.
    #[arg(long, value_name = "FILE", requires = "allocation")]
    webhook_file: Option<PathBuf>,
}

impl EntryArgs {
    fn options(&self) -> EntryOptions {
        EntryOptions {
            reprovision: self.reprovision.map(Into::into),
            allocation: self.allocation.map(Into::into),
            iot_hubs: self.iot_hub.clone(),
            webhook_file: self.webhook_file.clone(),
            group: None,
        }
    }
}

impl RulesArgs {
    /// The rules for existing identities and twins.
    fn rules(&self) -> ApplyRules {
        ApplyRules {
            mode: self.mode.map(Into::into).unwrap_or_default(),
            twin: self.twin.map(Into::into).unwrap_or_default(),
        }
    }

    /// The options of a run of a batch whose certificates are issued as `issued` says.
    pub(in crate::cli) fn run_options(&self, issued: &IssuedArgs) -> RunOptions {
        RunOptions {
            rules: self.rules(),
            created_by_tag: self.created_by_tag.clone(),
            issue: issued.folders(),
            quarantine: self.quarantine,
            profile: self.profile.name.clone(),
            entries: self.entries.options(),
            ..RunOptions::default()
        }
    }

    /// Returns true if any of the options was given.
    pub(in crate::cli) fn is_any_given(&self) -> bool {
        let Self { mode, twin, quarantine, created_by_tag, skip_bad_rows, profile, entries } = self;
        let is_any_named = created_by_tag.is_some() || profile.name.is_some();
        let has_entries = !entries.options().is_empty();
        mode.is_some() || twin.is_some() || *quarantine || is_any_named || *skip_bad_rows || has_entries
    }
}

fn parse_hub(text: &str) -> Result<String, String> {
    let host: Result<HubHost, _> = text.parse();
    host.map(|host| host.as_str().to_owned()).map_err(|_| "must be the host name of a hub".to_owned())
}

fn parse_tag(text: &str) -> Result<String, String> {
    let tags = JsonObject::from_iter([(text.to_owned(), serde_json::Value::Null)]);
    check_section(Section::Tags, &tags, Nulls::Delete).map_err(|error| error.to_string())?;
    Ok(text.to_owned())
}

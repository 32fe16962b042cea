//! `device`, `module` and `twin`: the options of the verbs for one object, named as `az iot hub` names
//! them.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use cli_support::wrong_form::JsonMistake;
use hub_types::identity::{Status, StatusReason};
use hub_types::twin::{JsonObject, check_numbers};
use hub_types::{DeviceId, IdentityId, ModuleId, Thumbprint, repeated_member};

use super::TargetArgs;
use super::choices::AuthMethodArg;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeviceVerb {
    /// Create a device. If the device exists, it is not changed and the command fails.
    #[command(after_help = "Example: provisioner device create --device-id pump-1 --certificate pump-1.pem")]
    Create(DeviceCreateArgs),
    /// Read a device.
    Show(ShowArgs<DeviceIdArgs>),
    /// Change the given settings of a device, and keep all others.
    #[command(after_help = "Example: provisioner device update --device-id pump-1 --status disabled")]
    Update(DeviceUpdateArgs),
    /// Delete a device with all its modules.
    Delete(DeleteArgs<DeviceIdArgs>),
    /// List the devices of the hub by their twins.
    #[command(
        after_help = "Example: provisioner device list --where \"tags.site = 'Ulm' AND status = 'enabled'\""
    )]
    List(ListArgs),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ModuleVerb {
    /// Create a module of an existing device.
    #[command(
        after_help = "Example: provisioner module create --device-id pump-1 --module-id telemetry --auth-method x509_ca"
    )]
    Create(ModuleCreateArgs),
    /// Read a module.
    Show(ShowArgs<ModuleIdArgs>),
    /// Change the given settings of a module, and keep all others.
    Update(ModuleUpdateArgs),
    /// Delete a module.
    Delete(DeleteArgs<ModuleIdArgs>),
    /// List the modules of a device.
    List(ShowArgs<DeviceIdArgs>),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TwinVerb {
    /// Read a twin.
    #[command(after_help = "Example: provisioner twin show --device-id pump-1 --module-id telemetry")]
    Show(TwinArgs),
    /// Merge tags and desired properties into a twin; null deletes a member.
    #[command(
        after_help = "Example: provisioner twin update --device-id pump-1 --desired '{\"interval\": 60}'"
    )]
    Update(TwinWriteArgs),
    /// Replace tags and desired properties; a section that is not given becomes empty.
    Replace(TwinWriteArgs),
    /// List the twins of the hub.
    #[command(after_help = "Example: provisioner twin list --modules --where \"moduleId = 'telemetry'\"")]
    List(TwinListArgs),
}

/// The authentication of the identity.
#[derive(Debug, Args)]
#[command(next_help_heading = "Authentication")]
pub(in crate::cli) struct AuthArgs {
    /// Authenticate the identity in this way. By default `x509_thumbprint` if a thumbprint or
    /// certificate is given, otherwise `sas` with keys that the hub makes.
    #[arg(long, value_enum)]
    pub(in crate::cli) auth_method: Option<AuthMethodArg>,
    /// The SHA-1 or SHA-256 thumbprint, in hex; colons and spaces do not matter.
    #[arg(long, value_name = "HEX", value_parser = Thumbprint::parse_lenient, conflicts_with = "certificate")]
    pub(in crate::cli) primary_thumbprint: Option<Thumbprint>,
    /// The thumbprint in the second slot, to replace certificates without an interruption.
    #[arg(long, value_name = "HEX", value_parser = Thumbprint::parse_lenient)]
    pub(in crate::cli) secondary_thumbprint: Option<Thumbprint>,
    /// Use the SHA-256 of this certificate, PEM or DER, as the primary thumbprint.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) certificate: Option<PathBuf>,
    /// A file with the primary symmetric key (base64 of 16 to 64 bytes).
    #[arg(long, value_name = "FILE", requires = "secondary_key_file")]
    pub(in crate::cli) primary_key_file: Option<PathBuf>,
    /// A file with the secondary symmetric key.
    #[arg(long, value_name = "FILE", requires = "primary_key_file")]
    pub(in crate::cli) secondary_key_file: Option<PathBuf>,
}

/// The settings that devices have and modules do not.
#[derive(Debug, Args)]
pub(in crate::cli) struct DeviceSettings {
    /// Enable or disable the device.
    #[arg(long, value_parser = parse_status)]
    pub(in crate::cli) status: Option<Status>,
    /// The reason for the status: at most 128 characters.
    #[arg(long, value_name = "TEXT", value_parser = StatusReason::new)]
    pub(in crate::cli) status_reason: Option<StatusReason>,
    /// Set if the device runs the IoT Edge runtime.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(in crate::cli) edge_enabled: Option<bool>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeviceIdArgs {
    /// The device.
    #[arg(long, short, value_name = "ID")]
    pub(in crate::cli) device_id: DeviceId,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ModuleIdArgs {
    /// The device.
    #[arg(long, short, value_name = "ID")]
    device_id: DeviceId,
    /// The module.
    #[arg(long, short, value_name = "ID")]
    pub(in crate::cli) module_id: ModuleId,
}

impl ModuleIdArgs {
    pub(in crate::cli) fn identity(&self) -> IdentityId {
        IdentityId::new(self.device_id.clone(), Some(self.module_id.clone()))
    }
}

/// The version that a write insists on.
#[derive(Debug, Args)]
pub(in crate::cli) struct EtagArgs {
    /// Write only if the object still has this ETag; otherwise nothing is done.
    #[arg(long, value_name = "ETAG")]
    pub(in crate::cli) etag: Option<String>,
}

/// The output options for an identity.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShownArgs {
    /// Print symmetric keys too. Anybody who has them can connect as this identity.
    #[arg(long)]
    pub(in crate::cli) show_keys: bool,
}

/// The object to read, and its output options.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs<I: Args> {
    #[command(flatten)]
    pub(in crate::cli) id: I,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeleteArgs<I: Args> {
    #[command(flatten)]
    pub(in crate::cli) id: I,
    #[command(flatten)]
    pub(in crate::cli) etag: EtagArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeviceCreateArgs {
    #[command(flatten)]
    pub(in crate::cli) id: DeviceIdArgs,
    #[command(flatten)]
    pub(in crate::cli) settings: DeviceSettings,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownArgs,
    #[command(flatten)]
    pub(in crate::cli) auth: AuthArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeviceUpdateArgs {
    #[command(flatten)]
    pub(in crate::cli) id: DeviceIdArgs,
    #[command(flatten)]
    pub(in crate::cli) settings: DeviceSettings,
    #[command(flatten)]
    pub(in crate::cli) etag: EtagArgs,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownArgs,
    #[command(flatten)]
    pub(in crate::cli) auth: AuthArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ModuleCreateArgs {
    #[command(flatten)]
    pub(in crate::cli) id: ModuleIdArgs,
    /// The manager of the module, for example iotEdge.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) managed_by: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownArgs,
    #[command(flatten)]
    pub(in crate::cli) auth: AuthArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ModuleUpdateArgs {
    #[command(flatten)]
    pub(in crate::cli) id: ModuleIdArgs,
    /// The manager of the module, for example iotEdge.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) managed_by: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) etag: EtagArgs,
    #[command(flatten)]
    pub(in crate::cli) shown: ShownArgs,
    #[command(flatten)]
    pub(in crate::cli) auth: AuthArgs,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListArgs {
    /// List only those that meet this condition of IoT Hub's query language.
    #[arg(long = "where", value_name = "CONDITION")]
    pub(in crate::cli) condition: Option<String>,
    /// List at most this many; by default all.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) top: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TwinListArgs {
    /// List the twins of modules instead of devices.
    #[arg(long)]
    pub(in crate::cli) modules: bool,
    #[command(flatten)]
    pub(in crate::cli) list: ListArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TwinArgs {
    /// The device.
    #[arg(long, short, value_name = "ID")]
    device_id: DeviceId,
    /// The module. Without it, the twin of the device is used.
    #[arg(long, short, value_name = "ID")]
    module_id: Option<ModuleId>,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
}

impl TwinArgs {
    pub(in crate::cli) fn identity(&self) -> IdentityId {
        IdentityId::new(self.device_id.clone(), self.module_id.clone())
    }
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("sections").required(true).multiple(true))]
pub(in crate::cli) struct TwinWriteArgs {
    #[command(flatten)]
    pub(in crate::cli) twin: TwinArgs,
    #[command(flatten)]
    pub(in crate::cli) etag: EtagArgs,
    /// Desired properties, as a JSON object.
    #[arg(long, value_name = "JSON", group = "sections", value_parser = parse_object)]
    pub(in crate::cli) desired: Option<JsonObject>,
    /// Tags, as a JSON object.
    #[arg(long, value_name = "JSON", group = "sections", value_parser = parse_object)]
    pub(in crate::cli) tags: Option<JsonObject>,
}

fn parse_object(text: &str) -> Result<JsonObject, String> {
    let object = serde_json::from_str(text)
        .map_err(|error| format!("must be a JSON object: {}", JsonMistake::new(&error)))?;
    repeated_member::check(text.as_bytes()).map_err(|error| error.to_string())?;
    check_numbers(text.as_bytes(), &[]).map_err(|error| error.to_string())?;
    Ok(object)
}

fn parse_status(text: &str) -> Result<Status, String> {
    [Status::Enabled, Status::Disabled]
        .into_iter()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| "must be enabled or disabled".to_owned())
}

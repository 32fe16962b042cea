//! `provisioner.toml`: names for hubs and DPSs that are called often.
//!
//! ```toml
//! [hubs.line-3]
//! connection_string_file = "line-3.secret"
//! device_host = "line-3.device.example"
//! ```

use hub_types::shown::ShownPath;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use batch_file::ReadOptions;
use hub_types::connection_string::HubHost;
use hub_types::dps::IdScope;
use hub_types::limits::Tier;
use hub_types::secret_text::{holds_secret, holds_symmetric_key};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::hub::{HubSize, SignIn};
use crate::model::service::ServiceKind;

/// The hubs of a configuration file by their names.
#[derive(Debug, PartialEq)]
pub(super) struct ConfigFile {
    path: PathBuf,
    hubs: BTreeMap<String, ConfiguredHub>,
    dps: BTreeMap<String, ConfiguredDps>,
    /// How each batch is read.
    pub(super) reading: ReadOptions,
}

/// A hub of the file. Its paths are relative to the working folder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ConfiguredHub {
    pub(super) access: ConfiguredAccess,
    /// The host that devices connect to, where it is not the one that services call.
    pub(super) device_host: Option<HubHost>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) size: Option<HubSize>,
}

/// A DPS of the file. Its paths are relative to the working folder.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ConfiguredDps {
    pub(super) access: ConfiguredAccess,
    pub(super) ca_file: Option<PathBuf>,
    /// The host that devices register at, where it is not the usual one.
    pub(super) device_host: Option<HubHost>,
    /// The id scope, by which devices name the DPS.
    pub(super) id_scope: Option<IdScope>,
}

/// How the service is called.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ConfiguredAccess {
    /// With the connection string in this file.
    ConnectionString(PathBuf),
    /// With Entra ID.
    Entra(HubHost, SignIn),
}

/// Why the configuration file does not name a hub. No message repeats a value of the file: it may be a
/// secret that was put into the wrong place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigError {
    /// It can't be read.
    #[error("can't read the settings `{}`", ShownPath(path))]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no text.
    #[error("the settings `{}` are no text", ShownPath(path))]
    NotText {
        /// The file.
        path: PathBuf,
        /// Why.
        source: cli_support::text::EncodingError,
    },
    /// It has no such hub, or no such DPS.
    #[error("`{}` has no {service} `{name}`; it has {known}", ShownPath(path))]
    NoSuchService {
        /// The kind of the service.
        service: ServiceKind,
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Something in it is wrong.
    #[error("`{}`, line {line}, column {column}: {problem}", ShownPath(path))]
    HubTable {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there.
        problem: ConfigProblem,
    },
}

/// A mistake in the configuration file.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConfigProblem {
    /// It is not TOML.
    #[error("this is not TOML: {0}")]
    Syntax(String),
    /// A key or a table is there twice.
    #[error("`{0}` is there twice; leave one of them out")]
    Repeated(String),
    /// A key, a connection string or a token stands in the file itself.
    #[error("this line holds a secret, which is not repeated here")]
    Secret,
    /// A key that means nothing.
    #[error("unknown key `{key}`; known here are {known}")]
    UnknownKey {
        /// The key.
        key: String,
        /// The keys that are known, as prose.
        known: String,
    },
    /// A value of the wrong type, or one that is not legal.
    #[error("`{key}` must be {must}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What it must be.
        must: &'static str,
    },
    /// It does not say how the hub is called.
    #[error(
        "hub `{hub}` needs either `connection_string_file`, or `host` (or `service_host`) and `auth` for Entra ID"
    )]
    Access {
        /// The hub.
        hub: String,
    },
    /// It does not say how the DPS is called.
    #[error("DPS `{dps}` needs either `connection_string_file`, or `host` and `auth` for Entra ID")]
    AccessToDps {
        /// The DPS.
        dps: String,
    },
}

impl ConfigError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::NoSuchService { service: ServiceKind::Dps, .. } => {
                "name one of these with `--dps NAME`, or add the DPS to the file"
            }
            Self::NoSuchService { service: ServiceKind::Hub, .. } => {
                "name one of these with `--hub NAME`, or add the hub to the file"
            }
            Self::HubTable { problem: ConfigProblem::Secret, .. } => {
                "put the connection string into a file of its own with mode 0600 and name that file with \
                 `connection_string_file`; renew the key if others could read this file"
            }
            Self::HubTable { .. } | Self::NotText { .. } => {
                "correct the file; docs/reaching-a-hub.md shows its keys"
            }
            Self::File { .. } => "check the file and its rights",
        }
    }
}

impl ConfigFile {
    /// Reads the file of a folder. Every hub in it is checked, whichever is asked for. `None` where there is no
    /// such file.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, ConfigError> {
        let path = folder.join(CONFIG_FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ConfigError::File { path, source }),
        };
        let text = match cli_support::text::decode(&bytes) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::NotText { path, source }),
        };
        let Tables { hubs, dps, reading } =
            read_tables(&text, folder).map_err(|flaw| flaw.at(&path, &text))?;
        Ok(Some(Self { path, hubs, dps, reading }))
    }

    /// Finds a hub.
    pub(super) fn hub(&self, name: &str) -> Result<&ConfiguredHub, ConfigError> {
        self.hubs.get(name).ok_or_else(|| self.no_such(ServiceKind::Hub, name, self.names()))
    }

    /// All hubs.
    pub(super) fn all_hubs(self) -> Vec<ConfiguredHub> {
        self.hubs.into_values().collect()
    }

    /// Finds a DPS.
    pub(super) fn dps(&self, name: &str) -> Result<&ConfiguredDps, ConfigError> {
        let names = || quoted(self.dps.keys().map(String::as_str));
        self.dps.get(name).ok_or_else(|| self.no_such(ServiceKind::Dps, name, names()))
    }

    fn no_such(&self, service: ServiceKind, name: &str, known: String) -> ConfigError {
        let known = if known.is_empty() { "none".to_owned() } else { known };
        ConfigError::NoSuchService { service, path: self.path.clone(), name: name.to_owned(), known }
    }

    /// The names of its hubs, as prose; empty where it lists none.
    pub(super) fn names(&self) -> String {
        quoted(self.hubs.keys().map(String::as_str))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// A mistake, and the bytes of the file that it concerns.
struct Flaw {
    problem: ConfigProblem,
    bytes: Range<usize>,
}

impl Flaw {
    fn new(problem: ConfigProblem, bytes: Range<usize>) -> Self {
        Self { problem, bytes }
    }

    fn at(self, path: &Path, text: &str) -> ConfigError {
        let before = text.get(..self.bytes.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        ConfigError::HubTable { path: path.to_owned(), line, column, problem: self.problem }
    }
}

/// The tables of the file.
#[derive(Default)]
struct Tables {
    hubs: BTreeMap<String, ConfiguredHub>,
    dps: BTreeMap<String, ConfiguredDps>,
    reading: ReadOptions,
}

fn read_tables(text: &str, folder: &Path) -> Result<Tables, Flaw> {
    refuse_secrets(text)?;
    let document = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let problem = match (error.message(), text.get(span.clone())) {
            ("duplicate key", Some(name)) => ConfigProblem::Repeated(name.to_owned()),
            (message, _) => ConfigProblem::Syntax(message.to_owned()),
        };
        Flaw::new(problem, span)
    })?;
    let mut tables = Tables::default();
    for (key, value) in document.get_ref() {
        match key.get_ref().as_ref() {
            "hubs" => {
                for (name, entry) in table("hubs", value)? {
                    let hub =
                        HubTable { name: name.get_ref(), table: table("hubs", entry)?, span: name.span() };
                    tables.hubs.insert(name.get_ref().to_string(), hub.resolve(folder)?);
                }
            }
            "dps" => {
                for (name, entry) in dps_table(value)? {
                    let dps = HubTable { name: name.get_ref(), table: dps_table(entry)?, span: name.span() };
                    tables.dps.insert(name.get_ref().to_string(), dps.resolve_dps(folder)?);
                }
            }
            "batch" => {
                let problem = ConfigProblem::Value { key: "batch", must: "a table: `[batch]`" };
                let batch = value.get_ref().as_table().ok_or_else(|| Flaw::new(problem, value.span()))?;
                tables.reading = read_batch(batch)?;
            }
            _ => return Err(unknown(key, &["hubs", "dps", "batch"])),
        }
    }
    Ok(tables)
}

/// Reads what holds for every batch.
fn read_batch(batch: &DeTable<'_>) -> Result<ReadOptions, Flaw> {
    let mut reading = ReadOptions::default();
    for (key, value) in batch {
        match key.get_ref().as_ref() {
            "id_pattern" => {
                let problem = ConfigProblem::Value { key: "id_pattern", must: "a regular expression" };
                let pattern = value.get_ref().as_str().and_then(|text| text.parse().ok());
                reading.id_pattern = Some(pattern.ok_or_else(|| Flaw::new(problem, value.span()))?);
            }
            "ignore" => {
                reading.ignore = read_list("ignore", "a list of names of columns, with `*` and `?`", value)?;
            }
            "modules" => reading.modules = read_list("modules", "a list of the ids of modules", value)?,
            _ => return Err(unknown(key, &["id_pattern", "ignore", "modules"])),
        }
    }
    Ok(reading)
}

/// Reads a list of texts.
fn read_list<T: FromStr>(
    key: &'static str,
    must: &'static str,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<T>, Flaw> {
    let flaw = |value: &Spanned<DeValue<'_>>| Flaw::new(ConfigProblem::Value { key, must }, value.span());
    let values = value.get_ref().as_array().ok_or_else(|| flaw(value))?;
    let parse = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().and_then(|text| text.parse().ok());
    values.iter().map(|value| parse(value).ok_or_else(|| flaw(value))).collect()
}

/// Refuses a file that holds a secret before anything in it can get into a message.
fn refuse_secrets(text: &str) -> Result<(), Flaw> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if holds_secret(line) || holds_symmetric_key(line) {
            return Err(Flaw::new(ConfigProblem::Secret, start..start + line.len()));
        }
        start += line.len();
    }
    Ok(())
}

/// A hub or a DPS as people write it.
struct HubTable<'a> {
    name: &'a str,
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl HubTable<'_> {
    fn resolve(&self, folder: &Path) -> Result<ConfiguredHub, Flaw> {
        for (key, _) in self.table {
            if !KEYS.contains(&key.get_ref().as_ref()) {
                return Err(unknown(key, &KEYS));
            }
        }
        let path = |text: &str| (!text.is_empty()).then(|| folder.join(text));
        let host = |text: &str| text.parse::<HubHost>().ok();
        let connection_string_file = self.text("connection_string_file", "the path of a file", path)?;
        let auth = self.text("auth", AUTH, SignIn::named)?;
        let hosts = [self.text("host", HOST, host)?, self.text("service_host", HOST, host)?];
        let access = match (connection_string_file, hosts, auth) {
            (Some(file), [None, None], None) => ConfiguredAccess::ConnectionString(file),
            (None, [Some(host), None] | [None, Some(host)], sign_in) => {
                ConfiguredAccess::Entra(host, sign_in.unwrap_or_default())
            }
            _ => {
                let problem = ConfigProblem::Access { hub: self.name.to_owned() };
                return Err(Flaw::new(problem, self.span.clone()));
            }
        };
        let tier =
            self.text("tier", "a tier: F1, B1, B2, B3, S1, S2 or S3", |text| text.parse::<Tier>().ok())?;
        let units = self.units()?;
        if tier.is_none() && units.is_some() {
            let problem =
                ConfigProblem::Value { key: "units", must: "the units of a `tier`, which is missing" };
            return Err(Flaw::new(problem, self.span.clone()));
        }
        Ok(ConfiguredHub {
            access,
            device_host: self.text("device_host", HOST, host)?,
            ca_file: self.text("ca_file", "the path of a PEM file", path)?,
            size: tier.map(|tier| HubSize { tier, units: units.unwrap_or(NonZeroU32::MIN) }),
        })
    }

    fn resolve_dps(&self, folder: &Path) -> Result<ConfiguredDps, Flaw> {
        for (key, _) in self.table {
            if !KEYS_OF_DPS.contains(&key.get_ref().as_ref()) {
                return Err(unknown(key, &KEYS_OF_DPS));
            }
        }
        let path = |text: &str| (!text.is_empty()).then(|| folder.join(text));
        let file = self.text("connection_string_file", "the path of a file", path)?;
        let host = self.text("host", HOST_OF_DPS, |text| text.parse::<HubHost>().ok())?;
        let auth = self.text("auth", AUTH, SignIn::named)?;
        let access = match (file, host, auth) {
            (Some(file), None, None) => ConfiguredAccess::ConnectionString(file),
            (None, Some(host), sign_in) => ConfiguredAccess::Entra(host, sign_in.unwrap_or_default()),
            _ => {
                let problem = ConfigProblem::AccessToDps { dps: self.name.to_owned() };
                return Err(Flaw::new(problem, self.span.clone()));
            }
        };
        Ok(ConfiguredDps {
            access,
            ca_file: self.text("ca_file", "the path of a PEM file", path)?,
            device_host: self.text("device_host", HOST_OF_DPS, |text| text.parse::<HubHost>().ok())?,
            id_scope: self
                .text("id_scope", "an id scope, such as `0ne00A1B2C3`", |text| text.parse().ok())?,
        })
    }

    fn text<T>(
        &self,
        key: &'static str,
        must: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Flaw> {
        let Some(value) = self.table.get(key) else { return Ok(None) };
        let read = value.get_ref().as_str().and_then(read);
        read.map(Some).ok_or_else(|| Flaw::new(ConfigProblem::Value { key, must }, value.span()))
    }

    fn units(&self) -> Result<Option<NonZeroU32>, Flaw> {
        let Some(value) = self.table.get("units") else { return Ok(None) };
        let units = match value.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        let problem = ConfigProblem::Value { key: "units", must: "a whole number from 1" };
        units.and_then(NonZeroU32::new).map(Some).ok_or_else(|| Flaw::new(problem, value.span()))
    }
}

fn table<'a>(key: &'static str, value: &'a Spanned<DeValue<'a>>) -> Result<&'a DeTable<'a>, Flaw> {
    let problem = ConfigProblem::Value { key, must: "a table for each hub, such as `[hubs.line-3]`" };
    value.get_ref().as_table().ok_or_else(|| Flaw::new(problem, value.span()))
}

fn dps_table<'a>(value: &'a Spanned<DeValue<'a>>) -> Result<&'a DeTable<'a>, Flaw> {
    let problem = ConfigProblem::Value { key: "dps", must: "a table for each DPS, such as `[dps.factory]`" };
    value.get_ref().as_table().ok_or_else(|| Flaw::new(problem, value.span()))
}

fn unknown(key: &Spanned<std::borrow::Cow<'_, str>>, known: &[&str]) -> Flaw {
    let known = quoted(known.iter().copied());
    Flaw::new(ConfigProblem::UnknownKey { key: key.get_ref().to_string(), known }, key.span())
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The name of the configuration file.
pub(super) const CONFIG_FILE: &str = "provisioner.toml";
const KEYS: [&str; 8] =
    ["connection_string_file", "host", "service_host", "device_host", "auth", "ca_file", "tier", "units"];
const KEYS_OF_DPS: [&str; 6] =
    ["connection_string_file", "host", "device_host", "id_scope", "auth", "ca_file"];
const HOST_OF_DPS: &str = "a host name, such as `factory.azure-devices-provisioning.net`";
const HOST: &str = "a host name, such as `line-3.azure-devices.net`";
const AUTH: &str = "one of `entra`, `az`, `environment` and `managed-identity`";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfiguredHub, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), text).unwrap();
        let file = ConfigFile::read(folder.path()).map_err(|error| error.to_string())?.unwrap();
        file.hub("line").cloned().map_err(|error| error.to_string())
    }

    #[test]
    fn the_size_of_a_hub_stands_in_the_file() {
        let hub = "[hubs.line]\nconnection_string_file = 'line.txt'\ntier = 's2'\nunits = 3\n";
        let size = HubSize { tier: Tier::S2, units: NonZeroU32::new(3).unwrap() };
        assert_eq!(read(hub).unwrap().size, Some(size));
    }

    #[test]
    fn entra_id_stands_in_the_file() {
        for (auth, sign_in) in [("", SignIn::Entra), ("auth = 'managed-identity'", SignIn::ManagedIdentity)] {
            for host in ["host", "service_host"] {
                let hub = read(&format!("[hubs.line]\n{host} = 'line.example'\n{auth}\n")).unwrap();
                assert_eq!(hub.access, ConfiguredAccess::Entra("line.example".parse().unwrap(), sign_in));
            }
        }
    }

    #[test]
    fn a_hub_may_have_a_host_for_devices() {
        let hub = read("[hubs.line]\nconnection_string_file = 'x'\ndevice_host = 'd.example'\n").unwrap();
        assert_eq!(hub.device_host, Some("d.example".parse().unwrap()));
    }

    #[test]
    fn mistakes_are_named_with_line_and_column() {
        let cases = [
            ("[hubs.lime]\nhost = 'h.example'\n", "has no hub `line`; it has `lime`"),
            ("", "it has none"),
            (
                "[hubs.line]\n",
                "line 1, column 7: hub `line` needs either `connection_string_file`, or `host`",
            ),
            ("[hubs.line]\nconnection_string_file = 'x'\nauth = 'az'\n", "either `connection_string_file`"),
            ("[hubs.line]\nhost = 'h'\nservice_host = 'h'\n", "either `connection_string_file`"),
            ("[hubs.line]\nhost = 'h/x'\n", "line 2, column 8: `host` must be a host name, such as"),
            ("[hubs.line]\nhost = 'h'\nauth = 'magic'\n", "managed-identity"),
            (
                "[hubs.line]\nhost = 'h'\nunits = 0\ntier = 'S1'\n",
                "line 3, column 9: `units` must be a whole number",
            ),
            ("[hubs.line]\nhost = 'h'\nunits = 2\n", "`units` must be the units of a `tier`"),
            ("[hubs.line]\nhost = 'h'\ntier = 'S9'\n", "`tier` must be a tier: F1"),
            (
                "[hubs.line]\nconection_string_file = 'x'\n",
                "line 2, column 1: unknown key `conection_string_file`; known here are `connection_string_file`",
            ),
            ("[hub.line]\nhost = 'h'\n", "line 1, column 2: unknown key `hub`; known here are `hubs`, `dps`"),
            ("hubs = 3\n", "`hubs` must be a table for each hub"),
            (
                "[hubs.line]\nhost = 'a'\n\n[hubs.line]\nhost = 'b'\n",
                "line 4, column 7: `line` is there twice",
            ),
            ("[hubs.line]\nhost = h\n", "line 2, column 8: this is not TOML: "),
        ];
        for (text, spec) in cases {
            let error = read(text).unwrap_err();
            assert!(error.contains(spec), "{text}: {error}");
        }
    }

    #[test]
    fn no_message_repeats_a_value() {
        let values = [
            "connection_string = 'HostName=h;SharedAccessKeyName=o;SharedAccessKey=hunter2'",
            "HostName=h;SharedAccessKeyName=o;SharedAccessKey=hunter2",
            "units = 'hunter2'",
            "auth = 'hunter2'",
            "tier = 'hunter2'",
            "host = '/hunter2'",
            "ca_file = 7hunter2",
        ];
        for value in values {
            let error = read(&format!("[hubs.line]\nhost = 'h.example'\n{value}\n")).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("line 3"), "{value}: {error}");
        }
    }

    #[test]
    fn without_the_file_there_are_no_hubs() {
        assert_eq!(ConfigFile::read(tempfile::tempdir().unwrap().path()).unwrap(), None);
    }
}

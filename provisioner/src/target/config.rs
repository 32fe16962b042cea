//! `provisioner.toml`: hubs that are called often have names there.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use hub_types::connection_string::HubHost;
use hub_types::limits::Tier;
use serde::{Deserialize, Deserializer};

use super::HubSize;
use crate::hub::SignIn;

/// A hub of the file.
#[derive(Debug, PartialEq)]
pub(super) struct ConfiguredHub {
    pub(super) access: ConfiguredAccess,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) size: Option<HubSize>,
}

/// How the hub is called.
#[derive(Debug, PartialEq)]
pub(super) enum ConfiguredAccess {
    /// With the connection string in this file.
    ConnectionString(PathBuf),
    /// With Entra ID.
    Entra(HubHost, SignIn),
}

/// Why the configuration file does not name a hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It does not say how the hub is called.
    #[error(
        "hub `{name}` in `{CONFIG_FILE}` needs either `connection_string_file`, or `host` and `auth` for Entra ID"
    )]
    Access {
        /// The hub.
        name: String,
    },
    /// It can't be read.
    #[error("can't read `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has no such hub.
    #[error("`{CONFIG_FILE}` has no hub `{name}`; it has {known}")]
    NoSuchHub {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// It can't be understood.
    #[error("`{}` can't be understood", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Why.
        source: toml::de::Error,
    },
}

impl ConfiguredHub {
    /// Looks a hub up in the file of this folder. Paths in it are relative to the folder.
    pub(super) fn read(name: &str, folder: &Path) -> Result<Self, ConfigError> {
        let path = folder.join(CONFIG_FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::File { path, source }),
        };
        let file: ConfigFile = toml::from_str(&String::from_utf8_lossy(&text))
            .map_err(|source| ConfigError::Syntax { path, source })?;
        match file.hubs.get(name) {
            Some(hub) => hub.resolve(name, folder),
            None => {
                let known: Vec<_> = file.hubs.keys().map(|name| format!("`{name}`")).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                Err(ConfigError::NoSuchHub { name: name.to_owned(), known })
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    hubs: BTreeMap<String, HubEntry>,
}

/// A hub as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HubEntry {
    connection_string_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "host")]
    host: Option<HubHost>,
    auth: Option<SignIn>,
    /// A PEM file with a root to trust.
    ca_file: Option<PathBuf>,
    /// The tier, which bounds the rate of calls.
    #[serde(default, deserialize_with = "tier")]
    tier: Option<Tier>,
    /// The units of that tier; 1 where none are named.
    units: Option<NonZeroU32>,
}

impl HubEntry {
    fn resolve(&self, name: &str, folder: &Path) -> Result<ConfiguredHub, ConfigError> {
        let access = match (&self.connection_string_file, &self.host, self.auth) {
            (Some(file), None, None) => ConfiguredAccess::ConnectionString(folder.join(file)),
            (None, Some(host), sign_in) => ConfiguredAccess::Entra(host.clone(), sign_in.unwrap_or_default()),
            _ => return Err(ConfigError::Access { name: name.to_owned() }),
        };
        let units = self.units.unwrap_or(NonZeroU32::MIN);
        let size = self.tier.map(|tier| HubSize { tier, units });
        Ok(ConfiguredHub { access, ca_file: self.ca_file.as_ref().map(|file| folder.join(file)), size })
    }
}

fn tier<'de, D: Deserializer<'de>>(text: D) -> Result<Option<Tier>, D::Error> {
    String::deserialize(text)?.parse().map(Some).map_err(serde::de::Error::custom)
}

fn host<'de, D: Deserializer<'de>>(text: D) -> Result<Option<HubHost>, D::Error> {
    let host = String::deserialize(text)?.parse().map(Some);
    host.map_err(|_| serde::de::Error::custom("must be a host name, such as `line-3.azure-devices.net`"))
}

const CONFIG_FILE: &str = "provisioner.toml";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfiguredHub, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), text).unwrap();
        ConfiguredHub::read("line", folder.path()).map_err(|error| crate::causes::with_causes(&error))
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
            let hub = read(&format!("[hubs.line]\nhost = 'line.example'\n{auth}\n")).unwrap();
            assert_eq!(hub.access, ConfiguredAccess::Entra("line.example".parse().unwrap(), sign_in));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("[hubs.lime]\nhost = 'h.example'\n", "has no hub `line`; it has `lime`"),
            ("", "it has none"),
            ("[hubs.line]\n", "either `connection_string_file`, or `host`"),
            ("[hubs.line]\nconnection_string_file = 'x'\nauth = 'az'\n", "either `connection_string_file`"),
            ("[hubs.line]\nhost = 'h/x'\n", "such as `line-3.azure-devices.net`"),
            ("[hubs.line]\nhost = 'h'\nauth = 'magic'\n", "managed-identity"),
        ];
        for (text, wanted) in cases {
            let error = read(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}

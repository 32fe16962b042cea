//! The reasons why there is no hub to work on.

use std::path::PathBuf;

use hub_types::connection_string::ConnectionStringError;
use hub_types::shown::ShownPath;

use super::config::ConfigError;
use crate::model::service::ServiceKind;

/// The reason why there is no hub to work on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum TargetError {
    /// A root can't be used.
    #[error("a CA file can't be used")]
    Client(#[source] reqwest::Error),
    /// The configuration file does not name the hub.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A connection string is wrong.
    #[error("the connection string in {place} can't be used")]
    ConnectionString {
        /// The place of the setting.
        place: String,
        /// Why.
        source: ConnectionStringError,
    },
    /// The variable with the connection string is empty, for example because a secret of a CI job
    /// is not set.
    #[error("IOTHUB_CONNECTION_STRING is set but empty")]
    EmptyVariable,
    /// The configuration file lists hubs, and none was chosen.
    #[error("`{}` lists {hubs}, and none was named", ShownPath(path))]
    NotNamed {
        /// The file.
        path: PathBuf,
        /// Its hubs, as prose.
        hubs: String,
    },
    /// `--dps` names none, and the environment has no connection string of one.
    #[error("`--dps` names no DPS, and IOTDPS_CONNECTION_STRING is not set or empty")]
    NoDps,
    /// A hub or a DPS was named, and there is no configuration file.
    #[error("{service} `{name}` was asked for, but there is no `{}`", ShownPath(path))]
    NoConfigFile {
        /// The kind of the service.
        service: ServiceKind,
        /// The hub.
        name: String,
        /// The searched path of the file.
        path: PathBuf,
    },
    /// The address is that of a service of the other kind.
    #[error("`{host}` is the address of a {found}, and a {service} is needed")]
    OtherKind {
        /// The kind of the service that is needed.
        service: ServiceKind,
        /// The host.
        host: String,
        /// The kind of the service there.
        found: ServiceKind,
    },
    /// The file that should hold a connection string is empty.
    #[error("`{}` is empty; it must hold the {service}'s connection string", ShownPath(path))]
    EmptyFile {
        /// The kind of the service.
        service: ServiceKind,
        /// The file.
        path: PathBuf,
    },
    /// The file that should hold a connection string is a JSON document.
    #[error(
        "`{}`, line {line}: this is a JSON document; the file must hold the {service}'s connection string alone, as text",
        ShownPath(path)
    )]
    JsonFile {
        /// The kind of the service.
        service: ServiceKind,
        /// The file.
        path: PathBuf,
        /// The line on which it begins, from 1.
        line: usize,
    },
    /// A file with roots to trust can't be read.
    #[error("can't read the CA file `{}`", ShownPath(path))]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file that should hold a connection string can't be read.
    #[error("can't read `{}`, the file of the {service}'s connection string", ShownPath(path))]
    ConnectionStringFile {
        /// The kind of the service.
        service: ServiceKind,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The embedded hub does not start.
    #[error("the local hub with its data in `{}` does not start", ShownPath(data))]
    Local {
        /// Its folder.
        data: PathBuf,
        /// Why.
        source: local_hub::Error,
    },
}

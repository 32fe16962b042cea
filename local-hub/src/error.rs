//! The errors of starting and running a hub.

use hub_types::shown::ShownPath;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::faults::FaultsError;

/// The reason why a hub can't start or continue, or why a data folder can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The hub can't listen on the address.
    #[error("can't listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The certificates can't be made or read.
    #[error("can't make the TLS certificates of the hub")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file with CAs of devices can't be used.
    #[error("the device CAs in {} can't be used: {reason}", ShownPath(path))]
    DeviceCa {
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        reason: String,
    },
    /// A token can't be signed.
    #[error("can't sign the token")]
    EntraToken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The data folder has never been served from.
    #[error("{folder} holds no hub; `local-hub serve --data {folder}` makes one", folder = ShownPath(.0))]
    EmptyFolder(PathBuf),
    /// A file of the data folder was changed or damaged after it was written.
    #[error("{} is damaged: {reason}", ShownPath(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault of the file.
        reason: String,
    },
    /// The configured faults are not valid.
    #[error("these faults can't be had")]
    Faults(#[from] FaultsError),
    /// A file can't be read or written.
    #[error("can't {action} {}", ShownPath(path))]
    File {
        /// The operation that failed.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file of the data folder was written by a newer version.
    #[error(
        "{} was written by a newer local-hub (format {found}, this one knows {known}); use that version",
        ShownPath(path)
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// A data folder in which other users can replace the keys.
    #[error("others can write into {folder}, which is to hold keys; run `chmod 700 {folder}` first", folder = ShownPath(path))]
    FolderWritable {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has the data folder open.
    #[error(
        "{} is in use by another local-hub; stop that one first, or use a different folder, or connect to its hub",
        ShownPath(.0)
    )]
    FolderInUse(PathBuf),
    /// A name that is not valid in a certificate.
    #[error("`{0}` is no host name")]
    HostName(String),
    /// A management address that other machines could reach.
    #[error("{0} can be reached from other machines; the management port must be on 127.0.0.1 or [::1]")]
    ManagementNotLoopback(SocketAddr),
    /// The imported document was refused.
    #[error("the state can't be imported: {0}")]
    State(String),
    /// The unfinished jobs of an earlier hub process can't be updated.
    #[error("the jobs in the data folder can't be taken up: {0}")]
    Jobs(String),
    /// A role that a DPS does not have.
    #[error("a DPS has the roles data-contributor and data-reader only")]
    NoDpsRole,
    /// An address that other machines can reach, without the option that allows it.
    #[error(
        "{0} can be reached from other machines; if that is wanted, say so with --reachable-from-other-machines"
    )]
    NotLoopback(SocketAddr),
    /// A linked hub with the host name of another one.
    #[error(
        "the hub of {} is called `{name}` as another linked hub is; serve it with a different --host-name",
        ShownPath(folder)
    )]
    LinkedHub {
        /// The data folder of the hub.
        folder: PathBuf,
        /// The name of both.
        name: String,
    },
    /// A DPS that shares an address with the hub, without a name of its own.
    #[error(
        "the DPS needs a name of its own where it shares an address with the hub; name one with --dps-host-name"
    )]
    DpsWithoutName,
    /// The hub can't wait for signals.
    #[error("can't wait for signals")]
    Signal(#[source] io::Error),
    /// The database in the data folder can't be read or written.
    #[error("can't use the database {}", ShownPath(path))]
    Store {
        /// The database.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
    /// A thread can't be started.
    #[error("can't start a thread")]
    Thread(#[source] io::Error),
    /// No policy has this name.
    #[error("the hub has no policy `{name}`; it has {known}")]
    UnknownPolicy {
        /// The name.
        name: String,
        /// The existing names.
        known: String,
    },
}

/// The result of a fallible operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

//! Why a hub can't start or go on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::faults::FaultsError;

/// Why a hub can't start, or why a data folder can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address can't be listened on.
    #[error("can't listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Making or reading the certificates went wrong.
    #[error("can't make the TLS certificates of the hub")]
    Certificate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file with CAs of devices can't be used.
    #[error("the device CAs in {} can't be used: {reason}", path.display())]
    DeviceCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A token can't be signed.
    #[error("can't sign the token")]
    EntraToken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The data folder has never been served from.
    #[error("{folder} holds no hub; `local-hub serve --data {folder}` makes one", folder = .0.display())]
    EmptyFolder(PathBuf),
    /// A file of the data folder is not what it was when it was written.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The faults that the hub is to have make no sense.
    #[error("these faults can't be had")]
    Faults(#[from] FaultsError),
    /// A file can't be read or written.
    #[error("can't {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the data folder was written by a newer version.
    #[error(
        "{} was written by a newer local-hub (format {found}, this one knows {known}); use that version",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that is known.
        known: i64,
    },
    /// A data folder in which others can exchange the keys.
    #[error("others can write into {folder}, which is to hold keys; run `chmod 700 {folder}` first", folder = path.display())]
    FolderWritable {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has the data folder open.
    #[error(
        "{} is in use by another local-hub; stop that one, or give this one another folder with --data",
        .0.display()
    )]
    FolderInUse(PathBuf),
    /// A name that a certificate can't bear.
    #[error("`{0}` is no host name")]
    HostName(String),
    /// A management port that others could reach.
    #[error("{0} can be reached from other machines; the management port must be on 127.0.0.1 or [::1]")]
    ManagementNotLoopback(SocketAddr),
    /// What was to be imported was refused.
    #[error("the state can't be imported: {0}")]
    State(String),
    /// What a former hub left of its jobs can't be written down.
    #[error("the jobs in the data folder can't be taken up: {0}")]
    Jobs(String),
    /// An address that others can reach, and nobody said that they may.
    #[error(
        "{0} can be reached from other machines; if that is wanted, say so with --reachable-from-other-machines"
    )]
    NotLoopback(SocketAddr),
    /// Signals can't be waited for.
    #[error("can't wait for signals")]
    Signal(#[source] io::Error),
    /// The database in the data folder can't be read or written.
    #[error("can't use the database {}", path.display())]
    Store {
        /// The database.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A thread can't be started.
    #[error("can't start a thread")]
    Thread(#[source] io::Error),
    /// No policy has the name.
    #[error("the hub has no policy `{name}`; it has {known}")]
    UnknownPolicy {
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
}

/// What can be done only without an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

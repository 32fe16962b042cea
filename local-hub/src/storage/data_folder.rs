//! The data folder: the files of a hub, locked so that only one hub uses them.
//!
//! | file | holds |
//! |---|---|
//! | `ca.pem` | the certificate that clients must trust |
//! | `ca-key.pem` | its private key |
//! | `connection-string` | of the owner's policy, for the address last served on |
//! | `dps-connection-string` | of the owner's policy of the DPS, as `connection-string` |
//! | `dps-id-scope` | the name of the DPS for devices |
//! | `dps-policies.json` | the policies of the DPS and their keys |
//! | `dps.db` | enrolments and registrations |
//! | `hub.db` | devices, modules and twins |
//! | `hub.lock` | locked while a hub uses the folder |
//! | `management-token` | the token for requests to the management port, while it is open |
//! | `policies.json` | the policies and their keys |

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use hub_types::connection_string::ServiceConnectionString;
use hub_types::dps::IdScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::private_files;
use crate::access::certificates::Authority;
use crate::access::policy::{Policies, Rights};
use crate::error::{Error, Result};
use crate::ids::random;

/// A data folder that stays locked for this hub as long as the value lives.
#[derive(Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    _lock: File,
}

impl DataFolder {
    /// Makes the folder if it is missing, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        private_files::private_folder(path).map_err(|source| file_error("make", path, source))?;
        if private_files::others_can_write(path).map_err(|source| file_error("look at", path, source))? {
            return Err(Error::FolderWritable { path: path.to_owned() });
        }
        let lock_path = path.join("hub.lock");
        let lock = private_files::private_file(&lock_path)
            .map_err(|source| file_error("open", &lock_path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::FolderInUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(file_error("lock", &lock_path, source)),
        }
    }

    /// The path of the database, which is readable for its owner only from the beginning. If a hub
    /// was served from the folder before, a missing or empty database is an error.
    pub(crate) fn database(&self) -> Result<PathBuf> {
        self.database_of(DATABASE_FILE, CONNECTION_STRING_FILE)
    }

    /// As [`DataFolder::database`], of the DPS.
    pub(crate) fn dps_database(&self) -> Result<PathBuf> {
        self.database_of(DPS_DATABASE_FILE, DPS_CONNECTION_STRING_FILE)
    }

    /// The path of a database. `served` is the file that is written when its service begins.
    fn database_of(&self, file: &str, served: &str) -> Result<PathBuf> {
        let path = self.path.join(file);
        let was_served = self.path.join(served).exists();
        let database = if was_served { File::open(&path) } else { private_files::private_file(&path) };
        let is_empty = database.and_then(|file| Ok(file.metadata()?.len() == 0));
        match is_empty {
            Ok(true) if was_served => Err(missing(&path, "it is empty")),
            Ok(_) => Ok(path),
            Err(error) if was_served && error.kind() == io::ErrorKind::NotFound => {
                Err(missing(&path, "it is missing"))
            }
            Err(source) => Err(file_error("open", &path, source)),
        }
    }

    /// The CA that was made at the first start.
    pub(crate) fn authority(&self) -> Result<Authority> {
        let key_path = self.path.join(CA_KEY_FILE);
        let certificate_path = self.path.join(CA_FILE);
        match (read(&key_path)?, read(&certificate_path)?) {
            (Some(key), Some(certificate)) => {
                return Authority::from_pem(certificate.as_str().to_owned(), &key).map_err(|error| {
                    let reason = format!("with the key in {CA_KEY_FILE} it makes no CA: {error}");
                    Error::Damaged { path: certificate_path, reason }
                });
            }
            // The key is written first, so a start that was cut off leaves it alone.
            (_, None) => {}
            (None, Some(_)) => return Err(missing(&key_path, "it is missing, and clients trust its CA")),
        }
        let authority = Authority::generate()?;
        // The key first: a certificate whose key is lost would be taken for a usable CA.
        write(&key_path, authority.expose_key_pem().as_bytes())?;
        write(&certificate_path, authority.certificate_pem().as_bytes())?;
        Ok(authority)
    }

    /// The policies that were made at the first start.
    pub(crate) fn policies<R>(&self, file: &str) -> Result<Policies<R>>
    where
        R: Rights + Serialize + DeserializeOwned,
    {
        if let Some(policies) = read_policies(&self.path, file)? {
            return Ok(policies);
        }
        let policies = Policies::generate();
        let path = self.path.join(file);
        let text = serde_json::to_vec_pretty(&policies).map_err(|error| damaged(&path, &error))?;
        write(&path, &Zeroizing::new(text))?;
        Ok(policies)
    }

    pub(crate) fn write_management_token(&self, token: &str) -> Result<()> {
        let text = Zeroizing::new(format!("{token}\n"));
        write(&self.path.join(MANAGEMENT_TOKEN_FILE), text.as_bytes())
    }

    pub(crate) fn write_connection_string(&self, owner: &ServiceConnectionString) -> Result<()> {
        self.write_owner(CONNECTION_STRING_FILE, owner)
    }

    pub(crate) fn write_dps_connection_string(&self, owner: &ServiceConnectionString) -> Result<()> {
        self.write_owner(DPS_CONNECTION_STRING_FILE, owner)
    }

    fn write_owner(&self, file: &str, owner: &ServiceConnectionString) -> Result<()> {
        let text = Zeroizing::new(format!("{}\n", *owner.expose_text()));
        write(&self.path.join(file), text.as_bytes())
    }

    /// The id scope that was made at the first start with a DPS.
    pub(crate) fn id_scope(&self) -> Result<IdScope> {
        let path = self.path.join(ID_SCOPE_FILE);
        if let Some(text) = read(&path)? {
            return text.trim().parse().map_err(|error| damaged(&path, &error));
        }
        let scope = random::id_scope();
        write(&path, format!("{scope}\n").as_bytes())?;
        Ok(scope)
    }
}

/// Refuses a folder that no hub was ever served from.
pub(crate) fn check_has_hub(folder: &Path) -> Result<()> {
    if folder.join(DATABASE_FILE).exists() { Ok(()) } else { Err(Error::EmptyFolder(folder.to_owned())) }
}

/// The path of the management token in a data folder.
pub(crate) fn management_token_file(folder: &Path) -> PathBuf {
    folder.join(MANAGEMENT_TOKEN_FILE)
}

/// The path of the certificate that clients must trust in a data folder.
pub(crate) fn ca_file(folder: &Path) -> PathBuf {
    folder.join(CA_FILE)
}

/// The certificate that clients must trust, in PEM.
pub(crate) fn ca_pem(folder: &Path) -> Result<Zeroizing<String>> {
    read(&ca_file(folder))?.ok_or_else(|| Error::EmptyFolder(folder.to_owned()))
}

/// The connection string of the owner's policy, for the address that the folder was last served on.
pub(crate) fn owner(folder: &Path) -> Result<ServiceConnectionString> {
    read_owner(folder, CONNECTION_STRING_FILE)
}

/// As [`owner`], of the DPS.
pub(crate) fn dps_owner(folder: &Path) -> Result<ServiceConnectionString> {
    read_owner(folder, DPS_CONNECTION_STRING_FILE)
}

fn read_owner(folder: &Path, file: &str) -> Result<ServiceConnectionString> {
    let path = folder.join(file);
    let text = read(&path)?.ok_or_else(|| Error::EmptyFolder(folder.to_owned()))?;
    text.parse().map_err(|error| damaged(&path, &error))
}

/// The connection string of a policy, for the address that the folder was last served on.
pub(crate) fn connection_string(folder: &Path, policy: &str) -> Result<ServiceConnectionString> {
    let empty = || Error::EmptyFolder(folder.to_owned());
    let policies: Policies = read_policies(folder, POLICIES_FILE)?.ok_or_else(empty)?;
    let owner = owner(folder)?;
    let Some(found) = policies.find(policy) else {
        return Err(unknown_policy(&policies, policy));
    };
    Ok(ServiceConnectionString { policy: found.name.clone(), key: found.primary_key().clone(), ..owner })
}

pub(crate) fn unknown_policy<R: Rights>(policies: &Policies<R>, name: &str) -> Error {
    Error::UnknownPolicy { name: name.to_owned(), known: policies.names().collect::<Vec<_>>().join(", ") }
}

fn read_policies<R: DeserializeOwned>(folder: &Path, file: &str) -> Result<Option<Policies<R>>> {
    let path = folder.join(file);
    let Some(text) = read(&path)? else {
        return Ok(None);
    };
    serde_json::from_str(&text).map(Some).map_err(|error| damaged(&path, &error))
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>> {
    match cli_support::text::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(source) => Err(file_error("read", path, source)),
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    private_files::replace_private_file(path, content).map_err(|source| file_error("write", path, source))
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::File { action, path: path.to_owned(), source }
}

/// The error for a missing file in a folder that a hub was served from.
fn missing(path: &Path, what: &str) -> Error {
    let reason = format!("{what}; put it back from a copy, or serve another folder");
    Error::Damaged { path: path.to_owned(), reason }
}

fn damaged(path: &Path, reason: &dyn std::error::Error) -> Error {
    Error::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

const CA_FILE: &str = "ca.pem";
const CA_KEY_FILE: &str = "ca-key.pem";
const DATABASE_FILE: &str = "hub.db";
const CONNECTION_STRING_FILE: &str = "connection-string";
const DPS_DATABASE_FILE: &str = "dps.db";
const DPS_CONNECTION_STRING_FILE: &str = "dps-connection-string";
/// The policies of the DPS.
pub(crate) const DPS_POLICIES_FILE: &str = "dps-policies.json";
const ID_SCOPE_FILE: &str = "dps-id-scope";
const MANAGEMENT_TOKEN_FILE: &str = "management-token";
/// The policies of the hub.
pub(crate) const POLICIES_FILE: &str = "policies.json";

//! [`GivenFiles`]: the certificates and private keys that rows name, kept on the disk, so that a batch of
//! a million rows needs no memory for them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hub_types::{IdentityId, ModuleId};
use rusqlite::{Connection, OptionalExtension, Result};

/// The files that one row names. The private key itself is never read into it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowFiles {
    /// The certificate.
    pub(crate) certificate: Option<PathBuf>,
    /// The private key.
    pub(crate) private_key: Option<PathBuf>,
}

/// The files that rows name, in a nameless file that goes with it.
#[derive(Debug)]
pub(crate) struct GivenFiles(Mutex<Connection>);

impl GivenFiles {
    /// Of no row yet.
    pub(crate) fn new() -> Result<Self> {
        let database = Connection::open("")?;
        database.execute_batch(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             CREATE TABLE files (device TEXT NOT NULL, module TEXT NOT NULL, certificate TEXT, private_key TEXT, \
             PRIMARY KEY (device, module)) WITHOUT ROWID; BEGIN",
        )?;
        Ok(Self(Mutex::new(database)))
    }

    /// Notes what a row names.
    pub(crate) fn insert(
        &self,
        identity: &IdentityId,
        certificate: Option<&Path>,
        private_key: Option<&Path>,
    ) -> Result<()> {
        let database = self.database();
        let mut insert = database.prepare_cached("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)")?;
        let (device, module) = key(identity);
        let text = |path: Option<&Path>| path.map(|path| path.to_string_lossy().into_owned());
        insert.execute((device, module, text(certificate), text(private_key)))?;
        Ok(())
    }

    /// The files that an identity's row names; `None` if it names no file.
    pub(crate) fn find(&self, identity: &IdentityId) -> Result<Option<RowFiles>> {
        let database = self.database();
        let mut find = database
            .prepare_cached("SELECT certificate, private_key FROM files WHERE device = ? AND module = ?")?;
        find.query_row(key(identity), |row| {
            let [certificate, private_key]: [Option<String>; 2] = [row.get(0)?, row.get(1)?];
            let [certificate, private_key] = [certificate, private_key].map(|path| path.map(PathBuf::from));
            Ok(RowFiles { certificate, private_key })
        })
        .optional()
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(identity: &IdentityId) -> (&str, &str) {
    (identity.device().as_str(), identity.module().map_or("", ModuleId::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_row_names_is_found_by_its_identity() {
        let files = GivenFiles::new().unwrap();
        let [device, module] = [None, Some("m")].map(|module| IdentityId::parse("d", module).unwrap());
        files.insert(&device, Some(Path::new("d.pem")), None).unwrap();
        let found = files.find(&device).unwrap().unwrap();
        assert_eq!(found, RowFiles { certificate: Some("d.pem".into()), private_key: None });
        assert_eq!(files.find(&module).unwrap(), None);
    }
}

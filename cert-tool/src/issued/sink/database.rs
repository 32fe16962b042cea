//! [`Database`]: a row for each identity, in one SQLite database for certificates and one for keys.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, params};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::issued::new_certificate::NewCertificate;
use crate::issued::sink::{Contents, Extras, Place};
use crate::platform::fs;

/// The two databases.
pub(crate) struct Database {
    extras: Extras,
    certificates: PemTable,
    keys: PemTable,
}

struct PemTable {
    path: PathBuf,
    connection: Connection,
    last: u64,
}

impl Database {
    pub(crate) fn open(folder: &Path, extras: Extras, contents: Contents) -> Result<Self, Error> {
        let certificates = PemTable::open(folder.join(CERTIFICATES), contents, fs::open_private)?;
        let keys = PemTable::open(folder.join(KEYS), contents, fs::open_for_keys)?;
        Ok(Self { extras, certificates, keys })
    }

    pub(crate) fn places(&self, made: &[NewCertificate]) -> Vec<Place> {
        let first = self.certificates.last.max(self.keys.last) + 1;
        let place = |(id, made): (u64, &NewCertificate)| Place {
            entry: id,
            certificate: id,
            private_key: made.key_pem.as_ref().map(|_| id),
            list: 0,
        };
        (first..).zip(made).map(place).collect()
    }

    pub(crate) fn write(&mut self, made: &[NewCertificate]) -> Result<(), Error> {
        let places = self.places(made);
        let rows = || places.iter().zip(made);
        let keys =
            rows().filter_map(|(place, made)| Some((place.private_key?, made, made.key_pem.as_ref()?)));
        self.keys.write(keys.map(|(id, made, pem)| (id, made, Zeroizing::clone(pem))))?;
        let chain: &[u8] = if self.extras.with_chain { &self.extras.chain_pem } else { &[] };
        let pem = |made: &NewCertificate| Zeroizing::new([&made.certificate_pem, chain].concat());
        self.certificates.write(rows().map(|(place, made)| (place.certificate, made, pem(made))))
    }

    pub(crate) fn cut(&mut self, places: &[Place]) -> Result<(), Error> {
        let Some(first) = places.first() else { return Ok(()) };
        self.keys.cut(first.entry)?;
        self.certificates.cut(first.entry)
    }
}

impl PemTable {
    fn open(
        path: PathBuf,
        contents: Contents,
        open: fn(&Path) -> Result<File, Error>,
    ) -> Result<Self, Error> {
        contents.check(&path)?;
        // SQLite gives its other files the mode of this one.
        drop(open(&path)?);
        let open = || {
            let connection = Connection::open(&path)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.execute_batch(SCHEMA)?;
            let last = connection.query_row("SELECT COALESCE(MAX(id), 0) FROM pem", [], |row| row.get(0))?;
            Ok((connection, last))
        };
        let (connection, last) = open().map_err(|source| Error::database(&path, source))?;
        Ok(Self { path, connection, last })
    }

    fn write<'a>(
        &mut self,
        rows: impl Iterator<Item = (u64, &'a NewCertificate, Zeroizing<Vec<u8>>)>,
    ) -> Result<(), Error> {
        let write = |connection: &mut Connection, last: &mut u64| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO pem (id, device_id, module_id, pem) VALUES (?1, ?2, ?3, ?4)",
                )?;
                for (id, made, pem) in rows {
                    let device = made.identity.device().as_str();
                    let module = made.identity.module().map(|module| module.as_str());
                    #[expect(clippy::expect_used, reason = "the encoder of PEM writes ASCII")]
                    let pem = std::str::from_utf8(&pem).expect("PEM is ASCII");
                    insert.execute(params![id, device, module, pem])?;
                    *last = id;
                }
            }
            transaction.commit()
        };
        write(&mut self.connection, &mut self.last).map_err(|source| Error::database(&self.path, source))
    }

    fn cut(&mut self, from: u64) -> Result<(), Error> {
        let cut = self.connection.execute("DELETE FROM pem WHERE id >= ?1", params![from]);
        cut.map_err(|source| Error::database(&self.path, source))?;
        self.last = self.last.min(from.saturating_sub(1));
        Ok(())
    }
}

pub(crate) const CERTIFICATES: &str = "certificates.db";
pub(crate) const KEYS: &str = "private-keys.db";
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS pem (
    id INTEGER PRIMARY KEY,
    device_id TEXT NOT NULL,
    module_id TEXT,
    pem TEXT NOT NULL
)";

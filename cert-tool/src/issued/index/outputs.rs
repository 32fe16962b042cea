//! Outputs in the index, and the entries that may not have reached them.

use std::path::{Path, PathBuf};

use hub_types::Sha256Thumbprint;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::IssuanceIndex;
use super::entry::sink_of;
use crate::error::Error;
use crate::issued::sink::{Place, Sink};

/// An output of this CA.
pub(crate) struct IndexedOutput {
    pub(crate) id: i64,
    pub(crate) sink: Sink,
    /// Entries up to this one are on its disk for certain.
    pub(super) flushed: i64,
}

/// An entry that may not have reached its output, or the last one that did.
pub(crate) struct Placed {
    pub(crate) id: i64,
    pub(crate) sha256: Sha256Thumbprint,
    pub(crate) place: Place,
}

impl IssuanceIndex {
    /// The output that has a token, entered if it is new. It may have been moved since.
    pub(crate) fn output(&mut self, token: &str, folder: &Path, sink: Sink) -> Result<IndexedOutput, Error> {
        let folder = std::path::absolute(folder).map_err(Error::io("find", folder))?;
        let enter = |connection: &Connection| {
            connection.execute(
                "INSERT INTO outputs (token, path, sink, released) VALUES (?1, ?2, ?3, 0)
                 ON CONFLICT (token) DO UPDATE SET path = ?2",
                params![token, folder.to_string_lossy(), sink.as_str()],
            )?;
            connection.query_row(
                "SELECT id, sink, released FROM outputs WHERE token = ?1",
                params![token],
                |row| Ok(IndexedOutput { id: row.get(0)?, sink: sink_of(row, 1)?, flushed: row.get(2)? }),
            )
        };
        enter(&self.connection).map_err(|source| Error::database(&self.path, source))
    }

    /// Returns whether the index knows an output.
    pub(crate) fn knows_output(&self, token: &str) -> Result<bool, Error> {
        self.find_output(token).map(|found| found.is_some())
    }

    /// The number of the output that has a token.
    pub(crate) fn find_output(&self, token: &str) -> Result<Option<i64>, Error> {
        let mut found = self.prepare("SELECT id FROM outputs WHERE token = ?1")?;
        let found = found.query_row(params![token], |row| row.get(0)).optional();
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// The outputs that may lack what was entered for them, each with its folder and its token.
    pub(crate) fn unsettled_outputs(&self) -> Result<Vec<(IndexedOutput, PathBuf, String)>, Error> {
        let mut statement = self.prepare(
            "SELECT id, sink, released, path, token FROM outputs o
             WHERE EXISTS (SELECT 1 FROM certificates c WHERE c.id > o.released AND c.output = o.id)",
        )?;
        let read = |row: &Row<'_>| {
            let output = IndexedOutput { id: row.get(0)?, sink: sink_of(row, 1)?, flushed: row.get(2)? };
            Ok((output, PathBuf::from(row.get::<_, String>(3)?), row.get(4)?))
        };
        let found = statement.query_map([], read).and_then(Iterator::collect);
        found.map_err(|source| Error::database(&self.path, source))
    }

    /// Forgets an output that has no entry, and tells whether it was such a one.
    pub(crate) fn forget_output(&self, output: &IndexedOutput) -> Result<bool, Error> {
        let sql = "DELETE FROM outputs WHERE id = ?1
                   AND NOT EXISTS (SELECT 1 FROM certificates WHERE output = ?1)";
        self.execute(sql, params![output.id]).map(|forgotten| forgotten == 1)
    }

    /// The entries that may not have reached an output, the first one first.
    pub(crate) fn pending(&self, output: &IndexedOutput) -> Result<Vec<Placed>, Error> {
        self.placed(
            "SELECT id, sha256, entry_at, certificate_at, key_at, list_at FROM certificates
             WHERE id > ?2 AND output = ?1 ORDER BY id",
            params![output.id, output.flushed],
        )
    }

    /// The last entry that is in an output for certain.
    pub(crate) fn last_flushed(&self, output: &IndexedOutput) -> Result<Option<Placed>, Error> {
        // One process issues at a time, so the last one entered for it is the last one released.
        let found = self.placed(
            "SELECT id, sha256, entry_at, certificate_at, key_at, list_at FROM certificates
             WHERE id = ?2 AND output = ?1",
            params![output.id, output.flushed],
        )?;
        Ok(found.into_iter().next())
    }

    fn placed(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Placed>, Error> {
        let mut statement = self.prepare(sql)?;
        let read = |row: &Row<'_>| {
            Ok(Placed {
                id: row.get(0)?,
                sha256: Sha256Thumbprint::from_bytes(row.get(1)?),
                place: Place {
                    entry: row.get(2)?,
                    certificate: row.get(3)?,
                    private_key: row.get(4)?,
                    list: row.get(5)?,
                },
            })
        };
        let rows = statement.query_map(values, read).and_then(Iterator::collect);
        rows.map_err(|source| Error::database(&self.path, source))
    }

    /// Takes back entries of an output that never reached it, from one on.
    pub(crate) fn rollback_from(&self, output: &IndexedOutput, from: i64) -> Result<(), Error> {
        let sql = "DELETE FROM certificates WHERE id >= ?2 AND output = ?1";
        self.execute(sql, params![output.id, from])?;
        let sql = "DELETE FROM keys WHERE certificate >= ?1";
        self.execute(sql, params![from])?;
        let sql = "UPDATE progress SET keyed = MIN(keyed, ?1 - 1)";
        self.execute(sql, params![from])?;
        Ok(())
    }

    /// Takes to the disk what an output has for certain.
    pub(crate) fn flush(&self, output: &IndexedOutput) -> Result<(), Error> {
        let sql = "UPDATE outputs SET released = ?2 WHERE id = ?1 AND released < ?2";
        self.execute(sql, params![output.id, output.flushed]).map(drop)
    }

    /// Notes that an output has everything up to an entry; the next one entered takes it to the disk.
    pub(crate) fn mark_flushed(output: &mut IndexedOutput, last: i64) {
        output.flushed = output.flushed.max(last);
    }
}

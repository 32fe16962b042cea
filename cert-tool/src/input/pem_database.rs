//! PEM in the rows of a SQLite database with a table `pem`.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use zeroize::Zeroizing;

/// Reads the PEM in a row; `None` if the file is not such a database or has no such row.
pub(crate) fn read_row(path: &Path, id: u64) -> Option<Zeroizing<Vec<u8>>> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let found = connection
        .query_row("SELECT pem FROM pem WHERE id = ?1", params![id], |row| row.get::<_, String>(0))
        .optional();
    found.ok()?.map(|text| Zeroizing::new(text.into_bytes()))
}

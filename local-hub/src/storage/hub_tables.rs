//! The tables of a hub: devices and modules, configurations and jobs.

use std::path::Path;

use hub_types::{DeviceId, IdentityId, ModuleId};
use rusqlite::{Connection, Transaction};

use super::parallel_rows;
use super::store::{Store, Tables, store_error};
use crate::configurations::Configurations;
use crate::error::{Error, Result};
use crate::jobs::Jobs;
use crate::registry::{DeviceRecord, Registry};

#[cfg(test)]
mod tests;

/// The store of a hub.
pub(crate) type HubStore = Store<HubTables>;

/// The tables `identities` and `documents`.
#[derive(Debug)]
pub(crate) struct HubTables;

/// The change of one row: written with this content, or deleted.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) subject: Subject,
    pub(crate) content: Option<Vec<u8>>,
}

/// The object of a row.
#[derive(Debug, PartialEq)]
pub(crate) enum Subject {
    Configuration(String),
    Identity(IdentityId),
    Job(String),
}

/// The content of a hub's store.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stored {
    pub(crate) registry: Registry,
    pub(crate) configurations: Configurations,
    pub(crate) jobs: Jobs,
}

impl Tables for HubTables {
    type Row = Row;
    type Content = Stored;

    const FORMAT: i64 = 1;
    const NAMES: &'static [&'static str] = &["identities", "documents"];
    const SCHEMA: &'static str = SCHEMA;

    fn load(connection: &Connection, path: &Path) -> Result<Stored> {
        let sql = "SELECT device, module, record FROM identities ORDER BY device, module";
        // A device comes before its modules, which need it.
        let devices =
            parallel_rows::load(connection, path, sql, |[_, module, _]| module.is_empty(), restore)?;
        let (configurations, jobs) = load_documents(connection, path)?;
        Ok(Stored { registry: Registry::restored(devices), configurations, jobs })
    }

    fn write(transaction: &Transaction<'_>, Row { subject, content }: &Row) -> rusqlite::Result<()> {
        match subject {
            Subject::Configuration(id) => {
                write_document(transaction, (CONFIGURATION, id), content.as_deref())
            }
            Subject::Job(id) => write_document(transaction, (JOB, id), content.as_deref()),
            Subject::Identity(identity) => write_identity(transaction, identity, content.as_deref()),
        }
    }
}

fn write_identity(
    transaction: &Transaction<'_>,
    identity: &IdentityId,
    content: Option<&[u8]>,
) -> rusqlite::Result<()> {
    let (device, module) = (identity.device().as_str(), identity.module().map_or("", ModuleId::as_str));
    match content {
        Some(content) => {
            let mut put = transaction.prepare_cached(
                "INSERT INTO identities (device, module, record) VALUES (?1, ?2, ?3)
                 ON CONFLICT (device, module) DO UPDATE SET record = excluded.record",
            )?;
            put.execute((device, module, content))
        }
        None => transaction
            .prepare_cached("DELETE FROM identities WHERE device = ?1 AND module = ?2")?
            .execute((device, module)),
    }
    .map(drop)
}

fn write_document(
    transaction: &Transaction<'_>,
    (kind, id): (&str, &str),
    content: Option<&[u8]>,
) -> rusqlite::Result<()> {
    match content {
        Some(content) => transaction.execute(
            "INSERT INTO documents (kind, id, content) VALUES (?1, ?2, ?3)
             ON CONFLICT (kind, id) DO UPDATE SET content = excluded.content",
            (kind, id, content),
        ),
        None => transaction.execute("DELETE FROM documents WHERE kind = ?1 AND id = ?2", (kind, id)),
    }
    .map(drop)
}

fn load_documents(connection: &Connection, path: &Path) -> Result<(Configurations, Jobs)> {
    let (mut configurations, mut jobs) = (Configurations::default(), Jobs::default());
    let failed = |source| store_error(path, source);
    let mut statement = connection.prepare("SELECT kind, id, content FROM documents").map_err(failed)?;
    let mut rows = statement.query(()).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let kind: String = row.get(0).map_err(failed)?;
        let id: String = row.get(1).map_err(failed)?;
        let content = row.get_ref(2).map_err(failed)?.as_blob().map_err(|error| failed(error.into()))?;
        let damaged = |reason| Error::Damaged { path: path.to_owned(), reason };
        let restored = match kind.as_str() {
            CONFIGURATION => configurations.restore(id.clone(), content),
            JOB => jobs.restore(id.clone(), content),
            _ => return Err(damaged(format!("`{kind}` is no kind"))),
        };
        restored.map_err(|error| damaged(format!("{kind} {id} breaks at column {}", error.column())))?;
    }
    Ok((configurations, jobs))
}

/// A device with its modules.
type Device = (DeviceId, Box<DeviceRecord>);

/// Restores one row: a device is appended, a module is added to the last device.
fn restore(
    devices: &mut Vec<Device>,
    [device, module, record]: [&[u8]; 3],
) -> std::result::Result<(), String> {
    restore_identity(devices, device, module, record).map_err(|reason| {
        let (device, module) = (String::from_utf8_lossy(device), String::from_utf8_lossy(module));
        format!("{device} {module}: {reason}")
    })
}

fn restore_identity(
    devices: &mut Vec<Device>,
    device: &[u8],
    module: &[u8],
    record: &[u8],
) -> std::result::Result<(), String> {
    // Where a record does not parse, its content must not get into the message: it holds keys.
    let unreadable = |error: serde_json::Error| format!("the record breaks at column {}", error.column());
    if module.is_empty() {
        let id = DeviceId::new(parallel_rows::text(device)?).map_err(|error| error.to_string())?;
        devices.push((id, serde_json::from_slice(record).map_err(unreadable)?));
        return Ok(());
    }
    let id = ModuleId::new(parallel_rows::text(module)?).map_err(|error| error.to_string())?;
    let record = serde_json::from_slice(record).map_err(unreadable)?;
    match devices.last_mut().filter(|(id, _)| id.as_str().as_bytes() == device) {
        Some((_, device)) => device.modules.insert(id, record),
        None => return Err("the module's device is missing".to_owned()),
    };
    Ok(())
}

/// The kinds of the rows of `documents`.
const CONFIGURATION: &str = "configuration";
const JOB: &str = "job";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS identities (
        device TEXT NOT NULL,
        module TEXT NOT NULL, -- empty for the device itself
        record BLOB NOT NULL,
        PRIMARY KEY (device, module)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS documents (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

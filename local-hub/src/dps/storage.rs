//! The database of a DPS, in the same kind of store as that of the hub.

use std::path::Path;

use hub_types::dps::{
    EnrollmentGroup, EnrollmentGroupId, IndividualEnrollment, RegistrationId, RegistrationState,
};
use rusqlite::{Connection, Transaction};

use super::entry::Entry;
use super::journal::DpsSubject;
use super::kept::Kept;
use super::registry::DpsRegistry;
use crate::api_error::ApiResult;
use crate::error::Result;
use crate::storage::backing::not_durable;
use crate::storage::parallel_rows::{self, Columns};
use crate::storage::store::{Store, Tables};

#[cfg(test)]
mod tests;

/// The store of a DPS.
pub(crate) type DpsStore = Store<DpsTables>;

/// The table `records`.
#[derive(Debug)]
pub(crate) struct DpsTables;

/// The change of one row: written with this content, or deleted.
#[derive(Debug)]
pub(crate) struct DpsRow {
    subject: DpsSubject,
    content: Option<Vec<u8>>,
}

impl DpsSubject {
    /// The key of its row. Ids are in lower case, so that two spellings of one id have one row.
    fn key(&self) -> (&'static str, String) {
        match self {
            Self::Enrollment(id) => (ENROLLMENT, id.as_str().to_ascii_lowercase()),
            Self::Group(id) => (GROUP, id.as_str().to_ascii_lowercase()),
            Self::Registration(id) => (REGISTRATION, id.as_str().to_ascii_lowercase()),
        }
    }
}

impl DpsRegistry {
    /// The rows of changed objects.
    pub(super) fn rows(&self, subjects: &[DpsSubject]) -> ApiResult<Vec<DpsRow>> {
        let row = |subject: &DpsSubject| {
            let content = self.stored_form(subject).map_err(|_| not_durable())?;
            Ok(DpsRow { subject: subject.clone(), content })
        };
        subjects.iter().map(row).collect()
    }

    /// The object in its stored form; `None` if it does not exist.
    fn stored_form(&self, subject: &DpsSubject) -> serde_json::Result<Option<Vec<u8>>> {
        match subject {
            DpsSubject::Enrollment(id) => {
                self.enrollments.get(id).map(|kept| serde_json::to_vec(&kept.entry()))
            }
            DpsSubject::Group(id) => self.groups.get(id).map(|kept| serde_json::to_vec(&kept.entry())),
            DpsSubject::Registration(id) => self.registration(id).map(serde_json::to_vec),
        }
        .transpose()
    }
}

impl Tables for DpsTables {
    type Row = DpsRow;
    type Content = DpsRegistry;

    const FORMAT: i64 = 1;
    const NAMES: &'static [&'static str] = &["records"];
    const SCHEMA: &'static str = SCHEMA;

    fn load(connection: &Connection, path: &Path) -> Result<DpsRegistry> {
        let sql = "SELECT kind, id, record FROM records ORDER BY kind, id";
        let records = parallel_rows::load(connection, path, sql, |_| true, restore)?;
        let (mut enrollments, mut groups, mut registrations) = (Vec::new(), Vec::new(), Vec::new());
        for record in records {
            match record {
                DpsRecord::Enrollment(id, enrollment) => enrollments.push((id, enrollment)),
                DpsRecord::Group(id, group) => groups.push((id, group)),
                DpsRecord::Registration(registration) => registrations.push(*registration),
            }
        }
        Ok(DpsRegistry::restored(enrollments, groups, registrations))
    }

    fn write(transaction: &Transaction<'_>, row: &DpsRow) -> rusqlite::Result<()> {
        let (kind, id) = row.subject.key();
        match &row.content {
            Some(content) => transaction
                .prepare_cached(
                    "INSERT INTO records (kind, id, record) VALUES (?1, ?2, ?3)
                     ON CONFLICT (kind, id) DO UPDATE SET record = excluded.record",
                )?
                .execute((kind, id, content)),
            None => transaction
                .prepare_cached("DELETE FROM records WHERE kind = ?1 AND id = ?2")?
                .execute((kind, id)),
        }
        .map(drop)
    }
}

/// A loaded row.
enum DpsRecord {
    Enrollment(RegistrationId, Box<Kept<IndividualEnrollment>>),
    Group(EnrollmentGroupId, Box<Kept<EnrollmentGroup>>),
    Registration(Box<RegistrationState>),
}

fn restore(
    records: &mut Vec<DpsRecord>,
    [kind, id, record]: Columns<'_, 3>,
) -> std::result::Result<(), String> {
    let kind = parallel_rows::text(kind)?;
    let parsed = match kind {
        ENROLLMENT => kept(record).map(|(id, kept)| DpsRecord::Enrollment(id, kept)),
        GROUP => kept(record).map(|(id, kept)| DpsRecord::Group(id, kept)),
        REGISTRATION => serde_json::from_slice(record).map(DpsRecord::Registration),
        _ => return Err(format!("`{kind}` is no kind")),
    };
    // The content of a record must not get into the message: it holds keys.
    let unreadable = |error: serde_json::Error| {
        format!("{kind} {}: the record breaks at column {}", String::from_utf8_lossy(id), error.column())
    };
    records.push(parsed.map_err(unreadable)?);
    Ok(())
}

fn kept<E: Entry>(record: &[u8]) -> serde_json::Result<(E::Id, Box<Kept<E>>)> {
    let entry: E = serde_json::from_slice(record)?;
    Ok((entry.id().clone(), Box::new(Kept::new(entry))))
}

const ENROLLMENT: &str = "enrollment";
const GROUP: &str = "group";
const REGISTRATION: &str = "registration";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS records (
        kind TEXT NOT NULL,
        id TEXT NOT NULL, -- in lower case
        record BLOB NOT NULL,
        PRIMARY KEY (kind, id)
    ) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
";

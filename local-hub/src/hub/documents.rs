//! Configurations and jobs, under the same lock and in the same store as the registry.

use hub_types::Timestamp;

use super::{Hub, State, not_durable};
use crate::documents::{DocumentKey, Documents};
use crate::registry::Answer;
use crate::store::{Committed, Row, Subject};

impl Hub {
    /// Reads under the lock.
    pub(crate) fn read_documents<T>(&self, read: impl FnOnce(&Documents) -> T) -> T {
        read(&self.lock().documents)
    }

    /// Writes, and returns when what was written is durable.
    pub(crate) async fn write_documents<T>(
        &self,
        write: impl FnOnce(&mut Documents, Timestamp, &mut Vec<DocumentKey>) -> Answer<T>,
    ) -> Answer<T> {
        let (value, committed) = self.write_documents_in_memory(write)?;
        if let Some(committed) = committed {
            committed.await.map_err(|_| not_durable())?;
        }
        Ok(value)
    }

    fn write_documents_in_memory<T>(
        &self,
        write: impl FnOnce(&mut Documents, Timestamp, &mut Vec<DocumentKey>) -> Answer<T>,
    ) -> Answer<(T, Option<Committed>)> {
        let (now, mut touched) = (self.timestamp(), Vec::new());
        let mut state = self.lock();
        state.check_writable()?;
        let value = write(&mut state.documents, now, &mut touched)?;
        let committed = state.hand_over_documents(touched)?;
        Ok((value, committed))
    }
}

impl State {
    fn hand_over_documents(&self, touched: Vec<DocumentKey>) -> Answer<Option<Committed>> {
        let rows = touched.into_iter().map(|key| {
            let content = self.documents.stored_form(&key).map_err(|_| not_durable())?;
            Ok(Row { subject: Subject::Document(key), content })
        });
        self.store_rows(rows.collect::<Answer<_>>()?)
    }
}

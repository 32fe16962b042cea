//! Configurations and jobs, under the same lock and in the same store as the registry.

use hub_types::Timestamp;

use super::{Hub, State, durable, not_durable};
use crate::documents::{DocumentKey, Documents};
use crate::registry::ApiResult;
use crate::storage::store::{Committed, Row, Subject};

impl Hub {
    /// Reads under the lock.
    pub(crate) fn read_documents<T>(&self, read: impl FnOnce(&Documents) -> T) -> T {
        read(&self.lock().documents)
    }

    /// Writes, and returns when the write is durable.
    pub(crate) async fn write_documents<T>(
        &self,
        write: impl FnOnce(&mut Documents, Timestamp, &mut Vec<DocumentKey>) -> ApiResult<T>,
    ) -> ApiResult<T> {
        durable(self.write_documents_in_memory(write)?).await
    }

    fn write_documents_in_memory<T>(
        &self,
        write: impl FnOnce(&mut Documents, Timestamp, &mut Vec<DocumentKey>) -> ApiResult<T>,
    ) -> ApiResult<(T, Option<Committed>)> {
        let (now, mut touched) = (self.timestamp(), Vec::new());
        let mut state = self.lock();
        state.begin_write()?;
        let value = write(&mut state.documents, now, &mut touched)?;
        let committed = state.store_rows(|| state.document_rows(touched))?;
        Ok((value, committed))
    }
}

impl State {
    pub(super) fn document_rows(&self, touched: Vec<DocumentKey>) -> ApiResult<Vec<Row>> {
        let rows = touched.into_iter().map(|key| {
            let content = self.documents.stored_form(&key).map_err(|_| not_durable())?;
            Ok(Row { subject: Subject::Document(key), content })
        });
        rows.collect()
    }
}

//! Configurations and jobs, under the same lock and in the same store as the registry.

use hub_types::Timestamp;

use super::{Hub, HubState};
use crate::api_error::ApiResult;
use crate::backend::Backend;
use crate::configurations::Configurations;
use crate::jobs::Jobs;
use crate::storage::backing::{durable, not_durable};
use crate::storage::hub_tables::{Row, Subject};
use crate::storage::store::Committed;

impl Hub {
    /// Reads the configurations under the lock.
    pub(crate) fn read_configurations<T>(&self, read: impl FnOnce(&Configurations) -> T) -> T {
        read(&self.lock().configurations)
    }

    /// Reads the jobs under the lock.
    pub(crate) fn read_jobs<T>(&self, read: impl FnOnce(&Jobs) -> T) -> T {
        read(&self.lock().jobs)
    }

    /// Writes configurations, and returns when the write is durable. `write` adds the ids of those
    /// that it changes to its last argument.
    pub(crate) async fn write_configurations<T>(
        &self,
        write: impl FnOnce(&mut Configurations, Timestamp, &mut Vec<String>) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let write =
            |state: &mut HubState, now, touched: &mut _| write(&mut state.configurations, now, touched);
        durable(self.write_documents_in_memory(write, HubState::configuration_rows)?).await
    }

    /// As [`Hub::write_configurations`], for jobs.
    pub(crate) async fn write_jobs<T>(
        &self,
        write: impl FnOnce(&mut Jobs, Timestamp, &mut Vec<String>) -> ApiResult<T>,
    ) -> ApiResult<T> {
        let write = |state: &mut HubState, now, touched: &mut _| write(&mut state.jobs, now, touched);
        durable(self.write_documents_in_memory(write, HubState::job_rows)?).await
    }

    fn write_documents_in_memory<T>(
        &self,
        write: impl FnOnce(&mut HubState, Timestamp, &mut Vec<String>) -> ApiResult<T>,
        rows: impl FnOnce(&HubState, Vec<String>) -> ApiResult<Vec<Row>>,
    ) -> ApiResult<(T, Option<Committed>)> {
        let (now, mut touched) = (self.timestamp(), Vec::new());
        let mut state = self.lock();
        state.begin_write()?;
        let value = write(&mut state, now, &mut touched)?;
        let committed = state.backing.store_rows(|| rows(&state, touched))?;
        Ok((value, committed))
    }
}

impl HubState {
    /// The rows of configurations.
    pub(super) fn configuration_rows(&self, ids: Vec<String>) -> ApiResult<Vec<Row>> {
        let rows = ids.into_iter().map(|id| {
            let content = self.configurations.stored_form(&id).map_err(|_| not_durable())?;
            Ok(Row { subject: Subject::Configuration(id), content })
        });
        rows.collect()
    }

    /// The rows of jobs.
    pub(super) fn job_rows(&self, ids: Vec<String>) -> ApiResult<Vec<Row>> {
        let rows = ids.into_iter().map(|id| {
            let content = self.jobs.stored_form(&id).map_err(|_| not_durable())?;
            Ok(Row { subject: Subject::Job(id), content })
        });
        rows.collect()
    }
}

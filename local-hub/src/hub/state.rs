//! The complete state of a hub: export, import and snapshots.

use std::sync::MutexGuard;

use hub_types::Timestamp;
use hub_types::twin::check_numbers;
use serde::{Deserialize, Serialize};

use super::{Hub, HubState};
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::configurations::{ConfigurationsFile, ExportedConfigurations};
use crate::registry::{DevicesFile, ExportedDevices, Journal, Registry};
use crate::storage::backing::durable;
use crate::storage::hub_tables::Stored;
use crate::storage::store::Committed;

/// The document of `az iot hub state export`, but without `arm`, which has no counterpart in the
/// local hub. It contains no jobs.
#[derive(Serialize)]
struct Exported<'a> {
    configurations: ExportedConfigurations<'a>,
    devices: ExportedDevices<'a>,
}

/// The same document for reading.
#[derive(Deserialize)]
struct StateFile {
    #[serde(default)]
    configurations: ConfigurationsFile,
    devices: DevicesFile,
}

/// The ids of changed configurations and jobs.
#[derive(Default)]
struct Touched {
    configurations: Vec<String>,
    jobs: Vec<String>,
}

impl StateFile {
    /// Reads the document. The text of an error contains no key.
    fn parse(text: &[u8]) -> ApiResult<Self> {
        let file = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = if error.is_data() { "no state of a hub" } else { "no JSON" };
            ApiError::argument(format!(
                "the document is {what} at line {line}, column {column}; `az iot hub state export` shows its shape"
            ))
        })?;
        check_numbers(text, &["reported"]).map_err(|error| ApiError::argument(error.to_string()))?;
        Ok(file)
    }
}

impl Hub {
    /// Devices and configurations as `az iot hub state export` writes them.
    pub(crate) fn export(&self) -> ApiResult<Vec<u8>> {
        let state = self.lock();
        let document = Exported {
            configurations: ExportedConfigurations(&state.configurations),
            devices: ExportedDevices(&state.registry),
        };
        serde_json::to_vec(&document).map_err(|error| ApiError::server(error.to_string()))
    }

    /// Imports a document: its devices and configurations replace those with the same id or, with
    /// `replace`, all. The import is atomic. Returns when it is durable.
    pub(crate) async fn import(&self, document: &[u8], replace: bool) -> ApiResult<()> {
        let file = StateFile::parse(document)?;
        durable(self.import_in_memory(file, replace)?).await
    }

    fn import_in_memory(&self, file: StateFile, replace: bool) -> ApiResult<((), Option<Committed>)> {
        let (now, mut journal, mut touched) = (self.timestamp(), self.journal(), Touched::default());
        let mut state = self.lock();
        state.begin_write()?;
        let configurations = state.configurations.with_imported(file.configurations, replace, now)?;
        if replace {
            let mut next = Registry::default();
            next.import(file.devices, now, &mut Journal::default())?;
            state.registry.replace_with(next, &mut journal);
        } else {
            state.registry.import(file.devices, now, &mut journal)?;
        }
        state.configurations.replace_with(configurations, &mut touched.configurations);
        self.commit(state, journal, touched, now)
    }

    /// The complete content of the hub at one moment.
    pub(crate) fn snapshot(&self) -> Stored {
        let state = self.lock();
        Stored {
            registry: state.registry.clone(),
            configurations: state.configurations.clone(),
            jobs: state.jobs.clone(),
        }
    }

    /// Restores a snapshot, or the empty state. Jobs that were running then, or have begun since,
    /// fail; waiting jobs go on waiting. Returns when it is durable.
    pub(crate) async fn restore(&self, next: Stored) -> ApiResult<()> {
        durable(self.replace_in_memory(next)?).await
    }

    fn replace_in_memory(&self, next: Stored) -> ApiResult<((), Option<Committed>)> {
        let (now, mut journal, mut touched) = (self.timestamp(), self.journal(), Touched::default());
        let mut state = self.lock();
        state.begin_write()?;
        state.registry.replace_with(next.registry, &mut journal);
        state.configurations.replace_with(next.configurations, &mut touched.configurations);
        state.jobs.replace_with(next.jobs, now, &mut touched.jobs);
        self.commit(state, journal, touched, now)
    }

    /// Writes all changes to the store as one transaction, and notifies connected devices.
    fn commit(
        &self,
        mut state: MutexGuard<'_, HubState>,
        mut journal: Journal,
        touched: Touched,
        now: Timestamp,
    ) -> ApiResult<((), Option<Committed>)> {
        let committed = state.backing.store_rows(|| {
            let mut rows = state.identity_rows(&journal)?;
            rows.extend(state.configuration_rows(touched.configurations)?);
            rows.extend(state.job_rows(touched.jobs)?);
            Ok(rows)
        })?;
        let HubState { registry, connections, .. } = &mut *state;
        connections.apply_changes(registry, &mut journal, now);
        self.publish_changes(registry, &mut journal, now);
        Ok(((), committed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_document_is_said_without_its_content() {
        for (text, place) in [("{\"devices\": {\"s3cret\": 1}}", "no state of a hub"), ("{s3cret", "no JSON")]
        {
            let error = StateFile::parse(text.as_bytes()).map(drop).unwrap_err();
            assert!(
                error.text.contains(&format!("{place} at line 1, column ")) && !error.text.contains("s3cret"),
                "{}",
                error.text
            );
        }
    }
}

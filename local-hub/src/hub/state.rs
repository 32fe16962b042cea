//! The whole of what a hub holds at once: exporting, importing, going back.

use std::sync::MutexGuard;

use hub_types::Timestamp;
use hub_types::twin::check_numbers;
use serde::{Deserialize, Serialize};

use super::{Hub, State, durable};
use crate::documents::{ConfigurationsFile, DocumentKey, ExportedConfigurations};
use crate::refusal::Refusal;
use crate::registry::{Answer, DevicesFile, ExportedDevices, Journal, Registry};
use crate::store::{Committed, Stored};

/// The document that `az iot hub state export` writes, but for `arm`, into which nothing of the local
/// hub would go. Jobs are not in it.
#[derive(Serialize)]
struct Exported<'a> {
    configurations: ExportedConfigurations<'a>,
    devices: ExportedDevices<'a>,
}

/// The same as it is read.
#[derive(Deserialize)]
struct StateFile {
    #[serde(default)]
    configurations: ConfigurationsFile,
    devices: DevicesFile,
}

impl StateFile {
    /// Reads the document. Who gets the text of the refusal sees no key in it.
    fn parse(text: &[u8]) -> Answer<Self> {
        let file = serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = if error.is_data() { "no state of a hub" } else { "no JSON" };
            Refusal::argument(format!(
                "the document is {what} at line {line}, column {column}; `az iot hub state export` shows its shape"
            ))
        })?;
        check_numbers(text, &["reported"]).map_err(|error| Refusal::argument(error.to_string()))?;
        Ok(file)
    }
}

impl Hub {
    /// Devices and configurations as `az iot hub state export` writes them.
    pub(crate) fn export(&self) -> Answer<Vec<u8>> {
        let state = self.lock();
        let document = Exported {
            configurations: ExportedConfigurations(&state.documents),
            devices: ExportedDevices(&state.registry),
        };
        serde_json::to_vec(&document).map_err(|error| Refusal::server(error.to_string()))
    }

    /// Puts in what such a document holds, in the place of devices and configurations that have the
    /// same id or, to `replace`, of all. All of it, or nothing. Returns when it is durable.
    pub(crate) async fn import(&self, document: &[u8], replace: bool) -> Answer<()> {
        let file = StateFile::parse(document)?;
        durable(self.import_in_memory(file, replace)?).await
    }

    fn import_in_memory(&self, file: StateFile, replace: bool) -> Answer<((), Option<Committed>)> {
        let (now, mut journal, mut touched) = (self.timestamp(), self.journal(), Vec::new());
        let mut state = self.lock();
        state.begin_write()?;
        let configurations = state.documents.with_imported(file.configurations, replace, now)?;
        if replace {
            let mut next = Registry::default();
            next.import(file.devices, now, &mut Journal::default())?;
            state.registry.replace_with(next, &mut journal);
        } else {
            state.registry.import(file.devices, now, &mut journal)?;
        }
        state.documents.replace_configurations(configurations, &mut touched);
        self.commit(state, journal, touched, now)
    }

    /// Everything that the hub holds, as of one moment.
    pub(crate) fn snapshot(&self) -> Stored {
        let state = self.lock();
        Stored { registry: state.registry.clone(), documents: state.documents.clone() }
    }

    /// Goes back to a snapshot, or to nothing. Jobs that were at work then, or have begun since, have
    /// failed; those that still wait go on waiting. Returns when it is durable.
    pub(crate) async fn go_back_to(&self, next: Stored) -> Answer<()> {
        durable(self.replace_in_memory(next)?).await
    }

    fn replace_in_memory(&self, next: Stored) -> Answer<((), Option<Committed>)> {
        let (now, mut journal, mut touched) = (self.timestamp(), self.journal(), Vec::new());
        let mut state = self.lock();
        state.begin_write()?;
        state.registry.replace_with(next.registry, &mut journal);
        state.documents.replace_with(next.documents, now, &mut touched);
        self.commit(state, journal, touched, now)
    }

    /// Hands everything that was written to the store as one transaction, and tells connected devices.
    fn commit(
        &self,
        mut state: MutexGuard<'_, State>,
        mut journal: Journal,
        touched: Vec<DocumentKey>,
        now: Timestamp,
    ) -> Answer<((), Option<Committed>)> {
        let committed = state.store_rows(|| {
            let mut rows = state.identity_rows(&journal)?;
            rows.extend(state.document_rows(touched)?);
            Ok(rows)
        })?;
        let State { registry, connections, .. } = &mut *state;
        connections.settle(registry, &mut journal, now);
        self.tell_changes(registry, &mut journal, now);
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
            let refusal = StateFile::parse(text.as_bytes()).map(drop).unwrap_err();
            assert!(
                refusal.text.contains(&format!("{place} at line 1, column "))
                    && !refusal.text.contains("s3cret"),
                "{}",
                refusal.text
            );
        }
    }
}

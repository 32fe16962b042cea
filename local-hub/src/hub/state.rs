//! The whole of a hub's devices at once: exporting, importing, replacing.

use hub_types::ErrorCode;

use super::{Hub, State, durable};
use crate::refusal::Refusal;
use crate::registry::{Answer, Exported, Journal, Registry, StateFile};
use crate::store::{Committed, Stored};

impl Hub {
    /// The devices as `az iot hub state export` writes them.
    pub(crate) fn export(&self) -> Answer<Vec<u8>> {
        self.read(|registry| serde_json::to_vec(&Exported(registry)))
            .map_err(|error| Refusal::new(ErrorCode::ServerError, error.to_string()))
    }

    /// Puts in what such a document holds, in the place of devices that have the same id or, to
    /// `replace`, of all. Returns when it is durable.
    pub(crate) async fn import(&self, document: &[u8], replace: bool) -> Answer<()> {
        let state = StateFile::parse(document)?;
        let written = self.write(|registry, now, journal| {
            if !replace {
                return registry.import(state, now, journal);
            }
            let mut next = Registry::default();
            next.import(state, now, &mut Journal::default())?;
            registry.replace_with(next, journal);
            Ok(())
        });
        written.await.map(|_| ())
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
        let (now, mut journal, mut touched) = (self.timestamp(), Journal::default(), Vec::new());
        let mut state = self.lock();
        state.check_writable()?;
        state.registry.replace_with(next.registry, &mut journal);
        state.documents.replace_with(next.documents, now, &mut touched);
        let committed = state.store_rows(|| {
            let mut rows = state.identity_rows(&journal)?;
            rows.extend(state.document_rows(touched)?);
            Ok(rows)
        })?;
        let State { registry, connections, .. } = &mut *state;
        connections.settle(registry, &mut journal, now);
        Ok(((), committed))
    }
}

//! The whole of a hub's devices at once: exporting, importing, replacing.

use hub_types::ErrorCode;

use super::Hub;
use crate::refusal::Refusal;
use crate::registry::{Answer, Exported, Registry, StateFile};

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
            next.import(state, now, &mut crate::registry::Journal::default())?;
            registry.replace_with(next, journal);
            Ok(())
        });
        written.await.map(|_| ())
    }

    /// Becomes another registry. Returns when that is durable.
    pub(crate) async fn become_registry(&self, next: Registry) -> Answer<()> {
        let written = self.write(|registry, _, journal| {
            registry.replace_with(next, journal);
            Ok(())
        });
        written.await.map(|_| ())
    }
}

//! Entries in memory. A DPS holds a million of them, so the initial twin is kept as JSON text: as a
//! tree of values it would take four times the memory of all the rest.

use hub_types::dps::Attestation;
use hub_types::dps::enrollment::{EnrollmentSettings, InitialTwin};

use super::entry::Entry;

/// An entry without its initial twin, and the twin as JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept<E> {
    entry: E,
    initial_twin: Option<Box<str>>,
}

impl<E: Entry> Kept<E> {
    pub(super) fn new(mut entry: E) -> Self {
        let (_, settings) = entry.parts_mut();
        let twin = settings.initial_twin.take();
        // Values that were read from JSON can be written.
        let initial_twin = twin.and_then(|twin| serde_json::to_string(&twin).ok()).map(Into::into);
        Self { entry, initial_twin }
    }

    /// The whole entry.
    pub(super) fn entry(&self) -> E {
        let mut entry = self.entry.clone();
        let (_, settings) = entry.parts_mut();
        settings.initial_twin = self.initial_twin();
        entry
    }

    /// The settings without the initial twin.
    pub(super) fn settings(&self) -> &EnrollmentSettings {
        self.entry.settings()
    }

    pub(super) fn attestation(&self) -> &Attestation {
        self.entry.attestation()
    }

    fn initial_twin(&self) -> Option<Box<InitialTwin>> {
        self.initial_twin.as_ref().and_then(|text| serde_json::from_str(text).ok())
    }
}

//! The hub, ledger and input that a result is about.

use std::path::Path;

use serde::Serialize;

use crate::ledger::{LedgerLocation, Run};
use crate::model::service::ServiceKind;
use crate::target::HubLabel;

/// The hub, ledger and input of a result. Every result as JSON has these members; one that played no part is
/// null.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ResultContext {
    /// The host of the hub, or the folder of a local one.
    hub: Option<String>,
    /// The host of the DPS, if the result is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    dps: Option<String>,
    /// True for a hub or a DPS for tests: an embedded one, or one on this machine.
    test_hub: bool,
    /// The ledger: its file, or its database without the password.
    ledger: Option<String>,
    /// The batch file, as it was named.
    input: Option<String>,
}

impl ResultContext {
    /// Of what a run did.
    pub(super) fn of_run(run: &Run, ledger: &LedgerLocation) -> Self {
        let is_hub = run.options.service.is_hub();
        Self {
            hub: is_hub.then(|| run.hub.clone()),
            dps: (!is_hub).then(|| run.hub.clone()),
            test_hub: run.is_on_test_hub(),
            ledger: Some(ledger.to_string()),
            input: Some(run.input.clone()),
        }
    }

    /// Of a hub.
    pub(super) fn of_hub(hub: HubLabel) -> Self {
        Self { hub: Some(hub.name), test_hub: hub.is_test_hub, ..Self::default() }
    }

    /// Of a hub or a DPS.
    pub(super) fn of_service((kind, label): (ServiceKind, HubLabel)) -> Self {
        match kind {
            ServiceKind::Dps => Self::of_dps(label),
            ServiceKind::Hub => Self::of_hub(label),
        }
    }

    /// Of a DPS.
    pub(super) fn of_dps(dps: HubLabel) -> Self {
        Self { dps: Some(dps.name), test_hub: dps.is_test_hub, ..Self::default() }
    }

    /// With this ledger.
    pub(super) fn ledger(self, ledger: &LedgerLocation) -> Self {
        Self { ledger: Some(ledger.to_string()), ..self }
    }

    /// With this batch file.
    pub(super) fn input(self, input: &Path) -> Self {
        Self { input: Some(input.to_string_lossy().into_owned()), ..self }
    }
}

/// A result together with what it is about.
#[derive(Serialize)]
pub(super) struct InContext<'a, T> {
    #[serde(flatten)]
    pub(super) context: ResultContext,
    #[serde(flatten)]
    pub(super) result: &'a T,
}

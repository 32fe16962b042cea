//! The proof that provisioned credentials work: devices and modules of a batch connect as
//! themselves and read their twins.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cli_support::causes::with_causes;
use hub_types::identity::Status;
use hub_types::{DeviceId, IdentityId};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::sample::{Sample, Spread};
use crate::device::{
    ConnectError, CredentialSource, DeviceCredentials, DeviceHub, DeviceTwin, Visit, connect_each,
};
use crate::ledger::{LedgerError, LedgerRow, RowFilter, SharedLedger};
use crate::model::compare::{Comparison, Difference};
use crate::model::run_id::RunId;
use crate::model::spec::{AuthSpec, IdentitySpec};

/// The results of connecting.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Connections {
    /// Identities that connected and read the twin that the batch wants.
    pub(crate) connected: u64,
    /// Devices and modules that could not connect, or read a different twin.
    pub(crate) failed: u64,
    /// Those that could not be tried.
    pub(crate) not_tried: u64,
    /// Those that were not tried, because their device is disabled and no hub lets it in.
    pub(crate) disabled: u64,
    /// The reasons of the failed connections, in the order of the lines.
    pub(crate) failures: Vec<Unconnected>,
    /// The reasons of the untried connections, in the order of the lines.
    pub(crate) untried: Vec<Unconnected>,
}

/// An identity that did not connect.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Unconnected {
    /// The line of the batch file.
    pub(crate) line: u64,
    /// The identity: `device` or `device/module`.
    pub(crate) identity: String,
    /// Why.
    pub(crate) reason: String,
    /// The remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remedy: Option<String>,
    /// The differences in the twin that it read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) differences: Vec<Difference>,
}

/// The reason why connecting stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConnectCheckError {
    /// Nobody can connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The ledger fails.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Connections {
    /// Returns true if at least one connection succeeded, and no result contradicts the batch.
    pub(crate) fn all_well(&self) -> bool {
        self.failed == 0 && (self.connected > 0 || self.not_tried == 0)
    }

    fn fail(
        &mut self,
        row: &LedgerRow,
        reason: String,
        remedy: Option<String>,
        differences: Vec<Difference>,
    ) {
        self.failed += 1;
        self.failures.push(Unconnected::new(row, reason, remedy, differences));
    }

    fn leave_out(&mut self, row: &LedgerRow, reason: &str, remedy: Option<&str>) {
        self.not_tried += 1;
        self.untried.push(Unconnected::new(row, reason.to_owned(), remedy.map(str::to_owned), Vec::new()));
    }

    /// Counts the result of a device or a module.
    fn count(&mut self, row: &LedgerRow, twin: Result<DeviceTwin, ConnectError>) {
        let twin = match twin {
            Ok(twin) => twin,
            Err(error) => {
                let remedy = error.hint().map(str::to_owned);
                return self.fail(row, with_causes(&error), remedy, Vec::new());
            }
        };
        match Comparison::of_desired(&row.spec, &twin.desired) {
            // Initial twins are initial.
            Comparison::InSync | Comparison::TwinModified(_) => self.connected += 1,
            other => {
                let differences = other.differences().to_vec();
                self.fail(row, "it connected, and its twin differs from the batch".into(), None, differences);
            }
        }
    }
}

impl Unconnected {
    fn new(row: &LedgerRow, reason: String, remedy: Option<String>, differences: Vec<Difference>) -> Self {
        let identity = row.spec.identity.to_string();
        Self { line: row.line, identity, reason, remedy, differences }
    }
}

/// The devices that connect, and the service that they connect to.
pub(crate) struct ConnectCheck<V = DeviceHub> {
    /// The hub, or the DPS that devices come to their hubs through.
    pub(crate) hub: Arc<V>,
    /// The sources of certificates and keys.
    pub(crate) credentials: Arc<CredentialSource>,
    /// The ledger that holds the run.
    pub(crate) ledger: SharedLedger,
    /// The run.
    pub(crate) run: RunId,
    /// The rows that are included.
    pub(crate) filter: RowFilter,
    /// The number of devices.
    pub(crate) sample: Sample,
    /// The number of connections that are open at once.
    pub(crate) concurrency: usize,
    /// The devices that are disabled on the hub.
    pub(crate) disabled: Arc<HashSet<DeviceId>>,
    /// Ends it at once.
    pub(crate) stop: CancellationToken,
}

impl<V: Visit> ConnectCheck<V> {
    /// The number of devices and modules in the sample.
    pub(crate) async fn identities(&self) -> Result<u64, LedgerError> {
        let (run, filter) = (self.run, self.filter);
        if self.sample == Sample::All {
            return self.ledger.call(move |ledger| ledger.count(run, filter)).await;
        }
        let mut selection = self.select().await?;
        let mut pages = Pages::of(self);
        let mut identities = 0;
        while let Some(rows) = pages.next().await? {
            identities += rows.iter().filter(|row| selection.takes(row) == Chosen::Taken).count() as u64;
        }
        Ok(identities)
    }

    /// Connects. `progress` is called with the number of identities processed since the last call.
    pub(crate) async fn run(
        &self,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Connections, ConnectCheckError> {
        self.hub.knock().await?;
        let mut connections = Connections::default();
        let mut selection = self.select().await?;
        let mut pages = Pages::of(self);
        while let Some(rows) = pages.next().await? {
            let mut visitors = HashMap::new();
            let mut visits = Vec::new();
            for row in rows {
                match selection.takes(&row) {
                    Chosen::Taken => {}
                    Chosen::Disabled => {
                        connections.disabled += 1;
                        progress(usize::from(self.sample == Sample::All));
                        continue;
                    }
                    Chosen::LeftOut => continue,
                }
                match self.prepare(&row, &mut connections) {
                    Some(credentials) => {
                        visits.push((row.spec.identity.clone(), credentials));
                        visitors.insert(row.spec.identity.clone(), row);
                    }
                    None => progress(1),
                }
            }
            connect_each(&self.hub, visits, self.concurrency, &self.stop, |identity, twin| {
                if let Some(row) = visitors.get(&identity) {
                    connections.count(row, twin);
                    progress(1);
                }
            })
            .await?;
        }
        for told in [&mut connections.failures, &mut connections.untried] {
            told.sort_by_key(|one| one.line);
        }
        Ok(connections)
    }

    /// The credentials of the row's identity; `None` if a failure was already recorded.
    fn prepare(&self, row: &LedgerRow, connections: &mut Connections) -> Option<DeviceCredentials> {
        match self.credentials.find(&row.spec) {
            Ok(Some(credentials)) => return Some(credentials),
            Ok(None) => connections.leave_out(row, NO_KEY, Some(where_keys_come_from(&row.spec))),
            Err(error) => connections.fail(row, with_causes(&error), error.hint(), Vec::new()),
        }
        None
    }

    async fn select(&self) -> Result<Selection, LedgerError> {
        let (mut devices, mut last) = (0, None);
        let mut pages = Pages::of(self);
        while let Some(rows) = pages.next().await? {
            for row in rows {
                let device = row.spec.identity.device();
                if last.as_ref() != Some(device) {
                    last = Some(device.clone());
                    devices += u64::from(!is_disabled(&row, &self.disabled));
                }
            }
        }
        let spread = Spread::new(self.sample, devices);
        Ok(Selection { spread, disabled: self.disabled.clone(), device: None })
    }
}

fn where_keys_come_from(spec: &IdentitySpec) -> &'static str {
    match spec.state.auth {
        AuthSpec::Sas { .. } => "only symmetric keys that the batch itself gives are used",
        _ => {
            "name both files in the columns `certificate` and `private_key`, or the CA with `--issue CA_DIR`"
        }
    }
}

/// Returns true if the device that begins with this row is disabled, or is to be, so that it can't
/// connect.
fn is_disabled(row: &LedgerRow, disabled: &HashSet<DeviceId>) -> bool {
    row.spec.state.status_on_hub() == Status::Disabled || disabled.contains(row.spec.identity.device())
}

/// The selected rows. All rows of a device are consecutive, its own first.
struct Selection {
    spread: Spread,
    disabled: Arc<HashSet<DeviceId>>,
    device: Option<(DeviceId, Chosen)>,
}

/// The selection's decision for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    /// Its device is disabled.
    Disabled,
    /// Its device is not in the sample.
    LeftOut,
    /// It is to connect.
    Taken,
}

impl Selection {
    /// Decides for the row, by its device. A module's own status is not used.
    fn takes(&mut self, row: &LedgerRow) -> Chosen {
        let id = row.spec.identity.device();
        match &self.device {
            Some((device, chosen)) if device == id => *chosen,
            _ => {
                let chosen = match is_disabled(row, &self.disabled) {
                    true => Chosen::Disabled,
                    false if self.spread.takes_next() => Chosen::Taken,
                    false => Chosen::LeftOut,
                };
                self.device = Some((id.clone(), chosen));
                chosen
            }
        }
    }
}

/// The rows of a run, page by page.
struct Pages<'t, V> {
    check: &'t ConnectCheck<V>,
    after: Option<IdentityId>,
}

impl<'t, V: Visit> Pages<'t, V> {
    fn of(check: &'t ConnectCheck<V>) -> Self {
        Self { check, after: None }
    }

    async fn next(&mut self) -> Result<Option<Vec<LedgerRow>>, LedgerError> {
        let ConnectCheck { ledger, run, filter, .. } = self.check;
        let (run, filter, after) = (*run, *filter, self.after.take());
        let page = ledger.call(move |ledger| ledger.page(run, filter, after.as_ref(), PAGE)).await?;
        self.after = page.last().map(|row| row.spec.identity.clone());
        Ok(Some(page).filter(|page| !page.is_empty()))
    }
}

const NO_KEY: &str = "no key available";
const PAGE: usize = 1_000;

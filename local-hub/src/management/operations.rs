//! The operations of the management port.
//!
//! | request | does |
//! |---|---|
//! | `GET`, `PUT`, `DELETE /faults` | shows, sets, ends the faults |
//! | `GET /telemetry` | messages to the cloud as JSON Lines: `?deviceId=`, `moduleId=`, `source=`, `since=`, `follow=true` |
//! | `GET`, `PUT /network` | `{"gone": true}`: connections are ended and new ones reset |
//! | `GET`, `PUT /clock` | shows and moves the clock: `now`, `advanceSeconds`, `stopped` |
//! | `GET /state` | the hub's devices and configurations as `az iot hub state export` writes them |
//! | `POST /state` | imports such a document; `?replace=true` removes all others |
//! | `DELETE /state` | removes everything, of the DPS too |
//! | `GET /snapshots` | the names of the snapshots, which are in memory |
//! | `PUT`, `DELETE /snapshots/{name}` | takes or deletes one |
//! | `POST /snapshots/{name}/restore` | restores the state of the hub and of the DPS |

use cli_support::wrong_form::JsonMistake;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::operation_names;
use crate::api_error::ApiError;
use crate::backend::Backend;
use crate::clock::Clock;
use crate::device_to_cloud::{Filter, Reader};
use crate::dps::{Dps, DpsRegistry};
use crate::faults::Faults;
use crate::hub::Hub;
use crate::storage::hub_tables::Stored;

/// The operations, with their state between requests.
#[derive(Debug)]
pub(super) struct Operations {
    hub: Arc<Hub>,
    dps: Option<Arc<Dps>>,
    snapshots: Mutex<BTreeMap<String, Snapshot>>,
}

/// The content of the hub and of the DPS beside it.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    hub: Stored,
    dps: DpsRegistry,
}

/// A document, or the status and the text of an error.
type ManagementResult = Result<Vec<u8>, (StatusCode, String)>;

impl Operations {
    pub(super) fn new(hub: Arc<Hub>, dps: Option<Arc<Dps>>) -> Self {
        Self { hub, dps, snapshots: Mutex::default() }
    }

    /// The messages to the cloud that a query string selects.
    pub(super) fn read_messages(&self, query: &str) -> Result<Reader, (StatusCode, String)> {
        let filter = Filter::parse(query).map_err(bad_input)?;
        Ok(Reader::new(Arc::clone(self.hub.messages()), filter))
    }

    pub(super) async fn perform(&self, method: &Method, uri: &Uri, body: &[u8]) -> ManagementResult {
        let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        match (method.as_str(), path.as_slice()) {
            ("GET", ["faults"]) => json(&self.hub.faults().faults().to_json()),
            ("PUT", ["faults"]) => self.set_faults(Faults::parse_json(body).map_err(bad_input)?),
            ("DELETE", ["faults"]) => self.set_faults(Faults::default()),
            ("GET", ["network"]) => json(&json!({"gone": *self.hub.faults().offline().borrow()})),
            ("PUT", ["network"]) => self.set_network(body),
            ("GET", ["clock"]) => self.clock(),
            ("PUT", ["clock"]) => self.move_clock(body),
            ("GET", ["state"]) => self.hub.export().map_err(from_api_error),
            ("POST", ["state"]) => self.import(uri, body).await,
            ("DELETE", ["state"]) => self.restore(Snapshot::default()).await,
            ("GET", ["snapshots"]) => json(&json!(self.snapshots().keys().collect::<Vec<_>>())),
            ("PUT", ["snapshots", name]) => self.take_snapshot(name),
            ("DELETE", ["snapshots", name]) => match self.snapshots().remove(*name) {
                Some(_) => empty(),
                None => Err(no_snapshot(name)),
            },
            ("POST", ["snapshots", name, "restore"]) => {
                let snapshot = self.snapshots().get(*name).cloned().ok_or_else(|| no_snapshot(name))?;
                self.restore(snapshot).await
            }
            _ => Err((
                StatusCode::NOT_FOUND,
                "there are GET, PUT, DELETE /faults; GET, PUT /network; GET /telemetry; GET, PUT /clock; GET, POST, DELETE /state; \
                 GET /snapshots; PUT, DELETE /snapshots/{name}; POST /snapshots/{name}/restore"
                    .to_owned(),
            )),
        }
    }

    fn set_faults(&self, faults: Faults) -> ManagementResult {
        faults.check_operations(&operation_names::names()).map_err(bad_input)?;
        self.hub.set_faults(faults);
        empty()
    }

    fn set_network(&self, body: &[u8]) -> ManagementResult {
        let Network { offline } = read(body)?;
        self.hub.faults().set_offline(offline);
        empty()
    }

    fn clock(&self) -> ManagementResult {
        let clock = self.hub.clock();
        let now = clock.now().format(&Rfc3339).map_err(bad_input)?;
        json(&json!({"now": now, "stopped": clock.is_stopped()}))
    }

    fn move_clock(&self, body: &[u8]) -> ManagementResult {
        let ClockMove { now, advance_seconds, stopped } = read(body)?;
        let clock = self.hub.clock();
        let now = now.map(|text| OffsetDateTime::parse(&text, &Rfc3339)).transpose();
        let now = now.map_err(|_| bad_input("`now` is not a time such as 2026-11-22T10:00:00Z"))?;
        let by = advance_seconds.map(time::Duration::checked_seconds_f64);
        let by = by.map(|by| by.ok_or_else(|| bad_input("`advanceSeconds` is too large"))).transpose()?;
        match stopped {
            Some(true) => clock.stop(),
            Some(false) => clock.resume(),
            None => {}
        }
        if let Some(now) = now {
            clock.set(now);
        }
        if let Some(by) = by {
            clock.advance(by);
        }
        self.clock()
    }

    async fn import(&self, uri: &Uri, body: &[u8]) -> ManagementResult {
        let replace = match uri.query() {
            None | Some("") | Some("replace=false") => false,
            Some("replace=true") => true,
            Some(_) => return Err(bad_input("the only parameter is `replace`, which is true or false")),
        };
        self.hub.import(body, replace).await.map_err(from_api_error)?;
        empty()
    }

    async fn restore(&self, next: Snapshot) -> ManagementResult {
        self.hub.restore(next.hub).await.map_err(from_api_error)?;
        if let Some(dps) = &self.dps {
            dps.restore(next.dps).await.map_err(from_api_error)?;
        }
        empty()
    }

    fn take_snapshot(&self, name: &str) -> ManagementResult {
        let dps = self.dps.as_ref().map(|dps| dps.snapshot()).unwrap_or_default();
        let snapshot = Snapshot { hub: self.hub.snapshot(), dps };
        let mut snapshots = self.snapshots();
        if snapshots.len() >= MAX_SNAPSHOTS && !snapshots.contains_key(name) {
            let text = format!("there are {MAX_SNAPSHOTS} snapshots, the most there can be; delete one");
            return Err((StatusCode::CONFLICT, text));
        }
        snapshots.insert(name.to_owned(), snapshot);
        empty()
    }

    fn snapshots(&self) -> MutexGuard<'_, BTreeMap<String, Snapshot>> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(rename = "gone")]
    offline: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ClockMove {
    now: Option<String>,
    advance_seconds: Option<f64>,
    stopped: Option<bool>,
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(body)
        .map_err(|error| bad_input(format!("the body can't be read: {}", JsonMistake::new(&error))))
}

fn json(document: &Value) -> ManagementResult {
    Ok(document.to_string().into_bytes())
}

fn empty() -> ManagementResult {
    json(&json!({}))
}

fn bad_input(problem: impl ToString) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, problem.to_string())
}

fn from_api_error(error: ApiError) -> (StatusCode, String) {
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, error.text)
}

fn no_snapshot(name: &str) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("there is no snapshot `{name}`; GET /snapshots names those there are"))
}

/// The largest number of snapshots. Each one is a whole hub in memory.
const MAX_SNAPSHOTS: usize = 16;

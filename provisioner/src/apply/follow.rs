//! The application of a run whose devices come into being by registering.
//!
//! Rows wait until their device has registered. Then they become pending, and are worked on as the rows of
//! any other run: the twin of the device is compared and written, and its modules are created. A device
//! itself is never created. Between the chunks the hub, or the DPS, is asked for the next devices.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hub_types::DeviceId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Apply, ApplyWorker, split_off_orphans};
use crate::hub::Hub;
use crate::ledger::{Chunk, Ended, LedgerRow, Record, RowFilter, RowState, RunState, SharedLedger};
use crate::model::failure::ReasonCode;
use crate::model::observer::ActivityProgress;
use crate::model::run_id::RunId;
use crate::workers::{ChunkEnd, ChunkWork, ChunkWriter, MoreWork, RunError};
use cli_support::counted::counted;
pub(crate) use registrations::{DpsRegistrations, Found, HubRegistrations, RegisteredHub, Registrations};

mod registrations;
#[cfg(test)]
mod tests;

/// The parameters of following registrations.
pub(crate) struct Follow<H, R> {
    /// The work on devices that have registered.
    pub(crate) apply: Apply<H>,
    /// The source of registrations.
    pub(crate) registrations: R,
    /// The times of looking.
    pub(crate) schedule: Schedule,
    /// The receiver of notes.
    pub(crate) progress: Arc<dyn ActivityProgress>,
}

/// The times at which registrations are looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// The pause after all waiting devices were looked for.
    pub(crate) interval: Duration,
    /// The time at which the rest is left for later, if there is one.
    pub(crate) until: Option<Instant>,
}

impl<H: Hub, R: Registrations> Follow<H, R> {
    /// Works on the run until no device is waited for, the time is over or it is stopped, and returns its state.
    pub(crate) async fn run(self) -> Result<RunState, RunError> {
        let pool = self.apply.pool.clone();
        let worker = FollowWorker {
            ledger: pool.ledger.clone(),
            run: pool.run,
            stop: pool.stop.clone(),
            apply: self.apply.into_worker().await?,
            registrations: self.registrations,
            schedule: self.schedule,
            progress: self.progress,
            state: Mutex::default(),
        };
        pool.run(worker).await
    }
}

struct FollowWorker<H, R> {
    ledger: SharedLedger,
    run: RunId,
    stop: CancellationToken,
    apply: ApplyWorker<H>,
    registrations: R,
    schedule: Schedule,
    progress: Arc<dyn ActivityProgress>,
    state: Mutex<FollowState>,
}

#[derive(Debug, Default)]
struct FollowState {
    /// The last device that was looked for; `None` at the beginning of a sweep.
    after: Option<DeviceId>,
    /// Devices on other hubs, whose rows are pending.
    elsewhere: HashMap<DeviceId, String>,
    /// Devices whose failure was told.
    failed: HashSet<DeviceId>,
}

impl<H: Hub, R: Registrations> ChunkWork for FollowWorker<H, R> {
    async fn work_on(&self, chunk: Chunk, writer: &ChunkWriter) -> Result<ChunkEnd, RunError> {
        let Chunk { lease, rows, mut closed } = chunk;
        let (rows, ended) = self.split_off_elsewhere(rows, &mut closed);
        writer.record(ended).await?;
        self.apply.work_on(Chunk { lease, rows, closed }, writer).await
    }

    async fn find_more(&self) -> Result<MoreWork, RunError> {
        loop {
            if self.stop.is_cancelled() {
                return Ok(MoreWork::Chunks);
            }
            if self.schedule.until.is_some_and(|until| until <= Instant::now()) {
                return Ok(MoreWork::Deferred);
            }
            let (run, after) = (self.run, self.state().after.clone());
            let page =
                self.ledger.call(move |ledger| ledger.awaited_devices(run, after.as_ref(), PAGE)).await?;
            if !page.is_empty() {
                if self.look_for(&page).await? {
                    return Ok(MoreWork::Chunks);
                }
                continue;
            }
            self.state().after = None;
            let left = self.ledger.call(move |ledger| ledger.wake_stranded(run)).await?;
            match (left.is_unfinished, left.waits) {
                (true, _) => return Ok(MoreWork::Chunks),
                (false, false) => return Ok(MoreWork::Nothing),
                (false, true) => self.rest().await,
            }
        }
    }
}

impl<H: Hub, R: Registrations> FollowWorker<H, R> {
    /// Looks for registrations of these devices, and wakes the rows of those that have registered. Returns true
    /// if there are any.
    async fn look_for(&self, page: &[DeviceId]) -> Result<bool, RunError> {
        let found = self.stop.run_until_cancelled(self.registrations.find(page)).await;
        let Found { registered, failed } = match found {
            None => return Ok(false),
            Some(Err(_)) if self.stop.is_cancelled() => return Ok(false),
            Some(found) => found?,
        };
        let devices: Vec<DeviceId> = registered.iter().map(|(device, _)| device.clone()).collect();
        {
            let mut state = self.state();
            state.after = page.last().cloned();
            for (device, assignment) in registered {
                if let RegisteredHub::Elsewhere(hub) = assignment {
                    state.elsewhere.insert(device, hub);
                }
            }
        }
        self.tell_failed(failed);
        if devices.is_empty() {
            return Ok(false);
        }
        let (run, count) = (self.run, devices.len());
        let waiting = self.ledger.call(move |ledger| {
            ledger.wake(run, &devices)?;
            ledger.count(run, RowFilter::WaitingDevices)
        });
        let waiting = waiting.await?;
        let note = format!("registered: {}; {waiting} waited for", counted(count as u64, "device"));
        self.progress.note(&note);
        Ok(true)
    }

    /// Tells of the devices that a DPS could not assign, each once.
    fn tell_failed(&self, failed: Vec<(DeviceId, String)>) {
        let mut state = self.state();
        for (device, reason) in failed {
            if state.failed.len() < MAX_TOLD && state.failed.insert(device.clone()) {
                self.progress.note(&format_args!("{device}: the DPS has not assigned it: {reason}"));
            }
        }
    }

    /// Ends the rows of devices that a DPS has assigned to other hubs.
    fn split_off_elsewhere(
        &self,
        rows: Vec<LedgerRow>,
        closed: &mut Vec<(DeviceId, RowState)>,
    ) -> (Vec<LedgerRow>, Vec<Ended>) {
        let mut state = self.state();
        let mut left: Vec<(DeviceId, RowState)> = Vec::new();
        let (mut others, mut ended) = (Vec::new(), Vec::new());
        for row in rows {
            let device = row.spec.identity.device();
            let Some(hub) = state.elsewhere.get(device) else {
                others.push(row);
                continue;
            };
            if left.last().is_none_or(|(last, _)| last != device) {
                left.push((device.clone(), RowState::Failed));
                // A module without a row of its device tells the reason itself.
                let text = format!("the DPS has assigned the device to the hub `{hub}`");
                let record = Record::failed(ReasonCode::AssignedElsewhere, text);
                ended.push((row.spec.identity, record).into());
            } else {
                others.push(row);
            }
        }
        left.iter().for_each(|(device, _)| drop(state.elsewhere.remove(device)));
        let (others, orphans) = split_off_orphans(others, &left);
        ended.extend(orphans);
        closed.extend(left);
        (others, ended)
    }

    /// Waits until the next sweep, a request to stop or the end of the time.
    async fn rest(&self) {
        let next = Instant::now() + self.schedule.interval;
        let next = self.schedule.until.map_or(next, |until| until.min(next));
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, FollowState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Devices that are looked for at once.
const PAGE: usize = 1_000;
/// Devices whose failure is told.
const MAX_TOLD: usize = 100;

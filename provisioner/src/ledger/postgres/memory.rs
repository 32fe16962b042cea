//! The writes of this process that the database must still have after a reconnection: a standby
//! that lagged behind may have taken over.

use super::super::chunk::Lease;
use super::client::{Client, Error};
use crate::model::run_id::RunId;
use crate::model::service_status::{Service, ServiceStatus, StatusListener};

/// The memory of a process that works on a run.
#[derive(Default)]
pub(super) struct Memory {
    /// The run and its token; runs of old ledgers have none.
    run: Option<(RunId, Option<Vec<u8>>)>,
    /// The open leases, each with the number of the connection on which it was granted.
    held: Vec<(Lease, u64)>,
    /// The chunks that this process has finished.
    finished: Vec<i64>,
    /// The number of connections so far.
    connections: u64,
    is_told: bool,
    status: StatusListener,
}

impl Memory {
    /// A memory of nothing. `status` is told once that the database has lost writes.
    pub(super) fn new(status: StatusListener) -> Self {
        Self { status, ..Self::default() }
    }

    /// The run that this process works on.
    pub(super) fn run(&self) -> Option<RunId> {
        self.run.as_ref().map(|(run, _)| *run)
    }

    /// Starts with a run.
    pub(super) fn begin(&mut self, run: RunId, token: Option<Vec<u8>>) {
        if self.run() != Some(run) {
            self.finished.clear();
        }
        self.run = Some((run, token));
    }

    pub(super) fn held(&self) -> Vec<Lease> {
        self.held.iter().map(|(lease, _)| *lease).collect()
    }

    pub(super) fn hold(&mut self, lease: Lease) {
        self.held.push((lease, self.connections));
    }

    pub(super) fn give_back_all(&mut self) {
        self.held.clear();
    }

    /// Removes a lease that has ended.
    pub(super) fn give_back(&mut self, lease: &Lease) {
        self.held.retain(|(held, _)| held != lease);
    }

    pub(super) fn finish(&mut self, lease: &Lease) {
        self.give_back(lease);
        self.finished.push(lease.chunk);
    }

    /// Returns true if writes under a lease may be lost, because the connection was replaced since.
    pub(super) fn is_doubtful(&self, lease: &Lease) -> bool {
        self.held.iter().any(|(held, connection)| held == lease && *connection != self.connections)
    }

    /// Compares the database of a new connection with the expected data. A missing run is an error;
    /// other missing work is claimed again, and people are notified.
    pub(super) fn compare(&mut self, client: &Client) -> Result<(), Error> {
        self.connections += 1;
        let Some((run, token)) = &self.run else { return Ok(()) };
        let is_there = client
            .query_opt("SELECT token IS NOT DISTINCT FROM $2 FROM run WHERE id = $1", &[&run.0, token])?
            .map(|row| row.try_get::<_, bool>(0))
            .transpose()?;
        if is_there != Some(true) {
            return Err(Error::Forgotten);
        }
        if self.has_lost_chunks(client, *run)? {
            self.tell_lost();
        }
        Ok(())
    }

    /// Returns true if the database lacks a chunk that was finished, or a lease that is held.
    fn has_lost_chunks(&self, client: &Client, run: RunId) -> Result<bool, Error> {
        let (chunks, fences): (Vec<i64>, Vec<i64>) =
            self.held.iter().map(|(lease, _)| (lease.chunk, lease.fence)).unzip();
        let lost = client.query_one(
            "SELECT EXISTS (SELECT 1 FROM chunk WHERE run = $1 AND number = ANY ($2) AND NOT done)
                 OR EXISTS (SELECT 1 FROM unnest($3::bigint[], $4::bigint[]) AS held (number, fence)
                            LEFT JOIN chunk ON chunk.run = $1 AND chunk.number = held.number
                            WHERE chunk.fence IS NULL OR chunk.fence < held.fence)",
            &[&run.0, &self.finished, &chunks, &fences],
        )?;
        Ok(lost.try_get(0)?)
    }

    /// Notifies people, once, that the database has lost its last writes.
    pub(super) fn tell_lost(&mut self) {
        if !std::mem::replace(&mut self.is_told, true) {
            self.status.tell(Some(ServiceStatus::Lagged(Service::Ledger)));
        }
    }
}

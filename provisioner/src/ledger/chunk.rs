//! Chunks: the part of a run that a worker takes at once.

use hub_types::DeviceId;

use super::{LedgerRow, RowState};
use crate::model::run_id::RunId;

/// A part of a run for one worker: up to 100 devices and their modules.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The right to write to its rows.
    pub(crate) lease: Lease,
    /// Its unfinished rows, each device before its modules.
    pub(crate) rows: Vec<LedgerRow>,
    /// Its devices that have failed before.
    pub(crate) closed: Vec<(DeviceId, RowState)>,
}

/// The right to write to the rows of a chunk. Every write asks for both the fence and the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(super) run: RunId,
    pub(super) chunk: i64,
    /// A counter that rises with each claim of the chunk: a lease with an older number is lost.
    pub(super) fence: i64,
    /// A random number, new with each claim of the chunk. A database that lost its last writes,
    /// such as a standby that took over, may issue the same fence twice, but never the same token.
    pub(super) token: FencingToken,
}

/// A token of 128 random bits of the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FencingToken([u8; 16]);

impl FencingToken {
    pub(super) fn draw() -> Result<Self, NoRandomness> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The operating system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers")]
pub(super) struct NoRandomness;

impl Lease {
    /// The run that the chunk is of.
    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// Returns true if the chunk was claimed before: a run was interrupted in it, or a station.
    pub(crate) fn is_taken_up_again(&self) -> bool {
        self.fence > 1
    }
}

/// The available work.
#[derive(Debug)]
pub(crate) enum Claim {
    /// This chunk.
    Chunk(Chunk),
    /// No chunk: all are done.
    Finished,
    /// No chunk yet: the remaining ones depend on chunks that others work on.
    Wait,
}

/// The rows without a result, seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowsLeft {
    /// True if rows are unfinished, here or at other stations.
    pub(crate) is_unfinished: bool,
    /// True if rows wait for the registration of their devices.
    pub(crate) waits: bool,
}

/// The number of devices in a chunk: as many as one bulk call takes.
pub(super) const CHUNK_DEVICES: usize = hub_types::limits::MAX_BULK_ITEMS;

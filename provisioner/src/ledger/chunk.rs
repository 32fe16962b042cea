//! Chunks: what a worker takes of a run at once.

use hub_types::DeviceId;

use super::{LedgerRow, RowState, RunId};

/// A part of a run that one worker has: up to 100 devices and their modules.
#[derive(Debug)]
pub struct Chunk {
    /// The right to write to its rows.
    pub lease: Lease,
    /// Its rows that have not come to an end, each device before its modules.
    pub rows: Vec<LedgerRow>,
    /// Its devices that came to a bad end before.
    pub closed: Vec<(DeviceId, RowState)>,
}

/// The right to write to the rows of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(super) run: RunId,
    pub(super) chunk: i64,
    /// Rises each time the chunk is given out: who comes with an old number has lost it.
    pub(super) fence: i64,
}

/// What there is to do.
#[derive(Debug)]
pub enum Claim {
    /// This.
    Chunk(Chunk),
    /// Nothing more: every chunk is done.
    Finished,
    /// Nothing yet: what is left stands on what others are at work on.
    Wait,
}

/// Devices of a chunk: as many as one bulk call takes.
pub(super) const CHUNK_DEVICES: usize = hub_types::limits::MAX_BULK_ITEMS;

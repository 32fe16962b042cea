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

/// The right to write to the rows of a chunk. Every write asks for both the fence and the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    pub(super) run: RunId,
    pub(super) chunk: i64,
    /// A counter that rises each time the chunk is given out: a lease with an old number is lost.
    pub(super) fence: i64,
    /// A random number that is drawn anew each time the chunk is given out. A database that forgot its last
    /// writes, such as a standby that took over, may give out the same fence twice, but never the same token.
    pub(super) token: Token,
}

/// 128 random bits of the operating system's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token([u8; 16]);

impl Token {
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
    pub fn run(&self) -> RunId {
        self.run
    }
}

/// The available work.
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

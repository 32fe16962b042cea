//! Work that goes on after the request that asked for it was answered: imports and exports, and
//! twin updates over many devices.

use crate::hub::Hub;
use crate::registry::Answer;

pub(crate) use blobs::Blobs;
pub(crate) use moving::{MoveRequest, begin_move};
pub(crate) use scheduled::{begin_due, begin_scheduled};

mod blobs;
mod export;
mod import;
mod moving;
mod scheduled;

/// Takes up the jobs of a hub that starts again: what was at work when it ended has failed, what was
/// scheduled is waited for.
pub(crate) async fn take_up(hub: &Hub) -> Answer<()> {
    hub.write_documents(|documents, now, touched| {
        documents.fail_orphans(now, touched);
        Ok(())
    })
    .await
}

//! Work that continues after the response to its request: imports and exports, and twin updates
//! over many devices.

use crate::api_error::ApiResult;
use crate::hub::Hub;

pub(crate) use import_export::{ImportExportRequest, begin_import_export};
pub(crate) use scheduled::{begin_due, begin_scheduled};

mod export;
mod import;
mod import_export;
mod scheduled;

/// Recovers the jobs of an earlier hub process: those that were running have failed, those that
/// were scheduled still wait.
pub(crate) async fn recover(hub: &Hub) -> ApiResult<()> {
    hub.write_jobs(|jobs, now, touched| {
        jobs.fail_interrupted(now, touched);
        Ok(())
    })
    .await
}

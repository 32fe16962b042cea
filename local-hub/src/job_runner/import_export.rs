//! The common part of imports and exports.

use std::sync::Arc;

use hub_types::ErrorCode;

use super::{export, import};
use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::blobs::{BlobError, Blobs, Container};
use crate::hub::Hub;
use crate::ids::random::RequestIds;
use crate::jobs::{ImportExportJob, Job, JobStatus, JobWork};

/// The request for an import or export job.
#[derive(Debug)]
pub(crate) struct ImportExportRequest {
    pub(crate) imports: bool,
    pub(crate) input: Option<String>,
    pub(crate) output: String,
    pub(crate) input_blob: String,
    pub(crate) output_blob: String,
    pub(crate) exclude_keys: bool,
}

/// Checks the containers, accepts the job, and starts it.
pub(crate) async fn begin_import_export(hub: &Arc<Hub>, request: ImportExportRequest) -> ApiResult<Job> {
    let blobs = hub.blobs().clone();
    let output = blobs.container(&request.output).map_err(invalid)?;
    blobs.check_writable(&output).await.map_err(invalid)?;
    let input = match &request.input {
        Some(uri) if request.imports => blobs.container(uri).map_err(invalid)?,
        None if request.imports => {
            return Err(invalid(BlobError::Address("an import needs inputBlobContainerUri".into())));
        }
        _ => output.clone(),
    };
    if request.imports {
        blobs.fetch(&input, &request.input_blob).await.map_err(invalid)?;
    }
    let job = Job {
        number: 0,
        id: RequestIds::new().next(),
        status: JobStatus::Enqueued,
        created: hub.timestamp(),
        started: Some(hub.timestamp()),
        ended: None,
        failure: None,
        work: JobWork::ImportExport(ImportExportJob {
            imports: request.imports,
            exclude_keys: request.exclude_keys,
            input_blob: request.input_blob,
            output_blob: request.output_blob,
            progress: 0,
        }),
    };
    let job = hub.write_jobs(|jobs, _, touched| jobs.accept_import_export(job, touched)).await?;
    tokio::spawn(work(Arc::clone(hub), job.clone(), blobs, input, output));
    Ok(job)
}

async fn work(hub: Arc<Hub>, job: Job, blobs: Blobs, input: Container, output: Container) {
    let JobWork::ImportExport(transfer) = &job.work else { return };
    let begun = hub.write_jobs(|jobs, _, touched| Ok(jobs.begin_import_export(&job, touched)));
    let done = match begun.await {
        // Somebody cancelled it first.
        Ok(false) => return,
        Err(error) => Err(error.into()),
        Ok(true) if transfer.imports => import::run(&hub, &job, transfer, &blobs, &input, &output).await,
        Ok(true) => export::run(&hub, &job, transfer, &blobs, &output).await,
    };
    let ended = hub.write_jobs(|jobs, now, touched| {
        jobs.record_progress(&job, touched, |job| {
            if job.status == JobStatus::Running {
                job.status = if done.is_ok() { JobStatus::Completed } else { JobStatus::Failed };
                if let JobWork::ImportExport(transfer) = &mut job.work
                    && done.is_ok()
                {
                    transfer.progress = 100;
                }
                job.failure = done.err().map(|error| error.to_string());
            }
            job.ended = Some(now);
        });
        Ok(())
    });
    if let Err(error) = ended.await {
        tracing::error!(job = job.id, reason = error.text, "the end of the job can't be written down");
    }
}

/// Stores the progress of a job, and returns true if it has not been cancelled. Progress stays
/// below 100 % until the job has ended.
pub(super) async fn report_progress(hub: &Hub, job: &Job, percent: u8) -> ApiResult<bool> {
    hub.write_jobs(|jobs, _, touched| {
        Ok(jobs.record_progress(job, touched, |job| {
            if let JobWork::ImportExport(transfer) = &mut job.work {
                transfer.progress = percent.min(99);
            }
        }))
    })
    .await
}

fn invalid(error: BlobError) -> ApiError {
    ApiError::new(ErrorCode::BlobContainerValidationError, error.to_string())
}

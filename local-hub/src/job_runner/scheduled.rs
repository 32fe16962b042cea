//! Scheduled jobs: a twin update or a direct method, for every device that meets a condition.

use std::sync::Arc;
use std::time::Duration;

use hub_types::limits::OperationClass;
use hub_types::twin::TwinPatch;
use hub_types::{ErrorCode, IdentityId, IfMatch, Timestamp};
use serde_json::Value;
use time::OffsetDateTime;

use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::clock::{self, Clock};
use crate::hub::Hub;
use crate::hub::direct_methods::{MethodRequest, invoke};
use crate::jobs::{DeviceOutcome, Job, JobStatus, JobWork, ScheduledJob, ScheduledWork};
use crate::query::{self, Query};

/// Accepts a job; it begins at its start time.
pub(crate) async fn begin_scheduled(hub: &Arc<Hub>, id: String, work: ScheduledJob) -> ApiResult<Job> {
    let (start, now) = (OffsetDateTime::from(work.start), hub.clock().now());
    if start - now > FARTHEST_START {
        return Err(ApiError::argument("startTime must be within the next 168 hours"));
    }
    check_execution_time(work.longest)?;
    query_of(&work.condition)?;
    check_work(&work.work)?;
    let job = Job {
        id,
        number: 0,
        status: JobStatus::Queued,
        created: hub.timestamp(),
        started: None,
        ended: None,
        failure: None,
        work: JobWork::Scheduled(work),
    };
    let most = hub.throttle().concurrent_jobs();
    let job = hub.write_jobs(|jobs, _, touched| jobs.schedule(job, most, touched)).await?;
    begin_due(hub).await?;
    Ok(job)
}

fn check_execution_time(seconds: u64) -> ApiResult<()> {
    match seconds {
        1..=MAX_EXECUTION_SECONDS => Ok(()),
        _ => Err(ApiError::argument(format!(
            "maxExecutionTimeInSeconds must be from 1 to {MAX_EXECUTION_SECONDS}"
        ))),
    }
}

/// Begins the scheduled jobs that are due.
pub(crate) async fn begin_due(hub: &Arc<Hub>) -> ApiResult<()> {
    let now = hub.timestamp();
    if !hub.read_jobs(|jobs| jobs.has_due(now)) {
        return Ok(());
    }
    for job in hub.write_jobs(|jobs, now, touched| Ok(jobs.begin_due(now, touched))).await? {
        tokio::spawn(run(Arc::clone(hub), job));
    }
    Ok(())
}

async fn run(hub: Arc<Hub>, job: Job) {
    let JobWork::Scheduled(work) = &job.work else { return };
    let done = process_devices(&hub, &job, work).await;
    let ended = hub.write_jobs(|jobs, now, touched| {
        jobs.record_progress(&job, touched, |job| {
            if job.status == JobStatus::Running {
                job.status = if done.is_ok() { JobStatus::Completed } else { JobStatus::Failed };
                job.ended = Some(now);
                job.failure = done.err().map(|error| error.text);
            }
        });
        Ok(())
    });
    if ended.await.is_err() {
        tracing::error!(job = job.id, "the end of the job can't be written down");
    }
}

/// Processes every device that meets the condition, until the job is cancelled.
async fn process_devices(hub: &Hub, job: &Job, work: &ScheduledJob) -> ApiResult<()> {
    let identities = query::identities(hub, &query_of(&work.condition)?).await?;
    let wanted = hub.write_jobs(|jobs, now, touched| {
        Ok(jobs.record_progress(job, touched, |job| {
            if let JobWork::Scheduled(work) = &mut job.work {
                work.devices = identities.iter().map(|identity| outcome(identity, now)).collect();
            }
        }))
    });
    if !wanted.await? {
        return Ok(());
    }
    let deadline = clock::later(hub.clock().now(), Duration::from_secs(work.longest));
    // Each writes the whole job down: so seldom that it does not matter, often enough to be watched.
    let step = (identities.len() / 20).max(100);
    for chunk in identities.chunks(step) {
        let mut outcomes = Vec::with_capacity(chunk.len());
        for identity in chunk {
            let done = match hub.clock().now() < deadline {
                true => process_device(hub, job, identity, &work.work).await,
                false => Err(ApiError::new(ErrorCode::GenericTimeout, "the job's time was over")),
            };
            if done.is_err() && !hub.read_jobs(|jobs| jobs.is_running(job)) {
                break;
            }
            outcomes.push(done);
        }
        if !record_outcomes(hub, job, outcomes).await? {
            return Ok(());
        }
    }
    Ok(())
}

fn outcome(identity: &IdentityId, now: Timestamp) -> DeviceOutcome {
    DeviceOutcome {
        device: identity.device().clone(),
        module: identity.module().cloned(),
        status: JobStatus::Enqueued,
        updated: now,
        error: None,
    }
}

/// Stores the outcomes of some devices; returns true if the job has not been cancelled.
async fn record_outcomes(hub: &Hub, job: &Job, outcomes: Vec<ApiResult<()>>) -> ApiResult<bool> {
    hub.write_jobs(|jobs, now, touched| {
        Ok(jobs.record_progress(job, touched, |job| {
            let JobWork::Scheduled(work) = &mut job.work else { return };
            let waiting = work.devices.iter_mut().filter(|device| device.status == JobStatus::Enqueued);
            // In the order in which they were found, as they were worked on.
            for (device, done) in waiting.zip(outcomes) {
                device.updated = now;
                device.status = if done.is_ok() { JobStatus::Completed } else { JobStatus::Failed };
                device.error = done.err().map(|error| (error.number, error.text));
            }
        }))
    })
    .await
}

/// Processes one device, unless the job has been cancelled by then.
async fn process_device(hub: &Hub, job: &Job, identity: &IdentityId, work: &ScheduledWork) -> ApiResult<()> {
    hub.throttle().admit(OperationClass::JobDevice, 1, "Jobs").await?;
    hub.throttle().check_quota()?;
    match work {
        ScheduledWork::DeviceMethod(method) => {
            if !hub.read_jobs(|jobs| jobs.is_running(job)) {
                return Err(ApiError::job_not_running(&job.id));
            }
            invoke(hub, identity, MethodRequest::new(method.clone())?).await.map(drop)
        }
        ScheduledWork::UpdateTwin(twin) => {
            let (patch, demand) = twin_patch(twin)?;
            hub.write_for(job, |registry, now, journal| {
                registry.patch_twin(identity, patch, &demand, now, journal)
            })
            .await?;
            hub.throttle().charge(twin.to_string().len());
            Ok(())
        }
    }
}

fn check_work(work: &ScheduledWork) -> ApiResult<()> {
    match work {
        ScheduledWork::DeviceMethod(method) => MethodRequest::new(method.clone()).map(drop),
        ScheduledWork::UpdateTwin(twin) => twin_patch(twin).map(drop),
    }
}

fn twin_patch(twin: &Value) -> ApiResult<(TwinPatch, IfMatch)> {
    let demand = match twin.get("etag") {
        None | Some(Value::Null) => IfMatch::Any,
        Some(Value::String(etag)) => IfMatch::parse(etag).unwrap_or(IfMatch::Any),
        Some(_) => return Err(ApiError::argument("`etag` in updateTwin is a text")),
    };
    let patch = TwinPatch::from_body(twin.clone()).map_err(|error| ApiError::argument(error.to_string()))?;
    Ok((patch, demand))
}

/// Parses a condition over devices, or `FROM devices.modules WHERE …`; `*` and an empty one mean
/// all devices.
fn query_of(condition: &str) -> ApiResult<Query> {
    let condition = condition.trim();
    let text = match condition {
        "" | "*" => "SELECT * FROM devices".to_owned(),
        from if from.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("from ")) => {
            format!("SELECT * {from}")
        }
        condition => format!("SELECT * FROM devices WHERE {condition}"),
    };
    Query::parse(&text).map_err(|error| ApiError::argument(format!("queryCondition: {error}")))
}

const FARTHEST_START: time::Duration = time::Duration::hours(168);
/// The largest execution time in seconds. Clients send a 32-bit integer; Microsoft documents no
/// bound.
const MAX_EXECUTION_SECONDS: u64 = i32::MAX as u64;

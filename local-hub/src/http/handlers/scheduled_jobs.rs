//! `/jobs/v2`: twin updates and direct methods for every device that meets a condition.

use std::sync::Arc;

use http::HeaderName;
use hub_types::{ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api_error::{ApiError, ApiResult};
use crate::backend::Backend;
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::job_runner::begin_scheduled;
use crate::jobs::{Job, JobStatus, JobWork, ScheduledJob, ScheduledWork};
use crate::rest::reply::Reply;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScheduledJobBody {
    r#type: String,
    update_twin: Option<Value>,
    cloud_to_device_method: Option<Value>,
    #[serde(default)]
    query_condition: Option<String>,
    start_time: Option<Timestamp>,
    max_execution_time_in_seconds: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScheduledJobDocument<'j> {
    job_id: &'j str,
    query_condition: &'j str,
    created_time: Timestamp,
    start_time: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time: Option<Timestamp>,
    max_execution_time_in_seconds: u64,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    update_twin: Option<&'j Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cloud_to_device_method: Option<&'j Value>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'j str>,
    device_job_statistics: JobStatistics,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct JobStatistics {
    device_count: usize,
    failed_count: usize,
    succeeded_count: usize,
    running_count: usize,
    pending_count: usize,
}

pub(crate) async fn create(hub: &Arc<Hub>, call: HubCall) -> ApiResult<Reply> {
    let body: ScheduledJobBody = call.exact_document()?;
    let missing = |name: &str| ApiError::new(ErrorCode::ArgumentNull, format!("`{name}` is missing"));
    let work = match body.r#type.as_str() {
        "scheduleDeviceMethod" => ScheduledWork::DeviceMethod(
            body.cloud_to_device_method.ok_or_else(|| missing("cloudToDeviceMethod"))?,
        ),
        "scheduleUpdateTwin" => {
            ScheduledWork::UpdateTwin(body.update_twin.ok_or_else(|| missing("updateTwin"))?)
        }
        _ => return Err(ApiError::argument("type must be scheduleUpdateTwin or scheduleDeviceMethod")),
    };
    check_nesting(&work)?;
    let work = ScheduledJob {
        condition: body.query_condition.unwrap_or_default(),
        work,
        start: body.start_time.unwrap_or_else(|| hub.timestamp()),
        longest: body.max_execution_time_in_seconds.unwrap_or(DEFAULT_SECONDS),
        devices: Vec::new(),
    };
    let job = begin_scheduled(hub, call.name().to_owned(), work).await?;
    document(&job).map_or_else(|| Err(not_found(&job.id)), |document| Reply::document(&document))
}

/// Checks the nesting. The store adds levels around the work in the request, and parsers have a
/// bound.
fn check_nesting(work: &ScheduledWork) -> ApiResult<()> {
    let (ScheduledWork::DeviceMethod(content) | ScheduledWork::UpdateTwin(content)) = work;
    if nesting(content) > MAX_NESTING {
        let text = format!("objects and arrays are nested more than {MAX_NESTING} deep");
        return Err(ApiError::argument(text));
    }
    Ok(())
}

/// The depth of nested objects and arrays.
fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(nesting).max().unwrap_or(0),
        _ => 0,
    }
}

/// Returns a job. A live hub responds with 200 for an unknown job.
pub(crate) fn get(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let id = call.name();
    hub.read_jobs(|jobs| match jobs.get(id).and_then(document) {
        Some(document) => Reply::document(&document),
        None => Reply::document(&json!({"jobId": id, "type": "unknown", "status": "unknown"})),
    })
}

pub(crate) async fn cancel(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let id = call.name().to_owned();
    hub.write_jobs(|jobs, now, touched| {
        let status = jobs.get(&id).filter(|job| document(job).is_some()).map(|job| job.status);
        if !status.ok_or_else(|| not_found(&id))?.is_active() {
            let text = format!("the job `{id}` has ended");
            return Err(ApiError::new(ErrorCode::OperationNotAllowedInCurrentState, text));
        }
        jobs.update(&id, touched, |job| {
            job.status = JobStatus::Cancelled;
            job.ended = Some(now);
        });
        Ok(())
    })
    .await?;
    get(hub, call)
}

/// A parameter with one of these values, in any letter case. A different value is an error, never
/// an empty result.
fn known(call: &HubCall, name: &str, values: &[&str]) -> ApiResult<Option<String>> {
    match call.parameter(name).filter(|value| !value.is_empty()) {
        Some(value) if !values.iter().any(|known| known.eq_ignore_ascii_case(&value)) => {
            Err(ApiError::argument(format!("{name} is one of {}", values.join(", "))))
        }
        value => Ok(value),
    }
}

/// The jobs of a type and a status, in pages.
pub(crate) fn query(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let (kind, status) = (known(&call, "jobType", &JOB_TYPES)?, known(&call, "jobStatus", &JOB_STATUSES)?);
    let is = |wanted: &Option<String>, found: &str| {
        wanted.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(found))
    };
    let size = call.header("x-ms-max-item-count")?.and_then(|text| text.parse().ok());
    let size = size.filter(|size| (1..=MAX_PAGE).contains(size)).unwrap_or(MAX_PAGE);
    let after = call.header("x-ms-continuation")?.unwrap_or_default().to_owned();
    hub.read_jobs(|jobs| {
        let found = jobs.iter().filter(|job| job.id > after).filter_map(document);
        let mut found: Vec<_> =
            found.filter(|job| is(&kind, job.r#type) && is(&status, job.status)).take(size + 1).collect();
        let more = found.len() > size;
        found.truncate(size);
        let reply = Reply::document(&found)?.header(ITEM_TYPE, "JobResponse".to_owned());
        Ok(match found.last().filter(|_| more) {
            Some(last) => reply.header(CONTINUATION, last.job_id.to_owned()),
            None => reply,
        })
    })
}

fn document(job: &Job) -> Option<ScheduledJobDocument<'_>> {
    let JobWork::Scheduled(work) = &job.work else { return None };
    let mut statistics = JobStatistics { device_count: work.devices.len(), ..JobStatistics::default() };
    for device in &work.devices {
        match device.status {
            JobStatus::Completed => statistics.succeeded_count += 1,
            JobStatus::Failed => statistics.failed_count += 1,
            JobStatus::Running => statistics.running_count += 1,
            _ => statistics.pending_count += 1,
        }
    }
    let (update_twin, method) = match &work.work {
        ScheduledWork::DeviceMethod(method) => (None, Some(method)),
        ScheduledWork::UpdateTwin(twin) => (Some(twin), None),
    };
    Some(ScheduledJobDocument {
        job_id: &job.id,
        query_condition: &work.condition,
        created_time: job.created,
        start_time: work.start,
        end_time: job.ended,
        max_execution_time_in_seconds: work.longest,
        r#type: work.work.type_name(),
        update_twin,
        cloud_to_device_method: method,
        status: job.status.as_str(),
        failure_reason: job.failure.as_deref(),
        device_job_statistics: statistics,
    })
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(ErrorCode::JobNotFound, format!("there is no job `{id}`"))
}

const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const DEFAULT_SECONDS: u64 = 3600;
/// The largest nesting. Microsoft documents no bound; a twin with its sections and arrays stays
/// below it, see `hub_types::twin`.
const MAX_NESTING: usize = 80;
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");
const MAX_PAGE: usize = 100;
/// Source: "Get job response" of the service's REST reference.
const JOB_TYPES: [&str; 10] = [
    "unknown",
    "export",
    "import",
    "backup",
    "readDeviceProperties",
    "writeDeviceProperties",
    "updateDeviceConfiguration",
    "rebootDevice",
    "scheduleDeviceMethod",
    "scheduleUpdateTwin",
];
const JOB_STATUSES: [&str; 8] =
    ["unknown", "enqueued", "running", "completed", "failed", "cancelled", "scheduled", "queued"];

//! `devices.jobs`: the results of scheduled jobs, one row for each device of each job.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::QuerySource;
use super::page::{ItemType, Page, PageRequest, write_json};
use super::syntax::Select;
use crate::api_error::{ApiError, ApiResult};
use crate::jobs::{DeviceOutcome, Job, JobStatus, JobWork, Jobs, ScheduledJob};
use crate::registry::Datum;

/// A row that conditions can read.
pub(super) trait Fields {
    /// The value at a path.
    fn field_at(&self, path: &[String]) -> Datum<'_>;
}

struct JobRow(Value);

impl Fields for JobRow {
    fn field_at(&self, path: &[String]) -> Datum<'_> {
        let Some((first, rest)) = path.split_first() else { return Datum::Missing };
        let member = FIELDS.into_iter().find(|name| name.eq_ignore_ascii_case(first));
        let first = match member {
            // So Microsoft's page on queries calls it.
            Some("createdTimeUtc") => "createdDateTimeUtc",
            Some(member) => member,
            None => return Datum::Missing,
        };
        let found = rest.iter().map(String::as_str).fold(self.0.get(first), |value, name| value?.get(name));
        found.map_or(Datum::Missing, Datum::value)
    }
}

/// The reason why a path exists in no row, if it does not.
pub(super) fn column_problem(path: &[String]) -> Option<String> {
    let known = path.first().is_none_or(|first| FIELDS.iter().any(|name| name.eq_ignore_ascii_case(first)));
    (!known).then(|| "rows of devices.jobs have no such member".to_owned())
}

/// Runs a query over `devices.jobs`. There is no projection and no aggregate over it.
pub(super) fn run(source: &impl QuerySource, request: &PageRequest<'_>) -> ApiResult<Page> {
    let query = request.query;
    if query.select != Select::All {
        return Err(ApiError::argument("BadRequest: only SELECT * can be asked of devices.jobs"));
    }
    let skip = request.continuation.map_or(Ok(0), read_token)?;
    let wanted = query.top.unwrap_or(usize::MAX);
    let rows = source.read_jobs(|jobs| {
        let matching = rows(jobs).filter(|row| query.filter.as_ref().is_none_or(|filter| filter.holds(row)));
        matching
            .take(wanted)
            .skip(skip)
            .take(request.size.saturating_add(1))
            .map(|row| row.0)
            .collect::<Vec<_>>()
    });
    let page = rows.get(..request.size).unwrap_or(&rows);
    let mut body = Vec::new();
    write_json(&mut body, &page)?;
    let more = rows.len() > page.len();
    let continuation = more.then(|| URL_SAFE_NO_PAD.encode((skip + page.len()).to_string()));
    Ok(Page { body, item_type: ItemType::DeviceJob, continuation })
}

/// Reads a continuation token. Jobs are ordered by id and keep their rows, so a number is a
/// position.
fn read_token(token: &str) -> ApiResult<usize> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| ApiError::argument("x-ms-continuation is no token of this query"))
}

fn rows(jobs: &Jobs) -> impl Iterator<Item = JobRow> {
    let scheduled = jobs.iter().filter_map(|job| match &job.work {
        JobWork::Scheduled(work) => Some((job, work)),
        JobWork::ImportExport(_) => None,
    });
    scheduled.flat_map(|(job, work)| work.devices.iter().map(move |device| JobRow(row(job, work, device))))
}

fn row(job: &Job, work: &ScheduledJob, device: &DeviceOutcome) -> Value {
    let ended = matches!(device.status, JobStatus::Completed | JobStatus::Failed);
    let mut row = json!({
        "deviceId": device.device,
        "jobId": job.id,
        "jobType": work.work.type_name(),
        "status": device.status.as_str(),
        "startTimeUtc": job.started,
        "endTimeUtc": ended.then_some(device.updated),
        "createdDateTimeUtc": job.created,
        "lastUpdatedDateTimeUtc": device.updated,
    });
    if let Value::Object(row) = &mut row {
        if let Some(module) = &device.module {
            row.insert("moduleId".to_owned(), json!(module));
        }
        if let Some((code, description)) = &device.error {
            row.insert("error".to_owned(), json!({"code": code.to_string(), "description": description}));
        }
    }
    row
}

/// The members of rows, with the second name of one of them.
const FIELDS: [&str; 11] = [
    "createdDateTimeUtc",
    "createdTimeUtc",
    "deviceId",
    "endTimeUtc",
    "error",
    "jobId",
    "jobType",
    "lastUpdatedDateTimeUtc",
    "moduleId",
    "startTimeUtc",
    "status",
];

//! Jobs: bulk import and export of identities, and writes to many twins.

use std::collections::{BTreeMap, BTreeSet};

use hub_types::{DeviceId, ErrorCode, ModuleId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api_error::{ApiError, ApiResult};
use crate::ids;

/// All jobs of the hub, by id.
///
/// Like the registry, this is a plain structure without locks, I/O or a clock. There are few jobs,
/// so each is stored, and written, as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Jobs {
    jobs: BTreeMap<String, Job>,
    /// The highest number of a job so far.
    last_number: u64,
    /// The numbers of the scheduled jobs that have begun in this process, regardless of snapshots.
    begun: BTreeSet<u64>,
}

/// A job, of either kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    /// The number that distinguishes it from earlier and later jobs of the same id.
    #[serde(default)]
    pub(crate) number: u64,
    pub(crate) status: JobStatus,
    pub(crate) created: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<Timestamp>,
    pub(crate) failure: Option<String>,
    pub(crate) work: JobWork,
}

/// The work of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum JobWork {
    /// Import or export. In stored jobs this has an earlier name.
    #[serde(rename = "Move")]
    ImportExport(ImportExportJob),
    /// Twin updates or direct methods.
    Scheduled(ScheduledJob),
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum JobStatus {
    Cancelled,
    Completed,
    Enqueued,
    Failed,
    /// A scheduled job was accepted.
    Queued,
    Running,
    /// The start time is in the future.
    Scheduled,
}

impl JobStatus {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Completed => "completed",
            Self::Enqueued => "enqueued",
            Self::Failed => "failed",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Scheduled => "scheduled",
        }
    }

    pub(crate) fn is_active(self) -> bool {
        self == Self::Running || self.is_waiting()
    }

    /// Returns true if the job has not begun.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, Self::Enqueued | Self::Queued | Self::Scheduled)
    }
}

/// An import or an export. The containers, which may hold secrets, are not stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImportExportJob {
    pub(crate) imports: bool,
    pub(crate) exclude_keys: bool,
    pub(crate) input_blob: String,
    pub(crate) output_blob: String,
    /// The progress in percent.
    pub(crate) progress: u8,
}

/// A job over the devices that meet a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScheduledJob {
    pub(crate) condition: String,
    pub(crate) work: ScheduledWork,
    pub(crate) start: Timestamp,
    /// The maximum duration in seconds.
    pub(crate) longest: u64,
    pub(crate) devices: Vec<DeviceOutcome>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum ScheduledWork {
    /// A method call, in the form of the service API.
    DeviceMethod(Value),
    /// A twin patch, with its etag.
    UpdateTwin(Value),
}

impl ScheduledWork {
    /// The type's name on the wire.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::DeviceMethod(_) => "scheduleDeviceMethod",
            Self::UpdateTwin(_) => "scheduleUpdateTwin",
        }
    }
}

/// The result of a scheduled job for one device or module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceOutcome {
    pub(crate) device: DeviceId,
    pub(crate) module: Option<ModuleId>,
    pub(crate) status: JobStatus,
    pub(crate) updated: Timestamp,
    /// The number and the text of the error, if it failed.
    pub(crate) error: Option<(u32, String)>,
}

impl Jobs {
    /// The job in its stored form; `None` if it does not exist.
    pub(crate) fn stored_form(&self, id: &str) -> serde_json::Result<Option<Vec<u8>>> {
        self.jobs.get(id).map(serde_json::to_vec).transpose()
    }

    /// Adds a job in its stored form.
    pub(crate) fn restore(&mut self, id: String, content: &[u8]) -> serde_json::Result<()> {
        let job: Job = serde_json::from_slice(content)?;
        self.last_number = self.last_number.max(job.number);
        self.jobs.insert(id, job);
        Ok(())
    }

    /// Takes over the content of a snapshot. Jobs that were running then, or have begun since,
    /// fail.
    pub(crate) fn replace_with(&mut self, mut next: Self, now: Timestamp, touched: &mut Vec<String>) {
        next.last_number = next.last_number.max(self.last_number);
        next.begun = std::mem::take(&mut self.begun);
        next.fail_begun(now);
        touched.extend(self.jobs.keys().chain(next.jobs.keys()).cloned());
        *self = next;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Job> {
        self.jobs.get(id)
    }

    /// Accepts an import or an export, if no other is active. Returns the job with its number.
    pub(crate) fn accept_import_export(&mut self, job: Job, touched: &mut Vec<String>) -> ApiResult<Job> {
        let active = |job: &Job| matches!(job.work, JobWork::ImportExport(_)) && job.status.is_active();
        if self.jobs.values().any(active) {
            let text = "a hub has one import or export job at a time, and one is at work";
            return Err(ApiError::new(ErrorCode::JobQuotaExceeded, text));
        }
        Ok(self.put_job(job, touched))
    }

    /// Accepts a scheduled job, if fewer than `most` are waiting or running. Returns the job with
    /// its number.
    pub(crate) fn schedule(&mut self, job: Job, most: usize, touched: &mut Vec<String>) -> ApiResult<Job> {
        ids::check_id("job", &job.id, "-'", 64).map_err(ApiError::argument)?;
        if self.jobs.contains_key(&job.id) {
            let text = format!("a job with id '{}' already exists.", job.id);
            return Err(ApiError::new(ErrorCode::JobAlreadyExists, text));
        }
        let active = |job: &&Job| matches!(job.work, JobWork::Scheduled(_)) && job.status.is_active();
        if self.jobs.values().filter(active).count() >= most {
            let text =
                format!("{most} scheduled jobs are waiting or at work, which is all that the hub takes");
            return Err(ApiError::new(ErrorCode::ThrottlingMaxActiveJobCountExceeded, text));
        }
        Ok(self.put_job(job, touched))
    }

    /// Starts an import or an export, and returns true if it has not been cancelled.
    pub(crate) fn begin_import_export(&mut self, job: &Job, touched: &mut Vec<String>) -> bool {
        let same = self.jobs.get_mut(&job.id);
        let same = same.filter(|same| same.number == job.number && same.status == JobStatus::Enqueued);
        let Some(same) = same else { return false };
        same.status = JobStatus::Running;
        touched.push(job.id.clone());
        true
    }

    /// Starts the scheduled jobs that are due and returns them; the others wait. No job is returned
    /// twice.
    pub(crate) fn begin_due(&mut self, now: Timestamp, touched: &mut Vec<String>) -> Vec<Job> {
        let mut due = Vec::new();
        for job in self.jobs.values_mut() {
            let JobWork::Scheduled(work) = &job.work else { continue };
            if !job.status.is_waiting() {
                continue;
            }
            if work.start <= now {
                (job.status, job.started) = (JobStatus::Running, Some(now));
                self.begun.insert(job.number);
                touched.push(job.id.clone());
                due.push(job.clone());
            } else if job.status == JobStatus::Queued {
                job.status = JobStatus::Scheduled;
                touched.push(job.id.clone());
            }
        }
        due
    }

    /// Returns true if [`Jobs::begin_due`] would return a job.
    pub(crate) fn has_due(&self, now: Timestamp) -> bool {
        let mut waiting = self.jobs.values().filter(|job| job.status.is_waiting());
        waiting.any(|job| {
            let JobWork::Scheduled(work) = &job.work else { return false };
            work.start <= now || job.status == JobStatus::Queued
        })
    }

    /// Returns true if exactly this job is running, and not a different one with its id.
    pub(crate) fn is_running(&self, job: &Job) -> bool {
        let same = self.jobs.get(&job.id).filter(|same| same.number == job.number);
        same.is_some_and(|job| job.status == JobStatus::Running)
    }

    /// Stores the state of exactly this job, if it is running or was just cancelled; other jobs
    /// with its id stay unchanged. Returns true if it has not been cancelled.
    pub(crate) fn record_progress(
        &mut self,
        job: &Job,
        touched: &mut Vec<String>,
        change: impl FnOnce(&mut Job),
    ) -> bool {
        let same = self.jobs.get_mut(&job.id).filter(|same| {
            same.number == job.number && matches!(same.status, JobStatus::Running | JobStatus::Cancelled)
        });
        let Some(same) = same else { return false };
        change(same);
        touched.push(job.id.clone());
        same.status == JobStatus::Running
    }

    /// Changes a job, and returns true if the job exists.
    pub(crate) fn update(
        &mut self,
        id: &str,
        touched: &mut Vec<String>,
        change: impl FnOnce(&mut Job),
    ) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        change(job);
        touched.push(id.to_owned());
        true
    }

    /// Fails the jobs that were running when an earlier hub process ended, because they are not
    /// continued. Jobs that were only scheduled stay scheduled.
    pub(crate) fn fail_interrupted(&mut self, now: Timestamp, touched: &mut Vec<String>) {
        for job in self.jobs.values_mut() {
            if matches!(job.status, JobStatus::Enqueued | JobStatus::Running) {
                job.fail(now, "the hub ended while the job was at work");
                touched.push(job.id.clone());
            }
        }
    }

    /// Fails the jobs that a snapshot shows as running, and those that have begun since it was
    /// taken: a job has effects outside the hub, so it never begins twice.
    fn fail_begun(&mut self, now: Timestamp) {
        for job in self.jobs.values_mut() {
            if job.status == JobStatus::Running {
                job.fail(now, "the job was at work when the snapshot was taken that the hub went back to");
            } else if job.status.is_waiting() && self.begun.contains(&job.number) {
                job.fail(now, "the job has begun since the snapshot was taken that the hub went back to");
            }
        }
    }

    fn put_job(&mut self, mut job: Job, touched: &mut Vec<String>) -> Job {
        self.last_number += 1;
        job.number = self.last_number;
        touched.push(job.id.clone());
        self.jobs.insert(job.id.clone(), job.clone());
        job
    }
}

impl Job {
    fn fail(&mut self, now: Timestamp, reason: &str) {
        self.status = JobStatus::Failed;
        self.ended = Some(now);
        self.failure = Some(reason.to_owned());
    }
}

#[cfg(test)]
mod tests;

//! Scheduled jobs: a twin update or a direct method, for every device that meets a condition.

use std::sync::Arc;
use std::time::Duration;

use hub_types::limits::OperationClass;
use hub_types::twin::TwinPatch;
use hub_types::{ErrorCode, IdentityId, IfMatch, Timestamp};
use serde_json::Value;
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::documents::{DeviceOutcome, Job, JobStatus, JobWork, ScheduledJob, ScheduledWork};
use crate::hub::Hub;
use crate::methods::{MethodRequest, invoke};
use crate::query::{self, Query};
use crate::refusal::Refusal;
use crate::registry::Answer;

/// Takes a job on; it begins when its time has come.
pub(crate) async fn begin_scheduled(hub: &Arc<Hub>, id: String, work: ScheduledJob) -> Answer<Job> {
    let (start, now) = (OffsetDateTime::from(work.start), hub.clock().now());
    if start - now > FARTHEST_START {
        return Err(Refusal::argument("startTime must be within the next 168 hours"));
    }
    query_of(&work.condition)?;
    check_work(&work.work)?;
    let job = Job {
        id,
        status: if start > now { JobStatus::Scheduled } else { JobStatus::Enqueued },
        created: hub.timestamp(),
        started: None,
        ended: None,
        failure: None,
        work: JobWork::Scheduled(work),
    };
    let (taken, most) = (job.clone(), hub.throttle().concurrent_jobs());
    hub.write_documents(|documents, _, touched| documents.schedule(taken, most, touched)).await?;
    tokio::spawn(run(Arc::clone(hub), job.clone()));
    Ok(job)
}

/// Waits again for the jobs whose time had not come when the hub ended.
pub(super) fn resume(hub: &Arc<Hub>) {
    let waiting = hub.read_documents(|documents| {
        let waiting = documents.jobs().filter(|job| job.status == JobStatus::Scheduled);
        waiting.cloned().collect::<Vec<_>>()
    });
    for job in waiting {
        tokio::spawn(run(Arc::clone(hub), job));
    }
}

async fn run(hub: Arc<Hub>, job: Job) {
    let JobWork::Scheduled(work) = &job.work else { return };
    let start = OffsetDateTime::from(work.start);
    // The hub's clock can be moved, so it is looked at again and again.
    while hub.clock().now() < start {
        tokio::time::sleep(CLOCK_LOOK).await;
    }
    if let Err(refusal) = go_through(&hub, &job.id, work).await {
        let failed = hub.write_documents(|documents, now, touched| {
            documents.update_job(&job.id, touched, |job| {
                job.status = JobStatus::Failed;
                job.ended = Some(now);
                job.failure = Some(refusal.text.clone());
            });
            Ok(())
        });
        if failed.await.is_err() {
            tracing::error!(job = job.id, "the end of the job can't be written down");
        }
    }
}

async fn go_through(hub: &Hub, id: &str, work: &ScheduledJob) -> Answer<()> {
    let identities = query::identities(hub, &query_of(&work.condition)?).await?;
    let begun = hub.write_documents(|documents, now, touched| {
        let active = documents.job(id).is_some_and(|job| job.status.is_active());
        documents.update_job(id, touched, |job| {
            if active {
                job.status = JobStatus::Running;
                job.started = Some(now);
            }
            if let JobWork::Scheduled(work) = &mut job.work {
                work.devices = identities.iter().map(|identity| outcome(identity, now)).collect();
            }
        });
        Ok(active)
    });
    if !begun.await? {
        return Ok(());
    }
    let deadline = hub.clock().now() + Duration::from_secs(work.longest);
    // Each writes the whole job down: so seldom that it does not matter, often enough to be watched.
    let step = (identities.len() / 20).max(100);
    for chunk in identities.chunks(step) {
        let mut outcomes = Vec::with_capacity(chunk.len());
        for identity in chunk {
            let done = match hub.clock().now() < deadline {
                true => do_one(hub, identity, &work.work).await,
                false => Err(Refusal::new(ErrorCode::GenericTimeout, "the job's time was over")),
            };
            outcomes.push((identity.clone(), done));
        }
        if !note(hub, id, outcomes).await? {
            return Ok(());
        }
    }
    hub.write_documents(|documents, now, touched| {
        documents.update_job(id, touched, |job| {
            if job.status.is_active() {
                job.status = JobStatus::Completed;
                job.ended = Some(now);
            }
        });
        Ok(())
    })
    .await
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

/// Writes down what became of some devices; answers whether the job is still wanted.
async fn note(hub: &Hub, id: &str, outcomes: Vec<(IdentityId, Answer<()>)>) -> Answer<bool> {
    hub.write_documents(|documents, now, touched| {
        documents.update_job(id, touched, |job| {
            let JobWork::Scheduled(work) = &mut job.work else { return };
            let mut waiting = work.devices.iter_mut().filter(|device| device.status == JobStatus::Enqueued);
            for (_, done) in outcomes {
                // In the order in which they were found, as they were worked on.
                let Some(device) = waiting.next() else { return };
                device.updated = now;
                device.status = if done.is_ok() { JobStatus::Completed } else { JobStatus::Failed };
                device.error = done.err().map(|refusal| (refusal.number(), refusal.text));
            }
        });
        Ok(documents.job(id).is_some_and(|job| job.status.is_active()))
    })
    .await
}

async fn do_one(hub: &Hub, identity: &IdentityId, work: &ScheduledWork) -> Answer<()> {
    hub.throttle().admit(OperationClass::JobDevice, 1, "Jobs").await?;
    match work {
        ScheduledWork::DeviceMethod(method) => {
            invoke(hub, identity, MethodRequest::new(method.clone())?).await.map(drop)
        }
        ScheduledWork::UpdateTwin(twin) => {
            let (patch, demand) = twin_patch(twin)?;
            hub.write(|registry, now, journal| registry.patch_twin(identity, patch, &demand, now, journal))
                .await
                .map(drop)
        }
    }
}

fn check_work(work: &ScheduledWork) -> Answer<()> {
    match work {
        ScheduledWork::DeviceMethod(method) => MethodRequest::new(method.clone()).map(drop),
        ScheduledWork::UpdateTwin(twin) => twin_patch(twin).map(drop),
    }
}

fn twin_patch(twin: &Value) -> Answer<(TwinPatch, IfMatch)> {
    let demand = twin.get("etag").and_then(Value::as_str).map_or(IfMatch::Any, IfMatch::parse);
    let patch = TwinPatch::from_body(twin.clone()).map_err(|error| Refusal::argument(error.to_string()))?;
    Ok((patch, demand))
}

/// A condition over devices, or `FROM devices.modules WHERE …`; `*` and nothing mean all devices.
fn query_of(condition: &str) -> Answer<Query> {
    let condition = condition.trim();
    let text = match condition {
        "" | "*" => "SELECT * FROM devices".to_owned(),
        from if from.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("from ")) => {
            format!("SELECT * {from}")
        }
        condition => format!("SELECT * FROM devices WHERE {condition}"),
    };
    Query::parse(&text).map_err(|error| Refusal::argument(format!("queryCondition: {error}")))
}

const CLOCK_LOOK: Duration = Duration::from_millis(100);
const FARTHEST_START: time::Duration = time::Duration::hours(168);

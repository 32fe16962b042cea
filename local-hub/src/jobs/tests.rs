use proptest::prelude::*;

use super::*;

/// An event in the life of a hub's jobs.
#[derive(Debug, Clone)]
enum JobEvent {
    /// Schedules a job with one of a few ids, this many hours from the beginning.
    Schedule(u8, u8),
    Cancel(u8),
    /// Looks for due jobs at this hour.
    LookAt(u8),
    TakeSnapshot,
    Restore,
    Reset,
}

fn step() -> impl Strategy<Value = JobEvent> {
    prop_oneof![
        3 => (0..3_u8, 0..24_u8).prop_map(|(id, hour)| JobEvent::Schedule(id, hour)),
        1 => (0..3_u8).prop_map(JobEvent::Cancel),
        3 => (0..24_u8).prop_map(JobEvent::LookAt),
        2 => Just(JobEvent::TakeSnapshot),
        3 => Just(JobEvent::Restore),
        1 => Just(JobEvent::Reset),
    ]
}

fn at(hour: u8) -> Timestamp {
    format!("2026-11-22T{hour:02}:00:00Z").parse().unwrap()
}

fn job(id: u8, hour: u8) -> Job {
    let work = ScheduledJob {
        condition: "*".to_owned(),
        work: ScheduledWork::UpdateTwin(Value::Null),
        start: at(hour),
        longest: 60,
        devices: Vec::new(),
    };
    Job {
        id: id.to_string(),
        number: 0,
        status: JobStatus::Scheduled,
        created: at(0),
        started: None,
        ended: None,
        failure: None,
        work: JobWork::Scheduled(work),
    }
}

/// The content of a store after all writes.
fn stored(rows: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Job> {
    rows.iter().map(|(id, content)| (id.clone(), serde_json::from_slice(content).unwrap())).collect()
}

proptest! {
    /// The property holds for all changes of clocks and snapshots.
    #[test]
    fn no_job_begins_twice_and_the_store_knows_them_all(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut jobs, mut snapshot) = (Jobs::default(), Jobs::default());
        let (mut begun, mut rows) = (BTreeSet::new(), BTreeMap::new());
        for step in steps {
            let mut touched = Vec::new();
            match step {
                JobEvent::Schedule(id, hour) => drop(jobs.schedule(job(id, hour), 5, &mut touched)),
                JobEvent::Cancel(id) => {
                    jobs.update(&id.to_string(), &mut touched, |job| job.status = JobStatus::Cancelled);
                }
                JobEvent::LookAt(hour) => {
                    let due = jobs.has_due(at(hour));
                    let given = jobs.begin_due(at(hour), &mut touched);
                    prop_assert_eq!(due, !given.is_empty());
                    for job in given {
                        prop_assert!(begun.insert(job.number), "{:?} begins again", job);
                        prop_assert!(jobs.is_running(&job));
                    }
                }
                JobEvent::TakeSnapshot => snapshot = jobs.clone(),
                JobEvent::Restore => jobs.replace_with(snapshot.clone(), at(0), &mut touched),
                JobEvent::Reset => jobs.replace_with(Jobs::default(), at(0), &mut touched),
            }
            for id in touched {
                match jobs.stored_form(&id).unwrap() {
                    Some(content) => rows.insert(id, content),
                    None => rows.remove(&id),
                };
            }
            prop_assert_eq!(&stored(&rows), &jobs.jobs);
        }
    }
}

#[test]
fn what_was_at_work_has_failed_and_what_waits_goes_on_waiting() {
    let (mut jobs, mut touched) = (Jobs::default(), Vec::new());
    jobs.schedule(job(1, 1), 5, &mut touched).unwrap();
    jobs.schedule(job(2, 2), 5, &mut touched).unwrap();
    jobs.schedule(job(3, 9), 5, &mut touched).unwrap();
    let [one] = jobs.begin_due(at(1), &mut touched).try_into().unwrap();
    let snapshot = jobs.clone();
    assert_eq!(jobs.begin_due(at(2), &mut touched).len(), 1);
    jobs.replace_with(snapshot, at(2), &mut touched);
    let status = |id: &str| jobs.get(id).map(|job| (job.status, job.failure.clone().unwrap_or_default()));
    let (failed, reason) = status("1").unwrap();
    assert!(failed == JobStatus::Failed && reason.contains("at work when the snapshot"), "{reason}");
    let (failed, reason) = status("2").unwrap();
    assert!(failed == JobStatus::Failed && reason.contains("begun since the snapshot"), "{reason}");
    assert_eq!(status("3"), Some((JobStatus::Scheduled, String::new())));
    // Whoever works on the first one still is not heard any more.
    assert!(!jobs.record_progress(&one, &mut touched, |job| job.status = JobStatus::Completed));
    assert_eq!(jobs.get("1").map(|job| job.status), Some(JobStatus::Failed));
}

#[test]
fn a_job_is_not_taken_for_another_of_its_id() {
    let (mut jobs, mut touched) = (Jobs::default(), Vec::new());
    jobs.schedule(job(1, 1), 5, &mut touched).unwrap();
    let [first] = jobs.begin_due(at(1), &mut touched).try_into().unwrap();
    jobs.replace_with(Jobs::default(), at(1), &mut touched);
    jobs.schedule(job(1, 1), 5, &mut touched).unwrap();
    let [second] = jobs.begin_due(at(1), &mut touched).try_into().unwrap();
    assert!(!jobs.is_running(&first) && jobs.is_running(&second));
    assert!(!jobs.record_progress(&first, &mut touched, |job| job.status = JobStatus::Failed));
    assert!(jobs.record_progress(&second, &mut touched, |_| {}));
}

//! The throttles and limits of a DPS, and faults of its operations.

use std::num::NonZeroU32;
use std::sync::Arc;

use hub_types::limits::Tier;
use local_hub::{Charging, Config, Effect, Fault, Faults, Throttling};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use crate::dps::{TestDps, with_dps};
use crate::dps_enrollments::refused;
use crate::support::StoppedClock;

/// A DPS with the limits of the service, on a clock that does not refill its buckets.
fn limited(charging: Charging) -> Config {
    let throttling = Throttling { tier: Tier::S1, units: NonZeroU32::MIN, charging };
    let clock = Arc::new(StoppedClock(OffsetDateTime::now_utc()));
    Config { throttling: Some(throttling), clock, ..with_dps() }
}

fn bulk(from: usize) -> Value {
    let items: Vec<_> = (from..from + 10)
        .map(|number| json!({"registrationId": format!("pump-{number}"), "attestation": {"type": "symmetricKey"}}))
        .collect();
    json!({"mode": "create", "enrollments": items})
}

#[tokio::test]
async fn a_thousand_operations_a_minute_are_taken_and_each_item_is_one() {
    let dps = TestDps::start_with(limited(Charging::PerIdentity)).await;
    for call in 0..100 {
        let answer = dps.client.post("/enrollments", &bulk(call * 10)).await.ok();
        assert_eq!(answer["isSuccessful"], true);
    }
    // The bucket is empty. What can wait is waited for; a call that would wait too long is refused.
    let mut calls: JoinSet<_> = (100..140)
        .map(|call| {
            let client = dps.client.clone();
            async move { client.post("/enrollments", &bulk(call * 10)).await }
        })
        .collect();
    // The refused ones come first.
    refused(&calls.join_next().await.unwrap().unwrap(), 429, 429_001);
}

#[tokio::test]
async fn a_bulk_operation_can_be_charged_as_one() {
    let dps = TestDps::start_with(limited(Charging::PerCall)).await;
    for call in 0..200 {
        assert_eq!(dps.client.post("/enrollments", &bulk(call * 10)).await.ok()["isSuccessful"], true);
    }
}

#[tokio::test]
async fn a_group_too_many_is_refused_under_limits_only() {
    for (config, last) in [(limited(Charging::PerCall), 403), (with_dps(), 200)] {
        let dps = TestDps::start_with(config).await;
        let mut status = 0;
        for number in 0..=100 {
            let group =
                json!({"enrollmentGroupId": format!("g-{number}"), "attestation": {"type": "symmetricKey"}});
            let answer = dps.client.put(&format!("/enrollmentGroups/g-{number}"), None, &group).await;
            status = answer.status;
        }
        assert_eq!(status, last);
    }
}

#[tokio::test]
async fn faults_hit_operations_of_the_dps_by_their_name() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("requests.jsonl");
    let dps = TestDps::start_with(Config { request_log: Some(log.clone()), ..with_dps() }).await;
    let busy = Effect::Status {
        status: 503,
        code: Some(hub_types::ErrorCode::ServiceUnavailable),
        retry_after: Some(2),
    };
    let faults = vec![
        Fault::always(busy).of("PutEnrollment").times(1),
        Fault::always(Effect::LoseAnswer).of("BulkEnrollments").times(1),
    ];
    dps.hub.hub.set_faults(Faults { seed: 0, faults }).unwrap();
    let entry = json!({"registrationId": "pump", "attestation": {"type": "symmetricKey"}});
    let answer = dps.client.put("/enrollments/pump", None, &entry).await;
    refused(&answer, 503, 503_001);
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(dps.client.get("/enrollments/pump").await.status, 404);
    // The effect stays although the answer is lost.
    let body = Some(bulk(0).to_string());
    assert!(dps.client.try_call(reqwest::Method::POST, "/enrollments", None, body).await.is_err());
    assert_eq!(dps.client.get("/enrollments/pump-9").await.status, 200);
    let lines = std::fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |operation: &str| lines.iter().find(|line| line["operation"] == operation).unwrap();
    assert_eq!(
        (&of("PutEnrollment")["fault"], &of("PutEnrollment")["status"]),
        (&json!("status"), &json!(503))
    );
    assert_eq!(
        (&of("BulkEnrollments")["fault"], &of("BulkEnrollments")["created"]),
        (&json!("lose-answer"), &json!(10))
    );
    assert!(!lines.iter().any(|line| line.to_string().contains("SharedAccessSignature")));
}

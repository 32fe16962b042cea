//! Bulk operations on enrolments and groups: ten items at most, each done or refused on its own.

use serde_json::{Value, json};

use crate::dps::TestDps;
use crate::dps_enrollments::refused;

fn enrollment(number: usize) -> Value {
    json!({"registrationId": format!("pump-{number:02}"), "attestation": {"type": "symmetricKey"}})
}

#[tokio::test]
async fn ten_enrolments_are_created_at_once_and_an_eleventh_refuses_the_call() {
    let dps = TestDps::start().await;
    let bulk =
        |count| json!({"mode": "create", "enrollments": (0..count).map(enrollment).collect::<Vec<_>>()});
    let answer = dps.client.post("/enrollments", &bulk(11)).await;
    refused(&answer, 400, 400_000);
    assert!(answer.text.contains("takes 10 items, this has 11"), "{}", answer.text);
    let answer = dps.client.post("/enrollments", &bulk(10)).await;
    assert_eq!(answer.ok(), json!({"errors": [], "isSuccessful": true}));
    let rows = dps.client.post("/enrollments/query", &json!({"query": "*"})).await.ok();
    assert_eq!(rows.as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn a_failed_item_is_told_with_status_200_and_the_others_stay() {
    let dps = TestDps::start().await;
    dps.enroll("pump-01", json!({"type": "symmetricKey"}), json!({})).await;
    let bulk = json!({"enrollments": [enrollment(0), enrollment(1), enrollment(2)], "mode": "create"});
    assert_eq!(
        dps.client.post("/enrollments", &bulk).await.text,
        r#"{"errors":[{"registrationId":"pump-01","errorCode":409201,"errorStatus":"Enrollment already exists."}],"isSuccessful":false}"#
    );
    assert_eq!(dps.client.get("/enrollments/pump-02").await.status, 200);
}

#[tokio::test]
async fn updates_need_the_etag_and_deletions_may_have_one() {
    let dps = TestDps::start().await;
    let first = dps.enroll("pump-00", json!({"type": "symmetricKey"}), json!({})).await;
    let codes = async |mode: &str, items: Value| {
        let answer = dps.client.post("/enrollments", &json!({"mode": mode, "enrollments": items})).await.ok();
        let errors = answer["errors"].as_array().unwrap().clone();
        assert_eq!(answer["isSuccessful"], errors.is_empty());
        errors.iter().map(|error| error["errorCode"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    // As a live DPS was recorded to answer.
    assert_eq!(codes("update", json!([enrollment(0)])).await, [409_201]);
    for mode in ["update", "updateIfMatchETag"] {
        let mut entry = dps.client.get("/enrollments/pump-00").await.ok();
        entry["deviceId"] = json!(mode);
        assert!(codes(mode, json!([entry])).await.is_empty());
        assert_eq!(dps.client.get("/enrollments/pump-00").await.ok()["deviceId"], mode);
        assert_eq!(codes(mode, json!([entry])).await, [412_201], "the etag is an old one now");
    }
    let stale = json!([{"registrationId": "pump-00", "etag": first["etag"]}, {"registrationId": "none"}]);
    assert_eq!(codes("delete", stale).await, [412_201, 404_201]);
    assert!(codes("delete", json!([{"registrationId": "pump-00"}])).await.is_empty());
}

#[tokio::test]
async fn groups_have_their_own_ids_and_codes() {
    let dps = TestDps::start().await;
    let group = |id: &str| json!({"enrollmentGroupId": id, "attestation": {"type": "symmetricKey"}});
    let bulk = json!({"enrollmentGroups": [group("a"), group("a")], "mode": "create"});
    assert_eq!(
        dps.client.post("/enrollmentGroups", &bulk).await.text,
        r#"{"errors":[{"enrollmentGroupId":"a","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}],"isSuccessful":false}"#
    );
}

#[tokio::test]
async fn an_item_that_can_not_be_read_refuses_the_call() {
    let dps = TestDps::start().await;
    for bulk in [
        json!({"mode": "create", "enrollments": [enrollment(0), {"registrationId": "a b"}]}),
        json!({"mode": "upsert", "enrollments": []}),
        json!({"enrollments": []}),
        json!([]),
    ] {
        refused(&dps.client.post("/enrollments", &bulk).await, 400, 400_000);
    }
    assert_eq!(dps.client.get("/enrollments/pump-00").await.status, 404);
}

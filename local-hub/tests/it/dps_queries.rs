//! Queries of a DPS, page by page.

use reqwest::Method;
use serde_json::{Value, json};

use crate::dps::TestDps;
use crate::dps_enrollments::refused;

const ALL: &str = r#"{"query":"SELECT * FROM enrollments"}"#;

async fn create(dps: &TestDps, count: usize) {
    for number in 0..count {
        dps.enroll(&format!("pump-{number:03}"), json!({"type": "symmetricKey"}), json!({})).await;
    }
}

fn ids(rows: &Value) -> Vec<String> {
    let id = |row: &Value| row["registrationId"].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn pages_are_as_large_as_asked_and_the_last_has_no_continuation() {
    let dps = TestDps::start().await;
    create(&dps, 7).await;
    let (mut seen, mut sizes, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let headers = [("x-ms-max-item-count", "3"), ("x-ms-continuation", token.as_str())];
        let page = dps.client.call_with(Method::POST, "/enrollments/query", &headers, ALL).await;
        let found = ids(&page.ok());
        sizes.push(found.len());
        seen.extend(found);
        match page.header("x-ms-continuation") {
            Some(next) => token = next.to_owned(),
            None => break,
        }
        // What is deleted between two pages shifts nothing.
        dps.client.delete("/enrollments/pump-000", None).await;
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert!((0..7).map(|number| format!("pump-{number:03}")).eq(seen));
}

#[tokio::test]
async fn a_page_that_is_just_full_is_the_last() {
    let dps = TestDps::start().await;
    create(&dps, 3).await;
    let headers = [("x-ms-max-item-count", "3")];
    let page = dps.client.call_with(Method::POST, "/enrollments/query", &headers, ALL).await;
    assert_eq!((ids(&page.ok()).len(), page.header("x-ms-continuation")), (3, None));
}

#[tokio::test]
async fn a_token_of_a_different_query_is_refused() {
    let dps = TestDps::start().await;
    create(&dps, 2).await;
    dps.enroll_group("factory", json!({"type": "symmetricKey"}), json!({})).await;
    let headers = [("x-ms-max-item-count", "1")];
    let page = dps.client.call_with(Method::POST, "/enrollments/query", &headers, ALL).await;
    let token = page.header("x-ms-continuation").unwrap();
    for token in [token, "nonsense"] {
        let headers = [("x-ms-continuation", token)];
        for path in ["/enrollmentGroups/query", "/registrations/factory/query"] {
            refused(&dps.client.call_with(Method::POST, path, &headers, ALL).await, 400, 400_000);
        }
    }
}

#[tokio::test]
async fn registrations_of_a_group_are_listed_without_a_body() {
    let dps = TestDps::start().await;
    let group = dps.enroll_group("factory", json!({"type": "symmetricKey"}), json!({})).await;
    let query = async || dps.client.call_with(Method::POST, "/registrations/factory/query", &[], "").await;
    let page = query().await;
    assert_eq!((page.text.as_str(), page.header("x-ms-item-type")), ("[]", Some("DeviceRegistration")));
    let key = group["attestation"]["symmetricKey"]["primaryKey"].as_str().unwrap().parse().unwrap();
    for id in ["leaf-1", "leaf-2"] {
        let own = hub_types::dps::device_token::device_key(&key, &id.parse().unwrap());
        dps.register(dps.signed(id, own.expose_text())).await;
    }
    let rows = query().await.ok();
    assert_eq!(ids(&rows), ["leaf-1", "leaf-2"]);
    assert_eq!((&rows[0]["status"], &rows[0]["deviceId"]), (&json!("assigned"), &json!("leaf-1")));
    // A registration that is deleted is gone from the list, and the device could register again.
    let one = dps.client.get("/registrations/leaf-1").await.ok();
    assert_eq!(one, rows[0]);
    refused(&dps.client.delete("/registrations/leaf-1", Some("\"old\"")).await, 412, 412_203);
    assert_eq!(dps.client.delete("/registrations/leaf-1", one["etag"].as_str()).await.status, 204);
    refused(&dps.client.get("/registrations/leaf-1").await, 404, 404_203);
    assert_eq!(ids(&query().await.ok()), ["leaf-2"]);
    let none = dps.client.call_with(Method::POST, "/registrations/none/query", &[], "").await;
    refused(&none, 404, 404_202);
}

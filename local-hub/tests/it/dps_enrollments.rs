//! Individual enrolments and groups over the service API of a DPS, in the form that a live DPS was
//! recorded to answer in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use local_hub::Config;
use serde_json::{Value, json};

use crate::device::DeviceCa;
use crate::dps::{TestDps, with_dps};
use crate::support::{Answer, StoppedClock};

const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

fn keys() -> Value {
    json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": KEY, "secondaryKey": KEY}})
}

/// Checks that an answer is a refusal in the form of DPS.
#[track_caller]
pub(crate) fn refused(answer: &Answer, status: u16, code: u32) {
    let expected = Some(code.to_string());
    assert_eq!(
        (answer.status, answer.header("x-ms-error-code")),
        (status, expected.as_deref()),
        "{}",
        answer.text
    );
    let body = answer.json();
    assert_eq!(body["errorCode"], code);
    for member in ["message", "trackingId", "timestampUtc"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    }
}

/// The request of Microsoft's Python client, and what a live DPS answered to it.
#[tokio::test]
async fn an_enrolment_is_answered_as_by_a_live_service() {
    let clock = std::sync::Arc::new(StoppedClock(time::macros::datetime!(2023-05-19 23:10:45.1256254 UTC)));
    let dps = TestDps::start_with(Config { clock, ..with_dps() }).await;
    // The tokens of the test's client are of a later time.
    let request = json!({
        "registrationId": "pump-0001", "attestation": keys(), "allocationPolicy": "geoLatency",
        "capabilities": null, "reprovisionPolicy": {"migrateDeviceData": true, "updateHubAssignment": true},
        "customAllocationDefinition": null, "provisioningStatus": null, "deviceId": "pump",
        "optionalDeviceInformation": null, "iotHubs": null, "iotHubHostName": null,
        "initialTwin": {"properties": {"desired": {"key": "value"}}},
    });
    let written = dps.client.put("/enrollments/pump-0001", None, &request).await;
    assert_eq!(written.header("etag"), None);
    let etag = written.ok()["etag"].as_str().unwrap().to_owned();
    let expected = |state: &str, keys: &str| {
        format!(
            r#"{{"registrationId":"pump-0001","deviceId":"pump",{state}"attestation":{{"type":"symmetricKey"{keys}}},"initialTwin":{{"properties":{{"desired":{{"key":"value"}}}}}},"etag":"{etag}","provisioningStatus":null,"reprovisionPolicy":{{"updateHubAssignment":true,"migrateDeviceData":true}},"createdDateTimeUtc":"2023-05-19T23:10:45.1256254Z","lastUpdatedDateTimeUtc":"2023-05-19T23:10:45.1256254Z","allocationPolicy":"geoLatency"}}"#
        )
    };
    let shown_keys = format!(r#","symmetricKey":{{"primaryKey":"{KEY}","secondaryKey":"{KEY}"}}"#);
    assert_eq!(written.text, expected("", &shown_keys));
    let state = r#""registrationState":{"registrationId":"pump-0001","status":"unassigned"},"#;
    assert_eq!(dps.client.get("/enrollments/pump-0001").await.text, expected(state, ""));
    let rows = dps.client.post("/enrollments/query", &json!({"query": "SELECT *"})).await;
    assert_eq!(rows.text, format!("[{}]", expected("", "")));
    assert_eq!((rows.header("x-ms-item-type"), rows.header("x-ms-continuation")), (Some("Enrollment"), None));
    let mechanism = dps.client.post("/enrollments/pump-0001/attestationmechanism", &json!({})).await;
    assert_eq!(mechanism.ok(), keys());
    let etag = String::from_utf8(STANDARD.decode(etag).unwrap()).unwrap();
    assert!(etag.starts_with('"') && etag.ends_with("-0000-0800-0000-646801f50000\""), "{etag}");
}

#[tokio::test]
async fn an_enrolment_changes_by_its_etag_only() {
    let dps = TestDps::start().await;
    let (client, path) = (&dps.client, "/enrollments/pump-0001");
    let first = dps.enroll("pump-0001", keys(), json!({})).await;
    refused(&client.put(path, None, &first).await, 409, 409_201);
    let etag = first["etag"].as_str().unwrap();
    let mut changed = first.clone();
    changed["deviceId"] = json!("renamed");
    // The service sends the base64 text bare; clients send it back bare or in quotes.
    let second = client.put(path, Some(&format!("\"{etag}\"")), &changed).await.ok();
    assert_eq!(
        (&second["deviceId"], &second["createdDateTimeUtc"]),
        (&json!("renamed"), &first["createdDateTimeUtc"])
    );
    refused(&client.put(path, Some(etag), &changed).await, 412, 412_201);
    refused(&client.delete(path, Some(etag)).await, 412, 412_201);
    refused(
        &client
            .put("/enrollments/other", Some("*"), &json!({"registrationId": "other", "attestation": keys()}))
            .await,
        404,
        404_201,
    );
    assert_eq!(client.delete(path, None).await.status, 204);
    refused(&client.get(path).await, 404, 404_201);
    refused(&client.delete(path, None).await, 404, 404_201);
    assert_eq!(client.post("/enrollments/query", &json!({"query": "SELECT *"})).await.ok(), json!([]));
}

#[tokio::test]
async fn ids_are_the_same_in_any_letter_case() {
    let dps = TestDps::start().await;
    dps.enroll("Pump-0001", keys(), json!({})).await;
    let shown = dps.client.get("/ENROLLMENTS/pump-0001").await.ok();
    assert_eq!(shown["registrationId"], "Pump-0001");
    let again = json!({"registrationId": "PUMP-0001", "attestation": keys()});
    refused(&dps.client.put("/enrollments/PUMP-0001", None, &again).await, 409, 409_201);
}

#[tokio::test]
async fn certificates_are_answered_with_their_facts() {
    let dps = TestDps::start().await;
    let ca = DeviceCa::new();
    // Some clients send base64 of PEM.
    let certificate = STANDARD.encode(&ca.pem);
    let x509 = json!({"x509": {"clientCertificates": {"primary": {"certificate": certificate}}}});
    let shown = dps.enroll("pump-0001", x509, json!({})).await;
    let certificates = &shown["attestation"]["x509"]["clientCertificates"];
    let info = &certificates["primary"]["info"];
    assert_eq!((&info["subjectName"], &info["version"]), (&json!("CN=a CA for devices"), &json!(3)));
    assert_eq!(info["sha256Thumbprint"].as_str().unwrap().len(), 64);
    assert_eq!(certificates, &json!({"primary": {"info": info}, "secondary": {"info": info}}));
    let signing = json!({"x509": {"signingCertificates": {"primary": {"certificate": ca.pem}}}});
    let group = dps.enroll_group("factory", signing, json!({})).await;
    assert_eq!(group["attestation"]["x509"]["signingCertificates"]["primary"]["info"], *info);
    // A client that reads, changes and writes sends the facts back.
    let mut changed = group.clone();
    changed["provisioningStatus"] = json!("disabled");
    let written = dps.client.put("/enrollmentGroups/factory", group["etag"].as_str(), &changed).await.ok();
    assert_eq!(written["attestation"], group["attestation"]);
}

#[tokio::test]
async fn a_group_generates_keys_and_shows_them_on_request() {
    let dps = TestDps::start().await;
    let written = dps.enroll_group("factory", json!({"type": "symmetricKey"}), json!({})).await;
    let keys = &written["attestation"]["symmetricKey"];
    assert_eq!(STANDARD.decode(keys["primaryKey"].as_str().unwrap()).unwrap().len(), 32);
    let shown = dps.client.get("/enrollmentGroups/factory").await.ok();
    assert_eq!(shown["attestation"], json!({"type": "symmetricKey"}));
    let mechanism = dps.client.post("/enrollmentGroups/factory/attestationmechanism", &json!({})).await.ok();
    assert_eq!(mechanism, written["attestation"]);
    let rows =
        dps.client.post("/enrollmentGroups/query", &json!({"query": "SELECT * FROM enrollmentGroups"})).await;
    assert_eq!(
        (rows.header("x-ms-item-type"), rows.ok().as_array().unwrap().len()),
        (Some("EnrollmentGroup"), 1)
    );
    refused(&dps.client.get("/enrollmentGroups/none").await, 404, 404_202);
    let group = json!({"enrollmentGroupId": "factory", "attestation": {"type": "symmetricKey"}});
    refused(&dps.client.put("/enrollmentGroups/factory", None, &group).await, 409, 409_202);
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_the_rule() {
    let dps = TestDps::start().await;
    let entry = |change: fn(&mut Value)| {
        let mut entry = json!({"registrationId": "pump", "attestation": keys()});
        change(&mut entry);
        entry
    };
    for (entry, part) in [
        (entry(|entry| entry["registrationId"] = json!("other")), "is not the id in the path"),
        (
            entry(|entry| entry["attestation"] = json!({"type": "password"})),
            "`password` is no attestation type",
        ),
        (entry(|entry| entry["attestation"] = json!(null)), "the member `attestation` is missing"),
        (entry(|entry| entry["attestation"]["symmetricKey"]["primaryKey"] = json!("hunter2")), "primaryKey"),
        (
            entry(|entry| {
                entry["attestation"] =
                    json!({"x509": {"clientCertificates": {"primary": {"certificate": "MAECAw=="}}}})
            }),
            "no X.509 certificate",
        ),
        (
            entry(|entry| {
                entry["attestation"] =
                    json!({"x509": {"signingCertificates": {"primary": {"certificate": "MAECAw=="}}}})
            }),
            "belong to a group",
        ),
        (entry(|entry| entry["allocationPolicy"] = json!("custom")), "needs a customAllocationDefinition"),
        (entry(|entry| entry["allocationPolicy"] = json!("nearest")), "`nearest` is no allocationPolicy"),
        (entry(|entry| entry["deviceId"] = json!("a/b")), "deviceId: character '/'"),
        (entry(|entry| entry["initialTwin"] = json!({"tags": {"a.b": 1}})), "initialTwin: tags"),
        (
            entry(|entry| entry["initialTwin"] = json!({"tags": {"a": 9_007_199_254_740_993_u64}})),
            "outside the range",
        ),
    ] {
        let answer = dps.client.put("/enrollments/pump", None, &entry).await;
        refused(&answer, 400, 400_000);
        assert!(answer.text.contains(part) && !answer.text.contains("hunter2"), "{}", answer.text);
    }
    refused(&dps.client.get("/enrollments/a%20b").await, 400, 400_000);
    let too_large =
        json!({"registrationId": "pump", "attestation": keys(), "iotHubs": ["x".repeat(96 * 1024)]});
    refused(&dps.client.put("/enrollments/pump", None, &too_large).await, 413, 413_000);
    assert_eq!(dps.client.get("/enrollments/pump").await.status, 404);
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let dps = TestDps::start().await;
    refused(&dps.client.get("/nothing").await, 404, 404_000);
    refused(&dps.client.get("/enrollments").await, 405, 405_000);
    refused(&dps.client.get("/enrollments/pump?api-version=latest").await, 400, 400_000);
    let answer =
        dps.client.post("/enrollments/query", &json!({"query": "SELECT * WHERE deviceId = 'a'"})).await;
    refused(&answer, 501, 501_000);
}

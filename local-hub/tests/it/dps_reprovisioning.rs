//! Devices that register again: on the same hub, on a different one, with each policy.

use serde_json::{Value, json};

use crate::device::{DeviceCa, self_signed};
use crate::dps::{TestDps, of_client, of_keys, of_signer};
use crate::dps_allocation::with_second_hub;
use crate::support::Client;

async fn register(dps: &TestDps, id: &str) -> Value {
    let outcome = dps.register(dps.signed(id, &dps.key(id).await)).await;
    assert_eq!(outcome["status"], "assigned", "{outcome}");
    outcome["registrationState"].clone()
}

async fn set_rate(client: &Client, rate: u32) {
    client.patch("/twins/pump", Some("*"), &json!({"properties": {"desired": {"rate": rate}}})).await.ok();
}

async fn rate(client: &Client) -> Value {
    client.get("/twins/pump").await.ok()["properties"]["desired"]["rate"].clone()
}

fn initial(policy: Value) -> Value {
    json!({
        "allocationPolicy": "static", "iotHubs": ["localhost"], "reprovisionPolicy": policy,
        "initialTwin": {"properties": {"desired": {"rate": 1}}},
    })
}

fn elsewhere() -> Value {
    json!({"iotHubs": ["127.0.0.1"]})
}

#[tokio::test]
async fn a_device_that_registers_again_keeps_its_device_and_its_twin() {
    let dps = TestDps::start().await;
    dps.enroll("pump", of_keys(), initial(json!(null))).await;
    let first = register(&dps, "pump").await;
    set_rate(&dps.hub.client, 2).await;
    let disabled = json!({"deviceId": "pump", "status": "disabled"});
    dps.hub.client.put("/devices/pump", Some("*"), &disabled).await.ok();
    let again = register(&dps, "pump").await;
    assert_eq!(
        (&again["substatus"], &again["createdDateTimeUtc"], &again["assignedHub"]),
        (&json!("initialAssignment"), &first["createdDateTimeUtc"], &first["assignedHub"])
    );
    assert_ne!(again["etag"], first["etag"]);
    assert_eq!(rate(&dps.hub.client).await, 2);
    assert_eq!(dps.hub.client.get("/devices/pump").await.ok()["status"], "disabled");
    let key = dps.key("pump").await;
    let device = dps.hub.client.get("/devices/pump").await.ok();
    assert_eq!(device["authentication"]["symmetricKey"]["primaryKey"], key.as_str());
}

#[tokio::test]
async fn a_new_certificate_of_the_entry_reaches_the_hub() {
    let dps = TestDps::start().await;
    let (old, new) = (self_signed("pump"), self_signed("pump"));
    dps.enroll("pump", of_client(&old), json!({})).await;
    dps.register_with("pump", old).await;
    let thumbprint = || async {
        let device = dps.hub.client.get("/devices/pump").await.ok();
        device["authentication"]["x509Thumbprint"]["primaryThumbprint"].clone()
    };
    let before = thumbprint().await;
    dps.change("pump", json!({"attestation": of_client(&new)})).await;
    assert_eq!(dps.register_with("pump", new).await["status"], "assigned");
    assert_ne!(thumbprint().await, before);
}

#[tokio::test]
async fn a_registration_id_in_a_different_letter_case_is_the_same_device() {
    let (dps, ca) = (TestDps::start().await, DeviceCa::new());
    dps.enroll_group("all", of_signer(&ca), json!({})).await;
    for id in ["Pump", "pUMP"] {
        let outcome = dps.register_with(id, ca.issue(id)).await;
        assert_eq!(outcome["registrationState"]["deviceId"], "Pump", "{id}");
    }
    assert_eq!(dps.hub.client.get("/devices").await.ok().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reset_starts_with_the_initial_twin_on_the_same_hub_too() {
    let dps = TestDps::start().await;
    let policy = json!({"updateHubAssignment": true, "migrateDeviceData": false});
    dps.enroll("pump", of_keys(), initial(policy)).await;
    register(&dps, "pump").await;
    set_rate(&dps.hub.client, 2).await;
    assert_eq!(register(&dps, "pump").await["substatus"], "deviceDataReset");
    assert_eq!(rate(&dps.hub.client).await, 1);
}

#[tokio::test]
async fn a_device_moves_with_its_twin_and_without_its_modules() {
    let (dps, second, _folder) = with_second_hub().await;
    dps.enroll("pump", of_keys(), initial(json!(null))).await;
    register(&dps, "pump").await;
    set_rate(&dps.hub.client, 2).await;
    let module = json!({"deviceId": "pump", "moduleId": "m"});
    dps.hub.client.put("/devices/pump/modules/m", None, &module).await.ok();
    dps.change("pump", elsewhere()).await;
    let moved = register(&dps, "pump").await;
    assert_eq!(
        (&moved["substatus"], &moved["assignedHub"]),
        (&json!("deviceDataMigrated"), &json!("127.0.0.1"))
    );
    dps.hub.client.get("/devices/pump").await.with_status(404);
    assert_eq!(rate(&second.client).await, 2);
    assert_eq!(second.client.get("/devices/pump/modules").await.ok(), json!([]));
    set_rate(&second.client, 3).await;
    dps.change("pump", json!({"iotHubs": ["localhost"]})).await;
    assert_eq!(register(&dps, "pump").await["substatus"], "deviceDataMigrated");
    second.client.get("/devices/pump").await.with_status(404);
    assert_eq!(rate(&dps.hub.client).await, 3);
}

#[tokio::test]
async fn a_device_moves_without_its_twin_where_data_is_reset() {
    let (dps, second, _folder) = with_second_hub().await;
    let policy = json!({"updateHubAssignment": true, "migrateDeviceData": false});
    dps.enroll("pump", of_keys(), initial(policy)).await;
    register(&dps, "pump").await;
    set_rate(&dps.hub.client, 2).await;
    dps.change("pump", elsewhere()).await;
    assert_eq!(register(&dps, "pump").await["substatus"], "deviceDataReset");
    assert_eq!(rate(&second.client).await, 1);
    dps.hub.client.get("/devices/pump").await.with_status(404);
}

#[tokio::test]
async fn a_device_stays_where_it_is_never_to_move_and_comes_back_if_only_its_identity_is_deleted() {
    let (dps, second, _folder) = with_second_hub().await;
    let policy = json!({"updateHubAssignment": false, "migrateDeviceData": false});
    dps.enroll("pump", of_keys(), initial(policy)).await;
    register(&dps, "pump").await;
    set_rate(&dps.hub.client, 2).await;
    dps.change("pump", elsewhere()).await;
    assert_eq!(register(&dps, "pump").await["assignedHub"], "localhost");
    assert_eq!(rate(&dps.hub.client).await, 2);
    second.client.get("/devices/pump").await.with_status(404);
    dps.hub.client.delete("/devices/pump", Some("*")).await.with_status(204);
    register(&dps, "pump").await;
    assert_eq!(rate(&dps.hub.client).await, 1);
    // Without the registration record the hub is chosen again.
    dps.client.delete("/registrations/pump", None).await.with_status(204);
    assert_eq!(register(&dps, "pump").await["assignedHub"], "127.0.0.1");
}

#[tokio::test]
async fn a_device_that_registers_twice_at_once_is_made_once() {
    let dps = TestDps::start().await;
    dps.enroll("pump", of_keys(), json!({})).await;
    let (first, second) = tokio::join!(register(&dps, "pump"), register(&dps, "pump"));
    assert_eq!(first["createdDateTimeUtc"], second["createdDateTimeUtc"]);
    assert_eq!(dps.hub.client.get("/devices").await.ok().as_array().unwrap().len(), 1);
    // Taken out for good: entry, registration and identity.
    dps.client.delete("/enrollments/pump", None).await.with_status(204);
    let key = hub_types::SymmetricKey::from_bytes(&[7; 32]).expose_text().to_string();
    let refused = dps.register(dps.signed("pump", &key)).await;
    assert_eq!(refused["answer"]["errorCode"], 401_002);
}

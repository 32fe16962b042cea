//! Throttles and quotas, from the view of clients.

use std::num::NonZeroU32;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hub_types::limits::Tier;
use local_hub::{Charging, Config, Throttling};
use serde_json::{Value, json};
use time::Duration;

use crate::support::{TestHub, stopped_at};

/// A hub of this tier with one unit and a stopped clock, so that its buckets are not refilled.
async fn hub_of(tier: Tier, charging: Charging) -> TestHub {
    let throttling = Some(Throttling { tier, units: NonZeroU32::MIN, charging });
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    TestHub::start_with(Config { throttling, ..stopped_at(now) }).await
}

fn bulk(first: usize, count: usize) -> Value {
    (first..first + count).map(|n| json!({"id": format!("d{n}"), "importMode": "create"})).collect()
}

#[tokio::test]
async fn a_bulk_call_counts_once_for_each_identity() {
    let hub = hub_of(Tier::S1, Charging::PerIdentity).await;
    hub.client.post("/devices", &bulk(0, 50)).await.ok();
    hub.client.post("/devices", &bulk(50, 50)).await.ok();
    let refused = hub.client.post("/devices", &bulk(100, 50)).await;
    refused.refused(429, "ThrottlingException");
    assert!(
        refused.text.contains("Wait 10 seconds") && refused.text.contains("RegistryWrite"),
        "{refused:?}"
    );
    // As a live hub: no hint when to come back, and the connection ends.
    assert_eq!((refused.header("retry-after"), refused.header("connection")), (None, Some("close")));
    // Nothing of it was done, and other classes go on.
    assert_eq!(hub.client.get("/twins/d99").await.status, 200);
    assert_eq!(hub.client.get("/twins/d100").await.status, 404);
    hub.hub.clock().advance(Duration::minutes(1));
    hub.client.post("/devices", &bulk(100, 50)).await.ok();
}

#[tokio::test]
async fn a_bulk_call_counts_once_where_that_is_wanted() {
    let hub = hub_of(Tier::S1, Charging::PerCall).await;
    for call in 0..5 {
        hub.client.post("/devices", &bulk(call * 100, 100)).await.ok();
    }
    assert_eq!(hub.client.get("/statistics/devices").await.ok()["totalDeviceCount"], 500);
}

#[tokio::test]
async fn on_a_free_hub_the_messages_of_the_day_run_out() {
    let hub = hub_of(Tier::F1, Charging::PerIdentity).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    // 28 KB in pieces of half a KB.
    let notes: serde_json::Map<String, Value> =
        (0..7).map(|n| (format!("n{n}"), json!(["x".repeat(4000)]))).collect();
    let notes = json!({"properties": {"desired": notes}});
    let mut done = 0;
    let refused = loop {
        let answer = hub.client.patch("/twins/d", Some("*"), &notes).await;
        if answer.status != 200 {
            break answer;
        }
        done += 1;
        assert!(done < 200, "the quota is 8,000 messages");
    };
    refused.refused(403, "IotHubQuotaExceeded");
    assert!(done > 100, "{done}");
    assert!(refused.text.contains("of 8000"), "{}", refused.text);
    // The registry is not charged.
    hub.client.get("/devices/d").await.ok();
    hub.client.get("/twins/d").await.refused(403, "IotHubQuotaExceeded");
}

#[tokio::test]
async fn cloud_to_device_messages_are_held_back_and_charged() {
    let hub = hub_of(Tier::S1, Charging::PerIdentity).await;
    for device in ["d", "e", "f"] {
        hub.client.put(&format!("/devices/{device}"), None, &json!({ "deviceId": device })).await.ok();
    }
    let send = async |device: &str| {
        hub.client.post(&format!("/devices/{device}/messages/deviceBound"), &json!("x")).await
    };
    for n in 0..100 {
        send(["d", "e"][n % 2]).await.with_status(204);
    }
    // 100 a minute; 16 may wait for up to 10 seconds, so many are asked at once that some are refused.
    let mut many: FuturesUnordered<_> = (0..30).map(|_| send("f")).collect();
    let first = many.next().await.unwrap();
    first.refused(429, "ThrottlingException");
    assert!(first.text.contains("SendCommand"), "{}", first.text);
    drop(many);
    hub.hub.clock().advance(Duration::minutes(2));
    send("f").await.with_status(204);
}

#[tokio::test]
async fn direct_methods_count_by_4_kb() {
    let hub = hub_of(Tier::S1, Charging::PerIdentity).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    let call = async |bytes: usize| {
        let method = json!({"methodName": "m", "payload": "x".repeat(bytes)});
        hub.client.post("/twins/d/methods", &method).await
    };
    // A minute's worth is 2,400 pieces: 75 times 32.
    for _ in 0..75 {
        call(127 * 1024).await.refused(404, "DeviceNotOnline");
    }
    let mut many: FuturesUnordered<_> = (0..30).map(|_| call(127 * 1024)).collect();
    many.next().await.unwrap().refused(429, "ThrottlingException");
    drop(many);
    hub.hub.clock().advance(Duration::minutes(2));
    call(1).await.refused(404, "DeviceNotOnline");
}

#[tokio::test]
async fn direct_methods_are_charged_both_ways() {
    let hub = hub_of(Tier::F1, Charging::PerIdentity).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    // 100 KB are 200 messages of half a KB, and one more says that the device is not online.
    let method = json!({"methodName": "m", "payload": "x".repeat(100 * 1024 - 2)});
    for _ in 0..39 {
        hub.client.post("/twins/d/methods", &method).await.refused(404, "DeviceNotOnline");
    }
    hub.client.get("/twins/d").await.ok();
    hub.client.post("/twins/d/methods", &method).await.refused(404, "DeviceNotOnline");
    let refused = hub.client.post("/twins/d/methods", &method).await;
    refused.refused(403, "IotHubQuotaExceeded");
    assert!(refused.text.contains("8042 of 8000"), "{}", refused.text);
}

#[tokio::test]
async fn a_basic_hub_has_no_twins() {
    let hub = hub_of(Tier::B1, Charging::PerIdentity).await;
    hub.client.put("/devices/d", None, &json!({"deviceId": "d"})).await.ok();
    hub.client.get("/twins/d").await.refused(403, "OperationNotAvailableInCurrentTier");
    let sent = hub.client.post("/devices/d/messages/deviceBound", &json!("x")).await;
    sent.refused(403, "OperationNotAvailableInCurrentTier");
    hub.client.query("SELECT * FROM devices", &[]).await.ok();
}

#[tokio::test]
async fn without_a_tier_nothing_is_slowed_down() {
    let hub = TestHub::start().await;
    for call in 0..20 {
        hub.client.post("/devices", &bulk(call * 100, 100)).await.ok();
    }
}

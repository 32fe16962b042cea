//! `/statistics`.

use serde_json::json;

use super::{Recorded, members};

#[tokio::test]
async fn statistics_client_device_successful_response() {
    let hub = Recorded::start().await;
    hub.device("a").await;
    hub.put("/devices/b", None, &json!({"deviceId": "b", "status": "disabled"})).await.ok();
    let answer = hub.get("/statistics/devices").await;
    assert_eq!(members(&answer.text), ["totalDeviceCount", "enabledDeviceCount", "disabledDeviceCount"]);
    let expected = json!({"totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1});
    assert_eq!(answer.ok(), expected);
}

#[tokio::test]
async fn statistics_client_service_successful_response() {
    let hub = Recorded::start().await;
    assert_eq!(hub.get("/statistics/service").await.ok(), json!({"connectedDeviceCount": 0}));
}

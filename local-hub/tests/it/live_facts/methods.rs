//! `/twins/{id}/methods`.

use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::json;

use super::Recorded;
use crate::device::{Device, Login, create_device, create_module};
use crate::support::with_devices;

#[tokio::test]
async fn devices_and_modules_client_invoke_method_async() {
    let hub = Recorded::start_with(with_devices()).await;
    let client = &hub.hub.client;
    let (key, module) = (create_device(client, "d").await, create_module(client, "d", "m").await);
    let body = json!({"methodName": "doIt", "responseTimeoutInSeconds": 5, "connectTimeoutInSeconds": 5});
    for (identity, key, path) in
        [("d", &key, "/twins/d/methods"), ("d/m", &module, "/twins/d/modules/m/methods")]
    {
        let mut device = Device::connect(&hub.hub, Login::signed(identity, key)).await.unwrap();
        device.subscribe("$iothub/methods/POST/#", Qos::AtLeastOnce).await;
        let (called, ()) = tokio::join!(hub.ask(Method::POST, path, None, Some(&body)), async {
            let (topic, _) = device.message().await;
            let rid = topic.split_once("?$rid=").unwrap().1;
            device.publish(&format!("$iothub/methods/res/222/?$rid={rid}"), "", Qos::AtMostOnce).await;
        });
        assert_eq!((called.status, called.text.as_str()), (200, r#"{"status":222,"payload":null}"#));
    }
}

//! Faults from the view of devices, and the lines of devices in the request log.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hub_types::ErrorCode;
use local_hub::{Config, Effect, Fault, Faults};
use mqtt_protocol_core::mqtt::packet::Qos;
use reqwest::Method;
use serde_json::{Value, json};

use crate::device::{Device, Login, create_device, create_module};
use crate::management::{ask, managed};
use crate::support::{TestHub, with_devices};

const GET_TWIN: &str = "$iothub/twin/GET/?$rid=1";
const REPORT: &str = "$iothub/twin/PATCH/properties/reported/?$rid=1";
const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";
const COMMANDS: &str = "devices/d/messages/devicebound/#";
const EVENTS: &str = "devices/d/messages/events/";

/// A hub with a request log, and one device.
struct Scene {
    hub: TestHub,
    key: String,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("requests.jsonl");
        let hub = TestHub::start_with(Config { request_log: Some(log.clone()), ..with_devices() }).await;
        let key = create_device(&hub.client, "d").await;
        Self { hub, key, log, _folder: folder }
    }

    async fn device(&self) -> Device {
        Device::connect(&self.hub, Login::signed("d", &self.key)).await.unwrap()
    }

    /// A device that is subscribed to the responses to its twin requests.
    async fn listening(&self) -> Device {
        let mut device = self.device().await;
        assert_eq!(device.subscribe(RESPONSES, Qos::AtLeastOnce).await, 1);
        device
    }

    /// Makes the next operation of that name fail, and no other.
    fn once(&self, operation: &str, effect: Effect) {
        let fault = Fault::always(effect).of(operation).times(1);
        self.hub.hub.set_faults(Faults { seed: 0, faults: vec![fault] }).unwrap();
    }

    async fn reported(&self) -> Value {
        self.hub.client.get("/twins/d").await.ok()["properties"]["reported"]["fw"].clone()
    }

    /// The lines of one operation in the log: status, error code, fault.
    fn noted(&self, operation: &str) -> Vec<Value> {
        let lines = lines(&self.log).into_iter().filter(|line| line["operation"] == operation);
        lines.map(|line| json!([line["status"], line["errorcode"], line["fault"]])).collect()
    }
}

fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn status(status: u16, code: Option<ErrorCode>) -> Effect {
    Effect::Status { status, code, retry_after: None }
}

#[tokio::test]
async fn twin_requests_are_answered_with_errors_and_nothing_is_done() {
    let scene = Scene::new().await;
    let mut device = scene.listening().await;
    for (number, code) in [
        (429, Some(ErrorCode::ThrottlingException)),
        (500, Some(ErrorCode::ServerError)),
        (502, None),
        (503, Some(ErrorCode::ServiceUnavailable)),
    ] {
        for (operation, topic) in [("DeviceGetTwin", GET_TWIN), ("DevicePatchReported", REPORT)] {
            scene.once(operation, status(number, code));
            device.publish(topic, r#"{"fw": "1"}"#, Qos::AtLeastOnce).await;
            let answer = device.json_on(&format!("$iothub/twin/res/{number}/?$rid=1")).await;
            assert_eq!(answer["errorCode"], code.map_or(0, ErrorCode::number), "{answer}");
        }
    }
    assert_eq!(scene.reported().await, Value::Null);
    device.publish(REPORT, r#"{"fw": "1"}"#, Qos::AtLeastOnce).await;
    device.json_on("$iothub/twin/res/204/?$rid=1&$version=2").await;
    assert_eq!(
        scene.noted("DevicePatchReported")[2..],
        [
            json!([502, "BadGateway", "status"]),
            json!([503, "ServiceUnavailable", "status"]),
            json!([204, null, null])
        ]
    );
}

#[tokio::test]
async fn an_answer_is_lost_after_the_effect_and_after_it_only() {
    let scene = Scene::new().await;
    for (effect, done) in [(Effect::LoseAnswer, true), (Effect::Reset, false)] {
        let mut device = scene.listening().await;
        let value = effect.name();
        scene.once("DevicePatchReported", effect.clone());
        device.publish(REPORT, &json!({ "fw": value }).to_string(), Qos::AtMostOnce).await;
        let (bytes, error) = device.last_bytes().await;
        assert_eq!(bytes, b"", "{value}");
        let was_reset = error.as_ref().is_some_and(|error| error.kind() == ErrorKind::ConnectionReset);
        assert_eq!(was_reset, effect == Effect::Reset, "{error:?}");
        assert_eq!(scene.reported().await == value, done, "{value}");
    }
    assert_eq!(
        scene.noted("DevicePatchReported"),
        [json!([204, null, "lose-answer"]), json!([null, null, "reset"])]
    );
}

#[tokio::test]
async fn half_an_answer_is_the_beginning_of_one() {
    let scene = Scene::new().await;
    let mut device = scene.listening().await;
    scene.once("DeviceGetTwin", Effect::HalfAnswer);
    device.publish(GET_TWIN, "", Qos::AtMostOnce).await;
    let (bytes, _) = device.last_bytes().await;
    // The type of the packet, its length, then the length of its topic.
    let promised = usize::from(bytes[1]) + 2;
    assert_eq!((bytes[0] >> 4, bytes.len()), (3, promised / 2), "{bytes:?}");
}

#[tokio::test]
async fn slow_answers_arrive_whole_and_late() {
    let scene = Scene::new().await;
    let mut device = scene.listening().await;
    // The answer has about 90 bytes.
    for (effect, at_least) in [(Effect::Delay(Duration::from_millis(50)), 50), (Effect::Drip(200), 200)] {
        scene.once("DeviceGetTwin", effect);
        let begun = Instant::now();
        device.publish(GET_TWIN, "", Qos::AtMostOnce).await;
        let twin = device.json_on("$iothub/twin/res/200/?$rid=1").await;
        assert_eq!(twin["desired"]["$version"], 1);
        assert!(begun.elapsed() >= Duration::from_millis(at_least), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn what_hangs_ends_when_the_faults_do_and_nothing_is_done() {
    let scene = Scene::new().await;
    let mut device = scene.listening().await;
    scene.once("DevicePatchReported", Effect::Hang(None));
    device.publish(REPORT, r#"{"fw": "1"}"#, Qos::AtMostOnce).await;
    while scene.noted("DevicePatchReported").is_empty() {
        tokio::task::yield_now().await;
    }
    scene.hub.hub.set_faults(Faults::default()).unwrap();
    assert_eq!(device.last_bytes().await.0, b"");
    assert_eq!(scene.reported().await, Value::Null);
    assert_eq!(scene.noted("DevicePatchReported"), [json!([null, null, "hang"])]);
}

#[tokio::test]
async fn a_hanging_connection_makes_room_for_the_next() {
    let scene = Scene::new().await;
    let mut device = scene.listening().await;
    scene.once("DeviceGetTwin", Effect::Hang(None));
    device.publish(GET_TWIN, "", Qos::AtMostOnce).await;
    while scene.noted("DeviceGetTwin").is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.device().await.twin().await["desired"]["$version"], 1);
    device.closed().await;
}

#[tokio::test]
async fn connect_is_refused_as_the_fault_says() {
    let scene = Scene::new().await;
    for (number, code, connack) in [
        (429, ErrorCode::ThrottlingException, 3),
        (503, ErrorCode::ServiceUnavailable, 3),
        (401, ErrorCode::IotHubUnauthorizedAccess, 5),
    ] {
        scene.once("DeviceConnect", status(number, Some(code)));
        let refused = Device::connect(&scene.hub, Login::signed("d", &scene.key)).await;
        assert_eq!(refused.map(drop), Err(connack), "{number}");
    }
    assert_eq!(scene.hub.client.get("/twins/d").await.ok()["connectionState"], "Disconnected");
    scene.once("DeviceConnect", status(503, Some(ErrorCode::ServerBusy)));
    // Who has no right to connect is told so, and uses no fault up.
    let wrong = Device::connect(&scene.hub, Login::of("d")).await;
    assert_eq!(wrong.map(drop), Err(5));
    let refused = Device::connect(&scene.hub, Login::signed("d", &scene.key)).await;
    assert_eq!(refused.map(drop), Err(3));
    scene.device().await.ping().await;
    assert_eq!(
        scene.noted("DeviceConnect")[2..],
        [
            json!([401, "IotHubUnauthorizedAccess", "status"]),
            json!([401, "IotHubUnauthorizedAccess", null]),
            json!([503, "ServerBusy", "status"]),
            json!([200, null, null])
        ]
    );
}

#[tokio::test]
async fn what_mqtt_cannot_refuse_ends_the_connection() {
    let scene = Scene::new().await;
    let busy = || status(503, Some(ErrorCode::ServiceUnavailable));
    let mut device = scene.device().await;
    scene.once("DeviceSendTelemetry", busy());
    device.publish(EVENTS, "21.5", Qos::AtMostOnce).await;
    device.closed().await;
    assert_eq!(scene.hub.hub.telemetry_count(), 0);

    let mut device = scene.device().await;
    scene.once("DeviceSubscribe", busy());
    assert_eq!(device.subscribe(RESPONSES, Qos::AtLeastOnce).await, 128, "SUBACK can refuse");
    assert_eq!(device.subscribe(RESPONSES, Qos::AtLeastOnce).await, 1);
    device.publish(EVENTS, "21.5", Qos::AtLeastOnce).await;
    assert_eq!(scene.hub.hub.telemetry_count(), 1);
}

#[tokio::test]
async fn a_message_whose_acknowledgement_is_lost_comes_again() {
    let scene = Scene::new().await;
    let mut device = scene.device().await;
    device.subscribe(COMMANDS, Qos::AtLeastOnce).await;
    scene.once("DeviceCompleteCommand", Effect::Reset);
    scene.hub.client.post("/devices/d/messages/deviceBound", &json!("open")).await.with_status(204);
    assert_eq!(device.message().await.1, b"\"open\"");
    device.closed().await;
    scene.once("DeviceReceiveCommand", Effect::LoseAnswer);
    scene.device().await.closed().await;
    let mut device = scene.device().await;
    assert_eq!(device.message().await.1, b"\"open\"");
    device.ping().await;
    assert_eq!(scene.hub.client.get("/devices/d").await.ok()["cloudToDeviceMessageCount"], 0);
}

#[tokio::test]
async fn a_notification_that_is_lost_is_seen_by_the_next_read() {
    let scene = Scene::new().await;
    let mut device = scene.device().await;
    device.subscribe(DESIRED, Qos::AtLeastOnce).await;
    scene.once("DeviceReceiveDesired", Effect::LoseAnswer);
    let patch = json!({"properties": {"desired": {"a": 1}}});
    scene.hub.client.patch("/twins/d", None, &patch).await.ok();
    device.closed().await;
    assert_eq!(scene.device().await.twin().await["desired"], json!({"a": 1, "$version": 2}));
}

#[tokio::test]
async fn a_method_that_does_not_arrive_is_told_to_its_caller() {
    let scene = Scene::new().await;
    let mut device = scene.device().await;
    device.subscribe("$iothub/methods/POST/#", Qos::AtMostOnce).await;
    scene.once("DeviceReceiveMethod", Effect::Reset);
    let called = scene.hub.client.post("/twins/d/methods", &json!({"methodName": "reboot"})).await;
    called.refused(404, "DeviceNotOnline");
    device.closed().await;
}

#[tokio::test]
async fn a_file_and_the_management_port_know_the_operations_of_devices() {
    let refused = "[[fault]]\neffect = 'status'\nstatus = 503\noperation = 'DeviceGetTwin'\ncount = 1";
    let faults = Faults::parse(refused).unwrap();
    let hub = TestHub::start_with(Config { faults, mqtt: with_devices().mqtt, ..managed() }).await;
    let key = create_device(&hub.client, "d").await;
    let mut device = Device::connect(&hub, Login::signed("d", &key)).await.unwrap();
    device.subscribe(RESPONSES, Qos::AtMostOnce).await;
    for status in [503, 200] {
        device.publish(GET_TWIN, "", Qos::AtMostOnce).await;
        device.json_on(&format!("$iothub/twin/res/{status}/?$rid=1")).await;
    }
    let lost = json!({"fault": [{"operation": "DeviceSendTelemetry", "effect": "lose-answer"}]});
    assert_eq!(ask(&hub, Method::PUT, "/faults", lost).await.0, 200);
    device.publish(EVENTS, "21.5", Qos::AtMostOnce).await;
    device.closed().await;
    assert_eq!(hub.hub.telemetry_count(), 1);
}

/// The decisions for 30 twin reads, on a new hub.
async fn hits(seed: u64) -> Vec<bool> {
    let scene = Scene::new().await;
    let mut device = scene.listening().await;
    let busy = status(503, Some(ErrorCode::ServiceUnavailable));
    let fault = Fault::always(busy).of("DeviceGetTwin").with_probability(0.5);
    scene.hub.hub.set_faults(Faults { seed, faults: vec![fault] }).unwrap();
    let mut hits = Vec::new();
    for _ in 0..30 {
        device.publish(GET_TWIN, "", Qos::AtMostOnce).await;
        hits.push(device.message().await.0.contains("/503/"));
    }
    hits
}

#[tokio::test]
async fn the_same_seed_hits_the_same_requests() {
    let (first, again, other) = (hits(7).await, hits(7).await, hits(8).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first.contains(&true) && first.contains(&false));
}

#[tokio::test]
async fn every_operation_of_a_device_has_its_line_and_no_line_a_secret() {
    let scene = Scene::new().await;
    let client = &scene.hub.client;
    let mut device = scene.listening().await;
    device.subscribe("#", Qos::AtMostOnce).await;
    for feed in [DESIRED, COMMANDS, "$iothub/methods/POST/#"] {
        device.subscribe(feed, Qos::AtLeastOnce).await;
    }
    device.publish(GET_TWIN, "", Qos::AtLeastOnce).await;
    device.message().await;
    device.publish(REPORT, r#"{"pin": "s3cret"}"#, Qos::AtLeastOnce).await;
    device.message().await;
    device.publish(REPORT, "no JSON", Qos::AtLeastOnce).await;
    device.message().await;
    device.publish(&format!("{EVENTS}pin=s3cret"), "s3cret", Qos::AtLeastOnce).await;
    client.patch("/twins/d", None, &json!({"properties": {"desired": {"pin": "s3cret"}}})).await.ok();
    device.message().await;
    client.post("/devices/d/messages/deviceBound", &json!("s3cret")).await.with_status(204);
    device.message().await;
    device.ping().await;
    let method = json!({"methodName": "reboot", "payload": "s3cret"});
    let call = client.post("/twins/d/methods", &method);
    let answer = async {
        let (topic, _) = device.message().await;
        let (_, query) = topic.split_once('?').unwrap();
        device.publish(&format!("$iothub/methods/res/200/?{query}"), "\"s3cret\"", Qos::AtLeastOnce).await;
    };
    tokio::join!(call, answer).0.ok();
    device.unsubscribe(COMMANDS).await;
    device.disconnect().await;
    let module = create_module(client, "d", "m").await;
    let mut device = Device::connect(&scene.hub, Login::signed("d/m", &module)).await.unwrap();
    device.publish("devices/other/messages/events/", "", Qos::AtMostOnce).await;
    device.closed().await;

    let text = std::fs::read_to_string(&scene.log).unwrap();
    for secret in ["s3cret", "SharedAccess", "sig=", &scene.key, &module] {
        assert!(!text.contains(secret), "{secret}");
    }
    let lines = lines(&scene.log).into_iter().filter(|line| line.get("method").is_none());
    let seen: Vec<_> = lines
        .map(|line| {
            assert_eq!(line["agent"], "test");
            assert!(line["time"].is_string() && line["milliseconds"].is_u64(), "{line}");
            let outcome = [&line["status"], &line["errorcode"], &line["reason"]];
            let outcome: Vec<_> = outcome.into_iter().filter(|value| !value.is_null()).collect();
            format!("{} {} {}", line["identity"], line["operation"], json!(outcome)).replace('"', "")
        })
        .collect();
    assert_eq!(
        seen,
        [
            "d DeviceConnect [200]",
            "d DeviceSubscribe [200]",
            "d DeviceSubscribe [401,IotHubUnauthorizedAccess]",
            "d DeviceSubscribe [200]",
            "d DeviceSubscribe [200]",
            "d DeviceSubscribe [200]",
            "d DeviceGetTwin [200]",
            "d DevicePatchReported [204]",
            "d DevicePatchReported [400,IotHubFormatError]",
            "d DeviceSendTelemetry [204]",
            "d DeviceReceiveDesired [200]",
            "d DeviceReceiveCommand [200]",
            "d DeviceCompleteCommand [204]",
            "d DeviceReceiveMethod [200]",
            "d DeviceAnswerMethod [204]",
            "d DeviceUnsubscribe [200]",
            "d DeviceDisconnect [disconnected]",
            "d/m DeviceConnect [200]",
            "d/m DeviceDisconnect [violation]",
        ]
    );
}

//! Invalid behaviour of clients. It ends their connection and affects no other.

use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::Qos;
use proptest::prelude::*;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::device::{Device, Login, create_device};
use crate::support::TestHub;

struct Scene {
    hub: TestHub,
    key: String,
    bystander: Device,
}

impl Scene {
    async fn set() -> Self {
        let hub = TestHub::with_devices().await;
        let key = create_device(&hub.client, "d").await;
        let bystander = create_device(&hub.client, "b").await;
        let bystander = Device::connect(&hub, Login::signed("b", &bystander)).await.unwrap();
        Self { hub, key, bystander }
    }

    async fn connect(&self) -> Device {
        Device::connect(&self.hub, Login::signed("d", &self.key)).await.unwrap()
    }
}

#[tokio::test]
async fn a_topic_with_a_wildcard_ends_the_connection() {
    let hub = TestHub::with_devices().await;
    let key = hub.hub.connection_string("device").unwrap().key;
    for (id, topic) in [
        ("d", "devices/d/messages/events/#"),
        ("d", "devices/+/messages/events/"),
        ("d", "devices/d/messages/events/a=b+c"),
        ("d", "$iothub/twin/GET/?$rid=+"),
        // A legal id, whose device can send nothing.
        ("d+1", "devices/d+1/messages/events/"),
    ] {
        hub.client.post("/devices", &json!([{"id": id, "importMode": "create"}])).await;
        let login = Login::of(id).with_token(Some("device"), key.expose_text(), "localhost", 60);
        let mut device = Device::connect(&hub, login).await.unwrap();
        let [length, whole] = [topic.len(), topic.len() + 2].map(|length| u8::try_from(length).unwrap());
        device.send_bytes(&[&[0x30, whole, 0, length], topic.as_bytes()].concat()).await;
        device.closed().await;
        assert_eq!(hub.hub.telemetry_count(), 0, "{topic}");
    }
}

#[tokio::test]
async fn malformed_packets_end_their_connection_only() {
    let mut scene = Scene::set().await;
    for bytes in [
        &[0x00, 0x00][..],                           // a packet type that does not exist
        &[0xF0, 0x00],                               // another one
        &[0x20, 0x02, 0x00, 0x00],                   // CONNACK, which only servers send
        &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],       // a length of five bytes
        &[0x30, 0xFF, 0xFF, 0xFF, 0x7F],             // 256 MB to come
        &[0x32, 0x02, 0x00, 0x05],                   // PUBLISH with a topic that is cut off
        &[0x30, 0x04, 0x00, 0x02, 0xC3, 0x28],       // a topic that is not UTF-8
        &[0x36, 0x05, 0x00, 0x01, b'a', 0x00, 0x01], // a quality of service of 3
        &[0x82, 0x02, 0x00, 0x01],                   // SUBSCRIBE without a filter
        &[0x40, 0x02, 0x12, 0x34],                   // PUBACK for what was never sent
    ] {
        let mut device = scene.connect().await;
        device.send_bytes(bytes).await;
        device.closed().await;
        scene.bystander.ping().await;
    }
    scene.connect().await.twin().await;
}

#[tokio::test]
async fn nothing_but_connect_can_come_first_and_only_once() {
    let mut scene = Scene::set().await;
    for bytes in [&[0xC0, 0x00][..], &[0x30, 0x03, 0x00, 0x01, b'a'], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut nobody = Device::open(&scene.hub, None).await;
        nobody.send_bytes(bytes).await;
        nobody.closed().await;
    }
    let mut device = scene.connect().await;
    // CONNECT once more.
    device.send_bytes(&[0x10, 0x0D, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 1, b'd']).await;
    device.closed().await;
    scene.bystander.ping().await;
}

#[tokio::test]
async fn nobody_touches_anothers_topics() {
    let mut scene = Scene::set().await;
    for topic in
        ["devices/b/messages/events/", "devices/d/messages/devicebound/", "$iothub/twin/res/200/", "x"]
    {
        let mut device = scene.connect().await;
        device.publish(topic, "x", Qos::AtMostOnce).await;
        device.closed().await;
    }
    let mut device = scene.connect().await;
    device.publish("devices/d/messages/events/", "x", Qos::ExactlyOnce).await;
    device.closed().await;
    scene.bystander.ping().await;
    assert_eq!(scene.hub.hub.telemetry_count(), 0);
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_connection() {
    let mut scene = Scene::set().await;
    let mut device = scene.connect().await;
    device.publish("devices/d/messages/events/", &"x".repeat(256 * 1024), Qos::AtLeastOnce).await;
    assert_eq!(scene.hub.hub.telemetry_count(), 1);
    device.publish("devices/d/messages/events/", &"x".repeat(256 * 1024 + 1), Qos::AtMostOnce).await;
    device.closed().await;
    scene.bystander.ping().await;
}

#[tokio::test]
async fn a_client_that_acknowledges_nothing_is_cut_off_and_bounded() {
    let mut scene = Scene::set().await;
    let mut device = scene.connect().await;
    device.subscribe("$iothub/twin/res/#", Qos::AtLeastOnce).await;
    for _ in 0..101 {
        device.publish("$iothub/twin/GET/?$rid=1", "", Qos::AtMostOnce).await;
    }
    device.closed().await;
    scene.bystander.ping().await;
}

#[tokio::test]
async fn who_does_not_speak_tls_does_not_hold_the_others_up() {
    let mut scene = Scene::set().await;
    let address = scene.hub.hub.mqtt_addr().unwrap();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    scene.connect().await.twin().await;
    scene.bystander.ping().await;
}

/// From here on the runtime's clock jumps to the next deadline, so the hub's ten seconds take no
/// time. The test's deadline is in real time.
#[tokio::test]
async fn a_handshake_that_never_ends_is_hung_up_on() {
    let hub = TestHub::with_devices().await;
    // The beginning of a ClientHello, of which more is to come.
    let begun: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    tokio::time::pause();
    for address in [hub.hub.mqtt_addr().unwrap(), hub.hub.https_addr()] {
        for said in [&[], begun] {
            let (deadline, since) = (std::time::Instant::now() + DEADLINE, tokio::time::Instant::now());
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            stream.write_all(said).await.unwrap();
            let mut rest = Vec::new();
            let mut end = std::pin::pin!(stream.read_to_end(&mut rest));
            while timeout(Duration::from_secs(1), end.as_mut()).await.is_err() {
                assert!(std::time::Instant::now() < deadline, "{address} {said:?}");
            }
            assert!(since.elapsed() >= Duration::from_secs(10), "{:?}", since.elapsed());
        }
    }
}

/// The time limit of a step, which a busy machine never reaches.
const DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn no_bytes_harm_the_hub() {
    let cases = std::env::var("LOCAL_HUB_FUZZ_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(64);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut scene = runtime.block_on(Scene::set());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(cases));
    // Bytes that begin as packets do get further in.
    let packet = (0_u8..=255, proptest::collection::vec(any::<u8>(), 0..100)).prop_map(|(first, rest)| {
        let mut bytes = vec![first, u8::try_from(rest.len()).unwrap()];
        bytes.extend(rest);
        bytes
    });
    runner
        .run(&proptest::collection::vec(packet, 1..6), |packets| {
            runtime.block_on(async {
                let mut nobody = Device::open(&scene.hub, None).await;
                nobody.send_bytes(&packets.concat()).await;
                let mut device = scene.connect().await;
                device.send_bytes(&packets.concat()).await;
                Ok(())
            })
        })
        .unwrap();
    runtime.block_on(async {
        scene.bystander.ping().await;
        scene.connect().await.twin().await;
    });
}

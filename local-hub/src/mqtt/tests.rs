//! Tests of behaviour that takes minutes on a real connection, without real waiting: the runtime's
//! clock jumps to the next deadline.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use hub_types::limits::Tier;
use hub_types::sas::SasToken;
use hub_types::twin::TwinPatch;
use hub_types::{IdentityId, IfMatch};
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::Event;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Connect, Publish, Subscribe};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::*;
use crate::access::certificates::DeviceCas;
use crate::access::policy::Policies;
use crate::blobs::Blobs;
use crate::clock::{Clock, MovableClock, SystemClock};
use crate::device_to_cloud::MessageLog;
use crate::hub::Hub;
use crate::listener::resettable::Reset;
use crate::request_log::connection::ConnectionLog;
use crate::storage::hub_tables::Stored;
use crate::throttle::{Charging, Throttle, Throttling};

const RESPONSES: &str = "$iothub/twin/res/#";
const EVENTS: &str = "devices/d/messages/events/";

/// A hub of one unit with the device `d`, on a stopped clock, so that no bucket is refilled.
async fn authenticator(tier: Tier) -> Arc<Authenticator> {
    let clock = Arc::new(MovableClock::over(Arc::new(SystemClock)));
    clock.stop();
    let limits = Throttling { tier, units: NonZeroU32::MIN, charging: Charging::default() };
    let throttle = Throttle::new(Some(limits), Arc::clone(&clock) as Arc<dyn Clock>);
    let (policies, blobs) = (Policies::generate(), Blobs::new(None));
    let hub =
        Arc::new(Hub::new(Stored::default(), None, policies, clock, throttle, blobs, MessageLog::disabled()));
    hub.import(br#"{"devices": {"d": {"identity": {}}}}"#, false).await.unwrap();
    Arc::new(Authenticator::new(hub, DeviceCas::read(&[]).unwrap(), None))
}

/// The device's end of a connection.
struct TestClient {
    stream: DuplexStream,
    mqtt: Connection<role::Client>,
    received: VecDeque<Packet>,
}

impl TestClient {
    /// Opens a connection and sends nothing.
    fn silent(authenticator: &Arc<Authenticator>) -> Self {
        let (stream, far_end) = duplex(64 * 1024);
        let authenticator = Arc::clone(authenticator);
        let log = Arc::new(ConnectionLog::new(Arc::clone(authenticator.hub.clock()), None));
        let peer = Peer::new(log, Mqtts::<Authenticator>::SCHEME, ([127, 0, 0, 1], 1).into());
        tokio::spawn(async move {
            run(&*authenticator, far_end, &[], &peer, &Reset::default(), &CancellationToken::new()).await;
        });
        Self { stream, mqtt: Connection::new(Version::V3_1_1), received: VecDeque::new() }
    }

    /// Connects; the error is the code of CONNACK.
    async fn connect(authenticator: &Arc<Authenticator>) -> Result<Self, u8> {
        let mut client = Self::silent(authenticator);
        client.send(Self::hello(authenticator)).await;
        match client.next().await {
            Some(Packet::V3_1_1Connack(connack)) if connack.return_code() as u8 == 0 => Ok(client),
            Some(Packet::V3_1_1Connack(connack)) => Err(connack.return_code() as u8),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    /// CONNECT of a device that is let in.
    fn hello(authenticator: &Authenticator) -> Connect {
        let key = authenticator.hub.policies().find("device").unwrap().primary_key();
        let token = SasToken::sign(
            "localhost/devices/d",
            Some("device"),
            key,
            authenticator.hub.unix_seconds() + 9999,
        );
        let user_name = "localhost/d/?api-version=2021-04-12";
        let connect = Connect::builder().client_id("d").unwrap().user_name(user_name).unwrap();
        let connect = connect.keep_alive(0).password(token.expose_text().as_bytes().to_vec()).unwrap();
        connect.build().unwrap()
    }

    async fn subscribe(&mut self, filter: &str) {
        let id = self.mqtt.acquire_packet_id().unwrap();
        let entry = SubEntry::new(filter, SubOpts::new().set_qos(Qos::AtMostOnce)).unwrap();
        self.send(Subscribe::builder().packet_id(id).entries(vec![entry]).build().unwrap()).await;
        assert!(matches!(self.next().await, Some(Packet::V3_1_1Suback(_))));
    }

    async fn publish(&mut self, topic: &str, payload: &[u8]) {
        let publish = Publish::builder().topic_name(topic).unwrap().payload(payload.to_vec());
        self.send(publish.qos(Qos::AtMostOnce).build().unwrap()).await;
    }

    /// Sends a request, and returns the status of the response.
    async fn ask(&mut self, topic: &str, payload: &[u8]) -> u16 {
        self.publish(topic, payload).await;
        match self.next().await {
            Some(Packet::V3_1_1Publish(answer)) => {
                let topic = answer.topic_name();
                topic.strip_prefix("$iothub/twin/res/").unwrap().split('/').next().unwrap().parse().unwrap()
            }
            other => panic!("no answer but {other:?}"),
        }
    }

    async fn send(&mut self, packet: impl Into<Packet>) {
        for event in self.mqtt.send(packet.into()) {
            if let Event::RequestSendPacket { packet, .. } = event {
                // The hub may have hung up already.
                let _ = self.stream.write_all(&packet.to_continuous_buffer()).await;
            }
        }
    }

    /// The next packet; `None` if the hub has closed the connection.
    async fn next(&mut self) -> Option<Packet> {
        while self.received.is_empty() {
            let mut buffer = [0; 4096];
            let read = self.stream.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                return None;
            }
            let mut cursor = Cursor::new(&buffer[..read]);
            while cursor.position() < read as u64 {
                for event in self.mqtt.recv(&mut cursor) {
                    if let Event::NotifyPacketReceived(packet) = event {
                        self.received.push_back(packet);
                    }
                }
            }
        }
        self.received.pop_front()
    }
}

/// The number of successes in a burst, and in total, until the operation is refused.
async fn limits(mut may: impl AsyncFnMut() -> bool) -> (u32, u32) {
    let begun = Instant::now();
    let (mut at_once, mut all) = (0, 0);
    while may().await {
        all += 1;
        at_once += u32::from(begun.elapsed().is_zero());
    }
    (at_once, all)
}

#[tokio::test(start_paused = true)]
async fn twin_requests_of_devices_are_done_at_once_then_wait_then_are_refused() {
    for (topic, per_second, done) in
        [("$iothub/twin/GET/?$rid=1", 100, 200), ("$iothub/twin/PATCH/properties/reported/?$rid=1", 50, 204)]
    {
        let authenticator = authenticator(Tier::S1).await;
        let mut device = TestClient::connect(&authenticator).await.unwrap();
        device.subscribe(RESPONSES).await;
        let mut last = 0;
        let limits = limits(async || {
            last = device.ask(topic, b"{}").await;
            last == done
        });
        // A minute's worth at once, then what can wait for 10 seconds.
        assert_eq!(limits.await, (60 * per_second, 70 * per_second), "{topic}");
        assert_eq!(last, 429);
        authenticator.hub.clock().advance(time::Duration::minutes(2));
        assert_eq!(device.ask(topic, b"{}").await, done);
    }
}

#[tokio::test(start_paused = true)]
async fn new_connections_are_refused_when_there_are_too_many_a_second() {
    let authenticator = authenticator(Tier::S1).await;
    let mut last = Ok(());
    let limits = limits(async || {
        last = TestClient::connect(&authenticator).await.map(drop);
        last.is_ok()
    });
    assert_eq!(limits.await, (6_000, 7_000));
    assert_eq!(last, Err(3), "server unavailable: the SDKs try again");
    authenticator.hub.clock().advance(time::Duration::minutes(2));
    assert!(TestClient::connect(&authenticator).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn telemetry_that_comes_too_fast_ends_the_connection() {
    let authenticator = authenticator(Tier::S1).await;
    let mut device = TestClient::connect(&authenticator).await.unwrap();
    for _ in 0..7_001 {
        device.publish(EVENTS, b"21.5").await;
    }
    assert!(device.next().await.is_none());
    assert_eq!(authenticator.hub.telemetry_count(), 7_000);
    authenticator.hub.clock().advance(time::Duration::minutes(2));
    let mut device = TestClient::connect(&authenticator).await.unwrap();
    device.publish(EVENTS, b"21.5").await;
    device.subscribe(RESPONSES).await;
    assert_eq!(authenticator.hub.telemetry_count(), 7_001);
}

/// The number of messages of 8,192 bytes that a device can send on a day.
async fn messages_a_day(tier: Tier) -> u64 {
    let authenticator = authenticator(tier).await;
    let mut device = TestClient::connect(&authenticator).await.unwrap();
    device.subscribe(RESPONSES).await;
    loop {
        device.publish(EVENTS, &[b'x'; 8_192]).await;
        if device.ask("$iothub/twin/GET/?$rid=1", b"").await != 200 {
            break;
        }
    }
    let used = authenticator.hub.telemetry_count();
    device.publish(EVENTS, b"").await;
    assert!(device.next().await.is_none(), "without a quota the connection ends");
    authenticator.hub.clock().advance(time::Duration::days(1));
    let mut device = TestClient::connect(&authenticator).await.unwrap();
    device.subscribe(RESPONSES).await;
    assert_eq!(device.ask("$iothub/twin/GET/?$rid=1", b"").await, 200);
    used
}

#[tokio::test(start_paused = true)]
async fn telemetry_and_twin_reads_use_up_the_messages_of_the_day() {
    // Of half a KB each: 16 for the message and 1 for the twin.
    assert_eq!(messages_a_day(Tier::F1).await, 8_000_u64.div_ceil(17));
}

#[tokio::test(start_paused = true)]
async fn on_other_tiers_a_message_of_the_day_has_4_kb() {
    let authenticator = authenticator(Tier::S1).await;
    // Ten are left of 400,000.
    authenticator.hub.throttle().charge(399_990 * 4096);
    let mut device = TestClient::connect(&authenticator).await.unwrap();
    for _ in 0..4 {
        device.publish(EVENTS, &[b'x'; 4097]).await;
    }
    device.publish(EVENTS, &[b'x'; 4096]).await;
    device.publish(EVENTS, b"").await;
    device.publish(EVENTS, b"one too many").await;
    assert!(device.next().await.is_none());
    assert_eq!(authenticator.hub.telemetry_count(), 6);
}

#[tokio::test(start_paused = true)]
async fn notifications_of_desired_properties_are_messages_too() {
    let authenticator = authenticator(Tier::F1).await;
    let mut device = TestClient::connect(&authenticator).await.unwrap();
    device.subscribe("$iothub/twin/PATCH/properties/desired/#").await;
    // Each of 28,000 bytes and a few, which are 55 pieces; the write itself is charged to who asks for it.
    let mut told = 0_u64;
    while authenticator.hub.throttle().check_quota().is_ok() {
        let texts: serde_json::Map<_, _> =
            (0..7).map(|key| (format!("t{key}"), format!("{told:04000}").into())).collect();
        let patch = json!({"properties": {"desired": texts}});
        let patch = TwinPatch::from_body(patch).unwrap();
        let identity = IdentityId::parse("d", None).unwrap();
        let write = authenticator.hub.write(|registry, now, journal| {
            registry.patch_twin(&identity, patch, &IfMatch::Any, now, journal)
        });
        write.await.unwrap();
        assert!(matches!(device.next().await, Some(Packet::V3_1_1Publish(_))));
        told += 1;
    }
    assert_eq!(told, 8_000_u64.div_ceil(55));
}

#[tokio::test(start_paused = true)]
async fn who_never_says_connect_is_hung_up_on() {
    let authenticator = authenticator(Tier::S1).await;
    let mut device = TestClient::silent(&authenticator);
    assert!(timeout(Duration::from_secs(9), device.next()).await.is_err());
    assert!(timeout(Duration::from_secs(2), device.next()).await.unwrap().is_none());
    // Part of a packet is no CONNECT either.
    let mut device = TestClient::silent(&authenticator);
    device.stream.write_all(&[0x10]).await.unwrap();
    assert!(timeout(Duration::from_secs(11), device.next()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connect_with_the_reserved_flag_is_hung_up_on() {
    let authenticator = authenticator(Tier::S1).await;
    let hello = TestClient::hello(&authenticator).to_continuous_buffer();
    let name = hello.windows(4).position(|four| four == b"MQTT").unwrap();
    for (flag, is_let_in) in [(0, true), (1, false)] {
        let mut packet = hello.clone();
        packet[name + 5] |= flag;
        let mut device = TestClient::silent(&authenticator);
        device.stream.write_all(&packet).await.unwrap();
        // MQTT 3.1.1 §3.1.2.3: the connection is closed, without a CONNACK.
        let mut answer = [0; 4];
        let read = timeout(Duration::from_secs(5), device.stream.read(&mut answer)).await.unwrap();
        assert_eq!(read.unwrap() == 4, is_let_in);
    }
}

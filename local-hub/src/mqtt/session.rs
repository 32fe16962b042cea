//! One connection, from CONNECT to its end.

use std::collections::HashMap;
use std::time::Duration;

use hub_types::IdentityId;
use hub_types::limits::{MAX_METHOD_BYTES, MAX_TELEMETRY_BYTES, OperationClass};
use mqtt_protocol_core::mqtt::packet::v3_1_1::{
    Connect, Puback, Publish, Suback, Subscribe, Unsuback, Unsubscribe,
};
use mqtt_protocol_core::mqtt::packet::{Packet, Qos};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, SubackReturnCode};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::gate::{Gate, Visitor};
use super::topic::{self, Uplink};
use super::twin;
use super::wire::{Ended, Wire};
use crate::connections::{Downlink, Link, MethodAnswer, MethodCall};
use crate::hub::Hub;
use crate::registry::{Feed, Quality, Subscriptions};

/// Speaks MQTT on a stream until it ends. `presented` are the client's certificates.
pub(crate) async fn run<S>(gate: &Gate, stream: S, presented: &[CertificateDer<'_>], stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(stream);
    let connect = match timeout(CONNECT_TIMEOUT, wire.next()).await {
        Ok(Ok(Packet::V3_1_1Connect(connect))) => connect,
        Ok(Ok(_)) => return tracing::debug!("a connection began with something else than CONNECT"),
        Ok(Err(error)) => return tracing::debug!(%error, "a connection ended before CONNECT"),
        Err(_) => return tracing::debug!("CONNECT took too long"),
    };
    if let Err(refusal) = gate.hub.throttle().admit(OperationClass::Connection, 1, "Connection").await {
        return refuse(wire, &connect, ConnectReturnCode::ServerUnavailable, &refusal.text).await;
    }
    let opened = gate.read(&connect, presented).and_then(|visitor| {
        let (link, kept) = gate.hub.connect(&visitor.hello)?;
        Ok((visitor, link, kept))
    });
    match opened {
        Ok((visitor, link, kept)) => {
            let mut session = Session::new(&gate.hub, &visitor, connect.keep_alive(), link, kept, wire);
            let ended = session.serve(stop).await;
            session.close(&connect, ended).await;
        }
        Err(denied) => refuse(wire, &connect, ConnectReturnCode::NotAuthorized, &denied.0).await,
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: Wire<S>,
    connect: &Connect,
    code: ConnectReturnCode,
    reason: &str,
) {
    let client = connect.client_id();
    tracing::warn!(client, "a connection is refused: {reason}");
    if let Err(error) = wire.connack(code, false) {
        tracing::debug!(%error, "a refusal can't be sent");
    }
    wire.finish().await;
}

/// A place in the table of connections. However a connection ends, even by being dropped, it is
/// given up.
struct Seat<'a> {
    hub: &'a Hub,
    identity: &'a IdentityId,
    link: Link,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.hub.disconnect(self.identity, &self.link);
    }
}

struct Session<'a, S> {
    hub: &'a Hub,
    identity: &'a IdentityId,
    expiry: Option<u64>,
    seat: Seat<'a>,
    subscriptions: Subscriptions,
    wire: Wire<S>,
    /// How long nothing may come.
    patience: Duration,
    idle_at: Instant,
    /// Direct methods that wait for their answers, by their request ids.
    calls: HashMap<u64, oneshot::Sender<MethodAnswer>>,
    last_call: u64,
    /// The last cloud-to-device message that was sent.
    last_command: u64,
    /// Cloud-to-device messages that the client has not acknowledged yet, by packet ids.
    commands: HashMap<u16, u64>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    fn new(
        hub: &'a Hub,
        visitor: &'a Visitor,
        keep_alive: u16,
        link: Link,
        subscriptions: Subscriptions,
        wire: Wire<S>,
    ) -> Self {
        let patience = patience(keep_alive);
        let identity = &visitor.hello.identity;
        Self {
            hub,
            identity,
            expiry: visitor.expiry,
            seat: Seat { hub, identity, link },
            subscriptions,
            wire,
            patience,
            idle_at: Instant::now() + patience,
            calls: HashMap::new(),
            last_call: 0,
            last_command: 0,
            commands: HashMap::new(),
        }
    }

    async fn serve(&mut self, stop: &CancellationToken) -> Ended {
        if let Err(ended) = self.greet().await {
            return ended;
        }
        loop {
            if let Err(ended) = self.turn(stop).await {
                return ended;
            }
        }
    }

    async fn greet(&mut self) -> Result<(), Ended> {
        tracing::debug!(identity = %self.identity, "connected");
        self.wire.connack(ConnectReturnCode::Accepted, !self.subscriptions.is_empty())?;
        self.send_commands().await
    }

    /// Waits for the next thing that happens, and deals with it.
    async fn turn(&mut self, stop: &CancellationToken) -> Result<(), Ended> {
        let room = self.wire.has_room();
        tokio::select! {
            biased;
            () = self.seat.link.cut.cancelled() => Err(Ended::Cut),
            () = stop.cancelled() => Err(Ended::Stopped),
            () = expired(self.hub, self.expiry) => Err(Ended::Expired),
            () = sleep_until(self.idle_at) => Err(Ended::Idle),
            Some(message) = self.seat.link.downlink.recv(), if room => self.pass_on(message).await,
            packet = self.wire.next() => {
                self.idle_at = Instant::now() + self.patience;
                self.receive(packet?).await
            }
        }
    }

    /// The end, whatever brought it about.
    async fn close(self, connect: &Connect, ended: Ended) {
        let identity = self.identity;
        if connect.will_flag() && !matches!(ended, Ended::Disconnected) {
            // IoT Hub passes a will on as a message to the cloud.
            self.hub.count_telemetry();
        }
        match &ended {
            Ended::Malformed(_) | Ended::Violation(_) => {
                tracing::warn!(%identity, "a connection ends: {ended}")
            }
            _ => tracing::debug!(%identity, "a connection ends: {ended}"),
        }
        drop(self.seat);
        self.wire.finish().await;
    }

    async fn receive(&mut self, packet: Packet) -> Result<(), Ended> {
        match packet {
            Packet::V3_1_1Publish(publish) => self.published(&publish).await,
            Packet::V3_1_1Puback(puback) => self.acknowledged(puback.packet_id()).await,
            Packet::V3_1_1Subscribe(subscribe) => self.subscribe(&subscribe).await,
            Packet::V3_1_1Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe),
            Packet::V3_1_1Pingreq(_) => Ok(()),
            Packet::V3_1_1Disconnect(_) => Err(Ended::Disconnected),
            other => Err(Ended::Violation(format!("it does not expect {:?}", other.packet_type()))),
        }
    }

    async fn published(&mut self, publish: &Publish) -> Result<(), Ended> {
        let topic = publish.topic_name();
        if publish.qos() == Qos::ExactlyOnce {
            return Err(Ended::Violation("IoT Hub has no quality of service 2".to_owned()));
        }
        let uplink = Uplink::parse(topic, self.identity);
        let uplink = uplink.ok_or_else(|| Ended::Violation(format!("it may not publish to `{topic}`")))?;
        self.hub.active(self.identity);
        let payload = publish.payload().as_slice();
        let answer = match uplink {
            Uplink::GetTwin { rid } => Some(twin::get(self.hub, self.identity, rid).await),
            Uplink::Report { rid, base } => {
                Some(twin::report(self.hub, self.identity, rid, base, payload).await)
            }
            Uplink::MethodAnswer { rid, status } => {
                self.answered(rid, status, payload)?;
                None
            }
            Uplink::Telemetry { properties } => {
                self.telemetry(properties.len() + payload.len()).await?;
                None
            }
        };
        if let Some(id) = publish.packet_id() {
            let puback = Puback::builder().packet_id(id).build().map_err(Ended::Malformed)?;
            self.wire.send(puback);
        }
        match answer {
            Some((topic, payload)) => self.send(Feed::TwinResponses, &topic, payload).map(drop),
            None => Ok(()),
        }
    }

    /// A message to the cloud. MQTT 3.1.1 cannot refuse one, so the connection ends instead.
    async fn telemetry(&self, bytes: usize) -> Result<(), Ended> {
        if bytes > MAX_TELEMETRY_BYTES {
            return Err(Ended::Violation("a message is larger than 256 KB".to_owned()));
        }
        twin::admit(self.hub, OperationClass::DeviceToCloud, "DeviceTelemetry")
            .await
            .map_err(|refusal| Ended::Violation(refusal.text))?;
        self.hub.throttle().charge(bytes);
        self.hub.count_telemetry();
        Ok(())
    }

    /// A direct method has been answered; nobody may wait for it any more.
    fn answered(&mut self, rid: u64, status: i32, payload: &[u8]) -> Result<(), Ended> {
        if payload.len() > MAX_METHOD_BYTES {
            return Err(Ended::Violation("the answer to a direct method is larger than 128 KB".to_owned()));
        }
        if let Some(caller) = self.calls.remove(&rid) {
            let _ = caller.send(MethodAnswer { status, payload: payload.to_vec() });
        }
        Ok(())
    }

    async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), Ended> {
        let mut codes = Vec::new();
        for entry in subscribe.entries() {
            // IoT Hub grants 1 at most. Other filters than its own it does not grant at all.
            let (quality, code) = match entry.sub_opts().qos() {
                Qos::AtMostOnce => (Quality::AtMostOnce, SubackReturnCode::SuccessMaximumQos0),
                Qos::AtLeastOnce | Qos::ExactlyOnce => {
                    (Quality::AtLeastOnce, SubackReturnCode::SuccessMaximumQos1)
                }
            };
            codes.push(match topic::feed(entry.topic_filter(), self.identity) {
                Some(feed) => {
                    self.set_subscription(feed, Some(quality));
                    code
                }
                None => SubackReturnCode::Failure,
            });
        }
        let suback = Suback::builder().packet_id(subscribe.packet_id()).return_codes(codes);
        self.wire.send(suback.build().map_err(Ended::Malformed)?);
        self.send_commands().await
    }

    fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), Ended> {
        for filter in unsubscribe.entries() {
            if let Some(feed) = topic::feed(filter.as_str(), self.identity) {
                self.set_subscription(feed, None);
            }
        }
        let unsuback = Unsuback::builder().packet_id(unsubscribe.packet_id());
        self.wire.send(unsuback.build().map_err(Ended::Malformed)?);
        Ok(())
    }

    fn set_subscription(&mut self, feed: Feed, quality: Option<Quality>) {
        self.subscriptions.set(feed, quality);
        self.hub.subscribe(self.identity, &self.seat.link, feed, quality);
    }

    async fn pass_on(&mut self, message: Downlink) -> Result<(), Ended> {
        match message {
            Downlink::Commands => self.send_commands().await,
            Downlink::Desired(notice) => {
                let topic = topic::desired_notification(notice.version);
                self.send(Feed::DesiredProperties, &topic, notice.payload).map(drop)
            }
            Downlink::Method(call) => self.call(call),
        }
    }

    fn call(&mut self, call: MethodCall) -> Result<(), Ended> {
        self.calls.retain(|_, caller| !caller.is_closed());
        self.last_call += 1;
        self.calls.insert(self.last_call, call.answer);
        let topic = topic::method(&call.name, self.last_call);
        self.send(Feed::Methods, &topic, call.payload).map(drop)
    }

    /// Sends the messages that wait for the device, as far as it takes them.
    async fn send_commands(&mut self) -> Result<(), Ended> {
        while self.wire.has_room() && self.subscriptions.get(Feed::Commands).is_some() {
            let device = self.identity.device();
            let Some(command) = self.hub.command_after(device, self.last_command) else {
                return Ok(());
            };
            self.last_command = command.sequence;
            let topic = topic::command(self.identity, &command.properties);
            match self.send(Feed::Commands, &topic, command.payload)? {
                Some(id) => {
                    self.commands.insert(id, command.sequence);
                }
                // Nobody will say that it has arrived.
                None => self.complete(command.sequence).await,
            }
        }
        Ok(())
    }

    async fn acknowledged(&mut self, id: u16) -> Result<(), Ended> {
        if let Some(sequence) = self.commands.remove(&id) {
            self.complete(sequence).await;
        }
        self.send_commands().await
    }

    async fn complete(&self, sequence: u64) {
        if let Err(refusal) = self.hub.complete_command(self.identity.device(), sequence).await {
            tracing::warn!(identity = %self.identity, "a message stays in the queue: {}", refusal.text);
        }
    }

    /// Sends something of a feed, if the client is subscribed to it.
    fn send(&mut self, feed: Feed, topic: &str, payload: Vec<u8>) -> Result<Option<u16>, Ended> {
        match self.subscriptions.get(feed) {
            Some(quality) => self.wire.publish(topic, payload, quality),
            None => Ok(None),
        }
    }
}

/// One and a half times the keep-alive, which IoT Hub bounds; without one, the bound.
fn patience(keep_alive: u16) -> Duration {
    match keep_alive {
        0 => MAX_PATIENCE,
        seconds => Duration::from_secs(seconds.into()).mul_f32(1.5).min(MAX_PATIENCE),
    }
}

/// Resolves when a token has expired. The hub's clock may be moved, so it is looked at again and
/// again.
async fn expired(hub: &Hub, expiry: Option<u64>) {
    let Some(expiry) = expiry else {
        return std::future::pending().await;
    };
    while hub.unix_seconds() < expiry {
        sleep(CLOCK_LOOK).await;
    }
}

const CLOCK_LOOK: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_PATIENCE: Duration = Duration::from_secs(1767);

//! One connection, from CONNECT to its end.

use std::collections::HashMap;
use std::time::Duration;

use hub_types::limits::{MAX_METHOD_BYTES, MAX_TELEMETRY_BYTES, OperationClass};
use hub_types::{ErrorCode, IdentityId};
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

use super::attempt::Attempt;
use super::gate::{Gate, Visitor};
use super::operation::Operation;
use super::topic::{self, Uplink};
use super::twin::{self, Response};
use super::wire::{Ended, Wire};
use crate::connections::{Downlink, Link, MethodAnswer, MethodCall};
use crate::faults::Effect;
use crate::hub::Hub;
use crate::refusal::Refusal;
use crate::registry::{Answer, Feed, Quality, Subscriptions};
use crate::resettable::Reset;

/// Speaks MQTT on a stream until it ends. `presented` are the client's certificates; `reset` lets the
/// connection below end with an RST.
pub(crate) async fn run<S>(
    gate: &Gate,
    stream: S,
    presented: &[CertificateDer<'_>],
    reset: &Reset,
    stop: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let at = Instant::now();
    let mut wire = Wire::new(stream);
    let connect = match timeout(CONNECT_TIMEOUT, wire.next()).await {
        Ok(Ok(Packet::V3_1_1Connect(connect))) => connect,
        Ok(Ok(_)) => return tracing::debug!("a connection began with something else than CONNECT"),
        Ok(Err(error)) => return tracing::debug!(%error, "a connection ended before CONNECT"),
        Err(_) => return tracing::debug!("CONNECT took too long"),
    };
    let visitor = match gate.read(&connect, presented) {
        Ok(visitor) => visitor,
        Err(denied) => {
            let refusal = denied.into_refusal();
            gate.note_refused(&connect, &refusal);
            return refuse(wire, &connect, &refusal).await;
        }
    };
    let attempt = Attempt::begin(gate, &visitor, Operation::Connect);
    let attempt = match stop.run_until_cancelled(attempt).await {
        Some(Ok(attempt)) => attempt,
        Some(Err(Ended::Reset)) => return reset.demand(),
        Some(Err(_)) | None => return,
    };
    let opened = match attempt.check() {
        Ok(()) => gate.open(&visitor.hello).await,
        Err(refusal) => Err(refusal),
    };
    attempt.ended(opened.as_ref().map(|_| 200));
    match opened {
        Ok((link, kept)) => {
            let session = Session::new(gate, &visitor, connect.keep_alive(), link, kept, wire, stop);
            let (ended, session) = session.serve(&attempt).await;
            gate.note_end(&visitor, at, &ended);
            session.close(&connect, ended, reset).await;
        }
        Err(refusal) => refuse(wire, &connect, &refusal).await,
    }
}

async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut wire: Wire<S>, connect: &Connect, refusal: &Refusal) {
    let client = connect.client_id();
    tracing::warn!(client, "a connection is refused: {}", refusal.text);
    let code = match refusal.status {
        429 | 500.. => ConnectReturnCode::ServerUnavailable,
        _ => ConnectReturnCode::NotAuthorized,
    };
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
    gate: &'a Gate,
    hub: &'a Hub,
    visitor: &'a Visitor,
    identity: &'a IdentityId,
    seat: Seat<'a>,
    subscriptions: Subscriptions,
    wire: Wire<S>,
    stop: &'a CancellationToken,
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
        gate: &'a Gate,
        visitor: &'a Visitor,
        keep_alive: u16,
        link: Link,
        subscriptions: Subscriptions,
        wire: Wire<S>,
        stop: &'a CancellationToken,
    ) -> Self {
        let (hub, patience) = (&*gate.hub, patience(keep_alive));
        let identity = &visitor.hello.identity;
        Self {
            gate,
            hub,
            visitor,
            identity,
            seat: Seat { hub, identity, link },
            subscriptions,
            wire,
            stop,
            patience,
            idle_at: Instant::now() + patience,
            calls: HashMap::new(),
            last_call: 0,
            last_command: 0,
            commands: HashMap::new(),
        }
    }

    /// Answers CONNECT, then serves until the end.
    async fn serve(mut self, connect: &Attempt<'_>) -> (Ended, Self) {
        if let Err(ended) = self.greet(connect).await {
            return (ended, self);
        }
        loop {
            if let Err(ended) = self.turn().await {
                return (ended, self);
            }
        }
    }

    async fn greet(&mut self, connect: &Attempt<'_>) -> Result<(), Ended> {
        tracing::debug!(identity = %self.identity, "connected");
        let before = self.wire.waiting();
        self.wire.connack(ConnectReturnCode::Accepted, !self.subscriptions.is_empty())?;
        self.spoil(connect, before).await?;
        self.send_commands().await
    }

    /// Begins an operation; the error is a fault that ends the connection.
    async fn begin(&self, operation: Operation) -> Result<Attempt<'a>, Ended> {
        tokio::select! {
            biased;
            () = self.seat.link.cut.cancelled() => Err(Ended::Cut),
            () = self.stop.cancelled() => Err(Ended::Stopped),
            attempt = Attempt::begin(self.gate, self.visitor, operation) => attempt,
        }
    }

    /// Does what a fault demands to what an operation put in line behind the first `before` bytes.
    async fn spoil(&mut self, attempt: &Attempt<'_>, before: usize) -> Result<(), Ended> {
        match attempt.effect() {
            Some(Effect::LoseAnswer) => {
                self.wire.keep(before);
                Err(Ended::Fault)
            }
            Some(Effect::HalfAnswer) => {
                self.wire.keep(before.midpoint(self.wire.waiting()));
                Err(Ended::Fault)
            }
            Some(Effect::Drip(pace)) => tokio::select! {
                () = self.seat.link.cut.cancelled() => Err(Ended::Cut),
                () = self.stop.cancelled() => Err(Ended::Stopped),
                dripped = self.wire.drip(*pace) => dripped,
            },
            _ => Ok(()),
        }
    }

    /// Waits for the next thing that happens, and deals with it.
    async fn turn(&mut self) -> Result<(), Ended> {
        let room = self.wire.has_room();
        tokio::select! {
            biased;
            () = self.seat.link.cut.cancelled() => Err(Ended::Cut),
            () = self.stop.cancelled() => Err(Ended::Stopped),
            () = expired(self.hub, self.visitor.expiry) => Err(Ended::Expired),
            () = sleep_until(self.idle_at) => Err(Ended::Idle),
            Some(message) = self.seat.link.downlink.recv(), if room => self.pass_on(message).await,
            packet = self.wire.next() => {
                self.idle_at = Instant::now() + self.patience;
                self.receive(packet?).await
            }
        }
    }

    /// The end, whatever brought it about.
    async fn close(self, connect: &Connect, ended: Ended, reset: &Reset) {
        let identity = self.identity;
        if connect.will_flag() && !matches!(ended, Ended::Disconnected) {
            // IoT Hub passes a will on as a message to the cloud.
            self.hub.count_telemetry();
        }
        match &ended {
            Ended::Malformed(_) | Ended::Refused(_) | Ended::Violation(_) => {
                tracing::warn!(%identity, "a connection ends: {ended}")
            }
            _ => tracing::debug!(%identity, "a connection ends: {ended}"),
        }
        drop(self.seat);
        if matches!(ended, Ended::Reset) {
            return reset.demand();
        }
        self.wire.finish().await;
    }

    async fn receive(&mut self, packet: Packet) -> Result<(), Ended> {
        match packet {
            Packet::V3_1_1Publish(publish) => self.published(&publish).await,
            Packet::V3_1_1Puback(puback) => self.acknowledged(puback.packet_id()).await,
            Packet::V3_1_1Subscribe(subscribe) => self.subscribe(&subscribe).await,
            Packet::V3_1_1Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe).await,
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
        let attempt = self.begin(uplink.operation()).await?;
        let done = match attempt.check() {
            Ok(()) => self.perform(uplink, publish.payload().as_slice()).await,
            Err(refusal) => Err(refusal),
        };
        attempt
            .ended(done.as_ref().map(|response| response.as_ref().map_or(204, |response| response.status)));
        let response = match (done, uplink.rid()) {
            (Ok(response), _) => response,
            (Err(refusal), Some(rid)) => Some(twin::refused(self.hub, rid, &refusal)),
            (Err(refusal), None) => return Err(Ended::Refused(refusal.text)),
        };
        let before = self.wire.waiting();
        if let Some(id) = publish.packet_id() {
            let puback = Puback::builder().packet_id(id).build().map_err(Ended::Malformed)?;
            self.wire.send(puback);
        }
        if let Some(Response { topic, payload, .. }) = response {
            self.send(Feed::TwinResponses, &topic, payload)?;
        }
        self.spoil(&attempt, before).await
    }

    /// Does what the client asks; twin requests have a response.
    async fn perform(&mut self, uplink: Uplink<'_>, payload: &[u8]) -> Answer<Option<Response>> {
        match uplink {
            Uplink::GetTwin { rid } => twin::get(self.hub, self.identity, rid).await.map(Some),
            Uplink::Report { rid, base } => {
                twin::report(self.hub, self.identity, rid, base, payload).await.map(Some)
            }
            Uplink::MethodAnswer { rid, status } => self.answered(rid, status, payload).map(|()| None),
            Uplink::Telemetry { properties } => {
                self.telemetry(properties.len() + payload.len()).await.map(|()| None)
            }
        }
    }

    /// A message to the cloud.
    async fn telemetry(&self, bytes: usize) -> Answer<()> {
        if bytes > MAX_TELEMETRY_BYTES {
            return Err(too_large("a message is larger than 256 KB"));
        }
        twin::admit(self.hub, OperationClass::DeviceToCloud, "DeviceTelemetry").await?;
        self.hub.throttle().charge(bytes);
        self.hub.count_telemetry();
        Ok(())
    }

    /// A direct method has been answered; nobody may wait for it any more.
    fn answered(&mut self, rid: u64, status: i32, payload: &[u8]) -> Answer<()> {
        if payload.len() > MAX_METHOD_BYTES {
            return Err(too_large("the answer to a direct method is larger than 128 KB"));
        }
        if let Some(caller) = self.calls.remove(&rid) {
            let _ = caller.send(MethodAnswer { status, payload: payload.to_vec() });
        }
        Ok(())
    }

    async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), Ended> {
        let attempt = self.begin(Operation::Subscribe).await?;
        let refused = attempt.check().err();
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
                Some(feed) if refused.is_none() => {
                    self.set_subscription(feed, Some(quality));
                    code
                }
                _ => SubackReturnCode::Failure,
            });
        }
        let refused = refused.or_else(|| codes.contains(&SubackReturnCode::Failure).then(not_own_filter));
        attempt.ended(refused.as_ref().map_or(Ok(200), Err));
        let before = self.wire.waiting();
        let suback = Suback::builder().packet_id(subscribe.packet_id()).return_codes(codes);
        self.wire.send(suback.build().map_err(Ended::Malformed)?);
        self.spoil(&attempt, before).await?;
        self.send_commands().await
    }

    async fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), Ended> {
        let attempt = self.begin(Operation::Unsubscribe).await?;
        self.demand_success(&attempt, 200)?;
        for filter in unsubscribe.entries() {
            if let Some(feed) = topic::feed(filter.as_str(), self.identity) {
                self.set_subscription(feed, None);
            }
        }
        let before = self.wire.waiting();
        let unsuback = Unsuback::builder().packet_id(unsubscribe.packet_id());
        self.wire.send(unsuback.build().map_err(Ended::Malformed)?);
        self.spoil(&attempt, before).await
    }

    /// Writes down that an operation is done or, where a fault refuses it, ends the connection: MQTT
    /// can't say otherwise that it is not done.
    fn demand_success(&self, attempt: &Attempt<'_>, status: u16) -> Result<(), Ended> {
        let done = attempt.check();
        attempt.ended(done.as_ref().map(|()| status));
        done.map_err(|refusal| Ended::Refused(refusal.text))
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
                self.push(Operation::ReceiveDesired, &topic, notice.payload).await.map(drop)
            }
            Downlink::Method(call) => self.call(call).await,
        }
    }

    async fn call(&mut self, call: MethodCall) -> Result<(), Ended> {
        self.calls.retain(|_, caller| !caller.is_closed());
        self.last_call += 1;
        self.calls.insert(self.last_call, call.answer);
        let topic = topic::method(&call.name, self.last_call);
        self.push(Operation::ReceiveMethod, &topic, call.payload).await.map(drop)
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
            match self.push(Operation::ReceiveCommand, &topic, command.payload).await? {
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
            let attempt = self.begin(Operation::CompleteCommand).await?;
            self.demand_success(&attempt, 204)?;
            self.complete(sequence).await;
            self.spoil(&attempt, self.wire.waiting()).await?;
        }
        self.send_commands().await
    }

    async fn complete(&self, sequence: u64) {
        if let Err(refusal) = self.hub.complete_command(self.identity.device(), sequence).await {
            tracing::warn!(identity = %self.identity, "a message stays in the queue: {}", refusal.text);
        }
    }

    /// Sends what the client has not asked for just now, if it is subscribed to it.
    async fn push(
        &mut self,
        operation: Operation,
        topic: &str,
        payload: Vec<u8>,
    ) -> Result<Option<u16>, Ended> {
        let feed = match operation {
            Operation::ReceiveDesired => Feed::DesiredProperties,
            Operation::ReceiveMethod => Feed::Methods,
            _ => Feed::Commands,
        };
        if self.subscriptions.get(feed).is_none() {
            return Ok(None);
        }
        let attempt = self.begin(operation).await?;
        self.demand_success(&attempt, 200)?;
        if operation == Operation::ReceiveDesired {
            self.hub.throttle().charge(payload.len());
        }
        let before = self.wire.waiting();
        let id = self.send(feed, topic, payload)?;
        self.spoil(&attempt, before).await?;
        Ok(id)
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

fn too_large(text: &str) -> Refusal {
    Refusal::new(ErrorCode::MessageTooLarge, text)
}

fn not_own_filter() -> Refusal {
    Refusal::new(ErrorCode::IotHubUnauthorizedAccess, "a filter is none of the identity's own")
}

const CLOCK_LOOK: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_PATIENCE: Duration = Duration::from_secs(1767);

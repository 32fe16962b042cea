//! One connection, from the response to CONNECT to its end.
//!
//! The client's requests are in [`uplink`], the hub's own messages in [`downlink`].

use std::collections::HashMap;
use std::time::Duration;

use hub_types::IdentityId;
use mqtt_protocol_core::mqtt::packet::Packet;
use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use mqtt_protocol_core::mqtt::result_code::ConnectReturnCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::gate::{Gate, Visitor};
use super::operation::Operation;
use super::topic;
use super::wire::{Ended, Wire};
use crate::connections::{Link, MethodAnswer};
use crate::faults::Effect;
use crate::hub::Hub;
use crate::registry::{Feed, Subscriptions};
use crate::resettable::Reset;

mod downlink;
mod uplink;

/// An entry in the table of connections. It is removed when the connection ends in any way, even by
/// being dropped.
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

/// An authenticated connection.
pub(super) struct Session<'a, S> {
    gate: &'a Gate,
    hub: &'a Hub,
    visitor: &'a Visitor,
    identity: &'a IdentityId,
    seat: Seat<'a>,
    subscriptions: Subscriptions,
    wire: Wire<S>,
    stop: &'a CancellationToken,
    opened_at: Instant,
    /// The longest time without a packet from the client.
    patience: Duration,
    idle_at: Instant,
    /// Direct methods that wait for their responses, by their request ids.
    calls: HashMap<u64, oneshot::Sender<MethodAnswer>>,
    last_call: u64,
    /// The sequence number of the last cloud-to-device message that was sent.
    last_command: u64,
    /// Cloud-to-device messages that the client has not acknowledged yet, by packet id.
    commands: HashMap<u16, u64>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    pub(super) fn new(
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
            opened_at: Instant::now(),
            patience,
            idle_at: Instant::now() + patience,
            calls: HashMap::new(),
            last_call: 0,
            last_command: 0,
            commands: HashMap::new(),
        }
    }

    /// Responds to CONNECT, then serves until the end.
    pub(super) async fn serve(mut self, connect: &Attempt<'_>) -> (Ended, Self) {
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

    /// Applies the effect of a fault to the output of an operation, which begins after the first
    /// `before` bytes.
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

    /// Logs an operation as done. If a fault refuses it, ends the connection, because MQTT has no
    /// other way to report the failure.
    fn demand_success(&self, attempt: &Attempt<'_>, status: u16) -> Result<(), Ended> {
        let done = attempt.check();
        attempt.ended(done.as_ref().map(|()| status));
        done.map_err(|refusal| Ended::Refused(refusal.text))
    }

    /// Waits for the next event, and handles it.
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

    /// Ends the connection, for any reason.
    pub(super) async fn close(self, connect: &Connect, ended: Ended, reset: &Reset) {
        let identity = self.identity;
        if connect.will_flag() && !matches!(ended, Ended::Disconnected) {
            // IoT Hub passes a will on as a message to the cloud, with `iothub-MessageType` to tell it by.
            let properties = match topic::Uplink::parse(connect.will_topic().unwrap_or_default(), identity) {
                Some(topic::Uplink::Telemetry { properties }) => properties,
                _ => "",
            };
            let properties = format!("{properties}&iothub-MessageType=Will");
            let payload = connect.will_payload().unwrap_or_default();
            self.hub.take_message(identity, &self.visitor.hello.evidence, &properties, payload);
        }
        match &ended {
            Ended::Malformed(_) | Ended::Refused(_) | Ended::Violation(_) => {
                tracing::warn!(%identity, "a connection ends: {ended}")
            }
            _ => tracing::debug!(%identity, "a connection ends: {ended}"),
        }
        drop(self.seat);
        self.gate.note_end(self.visitor, self.opened_at, &ended);
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
            other => Err(Ended::Violation(format!(
                "it expects no packet of type {} now",
                other.packet_type() as u8
            ))),
        }
    }

    /// Sends a message of a feed, if the client is subscribed to it.
    fn send(&mut self, feed: Feed, topic: &str, payload: Vec<u8>) -> Result<Option<u16>, Ended> {
        match self.subscriptions.get(feed) {
            Some(quality) => self.wire.publish(topic, payload, quality),
            None => Ok(None),
        }
    }
}

/// The longest silence of a client: one and a half times the keep-alive, up to IoT Hub's bound;
/// without a keep-alive, the bound.
fn patience(keep_alive: u16) -> Duration {
    match keep_alive {
        0 => MAX_PATIENCE,
        seconds => Duration::from_secs(seconds.into()).mul_f32(1.5).min(MAX_PATIENCE),
    }
}

/// Resolves when a token has expired. It checks repeatedly, because the hub's clock may be moved.
async fn expired(hub: &Hub, expiry: Option<u64>) {
    let Some(expiry) = expiry else {
        return std::future::pending().await;
    };
    while hub.unix_seconds() < expiry {
        sleep(CLOCK_LOOK).await;
    }
}

const CLOCK_LOOK: Duration = Duration::from_secs(1);
const MAX_PATIENCE: Duration = Duration::from_secs(1767);

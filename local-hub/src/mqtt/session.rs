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

use super::attempt::{Attempt, log_end};
use super::authenticator::{Authenticator, Client};
use super::operation::DeviceOperation;
use super::topic;
use super::wire::{SessionEnd, Wire, idle_timeout};
use crate::hub::Hub;
use crate::hub::connections::{ConnectionHandle, MethodAnswer};
use crate::listener::resettable::Reset;
use crate::registry::{Feed, Subscriptions};

mod downlink;
mod uplink;

/// An entry in the table of connections. It is removed when the connection ends in any way, even by
/// being dropped.
struct ConnectionGuard<'a> {
    hub: &'a Hub,
    identity: &'a IdentityId,
    connection: ConnectionHandle,
}

impl Drop for ConnectionGuard<'_> {
    fn drop(&mut self) {
        self.hub.disconnect(self.identity, &self.connection);
    }
}

/// An authenticated connection.
pub(super) struct Session<'a, S> {
    authenticator: &'a Authenticator,
    hub: &'a Hub,
    client: &'a Client,
    identity: &'a IdentityId,
    guard: ConnectionGuard<'a>,
    subscriptions: Subscriptions,
    wire: Wire<S>,
    stop: &'a CancellationToken,
    opened_at: Instant,
    /// The longest time without a packet from the client.
    idle_timeout: Duration,
    idle_at: Instant,
    /// Direct methods that wait for their responses, by their request ids.
    calls: HashMap<u64, oneshot::Sender<MethodAnswer>>,
    last_call: u64,
    /// The sequence number of the last cloud-to-device message that was sent.
    last_message: u64,
    /// Cloud-to-device messages that the client has not acknowledged yet, by packet id.
    messages: HashMap<u16, u64>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Session<'a, S> {
    pub(super) fn new(
        authenticator: &'a Authenticator,
        client: &'a Client,
        keep_alive: u16,
        connection: ConnectionHandle,
        subscriptions: Subscriptions,
        wire: Wire<S>,
        stop: &'a CancellationToken,
    ) -> Self {
        let (hub, idle_timeout) = (&*authenticator.hub, idle_timeout(keep_alive));
        let identity = &client.info.identity;
        Self {
            authenticator,
            hub,
            client,
            identity,
            guard: ConnectionGuard { hub, identity, connection },
            subscriptions,
            wire,
            stop,
            opened_at: Instant::now(),
            idle_timeout,
            idle_at: Instant::now() + idle_timeout,
            calls: HashMap::new(),
            last_call: 0,
            last_message: 0,
            messages: HashMap::new(),
        }
    }

    /// Responds to CONNECT, then serves until the end.
    pub(super) async fn serve(mut self, connect: &Attempt<'_, Authenticator>) -> (SessionEnd, Self) {
        if let Err(ended) = self.accept(connect).await {
            return (ended, self);
        }
        loop {
            if let Err(ended) = self.serve_event().await {
                return (ended, self);
            }
        }
    }

    async fn accept(&mut self, connect: &Attempt<'_, Authenticator>) -> Result<(), SessionEnd> {
        tracing::debug!(identity = %self.identity, "connected");
        let before = self.wire.waiting();
        self.wire.connack(ConnectReturnCode::Accepted, !self.subscriptions.is_empty())?;
        self.apply_fault(connect, before).await?;
        self.send_messages().await
    }

    /// Begins an operation; the error is a fault that ends the connection.
    async fn begin(&self, operation: DeviceOperation) -> Result<Attempt<'a, Authenticator>, SessionEnd> {
        tokio::select! {
            biased;
            () = self.guard.connection.cut.cancelled() => Err(SessionEnd::Cut),
            () = self.stop.cancelled() => Err(SessionEnd::Stopped),
            attempt = Attempt::begin(self.authenticator, self.client, operation) => attempt,
        }
    }

    /// Applies the effect of a fault to the output of an operation, which begins after the first
    /// `before` bytes.
    async fn apply_fault(
        &mut self,
        attempt: &Attempt<'_, Authenticator>,
        before: usize,
    ) -> Result<(), SessionEnd> {
        tokio::select! {
            biased;
            () = self.guard.connection.cut.cancelled() => Err(SessionEnd::Cut),
            () = self.stop.cancelled() => Err(SessionEnd::Stopped),
            done = self.wire.apply_fault(attempt.effect(), before) => done,
        }
    }

    /// Waits for the next event, and handles it.
    async fn serve_event(&mut self) -> Result<(), SessionEnd> {
        let room = self.wire.has_room();
        tokio::select! {
            biased;
            () = self.guard.connection.cut.cancelled() => Err(SessionEnd::Cut),
            () = self.stop.cancelled() => Err(SessionEnd::Stopped),
            () = expired(self.hub, self.client.expiry) => Err(SessionEnd::Expired),
            () = sleep_until(self.idle_at) => Err(SessionEnd::Idle),
            Some(message) = self.guard.connection.downlink.recv(), if room => self.deliver(message).await,
            packet = self.wire.next() => {
                self.idle_at = Instant::now() + self.idle_timeout;
                self.receive(packet?).await
            }
        }
    }

    /// Ends the connection, for any reason.
    pub(super) async fn close(self, connect: &Connect, ended: SessionEnd, reset: &Reset) {
        let identity = self.identity;
        if connect.will_flag() && !matches!(ended, SessionEnd::Disconnected) {
            // IoT Hub passes a will on as a message to the cloud, with `iothub-MessageType` to tell it by.
            let properties = match topic::Uplink::parse(connect.will_topic().unwrap_or_default(), identity) {
                Some(topic::Uplink::Telemetry { properties }) => properties,
                _ => "",
            };
            let properties = format!("{properties}&iothub-MessageType=Will");
            let payload = connect.will_payload().unwrap_or_default();
            self.hub.accept_message(identity, &self.client.info.credentials, &properties, payload);
        }
        match &ended {
            SessionEnd::Malformed(_) | SessionEnd::Refused(_) | SessionEnd::Violation(_) => {
                tracing::warn!(%identity, "a connection ends: {ended}")
            }
            _ => tracing::debug!(%identity, "a connection ends: {ended}"),
        }
        drop(self.guard);
        log_end(self.authenticator, self.client, self.opened_at, &ended);
        if matches!(ended, SessionEnd::Reset) {
            return reset.demand();
        }
        self.wire.finish().await;
    }

    async fn receive(&mut self, packet: Packet) -> Result<(), SessionEnd> {
        match packet {
            Packet::V3_1_1Publish(publish) => self.published(&publish).await,
            Packet::V3_1_1Puback(puback) => self.acknowledged(puback.packet_id()).await,
            Packet::V3_1_1Subscribe(subscribe) => self.subscribe(&subscribe).await,
            Packet::V3_1_1Unsubscribe(unsubscribe) => self.unsubscribe(&unsubscribe).await,
            Packet::V3_1_1Pingreq(_) => Ok(()),
            Packet::V3_1_1Disconnect(_) => Err(SessionEnd::Disconnected),
            other => Err(SessionEnd::Violation(format!(
                "it expects no packet of type {} now",
                other.packet_type() as u8
            ))),
        }
    }

    /// Sends a message of a feed, if the client is subscribed to it.
    fn send(&mut self, feed: Feed, topic: &str, payload: Vec<u8>) -> Result<Option<u16>, SessionEnd> {
        match self.subscriptions.get(feed) {
            Some(quality) => self.wire.publish(topic, payload, quality),
            None => Ok(None),
        }
    }
}

/// Resolves when a token has expired. It checks repeatedly, because the hub's clock may be moved.
async fn expired(hub: &Hub, expiry: Option<u64>) {
    let Some(expiry) = expiry else {
        return std::future::pending().await;
    };
    while hub.unix_seconds() < expiry {
        sleep(CLOCK_CHECK).await;
    }
}

const CLOCK_CHECK: Duration = Duration::from_secs(1);

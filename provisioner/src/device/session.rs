//! One connection of a device or a module: it logs in, reads its twin and leaves.

use std::time::Duration;

use hub_types::IdentityId;
use hub_types::sas::SasToken;
use hub_types::twin::PropertySection;
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Connect, Disconnect, Puback, Publish, Subscribe};
use mqtt_protocol_core::mqtt::packet::{Packet, Qos, SubEntry, SubOpts};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Wire;
use super::{ConnectError, DeviceCredentials};
use crate::clock;

/// A twin as the device or module itself sees it: without tags, which are the service's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct DeviceTwin {
    /// The desired properties, set by the service.
    pub(crate) desired: PropertySection,
    /// The reported properties, set by the device.
    pub(crate) reported: PropertySection,
}

/// An open connection.
pub(super) struct DeviceSession<S> {
    wire: Wire<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> DeviceSession<S> {
    pub(super) fn new(stream: S, deadline: Duration) -> Self {
        Self { wire: Wire::new(stream, deadline) }
    }

    /// Says who is there, to the hub of this name.
    pub(super) async fn log_in(
        &mut self,
        hub: &str,
        identity: &IdentityId,
        credentials: &DeviceCredentials,
    ) -> Result<(), ConnectError> {
        self.connect(connect(hub, identity, credentials).map_err(failed(CONNECTING))?).await
    }

    /// Sends who is there, and waits for the answer.
    pub(super) async fn connect(&mut self, connect: Connect) -> Result<(), ConnectError> {
        self.wire.send(connect, CONNECTING).await?;
        let code = self.wire.expect(CONNECTING, |packet| match packet {
            Packet::V3_1_1Connack(connack) => Some(connack.return_code()),
            _ => None,
        });
        match code.await? {
            ConnectReturnCode::Accepted => Ok(()),
            code => Err(ConnectError::Refused(code)),
        }
    }

    /// Reads the twin.
    pub(super) async fn twin(&mut self) -> Result<DeviceTwin, ConnectError> {
        self.subscribe_to(TWIN_ANSWERS).await?;
        let answer = |publish: &Publish| {
            twin_answer(publish).map(|status| (status, publish.payload().as_slice().to_vec()))
        };
        // A word is sent, as the SDKs do, though none is asked for.
        let (status, payload) = self.request(TWIN_REQUEST, " ", READING, answer).await?;
        match status {
            200 => serde_json::from_slice(&payload).map_err(|error| ConnectError::malformed(&error)),
            status => Err(ConnectError::TwinRefused { status }),
        }
    }

    /// Publishes a request, and returns the answer that `read` finds in a message.
    pub(super) async fn request<T>(
        &mut self,
        topic: &str,
        payload: &str,
        step: &'static str,
        read: impl Fn(&Publish) -> Option<T>,
    ) -> Result<T, ConnectError> {
        let request = Publish::builder()
            .topic_name(topic)
            .and_then(|request| request.payload(payload).qos(Qos::AtMostOnce).build());
        self.wire.send(request.map_err(failed(step))?, step).await?;
        let answer = self.wire.expect(step, |packet| match packet {
            Packet::V3_1_1Publish(publish) => {
                read(publish).map(|answer| (answer, publish.qos(), publish.packet_id()))
            }
            _ => None,
        });
        let (answer, qos, id) = answer.await?;
        if let (Qos::AtLeastOnce, Some(id)) = (qos, id) {
            let thanks = Puback::builder().packet_id(id).build().map_err(failed(step))?;
            self.wire.send(thanks, step).await?;
        }
        Ok(answer)
    }

    /// Leaves.
    pub(super) async fn close(mut self) {
        let Ok(goodbye) = Disconnect::builder().build() else { return };
        match self.wire.send(goodbye, "the farewell").await {
            Ok(()) => self.wire.close().await,
            Err(error) => tracing::debug!(%error, "the hub was quicker to leave"),
        }
    }

    /// Subscribes to answers.
    pub(super) async fn subscribe_to(&mut self, answers: &str) -> Result<(), ConnectError> {
        let id = self.wire.packet_id(SUBSCRIBING)?;
        let entry = SubEntry::new(answers, SubOpts::new().set_qos(Qos::AtMostOnce));
        let subscribe =
            entry.and_then(|entry| Subscribe::builder().packet_id(id).entries(vec![entry]).build());
        self.wire.send(subscribe.map_err(failed(SUBSCRIBING))?, SUBSCRIBING).await?;
        let is_granted = self.wire.expect(SUBSCRIBING, |packet| match packet {
            Packet::V3_1_1Suback(suback) => {
                Some(suback.return_codes().first().is_some_and(|code| code.is_success()))
            }
            _ => None,
        });
        if is_granted.await? { Ok(()) } else { Err(ConnectError::RefusedSubscription) }
    }
}

/// The session is a clean one: nothing of it is to stay behind when the device itself comes.
fn connect(hub: &str, identity: &IdentityId, credentials: &DeviceCredentials) -> Result<Connect, MqttError> {
    let client = identity.common_name();
    let connect = Connect::builder()
        .client_id(&client)?
        .user_name(format!("{hub}/{client}/?api-version={API_VERSION}&DeviceClientType={AGENT}"))?
        .clean_session(true)
        .keep_alive(KEEP_ALIVE_SECONDS);
    match credentials {
        DeviceCredentials::Certificate(_) => connect.build(),
        DeviceCredentials::Key(key) => {
            let token = SasToken::sign(&resource(hub, identity), None, key, token_expiry());
            connect.password(token.expose_text().as_bytes().to_vec())?.build()
        }
    }
}

/// The resource that a token must be for.
fn resource(hub: &str, identity: &IdentityId) -> String {
    let device = identity.device();
    match identity.module() {
        None => format!("{hub}/devices/{device}"),
        Some(module) => format!("{hub}/devices/{device}/modules/{module}"),
    }
}

/// The time until which a token is valid, in seconds since 1970-01-01.
pub(super) fn token_expiry() -> u64 {
    u64::try_from(clock::now().unix_timestamp()).unwrap_or_default() + TOKEN_SECONDS
}

/// The status of an answer to our request: its topic is `$iothub/twin/res/{status}/?$rid=1`.
fn twin_answer(publish: &Publish) -> Option<u16> {
    let (status, request) = publish.topic_name().strip_prefix("$iothub/twin/res/")?.split_once("/?")?;
    let is_ours = request.split('&').any(|parameter| parameter == REQUEST);
    status.parse().ok().filter(|_| is_ours)
}

fn failed(step: &'static str) -> impl Fn(MqttError) -> ConnectError {
    move |error| ConnectError::Protocol { step, error }
}

const AGENT: &str = concat!("provisioner%2F", env!("CARGO_PKG_VERSION"));
const API_VERSION: &str = "2021-04-12";
const CONNECTING: &str = "the login";
const KEEP_ALIVE_SECONDS: u16 = 240;
const READING: &str = "reading the twin";
const REQUEST: &str = "$rid=1";
const SUBSCRIBING: &str = "the subscription";
const TOKEN_SECONDS: u64 = 600;
const TWIN_ANSWERS: &str = "$iothub/twin/res/#";
const TWIN_REQUEST: &str = "$iothub/twin/GET/?$rid=1";

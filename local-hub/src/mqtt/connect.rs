//! A connection until the response to CONNECT.

use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::Packet;
use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};
use rustls_pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::attempt::{Attempt, log_refused};
use super::wire::{SessionEnd, Wire};
use super::{Accepted, ByteStream, MqttOperation, MqttService};
use crate::api_error::ApiError;
use crate::listener::resettable::Reset;
use crate::request_log::connection::Peer;

/// Serves MQTT on a stream until it ends. `presented` are the client's certificates; `reset` ends
/// the underlying connection with an RST.
pub(crate) async fn run<M, S>(
    service: &M,
    stream: S,
    presented: &[CertificateDer<'_>],
    peer: &Peer,
    reset: &Reset,
    stop: &CancellationToken,
) where
    M: MqttService,
    S: ByteStream,
{
    let mut wire = Wire::new(stream);
    let connect = match timeout(CONNECT_TIMEOUT, wire.next()).await {
        Ok(Ok(Packet::V3_1_1Connect(connect))) => connect,
        Ok(Ok(_)) => return peer.log_refused("the first packet of the client is not CONNECT"),
        Ok(Err(SessionEnd::Malformed(error))) => {
            tracing::debug!(?error, "a connection began with no MQTT");
            return peer.log_refused(not_mqtt(error));
        }
        Ok(Err(_)) => return peer.log_refused("the client has hung up before CONNECT"),
        Err(_) => return peer.log_refused("the client has not sent CONNECT in time"),
    };
    if has_reserved_flag(&connect) {
        return peer.log_refused("the reserved flag of CONNECT is set (MQTT-3.1.2-3)");
    }
    let client = match service.read(&connect, presented) {
        Ok(client) => client,
        Err(denied) => {
            let error = denied.into_api_error();
            log_refused(service, &connect, &error);
            return refuse(wire, &connect, &error).await;
        }
    };
    let attempt = Attempt::begin(service, &client, M::Operation::CONNECT);
    let attempt = match stop.run_until_cancelled(attempt).await {
        Some(Ok(attempt)) => attempt,
        Some(Err(SessionEnd::Reset)) => return reset.demand(),
        Some(Err(_)) | None => return,
    };
    let opened = match attempt.check() {
        Ok(()) => service.open(&client).await,
        Err(error) => Err(error),
    };
    attempt.ended(opened.as_ref().map(|_| 200));
    match opened {
        Ok(connection) => {
            let accepted = Accepted { client: &client, connection, connect: &connect, attempt: &attempt };
            service.serve(accepted, wire, reset, stop).await;
        }
        Err(error) => refuse(wire, &connect, &error).await,
    }
}

/// Returns whether the lowest of the connect flags is set, which the library does not look at.
fn has_reserved_flag(connect: &Connect) -> bool {
    let packet = Zeroizing::new(connect.to_continuous_buffer());
    // The remaining length has one byte more for each byte with the highest bit.
    let more_of_length = packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    packet.get(more_of_length + FLAGS_AFTER_LENGTH).is_some_and(|flags| flags & 1 != 0)
}

fn not_mqtt(error: MqttError) -> &'static str {
    match error {
        MqttError::UnsupportedProtocolVersion => "the client uses a version of MQTT that is not 3.1.1",
        _ => "the client sends what is no CONNECT of MQTT 3.1.1",
    }
}

async fn refuse<S: ByteStream>(mut wire: Wire<S>, connect: &Connect, error: &ApiError) {
    let client = connect.client_id();
    tracing::warn!(client, "a connection is refused: {}", error.text);
    let code = match error.status {
        429 | 500.. => ConnectReturnCode::ServerUnavailable,
        _ => ConnectReturnCode::NotAuthorized,
    };
    if let Err(error) = wire.connack(code, false) {
        tracing::debug!(%error, "a refusal can't be sent");
    }
    wire.finish().await;
}

/// The place of the connect flags (MQTT 3.1.1 §3.1.2): behind the packet type, one byte of the remaining length, and
/// the name and level of the protocol.
const FLAGS_AFTER_LENGTH: usize = 1 + 1 + 6 + 1;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

//! A connection until the response to CONNECT.

use std::time::Duration;

use mqtt_protocol_core::mqtt::packet::Packet;
use mqtt_protocol_core::mqtt::packet::v3_1_1::Connect;
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError};
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::gate::Gate;
use super::operation::Operation;
use super::session::Session;
use super::wire::{Ended, Wire};
use crate::connection_log::Peer;
use crate::refusal::Refusal;
use crate::resettable::Reset;

/// Serves MQTT on a stream until it ends. `presented` are the client's certificates; `reset` ends
/// the underlying connection with an RST.
pub(crate) async fn run<S>(
    gate: &Gate,
    stream: S,
    presented: &[CertificateDer<'_>],
    peer: &Peer,
    reset: &Reset,
    stop: &CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(stream);
    let connect = match timeout(CONNECT_TIMEOUT, wire.next()).await {
        Ok(Ok(Packet::V3_1_1Connect(connect))) => connect,
        Ok(Ok(_)) => return peer.refused("the client begins with another packet than CONNECT"),
        Ok(Err(Ended::Malformed(error))) => {
            tracing::debug!(?error, "a connection began with no MQTT");
            return peer.refused(not_mqtt(error));
        }
        Ok(Err(_)) => return peer.refused("the client has hung up before CONNECT"),
        Err(_) => return peer.refused("the client has not sent CONNECT in time"),
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
            session.close(&connect, ended, reset).await;
        }
        Err(refusal) => refuse(wire, &connect, &refusal).await,
    }
}

fn not_mqtt(error: MqttError) -> &'static str {
    match error {
        MqttError::UnsupportedProtocolVersion => "the client speaks another version of MQTT than 3.1.1",
        _ => "the client sends what is no CONNECT of MQTT 3.1.1",
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

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

//! AMQP 1.0, which this hub does not support. The listener lets a client open a connection, and
//! then closes it with an error that names the alternative.
//!
//! A closed port is not enough: Microsoft's clients retry it for minutes. They speak AMQP over TLS
//! on port 5671 and inside a WebSocket. Clients are not authenticated, because no operation is
//! possible. `fe2o3-amqp-types` encodes, [`frame`] does the framing.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use fe2o3_amqp_types::definitions::{AmqpError, Error};
use fe2o3_amqp_types::performatives::{Close, Open};
use fe2o3_amqp_types::primitives::{Array, Symbol};
use fe2o3_amqp_types::sasl::{SaslCode, SaslMechanisms, SaslOutcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::api_error::ApiError;
use crate::listener::Protocol;
use crate::request_log::connection::Peer;
use frame::{Frames, Layer};

mod frame;

/// The listener that refuses AMQP.
#[derive(Debug)]
pub(crate) struct Amqp;

impl Protocol for Amqp {
    const MAX_CONNECTIONS: usize = 1000;
    const SCHEME: &'static str = "amqps";

    async fn serve(self: Arc<Self>, stream: TlsStream<TcpStream>, peer: Peer, stop: CancellationToken) {
        refuse(stream, &peer, &stop).await;
    }
}

/// Opens an AMQP connection on a stream and closes it with the error.
pub(crate) async fn refuse<S>(stream: S, peer: &Peer, stop: &CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut frames = Frames::new(stream);
    let opened = stop.run_until_cancelled(timeout(OPEN_TIMEOUT, open(&mut frames))).await;
    let reason = match opened {
        None => return,
        Some(Ok(Ok(()))) => {
            peer.log_response(&not_supported());
            let closing = timeout(CLOSE_TIMEOUT, close(&mut frames));
            if let Some(Ok(Err(error))) = stop.run_until_cancelled(closing).await {
                tracing::debug!(%error, "an AMQP connection could not be closed in order");
            }
            return;
        }
        Some(Ok(Err(error))) => match error.kind() {
            ErrorKind::InvalidData => format!("the client does not speak AMQP 1.0: {error}"),
            _ => "the client has hung up before it opened an AMQP connection".to_owned(),
        },
        Some(Err(_)) => "the client has not opened an AMQP connection in time".to_owned(),
    };
    peer.log_refused(&reason);
    let _ = timeout(CLOSE_TIMEOUT, frames.shutdown()).await;
}

/// Completes protocol headers, SASL and `open` with the client. Any mechanism succeeds.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(frames: &mut Frames<S>) -> io::Result<()> {
    let mut layer = header(frames).await?;
    if layer == Layer::Sasl {
        let sasl_server_mechanisms = Array(MECHANISMS.map(Symbol::from).to_vec());
        frames.write_frame(Layer::Sasl, &SaslMechanisms { sasl_server_mechanisms }).await?;
        expect(frames, Layer::Sasl, SASL_INIT).await?;
        let outcome = SaslOutcome { code: SaslCode::Ok, additional_data: None };
        frames.write_frame(Layer::Sasl, &outcome).await?;
        layer = header(frames).await?;
    }
    match layer {
        Layer::Amqp => expect(frames, Layer::Amqp, OPEN).await,
        Layer::Sasl => Err(io::Error::new(ErrorKind::InvalidData, "SASL was asked for twice")),
    }
}

/// Reads a protocol header and responds with the same or, if it is unsupported, with the one that
/// the client may use.
async fn header<S: AsyncRead + AsyncWrite + Unpin>(frames: &mut Frames<S>) -> io::Result<Layer> {
    let layer = frames.read_header().await?;
    frames.write_header(layer.unwrap_or(Layer::Sasl)).await?;
    layer.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "it begins with no known protocol header"))
}

async fn expect<S: AsyncRead + AsyncWrite + Unpin>(
    frames: &mut Frames<S>,
    layer: Layer,
    wanted: u64,
) -> io::Result<()> {
    match frames.read_descriptor(layer).await? {
        found if found == wanted => Ok(()),
        found => {
            let text = format!("a frame has the descriptor {found:#x} in the place of {wanted:#x}");
            Err(io::Error::new(ErrorKind::InvalidData, text))
        }
    }
}

/// Responds to `open`, closes with the error, and waits until the client closes too.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(frames: &mut Frames<S>) -> io::Result<()> {
    frames.write_frame(Layer::Amqp, &answer_to_open()).await?;
    let error = Error::new(AmqpError::NotImplemented, Some(not_supported().text), None);
    frames.write_frame(Layer::Amqp, &Close::new(Some(error))).await?;
    while frames.read_descriptor(Layer::Amqp).await? != CLOSE {}
    frames.shutdown().await
}

fn answer_to_open() -> Open {
    Open {
        container_id: "local-hub".to_owned(),
        hostname: None,
        max_frame_size: u32::MAX.into(),
        channel_max: u16::MAX.into(),
        idle_time_out: None,
        outgoing_locales: None,
        incoming_locales: None,
        offered_capabilities: None,
        desired_capabilities: None,
        properties: None,
    }
}

fn not_supported() -> ApiError {
    ApiError { text: INSTEAD.to_owned(), ..ApiError::not_implemented("AMQP") }
}

const INSTEAD: &str = "the local hub does not speak AMQP: connect devices over MQTT (port 8883, or a WebSocket \
    with the sub-protocol mqtt), call the service over HTTPS, and read telemetry with GET /telemetry on the \
    management port";
/// The mechanisms of Microsoft's clients: CBS, policies, no authentication, certificates.
const MECHANISMS: [&str; 4] = ["MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"];
const SASL_INIT: u64 = 0x41;
const OPEN: u64 = 0x10;
const CLOSE: u64 = 0x18;
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

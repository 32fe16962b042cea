//! MQTT, and the refusal of AMQP, inside a WebSocket, for clients that may use only port 443.
//!
//! Source: "Communicate with an IoT hub using the MQTT protocol": the path is `/$iothub/websocket`,
//! the sub-protocol `mqtt`. tungstenite does the framing.

use std::future::ready;
use std::io;

use futures_util::{SinkExt, StreamExt, TryStreamExt};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Request};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::reply::HttpResponse;
use super::response_body::ResponseBody;
use crate::api_error::{ApiError, ApiResult};
use crate::mqtt::MAX_PACKET_BYTES;

/// The path at which devices request a WebSocket.
pub(crate) const PATH: &str = "/$iothub/websocket";

/// The protocol inside a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubProtocol {
    Amqp,
    Mqtt,
}

impl SubProtocol {
    /// The protocol with this name, in any letter case: the C SDK writes `MQTT`.
    fn named(name: &str) -> Option<Self> {
        match name {
            _ if name.eq_ignore_ascii_case("mqtt") => Some(Self::Mqtt),
            // The name that Microsoft's clients use, and the one that OASIS has registered.
            _ if ["amqpwsb10", "amqp"].iter().any(|known| known.eq_ignore_ascii_case(name)) => {
                Some(Self::Amqp)
            }
            _ => None,
        }
    }
}

/// The first offered sub-protocol that the hub supports, with its name as the client spelled it.
fn choose<B>(request: &Request<B>) -> Option<(SubProtocol, &str)> {
    let offered = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    let names = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.map(str::trim).find_map(|name| Some((SubProtocol::named(name)?, name)))
}

/// The response that makes the connection a WebSocket. Offered extensions, such as compression, are
/// declined by omission.
pub(crate) fn accept<B>(request: &Request<B>) -> ApiResult<(SubProtocol, HttpResponse)> {
    let (protocol, name) = choose(request).ok_or_else(|| {
        ApiError::argument("the sub-protocol of the WebSocket must be `mqtt`, for MQTT 3.1.1")
    })?;
    let response = create_response_with_body(request, || ResponseBody::whole(Vec::new()));
    let mut response = response.map_err(|error| ApiError::argument(error.to_string()))?;
    let name = HeaderValue::from_str(name).map_err(|error| ApiError::argument(error.to_string()))?;
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    Ok((protocol, response))
}

/// The bytes inside a WebSocket, as a stream. Message boundaries have no meaning for MQTT and AMQP.
pub(crate) async fn bytes_in(upgraded: Upgraded) -> impl AsyncRead + AsyncWrite + Unpin {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_PACKET_BYTES as usize))
        .max_frame_size(Some(MAX_PACKET_BYTES as usize))
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (sink, stream) = socket.split();
    let received = stream.map_err(io::Error::other).try_filter_map(|message| {
        ready(match message {
            Message::Binary(bytes) => Ok(Some(bytes)),
            Message::Text(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "binary messages are expected, not text"))
            }
            // tungstenite answers them.
            _ => Ok(None),
        })
    });
    let sent = sink.with(|bytes| ready(Ok::<_, Error>(Message::Binary(bytes))));
    let sent = sent.sink_map_err(io::Error::other);
    tokio::io::join(StreamReader::new(received), SinkWriter::new(CopyToBytes::new(sent)))
}

const BUFFER_BYTES: usize = 4096;

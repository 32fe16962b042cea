//! MQTT packets on a stream. `mqtt-protocol-core` encodes, decodes and keeps the packet state.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hub_types::limits::MAX_TELEMETRY_BYTES;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Connack, Publish};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet, Qos};
use mqtt_protocol_core::mqtt::result_code::{ConnectReturnCode, MqttError, SubackReturnCode};
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::faults::Effect;
use crate::registry::Quality;

/// A stream with its MQTT state and its output buffer.
pub(crate) struct Wire<S> {
    stream: S,
    mqtt: Connection<role::Server>,
    input: BytesMut,
    output: BytesMut,
    received: VecDeque<Packet>,
    /// The number of messages that the client has not acknowledged yet.
    unacknowledged: usize,
    /// Set when the protocol requires that the connection ends after the buffered output has been
    /// sent.
    closing: Option<SessionEnd>,
}

/// The reason for the end of a connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionEnd {
    #[error("the client has closed it")]
    Closed,
    #[error("the client has disconnected")]
    Disconnected,
    #[error("it was cut off")]
    Cut,
    #[error("the token has expired")]
    Expired,
    #[error("a fault demands it")]
    Fault,
    #[error("nothing came for too long")]
    Idle,
    #[error("it broke")]
    Io(#[from] io::Error),
    #[error("a packet breaks the protocol (MQTT reason code {:#04x})", *.0 as u16)]
    Malformed(MqttError),
    /// A refused operation: MQTT 3.1.1 has no other way to refuse most of them.
    #[error("{0}")]
    Refused(String),
    #[error("a fault demands a reset")]
    Reset,
    #[error("the hub is shutting down")]
    Stopped,
    #[error("{0}")]
    Violation(String),
}

impl SessionEnd {
    /// The name of the reason in the request log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Disconnected => "disconnected",
            Self::Cut => "cut-off",
            Self::Expired => "expired",
            Self::Fault | Self::Reset => "fault",
            Self::Idle => "idle",
            Self::Io(_) => "broken",
            Self::Malformed(_) => "malformed",
            Self::Refused(_) => "refused",
            Self::Stopped => "stopped",
            Self::Violation(_) => "violation",
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        let options = ConnectionOptions::new()
            .maximum_packet_size_recv(MAX_PACKET_BYTES)
            .receive_maximum(MAX_UNACKNOWLEDGED);
        let mut mqtt = Connection::with_options(Version::V3_1_1, options);
        mqtt.set_auto_ping_response(true);
        Self {
            stream,
            mqtt,
            input: BytesMut::new(),
            output: BytesMut::new(),
            received: VecDeque::new(),
            unacknowledged: 0,
            closing: None,
        }
    }

    /// Returns the next packet, after the buffered output has been sent. The future may be dropped
    /// at any time without a loss of data.
    pub(crate) async fn next(&mut self) -> Result<Packet, SessionEnd> {
        loop {
            self.flush().await?;
            if let Some(packet) = self.received.pop_front() {
                return Ok(packet);
            }
            if let Some(ended) = self.closing.take() {
                return Err(ended);
            }
            self.input.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(SessionEnd::Closed);
            }
            self.decode();
        }
    }

    /// Buffers the response to CONNECT.
    pub(crate) fn connack(
        &mut self,
        code: ConnectReturnCode,
        session_present: bool,
    ) -> Result<(), SessionEnd> {
        let connack = Connack::builder().return_code(code).session_present(session_present).build();
        self.send(connack.map_err(SessionEnd::Malformed)?);
        Ok(())
    }

    /// Buffers a packet. The next call of `next` or `finish` sends it.
    pub(crate) fn send(&mut self, packet: impl Into<Packet>) {
        let events = self.mqtt.send(packet.into());
        self.handle(events);
    }

    /// Buffers a message. Returns its id if it will be acknowledged.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: Vec<u8>,
        quality: Quality,
    ) -> Result<Option<u16>, SessionEnd> {
        let builder = Publish::builder().topic_name(topic).map_err(SessionEnd::Malformed)?.payload(payload);
        let (builder, id) = match quality {
            Quality::AtMostOnce => (builder.qos(Qos::AtMostOnce), None),
            Quality::AtLeastOnce => {
                if !self.has_room() {
                    return Err(SessionEnd::Violation("the client acknowledges nothing".to_owned()));
                }
                let id = self.mqtt.acquire_packet_id().map_err(SessionEnd::Malformed)?;
                self.unacknowledged += 1;
                (builder.qos(Qos::AtLeastOnce).packet_id(id), Some(id))
            }
        };
        self.send(builder.build().map_err(SessionEnd::Malformed)?);
        Ok(id)
    }

    /// Returns true if more messages can be sent before the client acknowledges and reads some.
    pub(crate) fn has_room(&self) -> bool {
        self.unacknowledged < usize::from(MAX_UNACKNOWLEDGED) && self.output.len() < MAX_OUTPUT_BYTES
    }

    /// The number of buffered bytes.
    pub(crate) fn waiting(&self) -> usize {
        self.output.len()
    }

    /// Discards buffered output that is not sent yet, except for the first `bytes` bytes.
    fn truncate(&mut self, bytes: usize) {
        self.output.truncate(bytes);
    }

    /// Sends the buffered output at this many bytes per second.
    async fn drip(&mut self, bytes_per_second: u32) -> Result<(), SessionEnd> {
        let step = usize::try_from(bytes_per_second.div_ceil(DRIPS_PER_SECOND)).unwrap_or(usize::MAX);
        while self.output.has_remaining() {
            let drop = self.output.split_to(step.min(self.output.len()));
            self.stream.write_all(&drop).await?;
            self.stream.flush().await?;
            sleep(Duration::from_secs(1) / DRIPS_PER_SECOND).await;
        }
        Ok(())
    }

    /// Applies the effect of a fault to the output of an operation, which begins after the first
    /// `before` bytes.
    pub(crate) async fn apply_fault(
        &mut self,
        effect: Option<&Effect>,
        before: usize,
    ) -> Result<(), SessionEnd> {
        match effect {
            Some(Effect::LoseAnswer) => {
                self.truncate(before);
                Err(SessionEnd::Fault)
            }
            Some(Effect::HalfAnswer) => {
                self.truncate(before.midpoint(self.waiting()));
                Err(SessionEnd::Fault)
            }
            Some(Effect::Drip(rate)) => self.drip(*rate).await,
            _ => Ok(()),
        }
    }

    /// Sends the buffered output, if the client reads it soon, and closes the connection.
    pub(crate) async fn finish(mut self) {
        let end = async {
            self.flush().await?;
            self.stream.shutdown().await
        };
        if let Ok(Err(error)) = timeout(FINISH_TIMEOUT, end).await {
            tracing::debug!(%error, "a connection could not be closed in order");
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        while self.output.has_remaining() {
            if self.stream.write_buf(&mut self.output).await? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        // An idle connection, of which there are thousands, holds no buffer.
        self.output = BytesMut::new();
        self.stream.flush().await
    }

    fn decode(&mut self) {
        let input = std::mem::take(&mut self.input);
        let mut cursor = Cursor::new(&input[..]);
        while cursor.position() < input.len() as u64 && self.closing.is_none() {
            let events = self.mqtt.recv(&mut cursor);
            self.handle(events);
        }
    }

    fn handle(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => self.received.push_back(packet),
                Event::RequestSendPacket { packet, .. } => {
                    self.output.extend_from_slice(&packet.to_continuous_buffer());
                }
                Event::NotifyPacketIdReleased(_) => {
                    self.unacknowledged = self.unacknowledged.saturating_sub(1);
                }
                Event::NotifyError(error) => self.closing = Some(SessionEnd::Malformed(error)),
                Event::RequestClose => {
                    self.closing.get_or_insert(SessionEnd::Closed);
                }
                // The session keeps the time itself: IoT Hub has a bound of its own.
                Event::RequestTimerReset { .. } | Event::RequestTimerCancel(_) => {}
            }
        }
    }
}

/// Refuses a message that breaks a rule whichever topic it has.
pub(crate) fn check_publish(publish: &Publish) -> Result<(), SessionEnd> {
    if has_wildcard(publish.topic_name()) {
        let text = "it publishes to a topic with a wildcard, `+` or `#` (MQTT-3.3.2-2)";
        return Err(SessionEnd::Violation(text.to_owned()));
    }
    if publish.qos() == Qos::ExactlyOnce {
        return Err(SessionEnd::Violation("Azure has no quality of service 2".to_owned()));
    }
    Ok(())
}

/// Returns true if a topic has a character that only a topic filter may have (MQTT-3.3.2-2).
pub(crate) fn has_wildcard(topic: &str) -> bool {
    topic.contains(['+', '#'])
}

/// The granted quality of a subscription: Azure grants 1 at most.
pub(crate) fn grant(asked: Qos) -> (Quality, SubackReturnCode) {
    match asked {
        Qos::AtMostOnce => (Quality::AtMostOnce, SubackReturnCode::SuccessMaximumQos0),
        Qos::AtLeastOnce | Qos::ExactlyOnce => (Quality::AtLeastOnce, SubackReturnCode::SuccessMaximumQos1),
    }
}

/// The longest silence of a client: one and a half times the keep-alive, up to IoT Hub's bound;
/// without a keep-alive, the bound.
pub(crate) fn idle_timeout(keep_alive: u16) -> Duration {
    match keep_alive {
        0 => MAX_IDLE,
        seconds => Duration::from_secs(seconds.into()).mul_f32(1.5).min(MAX_IDLE),
    }
}

const DRIPS_PER_SECOND: u32 = 10;
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);
/// The size of the largest message, with the longest topic and the fixed header.
pub(crate) const MAX_PACKET_BYTES: u32 = MAX_TELEMETRY_BYTES as u32 + u16::MAX as u32 + 16;
const MAX_IDLE: Duration = Duration::from_secs(1767);
const MAX_OUTPUT_BYTES: usize = 64 * 1024;
const MAX_UNACKNOWLEDGED: u16 = 100;
const READ_BYTES: usize = 4096;

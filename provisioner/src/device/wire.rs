//! MQTT packets on a stream, as a client. Encoding, decoding and packet state are
//! `mqtt-protocol-core`'s.

use std::collections::VecDeque;
use std::time::Duration;

use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, Event};
use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait, Packet};
use mqtt_protocol_core::mqtt::result_code::MqttError;
use mqtt_protocol_core::mqtt::{Connection, Version, role};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use zeroize::Zeroize;

use super::ConnectError;

/// A stream with its MQTT state.
pub(super) struct Wire<S> {
    stream: S,
    mqtt: Connection<role::Client>,
    received: VecDeque<Packet>,
    output: Vec<u8>,
    error: Option<MqttError>,
    deadline: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// `deadline` is how long the other side may take to answer.
    pub(super) fn new(stream: S, deadline: Duration) -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(MAX_PACKET_BYTES);
        Self {
            stream,
            mqtt: Connection::with_options(Version::V3_1_1, options),
            received: VecDeque::new(),
            output: Vec::new(),
            error: None,
            deadline,
        }
    }

    /// Takes a new packet id.
    pub(super) fn packet_id(&mut self, step: &'static str) -> Result<u16, ConnectError> {
        self.mqtt.acquire_packet_id().map_err(|error| ConnectError::Protocol { step, error })
    }

    /// Sends a packet, and waits until it has left.
    pub(super) async fn send(
        &mut self,
        packet: impl Into<Packet>,
        step: &'static str,
    ) -> Result<(), ConnectError> {
        let events = self.mqtt.send(packet.into());
        self.take(events);
        self.flush(step).await
    }

    /// The first packet for which `pick` has an answer; others are passed over, acknowledged.
    pub(super) async fn expect<T>(
        &mut self,
        step: &'static str,
        pick: impl Fn(&Packet) -> Option<T>,
    ) -> Result<T, ConnectError> {
        let deadline = self.deadline;
        let answer = async {
            loop {
                while let Some(packet) = self.received.pop_front() {
                    if let Some(found) = pick(&packet) {
                        return Ok(found);
                    }
                }
                self.receive(step).await?;
            }
        };
        match timeout(deadline, answer).await {
            Ok(found) => found,
            Err(_) => Err(ConnectError::TimedOut { step, after: deadline }),
        }
    }

    /// Says goodbye to TLS, if the other side still listens.
    pub(super) async fn close(mut self) {
        if let Ok(Err(error)) = timeout(CLOSE_DEADLINE, self.stream.shutdown()).await {
            tracing::debug!(%error, "a connection could not be closed in order");
        }
    }

    async fn receive(&mut self, step: &'static str) -> Result<(), ConnectError> {
        let mut input = Vec::with_capacity(READ_BYTES);
        let read = self.stream.read_buf(&mut input).await;
        if read.map_err(|error| ConnectError::lost(error, step))? == 0 {
            return Err(ConnectError::HungUp { step });
        }
        let mut cursor = Cursor::new(input.as_slice());
        while cursor.position() < input.len() as u64 && self.error.is_none() {
            let events = self.mqtt.recv(&mut cursor);
            self.take(events);
        }
        self.flush(step).await?;
        match self.error.take() {
            // What came before the mistake counts.
            Some(error) if self.received.is_empty() => Err(ConnectError::Protocol { step, error }),
            error => {
                self.error = error;
                Ok(())
            }
        }
    }

    async fn flush(&mut self, step: &'static str) -> Result<(), ConnectError> {
        let sent = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        let sent = timeout(self.deadline, sent).await;
        // A token may be in it.
        self.output.zeroize();
        match sent {
            Ok(sent) => sent.map_err(|error| ConnectError::lost(error, step)),
            Err(_) => Err(ConnectError::TimedOut { step, after: self.deadline }),
        }
    }

    fn take(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::NotifyPacketReceived(packet) => self.received.push_back(packet),
                Event::RequestSendPacket { packet, .. } => {
                    let mut bytes = packet.to_continuous_buffer();
                    self.output.extend_from_slice(&bytes);
                    bytes.zeroize();
                }
                Event::NotifyError(error) => self.error = Some(error),
                // Connections are over long before they have to be kept alive.
                Event::RequestTimerReset { .. }
                | Event::RequestTimerCancel(_)
                | Event::NotifyPacketIdReleased(_)
                | Event::RequestClose => {}
            }
        }
    }
}

const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// Desired and reported properties of the largest size, with room for how they are written.
const MAX_PACKET_BYTES: u32 = 1024 * 1024;
const READ_BYTES: usize = 4096;

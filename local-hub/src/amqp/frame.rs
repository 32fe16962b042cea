//! AMQP 1.0 protocol headers and frames on a stream. `serde_amqp` encodes and decodes the values.
//!
//! Source: OASIS "Advanced Message Queuing Protocol (AMQP) Version 1.0", parts 2.2, 2.3 and 5.3.

use std::io::{self, ErrorKind};

use bytes::{Buf, BufMut, BytesMut};
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The protocols that a protocol header can select.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Amqp,
    Sasl,
}

impl Layer {
    /// The protocol header of version 1.0.0.
    pub(super) fn header(self) -> [u8; 8] {
        let id = match self {
            Self::Amqp => 0,
            Self::Sasl => 3,
        };
        [b'A', b'M', b'Q', b'P', id, 1, 0, 0]
    }

    fn frame_type(self) -> u8 {
        match self {
            Self::Amqp => 0,
            Self::Sasl => 1,
        }
    }
}

/// A stream with the bytes that were read ahead from it.
pub(super) struct Frames<S> {
    stream: S,
    input: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new() }
    }

    /// Reads a protocol header. Returns `None` for a different protocol or version.
    pub(super) async fn read_header(&mut self) -> io::Result<Option<Layer>> {
        self.fill(8).await?;
        let header = self.input.split_to(8);
        Ok([Layer::Amqp, Layer::Sasl].into_iter().find(|layer| layer.header() == header[..]))
    }

    /// Reads frames until one of this layer has a body, and returns the body's descriptor. Frames
    /// without a body keep a connection alive and are skipped.
    pub(super) async fn read_descriptor(&mut self, layer: Layer) -> io::Result<u64> {
        loop {
            self.fill(8).await?;
            let mut head = self.input.split_to(8);
            let size = usize::try_from(head.get_u32()).unwrap_or(usize::MAX);
            let data_offset = usize::from(head.get_u8()) * 4;
            let frame_type = head.get_u8();
            if !(8..=MAX_FRAME_BYTES).contains(&size) || !(8..=size).contains(&data_offset) {
                return Err(invalid("a frame has an impossible size"));
            }
            if frame_type != layer.frame_type() {
                return Err(invalid("the type of a frame is not the agreed one"));
            }
            self.fill(size - 8).await?;
            let mut body = self.input.split_to(size - 8).split_off(data_offset - 8);
            if !body.is_empty() {
                return descriptor(&mut body)
                    .ok_or_else(|| invalid("the body of a frame is not a described list"));
            }
        }
    }

    /// Sends a protocol header.
    pub(super) async fn write_header(&mut self, layer: Layer) -> io::Result<()> {
        self.write(&layer.header()).await
    }

    /// Sends a frame of channel 0 with this body.
    pub(super) async fn write_frame(&mut self, layer: Layer, body: &impl Serialize) -> io::Result<()> {
        let body = serde_amqp::to_vec(body).map_err(io::Error::other)?;
        let mut frame = BytesMut::new();
        frame.put_u32(u32::try_from(body.len() + 8).map_err(io::Error::other)?);
        frame.put_slice(&[2, layer.frame_type(), 0, 0]);
        frame.put_slice(&body);
        self.write(&frame).await
    }

    /// Ends the stream.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.input.len() < bytes {
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// The numeric descriptor of a described value: `smallulong` or `ulong`.
fn descriptor(body: &mut impl Buf) -> Option<u64> {
    match [body.try_get_u8().ok()?, body.try_get_u8().ok()?] {
        [0x00, 0x53] => body.try_get_u8().ok().map(u64::from),
        [0x00, 0x80] => body.try_get_u64().ok(),
        _ => None,
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

/// The largest accepted frame, in bytes; no client sends larger ones of the kinds that are read
/// here.
const MAX_FRAME_BYTES: usize = 64 * 1024;

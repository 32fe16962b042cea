//! The bytes of an answer, and what may go wrong on their way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

/// A connection ends although an answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is cut, as a fault demands")]
pub(crate) enum Cut {
    /// In order.
    Close,
    /// With a TCP RST.
    Reset,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    rest: Bytes,
    /// What the client is told to expect.
    promised: u64,
    drip: Option<Drip>,
    /// How long what was sent has to leave before the connection is cut.
    cut: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Drip {
    bytes_per_step: usize,
    pause: Pin<Box<Sleep>>,
}

impl AnswerBody {
    pub(crate) fn whole(content: Vec<u8>) -> Self {
        let promised = content.len() as u64;
        Self { rest: Bytes::from(content), promised, drip: None, cut: None }
    }

    /// Only the first half, after which the connection is cut.
    pub(crate) fn halved(mut self) -> Self {
        self.rest.truncate(self.rest.len() / 2);
        Self { cut: Some(Box::pin(sleep(FLUSH_TIME))), ..self }
    }

    /// At so many bytes per second.
    pub(crate) fn dripping(self, bytes_per_second: u32) -> Self {
        let per_step = bytes_per_second.div_ceil(DRIPS_PER_SECOND).max(1);
        let bytes_per_step = usize::try_from(per_step).unwrap_or(usize::MAX);
        Self { drip: Some(Drip { bytes_per_step, pause: Box::pin(sleep(Duration::ZERO)) }), ..self }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let Some(cut) = &mut this.cut else {
                return Poll::Ready(None);
            };
            ready!(cut.as_mut().poll(context));
            return Poll::Ready(Some(Err(Cut::Close)));
        }
        let length = match &mut this.drip {
            None => this.rest.len(),
            Some(drip) => {
                ready!(drip.pause.as_mut().poll(context));
                drip.pause.as_mut().reset(Instant::now() + Duration::from_secs(1) / DRIPS_PER_SECOND);
                drip.bytes_per_step.min(this.rest.len())
            }
        };
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.cut.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let missing = if self.cut.is_some() { self.promised } else { self.rest.len() as u64 };
        SizeHint::with_exact(missing)
    }
}

/// A TLS connection that, where asked to, ends with a TCP RST when it is dropped.
#[derive(Debug)]
pub(crate) struct Resettable {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Where this fails the connection ends all the same.
            let _ = self.stream.get_ref().0.set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

const DRIPS_PER_SECOND: u32 = 10;
const FLUSH_TIME: Duration = Duration::from_millis(50);

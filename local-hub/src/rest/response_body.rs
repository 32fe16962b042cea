//! The bytes of a response, and faults during their transmission.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// A connection ends before its response is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection is cut, as a fault demands")]
pub(crate) enum Interrupted {
    /// The connection closes in order.
    Close,
    /// The connection is reset (TCP RST).
    Reset,
}

/// The body of a response.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    rest: Bytes,
    /// The announced length in bytes.
    promised: u64,
    drip: Option<Drip>,
    /// The time for sent bytes to leave before the connection is cut.
    cut: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Drip {
    bytes_per_step: usize,
    pause: Pin<Box<Sleep>>,
}

impl ResponseBody {
    pub(crate) fn whole(content: Vec<u8>) -> Self {
        let promised = content.len() as u64;
        Self { rest: Bytes::from(content), promised, drip: None, cut: None }
    }

    /// Keeps only the first half, after which the connection is cut.
    pub(crate) fn halved(mut self) -> Self {
        self.rest.truncate(self.rest.len() / 2);
        Self { cut: Some(Box::pin(sleep(FLUSH_TIME))), ..self }
    }

    /// Sends the body at this many bytes per second.
    pub(crate) fn dripping(self, bytes_per_second: u32) -> Self {
        let per_step = bytes_per_second.div_ceil(DRIPS_PER_SECOND).max(1);
        let bytes_per_step = usize::try_from(per_step).unwrap_or(usize::MAX);
        Self { drip: Some(Drip { bytes_per_step, pause: Box::pin(sleep(Duration::ZERO)) }), ..self }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Interrupted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Interrupted>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            let Some(cut) = &mut this.cut else {
                return Poll::Ready(None);
            };
            ready!(cut.as_mut().poll(context));
            return Poll::Ready(Some(Err(Interrupted::Close)));
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

const DRIPS_PER_SECOND: u32 = 10;
const FLUSH_TIME: Duration = Duration::from_millis(50);

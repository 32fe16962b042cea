//! The reader of stored messages, which can wait for new ones.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{Stream, unfold};
use http_body_util::StreamBody;
use hub_types::{IdentityId, Timestamp};
use hyper::body::Frame;
use percent_encoding::percent_decode_str;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use super::{MessageLine, MessageLog, MessageSource};

/// The messages that a reader selects.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Filter {
    device: Option<String>,
    module: Option<String>,
    source: Option<MessageSource>,
    /// Only messages after the one with this number.
    after: u64,
    /// Only messages from this time on.
    from: Option<Timestamp>,
    /// True to wait for new messages after all have been read.
    follow: bool,
}

/// The reason why a query string does not select messages.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum ReaderError {
    #[error("`{0}` is not a parameter; known are deviceId, moduleId, source, since and follow")]
    Parameter(String),
    #[error("`since` must be the SequenceNumber of a message, or a time such as 2026-11-30T10:00:00Z")]
    Since,
    #[error("`source` must be one of Telemetry, twinChangeEvents and deviceLifecycleEvents")]
    MessageSource,
    #[error("`follow` must be true or false")]
    Follow,
}

impl Filter {
    /// Reads the query string of a request.
    pub(crate) fn parse(query: &str) -> Result<Self, ReaderError> {
        let mut filter = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            match name {
                "deviceId" => filter.device = Some(value),
                "moduleId" => filter.module = Some(value),
                "source" => {
                    filter.source = Some(MessageSource::parse(&value).ok_or(ReaderError::MessageSource)?)
                }
                "since" => filter.begin_at(&value)?,
                "follow" => filter.follow = value.parse().map_err(|_| ReaderError::Follow)?,
                other => return Err(ReaderError::Parameter(other.to_owned())),
            }
        }
        Ok(filter)
    }

    /// Sets where to begin: behind a sequence number, or at a time.
    fn begin_at(&mut self, since: &str) -> Result<(), ReaderError> {
        match since.parse() {
            Ok(number) => self.after = number,
            Err(_) => {
                let time = OffsetDateTime::parse(since, &Rfc3339).map_err(|_| ReaderError::Since)?;
                self.from = Some(time.into());
            }
        }
        Ok(())
    }

    fn matches(&self, line: &MessageLine) -> bool {
        let is_of = |identity: &IdentityId| {
            self.device.as_ref().is_none_or(|device| device == identity.device().as_str())
                && self.module.as_ref().is_none_or(|wanted| {
                    identity.module().is_some_and(|module| module.as_str() == wanted.as_str())
                })
        };
        is_of(&line.identity)
            && self.source.is_none_or(|source| source == line.source)
            && self.from.is_none_or(|from| from.ticks() <= line.enqueued.ticks())
    }
}

/// A reader of a hub's messages, from the oldest one that is stored.
pub(crate) struct Reader {
    log: Arc<MessageLog>,
    filter: Filter,
    arrived: watch::Receiver<u64>,
}

impl Reader {
    pub(crate) fn new(log: Arc<MessageLog>, filter: Filter) -> Self {
        let arrived = log.arrived.subscribe();
        Self { log, filter, arrived }
    }

    /// The messages as a body of JSON Lines, which does not end if the reader follows.
    pub(crate) fn into_body(self) -> StreamBody<impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send> {
        StreamBody::new(unfold(self, |mut reader| async move {
            let lines = reader.next().await?;
            Some((Ok(Frame::data(lines)), reader))
        }))
    }

    /// Returns some more lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.arrived.borrow_and_update();
            let lines = self.page();
            if !lines.is_empty() {
                return Some(lines);
            }
            if !self.filter.follow || self.arrived.changed().await.is_err() {
                return None;
            }
        }
    }

    fn page(&mut self) -> Bytes {
        let kept = self.log.kept();
        let begin = kept.lines.partition_point(|line| line.sequence <= self.filter.after);
        let mut page = BytesMut::new();
        for line in kept.lines.range(begin..) {
            if page.len() >= PAGE {
                break;
            }
            self.filter.after = line.sequence;
            if self.filter.matches(line) {
                page.extend_from_slice(&line.text);
            }
        }
        page.freeze()
    }
}

/// The number of bytes read under the lock at a time: adding messages waits for it.
const PAGE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_string_names_what_is_wanted() {
        let filter = Filter::parse("deviceId=d%201&moduleId=m&source=Telemetry&since=7&follow=true").unwrap();
        let wanted = Filter {
            device: Some("d 1".into()),
            module: Some("m".into()),
            source: Some(MessageSource::Telemetry),
            after: 7,
            from: None,
            follow: true,
        };
        assert_eq!(filter, wanted);
        assert!(Filter::parse("since=2026-11-30T10:00:00Z").unwrap().from.is_some());
        let wrong = [
            ("since=yesterday", ReaderError::Since),
            ("source=x", ReaderError::MessageSource),
            ("follow=1", ReaderError::Follow),
            ("device=d", ReaderError::Parameter("device".into())),
        ];
        for (query, error) in wrong {
            assert_eq!(Filter::parse(query), Err(error));
        }
    }
}

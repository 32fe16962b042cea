//! The requests of the client.

use hub_types::ErrorCode;
use hub_types::limits::{MAX_METHOD_BYTES, MAX_TELEMETRY_BYTES, OperationClass};
use mqtt_protocol_core::mqtt::packet::v3_1_1::{Puback, Publish, Suback, Subscribe, Unsuback, Unsubscribe};
use mqtt_protocol_core::mqtt::result_code::SubackReturnCode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::operation::DeviceOperation;
use super::super::topic::{self, Uplink};
use super::super::twin::{self, Response};
use super::super::wire::{SessionEnd, check_publish, grant};
use super::Session;
use crate::api_error::{ApiError, ApiResult};
use crate::hub::connections::MethodAnswer;
use crate::registry::{Feed, Quality};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    pub(super) async fn published(&mut self, publish: &Publish) -> Result<(), SessionEnd> {
        let topic = publish.topic_name();
        check_publish(publish)?;
        let uplink = Uplink::parse(topic, self.identity);
        let uplink =
            uplink.ok_or_else(|| SessionEnd::Violation(format!("it may not publish to `{topic}`")))?;
        self.hub.active(self.identity);
        let attempt = self.begin(uplink.operation()).await?;
        let done = match attempt.check() {
            Ok(()) => self.perform(uplink, publish.payload().as_slice()).await,
            Err(error) => Err(error),
        };
        attempt
            .ended(done.as_ref().map(|response| response.as_ref().map_or(204, |response| response.status)));
        let response = match (done, uplink.rid()) {
            (Ok(response), _) => response,
            (Err(error), Some(rid)) => Some(twin::error_response(self.hub, rid, &error)),
            (Err(error), None) => return Err(SessionEnd::Refused(error.text)),
        };
        let before = self.wire.waiting();
        if let Some(id) = publish.packet_id() {
            let puback = Puback::builder().packet_id(id).build().map_err(SessionEnd::Malformed)?;
            self.wire.send(puback);
        }
        if let Some(Response { topic, payload, .. }) = response {
            self.send(Feed::TwinResponses, &topic, payload)?;
        }
        self.apply_fault(&attempt, before).await
    }

    /// Performs a request of the client; twin requests have a response.
    async fn perform(&mut self, uplink: Uplink<'_>, payload: &[u8]) -> ApiResult<Option<Response>> {
        if uplink.rid().is_some() && !self.client.has_api_version {
            let text = "twins need an api-version in the user name of CONNECT";
            return Err(ApiError::new(ErrorCode::InvalidProtocolVersion, text));
        }
        match uplink {
            Uplink::GetTwin { rid } => twin::get(self.hub, self.identity, rid).await.map(Some),
            Uplink::Report { rid, base } => {
                twin::report(self.hub, self.identity, rid, base, payload).await.map(Some)
            }
            Uplink::MethodAnswer { rid, status } => self.method_answered(rid, status, payload).map(|()| None),
            Uplink::Telemetry { properties } => self.telemetry(properties, payload).await.map(|()| None),
        }
    }

    /// Accepts a message to the cloud.
    async fn telemetry(&self, properties: &str, payload: &[u8]) -> ApiResult<()> {
        let bytes = properties.len() + payload.len();
        if bytes > MAX_TELEMETRY_BYTES {
            return Err(too_large("a message is larger than 256 KB"));
        }
        twin::admit(self.hub, OperationClass::DeviceToCloud, "DeviceTelemetry").await?;
        self.hub.throttle().charge(bytes);
        self.hub.accept_message(self.identity, &self.client.info.credentials, properties, payload);
        Ok(())
    }

    /// Accepts the response to a direct method, whose caller may have stopped waiting.
    fn method_answered(&mut self, rid: u64, status: i32, payload: &[u8]) -> ApiResult<()> {
        if payload.len() > MAX_METHOD_BYTES {
            return Err(too_large("the answer to a direct method is larger than 128 KB"));
        }
        if let Some(caller) = self.calls.remove(&rid) {
            let _ = caller.send(MethodAnswer { status, payload: payload.to_vec() });
        }
        Ok(())
    }

    pub(super) async fn subscribe(&mut self, subscribe: &Subscribe) -> Result<(), SessionEnd> {
        let attempt = self.begin(DeviceOperation::Subscribe).await?;
        let refused = attempt.check().err();
        let mut codes = Vec::new();
        for entry in subscribe.entries() {
            let (quality, code) = grant(entry.sub_opts().qos());
            // Other filters than its own are not granted at all.
            let feeds = topic::feeds(entry.topic_filter(), self.identity);
            let granted = refused.is_none() && !feeds.is_empty();
            for feed in feeds.iter().filter(|_| granted) {
                self.set_subscription(*feed, Some(quality));
            }
            codes.push(if granted { code } else { SubackReturnCode::Failure });
        }
        let refused = refused.or_else(|| codes.contains(&SubackReturnCode::Failure).then(not_own_filter));
        attempt.ended(refused.as_ref().map_or(Ok(200), Err));
        let before = self.wire.waiting();
        let suback = Suback::builder().packet_id(subscribe.packet_id()).return_codes(codes);
        self.wire.send(suback.build().map_err(SessionEnd::Malformed)?);
        self.apply_fault(&attempt, before).await?;
        self.send_messages().await
    }

    pub(super) async fn unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), SessionEnd> {
        let attempt = self.begin(DeviceOperation::Unsubscribe).await?;
        attempt.require_success(200)?;
        for filter in unsubscribe.entries() {
            for feed in topic::feeds(filter.as_str(), self.identity) {
                self.set_subscription(*feed, None);
            }
        }
        let before = self.wire.waiting();
        let unsuback = Unsuback::builder().packet_id(unsubscribe.packet_id());
        self.wire.send(unsuback.build().map_err(SessionEnd::Malformed)?);
        self.apply_fault(&attempt, before).await
    }

    fn set_subscription(&mut self, feed: Feed, quality: Option<Quality>) {
        self.subscriptions.set(feed, quality);
        self.hub.subscribe(self.identity, &self.guard.connection, feed, quality);
    }
}

fn too_large(text: &str) -> ApiError {
    ApiError::new(ErrorCode::MessageTooLarge, text)
}

fn not_own_filter() -> ApiError {
    ApiError::new(ErrorCode::IotHubUnauthorizedAccess, "a filter is not one of the identity's filters")
}

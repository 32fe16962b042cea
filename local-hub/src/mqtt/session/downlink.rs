//! The messages that the hub sends on its own initiative.

use tokio::io::{AsyncRead, AsyncWrite};

use super::super::operation::DeviceOperation;
use super::super::topic;
use super::super::wire::SessionEnd;
use super::Session;
use crate::hub::connections::{Downlink, MethodCall};
use crate::registry::Feed;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    pub(super) async fn deliver(&mut self, message: Downlink) -> Result<(), SessionEnd> {
        match message {
            Downlink::MessagesWaiting => self.send_messages().await,
            Downlink::Desired(notice) => {
                let topic = topic::desired_notification(notice.version);
                self.push(DeviceOperation::ReceiveDesired, &topic, notice.payload).await.map(drop)
            }
            Downlink::Method(call) => self.call(call).await,
        }
    }

    async fn call(&mut self, call: MethodCall) -> Result<(), SessionEnd> {
        self.calls.retain(|_, caller| !caller.is_closed());
        self.last_call += 1;
        self.calls.insert(self.last_call, call.answer);
        let topic = topic::method(&call.name, self.last_call);
        self.push(DeviceOperation::ReceiveMethod, &topic, call.payload).await.map(drop)
    }

    /// Sends the waiting messages, as far as the device accepts them.
    pub(super) async fn send_messages(&mut self) -> Result<(), SessionEnd> {
        while self.wire.has_room() && self.subscriptions.get(Feed::CloudToDevice).is_some() {
            let device = self.identity.device();
            let Some(message) = self.hub.message_after(device, self.last_message) else {
                return Ok(());
            };
            self.last_message = message.sequence;
            let topic = topic::cloud_to_device(self.identity, &message.properties);
            match self.push(DeviceOperation::ReceiveMessage, &topic, message.payload).await? {
                Some(id) => {
                    self.messages.insert(id, message.sequence);
                }
                // Nobody will say that it has arrived.
                None => self.complete(message.sequence).await,
            }
        }
        Ok(())
    }

    pub(super) async fn acknowledged(&mut self, id: u16) -> Result<(), SessionEnd> {
        if let Some(sequence) = self.messages.remove(&id) {
            let attempt = self.begin(DeviceOperation::CompleteMessage).await?;
            attempt.require_success(204)?;
            self.complete(sequence).await;
            self.apply_fault(&attempt, self.wire.waiting()).await?;
        }
        self.send_messages().await
    }

    async fn complete(&self, sequence: u64) {
        if let Err(error) = self.hub.complete_message(self.identity.device(), sequence).await {
            tracing::warn!(identity = %self.identity, "a message stays in the queue: {}", error.text);
        }
    }

    /// Sends an unsolicited message, if the client is subscribed to it.
    async fn push(
        &mut self,
        operation: DeviceOperation,
        topic: &str,
        payload: Vec<u8>,
    ) -> Result<Option<u16>, SessionEnd> {
        let feed = feed_of(operation);
        if self.subscriptions.get(feed).is_none() {
            return Ok(None);
        }
        let attempt = self.begin(operation).await?;
        attempt.require_success(200)?;
        if operation == DeviceOperation::ReceiveDesired {
            self.hub.throttle().charge(payload.len());
        }
        let before = self.wire.waiting();
        let id = self.send(feed, topic, payload)?;
        self.apply_fault(&attempt, before).await?;
        Ok(id)
    }
}

/// The feed of what a device receives.
fn feed_of(operation: DeviceOperation) -> Feed {
    match operation {
        DeviceOperation::ReceiveDesired => Feed::DesiredProperties,
        DeviceOperation::ReceiveMethod => Feed::Methods,
        _ => Feed::CloudToDevice,
    }
}

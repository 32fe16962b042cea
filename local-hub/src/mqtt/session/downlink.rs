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
            Downlink::Commands => self.send_commands().await,
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
    pub(super) async fn send_commands(&mut self) -> Result<(), SessionEnd> {
        while self.wire.has_room() && self.subscriptions.get(Feed::Commands).is_some() {
            let device = self.identity.device();
            let Some(command) = self.hub.command_after(device, self.last_command) else {
                return Ok(());
            };
            self.last_command = command.sequence;
            let topic = topic::command(self.identity, &command.properties);
            match self.push(DeviceOperation::ReceiveCommand, &topic, command.payload).await? {
                Some(id) => {
                    self.commands.insert(id, command.sequence);
                }
                // Nobody will say that it has arrived.
                None => self.complete(command.sequence).await,
            }
        }
        Ok(())
    }

    pub(super) async fn acknowledged(&mut self, id: u16) -> Result<(), SessionEnd> {
        if let Some(sequence) = self.commands.remove(&id) {
            let attempt = self.begin(DeviceOperation::CompleteCommand).await?;
            self.require_success(&attempt, 204)?;
            self.complete(sequence).await;
            self.apply_fault(&attempt, self.wire.waiting()).await?;
        }
        self.send_commands().await
    }

    async fn complete(&self, sequence: u64) {
        if let Err(error) = self.hub.complete_command(self.identity.device(), sequence).await {
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
        let feed = match operation {
            DeviceOperation::ReceiveDesired => Feed::DesiredProperties,
            DeviceOperation::ReceiveMethod => Feed::Methods,
            _ => Feed::Commands,
        };
        if self.subscriptions.get(feed).is_none() {
            return Ok(None);
        }
        let attempt = self.begin(operation).await?;
        self.require_success(&attempt, 200)?;
        if operation == DeviceOperation::ReceiveDesired {
            self.hub.throttle().charge(payload.len());
        }
        let before = self.wire.waiting();
        let id = self.send(feed, topic, payload)?;
        self.apply_fault(&attempt, before).await?;
        Ok(id)
    }
}

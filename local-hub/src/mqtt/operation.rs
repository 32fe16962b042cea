//! The operations of devices and modules over MQTT, by their names in faults and the request log.

/// An operation of a device or module, or of the hub towards one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It responds to a direct method.
    AnswerMethod,
    /// It acknowledges a cloud-to-device message.
    CompleteCommand,
    Connect,
    GetTwin,
    PatchReported,
    /// It is sent a cloud-to-device message.
    ReceiveCommand,
    /// It is told of changed desired properties.
    ReceiveDesired,
    /// It is called by a direct method.
    ReceiveMethod,
    SendTelemetry,
    Subscribe,
    Unsubscribe,
}

impl Operation {
    const ALL: [Self; 11] = [
        Self::AnswerMethod,
        Self::CompleteCommand,
        Self::Connect,
        Self::GetTwin,
        Self::PatchReported,
        Self::ReceiveCommand,
        Self::ReceiveDesired,
        Self::ReceiveMethod,
        Self::SendTelemetry,
        Self::Subscribe,
        Self::Unsubscribe,
    ];

    /// The name, which differs from all names of the service API.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AnswerMethod => "DeviceAnswerMethod",
            Self::CompleteCommand => "DeviceCompleteCommand",
            Self::Connect => "DeviceConnect",
            Self::GetTwin => "DeviceGetTwin",
            Self::PatchReported => "DevicePatchReported",
            Self::ReceiveCommand => "DeviceReceiveCommand",
            Self::ReceiveDesired => "DeviceReceiveDesired",
            Self::ReceiveMethod => "DeviceReceiveMethod",
            Self::SendTelemetry => "DeviceSendTelemetry",
            Self::Subscribe => "DeviceSubscribe",
            Self::Unsubscribe => "DeviceUnsubscribe",
        }
    }
}

/// The name of every operation.
pub(crate) fn operation_names() -> impl Iterator<Item = &'static str> {
    Operation::ALL.into_iter().map(Operation::name)
}

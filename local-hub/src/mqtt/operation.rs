//! The operations of devices and modules over MQTT, by their names in faults and the request log.
//! The names differ from all names of the service API.

use super::MqttOperation;

macro_rules! operations {
    ($($(#[$doc:meta])* $operation:ident = $name:literal;)*) => {
        /// An operation of a device or module, or of the hub towards one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum DeviceOperation {
            $($(#[$doc])* $operation,)*
        }

        impl MqttOperation for DeviceOperation {
            const CONNECT: Self = Self::Connect;

            const DISCONNECT: &'static str = "DeviceDisconnect";

            fn name(self) -> &'static str {
                match self {
                    $(Self::$operation => $name,)*
                }
            }
        }

        /// The name of every operation.
        pub(crate) fn operation_names() -> impl Iterator<Item = &'static str> {
            [$($name),*].into_iter()
        }
    };
}

operations! {
    /// It responds to a direct method.
    AnswerMethod = "DeviceAnswerMethod";
    /// It acknowledges a cloud-to-device message.
    CompleteMessage = "DeviceCompleteCommand";
    Connect = "DeviceConnect";
    GetTwin = "DeviceGetTwin";
    PatchReported = "DevicePatchReported";
    /// It is sent a cloud-to-device message.
    ReceiveMessage = "DeviceReceiveCommand";
    /// It is told of changed desired properties.
    ReceiveDesired = "DeviceReceiveDesired";
    /// It is called by a direct method.
    ReceiveMethod = "DeviceReceiveMethod";
    SendTelemetry = "DeviceSendTelemetry";
    Subscribe = "DeviceSubscribe";
    Unsubscribe = "DeviceUnsubscribe";
}

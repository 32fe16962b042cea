//! The error codes of IoT Hub that matter to registries, twins and device links.
//!
//! A code has a name, which the `iothub-errorcode` header and error bodies carry, and a number,
//! which is 1000 × the HTTP status + n. Source: "Understand and resolve Azure IoT Hub errors" and
//! the service SDK's list.

use std::fmt;

/// Declares the codes once: variant, number, and the name, which is the variant's.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// An error code of IoT Hub.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)+
        }

        impl ErrorCode {
            /// Every code, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The six-digit number.
            pub fn number(self) -> u32 {
                match self {
                    $(Self::$name => $number,)+
                }
            }

            /// The name, as the `iothub-errorcode` header carries it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

error_codes! {
    /// The request is malformed, and no other code describes the fault.
    GenericBadRequest = 400_000,
    /// The `api-version` is missing or unknown.
    InvalidProtocolVersion = 400_001,
    /// The operation is not possible in this state.
    InvalidOperation = 400_003,
    /// A body, key, thumbprint, id or query breaks a rule.
    ArgumentInvalid = 400_004,
    /// A required part is missing.
    ArgumentNull = 400_005,
    /// The body is not JSON of the expected shape.
    IotHubFormatError = 400_006,
    /// The storage container of a job can't be used.
    BlobContainerValidationError = 400_008,
    /// One bulk call names an identity more than once.
    DeviceDefinedMultipleTimes = 400_011,
    /// A line of an import file can't be read.
    DeserializationError = 400_012,
    /// Some items of a bulk call failed.
    BulkRegistryOperationFailure = 400_013,
    /// The etag of a bulk item is not the current one.
    EtagDoesNotMatch = 400_023,
    /// Another connection of the same identity took over.
    ConnectionForcefullyClosedOnNewConnection = 400_027,
    /// The device scope names no edge device, or may not change.
    InvalidDeviceScope = 400_028,
    /// The service closed the link for an upgrade; connect again.
    ConnectionForcefullyClosedOnFaultInjection = 400_029,
    /// The service refused the link during an upgrade; connect again.
    ConnectionRejectedOnFaultInjection = 400_030,
    /// A module can't have modules.
    CannotRegisterModuleToModule = 400_301,
    /// The target condition of a configuration can't be understood.
    InvalidConfigurationTargetCondition = 400_401,
    /// The content of a configuration breaks a rule.
    InvalidConfigurationContent = 400_402,
    /// A query of a configuration's own metrics can't be understood.
    InvalidConfigurationCustomMetricsQuery = 400_404,
    /// The hub itself is unknown.
    IotHubNotFound = 401_001,
    /// The caller does not have the right.
    IotHubUnauthorizedAccess = 401_002,
    /// The token is wrong or has expired.
    IotHubUnauthorized = 401_003,
    /// Callers can't change `$edgeAgent` and `$edgeHub`.
    SystemModuleModifyUnauthorizedAccess = 401_100,
    /// The hub is full, or its daily message quota is used up.
    IotHubQuotaExceeded = 403_002,
    /// An import or export job is running already.
    JobQuotaExceeded = 403_003,
    /// The device's queue of cloud-to-device messages is full.
    DeviceMaximumQueueDepthExceeded = 403_004,
    /// The tier of the hub has no such operation.
    OperationNotAvailableInCurrentTier = 403_010,
    /// The device is disabled.
    DeviceDisabled = 403_012,
    /// No such device, or no such module twin.
    DeviceNotFound = 404_001,
    /// No such job.
    JobNotFound = 404_002,
    /// No such module.
    ModuleNotFound = 404_010,
    /// The device is not connected.
    DeviceNotOnline = 404_103,
    /// The device disconnected during the operation.
    DeviceConnectionClosedRemotely = 404_104,
    /// No such configuration.
    ConfigurationNotFound = 404_301,
    /// The object's state forbids the operation.
    OperationNotAllowedInCurrentState = 405_102,
    /// The device exists already.
    DeviceAlreadyExists = 409_001,
    /// A job with that id exists already.
    JobAlreadyExists = 409_104,
    /// The module exists already.
    ModuleAlreadyExistsOnDevice = 409_301,
    /// The configuration exists already.
    ConfigurationAlreadyExists = 409_401,
    /// The `If-Match` header is missing or names a different version.
    PreconditionFailed = 412_001,
    /// The message is too large.
    MessageTooLarge = 413_001,
    /// More than 100 items in one bulk call.
    TooManyDevices = 413_002,
    /// A 51st module.
    TooManyModulesOnDevice = 413_003,
    /// Too many requests; the service states no further reason.
    GenericTooManyRequests = 429_000,
    /// The throttle of this operation class is exceeded.
    ThrottlingException = 429_001,
    /// Too many requests wait behind the throttle.
    ThrottleBacklogLimitExceeded = 429_002,
    /// A request waited too long behind the throttle.
    ThrottlingBacklogTimeout = 429_003,
    /// Too many scheduled jobs at once.
    ThrottlingMaxActiveJobCountExceeded = 429_004,
    /// One device exceeds its own limit.
    DeviceThrottlingLimitExceeded = 429_005,
    /// The service failed.
    ServerError = 500_001,
    /// The service took too long.
    GenericTimeout = 500_008,
    /// The service is not available.
    ServiceUnavailable = 503_001,
    /// The service is busy.
    ServerBusy = 503_005,
    /// The device did not answer a direct method in time.
    GatewayTimeout = 504_101,
}

impl ErrorCode {
    /// Returns the code with this name. The case must match.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Returns the code with this six-digit number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// Returns the HTTP status of the code.
    pub fn http_status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_name_and_by_its_number() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.name()), Some(*code));
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
            assert!((400..600).contains(&code.http_status()));
        }
        assert_eq!(ErrorCode::DeviceAlreadyExists.number(), 409_001);
        assert_eq!(ErrorCode::DeviceAlreadyExists.http_status(), 409);
        assert_eq!(ErrorCode::from_name("deviceAlreadyExists"), None);
    }
}

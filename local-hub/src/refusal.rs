//! What the hub answers when it does not do as asked.

use hub_types::{DeviceId, ErrorCode, Etag, IfMatch, ModuleId};

use crate::counter_etag;

/// A refusal: the status, the code's name, and a text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {text}")]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { status: code.http_status(), name: code.name(), text: text.into() }
    }

    /// The number of the code, 0 where it has none.
    pub(crate) fn number(&self) -> u32 {
        ErrorCode::from_name(self.name).map_or(0, ErrorCode::number)
    }

    /// IoT Hub has this operation, this hub has not.
    pub(crate) fn not_implemented(operation: &str) -> Self {
        Self {
            status: 501,
            name: "NotImplemented",
            text: format!("the local hub does not implement the operation {operation}"),
        }
    }

    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::ArgumentInvalid, text)
    }

    /// The hub itself failed.
    pub(crate) fn server(text: impl Into<String>) -> Self {
        Self::new(ErrorCode::ServerError, text)
    }

    pub(crate) fn device_exists(id: &DeviceId) -> Self {
        let text = format!("A device with ID '{id}' is already registered.");
        Self::new(ErrorCode::DeviceAlreadyExists, text)
    }

    /// As a live hub answers it to a request for the device itself: with the bare id.
    pub(crate) fn no_such_device(id: &DeviceId) -> Self {
        Self::new(ErrorCode::DeviceNotFound, id.as_str())
    }

    pub(crate) fn device_not_found(id: &DeviceId) -> Self {
        let text = format!("A device with ID '{id}' is not registered.");
        Self::new(ErrorCode::DeviceNotFound, text)
    }

    pub(crate) fn module_exists(device: &DeviceId, module: &ModuleId) -> Self {
        let text = format!("Device {device} already contains Module {module}.");
        Self::new(ErrorCode::ModuleAlreadyExistsOnDevice, text)
    }

    pub(crate) fn module_not_found(device: &DeviceId, module: &ModuleId) -> Self {
        let text = format!("Device {device} contains no Module {module}.");
        Self::new(ErrorCode::ModuleNotFound, text)
    }

    /// A job was cancelled, or went away with the hub's state, while it was at work.
    pub(crate) fn no_such_work(job: &str) -> Self {
        let text = format!("the job `{job}` is no longer at work");
        Self::new(ErrorCode::OperationNotAllowedInCurrentState, text)
    }

    /// As a live hub puts it, which sends no `Retry-After` with it.
    pub(crate) fn throttled(kind: &str) -> Self {
        let text =
            format!("The request has been throttled. Wait 10 seconds and try again. Operation type: {kind}");
        Self::new(ErrorCode::ThrottlingException, text)
    }

    /// With a shared access signature a live hub answers so when the device of a module is missing,
    /// and also when it is disabled.
    pub(crate) fn no_device_for_modules() -> Self {
        Self::new(
            ErrorCode::IotHubUnauthorizedAccess,
            "Unauthorized: the device of the module is missing or disabled",
        )
    }

    pub(crate) fn etag_missing() -> Self {
        Self::new(ErrorCode::PreconditionFailed, "Etag missing")
    }

    pub(crate) fn etag_mismatch() -> Self {
        Self::new(ErrorCode::PreconditionFailed, "PreconditionFailed, ETag may be invalid.")
    }

    /// An identity has another version than is demanded. A live hub says `Device` of modules too.
    pub(crate) fn version_mismatch(current: &Etag, demand: &IfMatch) -> Self {
        let given = match demand {
            IfMatch::Exactly(etag) => counter_etag::decode(etag),
            IfMatch::Any => None,
        };
        let (Some(existing), Some(given)) = (counter_etag::decode(current), given) else {
            return Self::etag_mismatch();
        };
        let text = format!(
            "Precondition failed: Device version did not match, existingVersion:{existing} newVersion:{given}"
        );
        Self::new(ErrorCode::PreconditionFailed, text)
    }

    /// A twin has another version than is demanded; of a module's twin too the device is named.
    pub(crate) fn twin_mismatch(device: &DeviceId) -> Self {
        Self::new(ErrorCode::PreconditionFailed, format!("ETag mismatch for device ID '{device}'"))
    }
}

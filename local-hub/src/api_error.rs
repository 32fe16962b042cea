//! The error responses of the hub and of the DPS.

use hub_types::{DeviceId, ErrorCode, Etag, IfMatch, ModuleId};

use crate::ids::counter_etag;

/// The result of an operation.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

/// An error response: the status, the code's name, and a text for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {text}")]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    /// The number of the code, 0 if it has none.
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

impl ApiError {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { status: code.http_status(), number: code.number(), name: code.name(), text: text.into() }
    }

    /// An operation of the service that is not supported here.
    pub(crate) fn not_implemented(operation: &str) -> Self {
        Self {
            status: 501,
            number: 0,
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

    /// A missing device, as a live hub reports it for requests for the device itself: with the bare
    /// id.
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

    /// A job that was cancelled, or removed with the hub's state, while it was running.
    pub(crate) fn job_not_running(job: &str) -> Self {
        let text = format!("the job `{job}` is no longer at work");
        Self::new(ErrorCode::OperationNotAllowedInCurrentState, text)
    }

    /// A throttled request, in a live hub's words and without `Retry-After`, which it does not
    /// send.
    pub(crate) fn throttled(kind: &str) -> Self {
        let text =
            format!("The request has been throttled. Wait 10 seconds and try again. Operation type: {kind}");
        Self::new(ErrorCode::ThrottlingException, text)
    }

    /// A missing or disabled device of a module, as a live hub reports it under a shared access
    /// signature.
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

    /// An identity with a different version than required. A live hub says `Device` for modules
    /// too.
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

    /// A twin with a different version than required; for a module's twin, the device is named too.
    pub(crate) fn twin_mismatch(device: &DeviceId) -> Self {
        Self::new(ErrorCode::PreconditionFailed, format!("ETag mismatch for device ID '{device}'"))
    }
}

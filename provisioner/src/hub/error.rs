//! The errors of calls to a hub or to a DPS.

use std::sync::Arc;
use std::time::Duration;

use hub_types::bulk::BulkError;
use hub_types::dps::bulk::EnrollmentBulkError;
use hub_types::{DeviceId, ErrorCode};
use serde_json::Value;

use super::answer::AnswerError;
use super::classes::{self, ErrorClass};
use super::entra::EntraError;
use super::network_failure::NetworkFailure;
use super::tls_failure::TlsFailure;
use crate::model::failure::ReasonCode;
use crate::model::service::ServiceKind;

/// The reason why a call to a hub, or to a DPS, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HubError {
    /// Creating says that the identity exists, reading says that it does not, again and again.
    #[error("answers say that it exists and that it does not, again and again")]
    Contradiction,
    /// The device that a module belongs to is disabled: a hub tells and does nothing about its modules.
    #[error("device `{0}` is disabled, and a hub denies access to the modules of such a device")]
    DisabledDevice(DeviceId),
    /// The answer to the bulk call that the identity was in contradicts itself, or says that something failed
    /// and not what.
    #[error("the answer to a bulk call does not say which of its items succeeded")]
    Unclear,
    /// The service was down for so long that it was given up. Nothing was sent.
    #[error("the {service} at {host} has given no usable answer for {}", lasting(*away))]
    Down {
        /// The service.
        service: ServiceKind,
        /// The expected host.
        host: String,
        /// For how long.
        away: Duration,
    },
    /// Another call was answered in a way that holds for all others too. Nothing was sent.
    #[error(transparent)]
    GivenUp(Arc<Self>),
    /// The answer never came: whether the request had its effect is not known.
    #[error("the {service}'s answer was lost: {failure}")]
    Lost {
        /// The service.
        service: ServiceKind,
        /// The way in which it was lost.
        failure: NetworkFailure,
    },
    /// The answer is not what the contract says.
    #[error("the answer to `{operation}` is not what a {service} answers")]
    Malformed {
        /// The service.
        service: ServiceKind,
        /// The call.
        operation: &'static str,
        /// The fault of the response.
        source: AnswerError,
    },
    /// The answer to the bulk call that the identity was in never came.
    #[error("the answer to a bulk call was lost, again and again")]
    NoAnswer,
    /// The device that a module belongs to is not on the hub.
    #[error("device `{0}` is not on the hub")]
    NoDevice(DeviceId),
    /// No enrolment can be made of the device. Nothing was sent.
    #[error("it can't be enrolled: {0}")]
    NotEnrollable(String),
    /// The device that should be the parent is not on the hub, or is no edge device.
    #[error("parent `{0}` is not an edge device on the hub")]
    NoParent(DeviceId),
    /// Entra ID gave no token. Nothing was sent.
    #[error("Entra ID gave no token")]
    NoToken(#[from] Arc<EntraError>),
    /// The answer leads elsewhere, which one of the service never does. Nothing was sent there.
    #[error("the {service}'s address answers {status}, a redirect to {}, which was not followed", host.as_deref().unwrap_or("nowhere"))]
    Redirected {
        /// The service.
        service: ServiceKind,
        /// The HTTP status.
        status: u16,
        /// The host that it leads to.
        host: Option<String>,
    },
    /// The service answered with an error.
    #[error("{}", refusal(*service, *status, code.as_deref(), message, *retry_after))]
    Refused {
        /// The service.
        service: ServiceKind,
        /// The HTTP status.
        status: u16,
        /// The service's error code, where there was one: of a hub its name, of a DPS its number.
        code: Option<String>,
        /// The service's words.
        message: String,
        /// The id that Microsoft's support asks for.
        tracking_id: Option<String>,
        /// The delay that the service asked for, in seconds.
        retry_after: Option<u64>,
    },
    /// The process is to stop, and the call would have had to wait. Nothing was sent.
    #[error("stopped while waiting for an answer")]
    Stopped,
    /// No answer has confirmed a change for so long that the service was given up. Nothing was sent.
    #[error("no answer of the {service} at {host} has confirmed a change for {}", lasting(*time))]
    Unconfirmed {
        /// The service.
        service: ServiceKind,
        /// The expected host.
        host: String,
        /// For how long.
        time: Duration,
        /// The failure that the hub itself reported for the last change, if it did.
        source: Option<Arc<Self>>,
    },
    /// No connection came about: the request had no effect.
    #[error("no connection to the {service} at {host}: {failure}")]
    Unreachable {
        /// The service.
        service: ServiceKind,
        /// The expected host.
        host: String,
        /// Why.
        failure: NetworkFailure,
    },
    /// The server can't prove to be the service: the request was not sent.
    #[error("the {service} at {host} can't be trusted: {failure}")]
    Untrusted {
        /// The service.
        service: ServiceKind,
        /// The expected host.
        host: String,
        /// Why.
        failure: TlsFailure,
    },
}

impl HubError {
    /// The consequence of the error.
    pub(crate) fn class(&self) -> ErrorClass {
        classes::class(self)
    }

    /// Returns true if the request may have had its effect although the call failed.
    pub(crate) fn effect_is_unknown(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Malformed { .. } | Self::NoAnswer | Self::Unclear => true,
            Self::Refused { .. } => matches!(self.class(), ErrorClass::Foreign | ErrorClass::Transient),
            Self::Contradiction
            | Self::DisabledDevice(_)
            | Self::Down { .. }
            | Self::GivenUp(_)
            | Self::NoDevice(_)
            | Self::NoParent(_)
            | Self::NoToken(_)
            | Self::NotEnrollable(_)
            | Self::Redirected { .. }
            | Self::Stopped
            | Self::Unconfirmed { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. } => false,
        }
    }

    /// Returns true if there is no time for another attempt.
    pub(crate) fn is_out_of_time(&self) -> bool {
        matches!(self, Self::Down { .. } | Self::GivenUp(_) | Self::Stopped | Self::Unconfirmed { .. })
    }

    /// The error code of a hub, where it is a known one.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::GivenUp(first) => first.code(),
            Self::Refused { service: ServiceKind::Hub, code, .. } => ErrorCode::from_name(code.as_deref()?),
            _ => None,
        }
    }

    /// The reason code of a row that fails of it.
    pub(crate) fn reason(&self) -> ReasonCode {
        match self {
            Self::Contradiction => ReasonCode::Contradiction,
            Self::DisabledDevice(_) => ReasonCode::DeviceDisabled,
            Self::Lost { .. } | Self::NoAnswer => ReasonCode::AnswerLost,
            Self::Malformed { .. } | Self::Unclear => ReasonCode::AnswerNotUnderstood,
            Self::NoDevice(_) => ReasonCode::DeviceMissing,
            Self::NoParent(_) => ReasonCode::ParentUnusable,
            Self::NoToken(_) => ReasonCode::CallerRefused,
            Self::NotEnrollable(_) => ReasonCode::NotEnrollable,
            Self::GivenUp(first) => first.reason(),
            Self::Down { .. }
            | Self::Redirected { .. }
            | Self::Stopped
            | Self::Unconfirmed { .. }
            | Self::Unreachable { .. }
            | Self::Untrusted { .. } => ReasonCode::HubFault,
            Self::Refused { status, .. } => match (self.code(), *status) {
                (Some(ErrorCode::DeviceDisabled), _) => ReasonCode::DeviceDisabled,
                (Some(ErrorCode::EtagDoesNotMatch), _) | (_, 409 | 412) => ReasonCode::VersionChanged,
                (_, 401) => ReasonCode::CallerRefused,
                (_, 403) => ReasonCode::HubFull,
                (_, 404) => ReasonCode::IdentityMissing,
                (_, 429) => ReasonCode::Throttled,
                (_, 408 | 500..) => ReasonCode::HubFault,
                _ => ReasonCode::RequestRefused,
            },
        }
    }

    /// The HTTP status, where the hub answered.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::GivenUp(first) => first.status(),
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The remedy, for people.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Down { .. } => Some("when it is back, resume the run; nothing is lost"),
            Self::GivenUp(first) => first.hint(),
            Self::Unconfirmed { source: Some(_), .. } => {
                Some("it fails itself; when it takes changes again, resume the run; nothing is lost")
            }
            Self::Unconfirmed { source: None, .. } => Some(
                "find out what answers changes in its place or cuts them off, such as a proxy, then resume \
                 the run; nothing is lost",
            ),
            Self::NoToken(_) => Some(
                "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or give this machine a managed \
                 identity, or run `az login`; `--auth` names one of these ways",
            ),
            Self::Untrusted { failure, .. } => Some(failure.advice()),
            _ => classes::of(self).map(|line| line.advice).filter(|advice| !advice.is_empty()),
        }
    }

    /// Reads the error that a service answered: `header` is the error code in the header, `body` one of
    /// the envelopes that services use.
    pub(crate) fn refused(
        service: ServiceKind,
        status: u16,
        header: Option<&str>,
        retry_after: Option<u64>,
        body: &[u8],
    ) -> Self {
        let envelope = Envelope::read(service, &String::from_utf8_lossy(body));
        Self::Refused {
            service,
            status,
            code: header.map(str::to_owned).or(envelope.code),
            message: shortened(&envelope.message),
            tracking_id: envelope.tracking_id,
            retry_after,
        }
    }
}

impl From<&EnrollmentBulkError> for HubError {
    /// The first three digits of the error code are the HTTP status of the same error of a single call.
    fn from(error: &EnrollmentBulkError) -> Self {
        Self::Refused {
            service: ServiceKind::Dps,
            status: u16::try_from(error.error_code / 1000).unwrap_or(400),
            code: Some(error.error_code.to_string()),
            message: shortened(&error.error_status),
            tracking_id: None,
            retry_after: None,
        }
    }
}

impl From<&BulkError> for HubError {
    fn from(error: &BulkError) -> Self {
        Self::Refused {
            service: ServiceKind::Hub,
            status: error.code().map_or(400, ErrorCode::http_status),
            code: Some(error.error_code.clone()),
            message: shortened(error.error_status.as_deref().unwrap_or_default()),
            tracking_id: None,
            retry_after: None,
        }
    }
}

/// An error in words: the service's own, and what they mean where they do not say it.
fn refusal(
    service: ServiceKind,
    status: u16,
    code: Option<&str>,
    message: &str,
    retry_after: Option<u64>,
) -> String {
    let code_text = code.map(|code| format!(" {code}:")).unwrap_or_default();
    let seen = classes::CallResult::Answer { status, code, explained: true };
    let meaning = classes::line(service, seen).meaning;
    let text = match message.is_empty() {
        true => format!("the {service} refused: {status}{}", code_text.trim_end_matches(':')),
        false => format!("the {service} refused: {status}{code_text} {message}"),
    };
    let asked =
        retry_after.map(|seconds| format!("it asks to wait {}", lasting(Duration::from_secs(seconds))));
    match [meaning, &asked.unwrap_or_default()].into_iter().find(|more| !more.is_empty()) {
        Some(more) => format!("{text} ({more})"),
        None => text,
    }
}

/// `45 s`, `3 min`. A part of a second counts as one, so that no wait is one of `0 s`.
pub(crate) fn lasting(time: Duration) -> String {
    match time.as_millis().div_ceil(1000) {
        seconds @ ..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}

/// The content of an error answer, in one of the forms that services use.
#[derive(Default)]
pub(super) struct Envelope {
    pub(super) code: Option<String>,
    message: String,
    tracking_id: Option<String>,
    /// True if it is in one of these forms.
    pub(super) is_known: bool,
}

impl Envelope {
    /// `{"Message":"ErrorCode:X;text","ExceptionMessage":"Tracking ID:…"}`, or
    /// `{"errorCode":409301,"message":"…","trackingId":"…"}`, or the second as a string inside the
    /// first; anything else is the message itself.
    pub(super) fn read(service: ServiceKind, body: &str) -> Self {
        let Ok(Value::Object(members)) = serde_json::from_str(body) else {
            return Self { message: body.trim().to_owned(), ..Self::default() };
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        if let Some(message) = text("Message") {
            if message.trim_start().starts_with('{') {
                return Self::read(service, message);
            }
            let (code, message) =
                match message.strip_prefix("ErrorCode:").and_then(|rest| rest.split_once(';')) {
                    Some((code, message)) => (Some(code.to_owned()), message),
                    None => (None, message),
                };
            let tracking_id = text("ExceptionMessage").and_then(|text| text.strip_prefix("Tracking ID:"));
            let (message, tracking_id) = (message.to_owned(), tracking_id.map(str::to_owned));
            return Self { code, message, tracking_id, is_known: true };
        }
        let number: Option<u32> =
            members.get("errorCode").and_then(Value::as_u64).and_then(|number| number.try_into().ok());
        let code = number.and_then(|number| match service {
            ServiceKind::Dps => Some(number.to_string()),
            ServiceKind::Hub => ErrorCode::from_number(number).map(|code| code.name().to_owned()),
        });
        let is_bulk_result = members.contains_key("isSuccessful");
        Self {
            is_known: number.is_some() || text("message").is_some() || is_bulk_result,
            code,
            message: text("message").unwrap_or(body).to_owned(),
            tracking_id: text("trackingId").map(str::to_owned),
        }
    }
}

/// A service's words on one line and of bounded length; they may quote whole requests.
pub(super) fn shortened(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

const MAX_MESSAGE_CHARS: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, header: Option<&str>, body: &str) -> HubError {
        HubError::refused(ServiceKind::Hub, status, header, None, body.as_bytes())
    }

    #[test]
    fn each_envelope_gives_code_words_and_tracking_id() {
        let bodies = [
            r#"{"Message":"ErrorCode:ModuleAlreadyExistsOnDevice;it is there","ExceptionMessage":"Tracking ID:28F7"}"#,
            r#"{"errorCode":409301,"message":"it is there","trackingId":"28F7","timestampUtc":"x","info":null}"#,
            r#"{"Message":"{\"errorCode\":409301,\"message\":\"it is there\",\"trackingId\":\"28F7\"}","ExceptionMessage":""}"#,
        ];
        for body in bodies {
            let error = refused(409, None, body);
            assert_eq!(error.code(), Some(ErrorCode::ModuleAlreadyExistsOnDevice), "{body}");
            assert_eq!(error.to_string(), "the hub refused: 409 ModuleAlreadyExistsOnDevice: it is there");
            assert!(matches!(error, HubError::Refused { tracking_id: Some(id), .. } if id == "28F7"));
        }
    }

    #[test]
    fn a_gateways_page_is_shortened() {
        let error = refused(502, None, &"<html>\n".repeat(1000));
        assert!(error.to_string().len() < 400);
        assert_eq!(error.class(), ErrorClass::Transient);
        assert!(error.effect_is_unknown());
    }
}

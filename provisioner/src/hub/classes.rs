//! The table of answers: the meaning of each answer of a hub, and of each way of getting none, for the next
//! step. A DPS has a table of its own ([`dps`]). Every verb asks it, through [`HubError::class`] and [`HubError::hint`].
//!
//! Sources, by the tag that each line carries:
//! - `errors`: Microsoft Learn, "Understand and resolve Azure IoT Hub errors";
//! - `quotas`: "IoT Hub quotas and throttling" (429, daily messages, identities per hub);
//! - `ip filter`: "Use IP filters": an address that is not let in is told 401, without the reason;
//! - `api`: the Swagger file of the service API, 2021-04-12 (error codes of bulk items);
//! - `sdk`: `ErrorCode.cs` of the .NET service SDK;
//! - `9110`: RFC 9110; `6585`: RFC 6585; `8470`: RFC 8470;
//! - `live`: seen on a live hub (a single 401 in the middle of a run: azure-iot-cli-extension#77);
//! - `here`: a decision of this program.

use hub_types::ErrorCode;

use super::error::HubError;
use crate::model::service::ServiceKind;

mod dps;

/// The meaning of an error for the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorClass {
    /// The caller is not let in. In the middle of a run a new token is worth one try; then the run stops.
    Auth,
    /// The answer is not a hub's: something else answered, or the answer was damaged. It says nothing of
    /// the request's effect. Reads are repeated; after a change the hub is asked.
    Foreign,
    /// The request itself is wrong, and will be as wrong the next time: the fault of this item.
    Input,
    /// No call will succeed before somebody mends something: the run stops.
    Permanent,
    /// Too many requests: later it will be taken. It had no effect.
    Throttled,
    /// The hub or the way to it has a problem that may pass. After an answer the effect is unknown.
    Transient,
}

/// The end of a call, as the table distinguishes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallResult<'a> {
    /// An answer, with the hub's error code where it named one. It is explained when it has a code or one of
    /// the hub's envelopes around its words.
    Answer { status: u16, code: Option<&'a str>, explained: bool },
    /// The server can't prove to be the hub, or does not speak TLS.
    TlsFailure,
    /// No connection came about.
    NoConnection,
    /// The connection ended, or time ran out, before the whole answer was there.
    NoAnswer,
    /// A success that is not what the operation promises: no JSON, another identity's, too large.
    NotPromised,
    /// JSON of the asked identity that has not the shape of the operation's answer.
    OtherShape,
}

/// The subject of a line of the table.
#[derive(Debug)]
enum ErrorPattern {
    /// An error code, in whatever place, whatever the status beside it.
    Code(&'static str),
    /// Answers with a status from here to there.
    Status(u16, u16),
    /// The same, where the answer has no error code and none of the hub's envelopes.
    Unexplained(u16, u16),
    /// Answers with this status and without an error code of the service: a different one answers.
    WithoutOwnCode(ServiceKind, u16),
    /// Anything but an error answer.
    Other(CallResult<'static>),
}

/// One line of the table.
#[derive(Debug)]
pub(super) struct ClassRow {
    on: ErrorPattern,
    pub(super) class: ErrorClass,
    /// The cause in words, for the end of a sentence; empty where the hub's own words say it.
    pub(super) meaning: &'static str,
    /// Advice; empty where there is none.
    pub(super) advice: &'static str,
    /// The tag of its source.
    #[cfg_attr(not(test), expect(dead_code, reason = "for readers; a test insists on it"))]
    source: &'static str,
}

impl ClassRow {
    fn is_about(&self, seen: CallResult<'_>) -> bool {
        match (&self.on, seen) {
            (ErrorPattern::Code(code), CallResult::Answer { code: Some(found), .. }) => *code == found,
            (ErrorPattern::Status(from, to), CallResult::Answer { status, .. }) => {
                (*from..=*to).contains(&status)
            }
            (ErrorPattern::Unexplained(from, to), CallResult::Answer { status, explained: false, .. }) => {
                (*from..=*to).contains(&status)
            }
            (ErrorPattern::WithoutOwnCode(service, wanted), CallResult::Answer { status, code, .. }) => {
                *wanted == status && !code.is_some_and(|code| is_code_of(*service, code))
            }
            (ErrorPattern::Other(other), seen) => *other == seen,
            _ => false,
        }
    }
}

/// Returns true for the error codes of a service: names of a hub, numbers of a DPS.
fn is_code_of(service: ServiceKind, code: &str) -> bool {
    match service {
        ServiceKind::Dps => code.parse::<u32>().is_ok(),
        ServiceKind::Hub => ErrorCode::from_name(code).is_some(),
    }
}

/// The first line that is about what was seen of a service.
pub(super) fn line(service: ServiceKind, seen: CallResult<'_>) -> &'static ClassRow {
    let table = match service {
        ServiceKind::Dps => dps::TABLE,
        ServiceKind::Hub => TABLE,
    };
    table.iter().find(|line| line.is_about(seen)).unwrap_or(&ANYTHING_ELSE)
}

/// The class of an answer of a hub with this status and no error code, over MQTT too.
pub(crate) fn class_of_status(status: u16) -> ErrorClass {
    line(ServiceKind::Hub, CallResult::Answer { status, code: None, explained: true }).class
}

/// The class of an error.
pub(super) fn class(error: &HubError) -> ErrorClass {
    match error {
        HubError::GivenUp(first) => class(first),
        HubError::Down { .. }
        | HubError::NoAnswer
        | HubError::Stopped
        | HubError::Unclear
        | HubError::Unconfirmed { .. } => ErrorClass::Transient,
        HubError::NoToken(error) if error.may_pass() => ErrorClass::Transient,
        HubError::NoToken(_) => ErrorClass::Auth,
        HubError::Contradiction
        | HubError::DisabledDevice(_)
        | HubError::NoDevice(_)
        | HubError::NoParent(_)
        | HubError::NotEnrollable(_) => ErrorClass::Input,
        HubError::Lost { .. }
        | HubError::Malformed { .. }
        | HubError::Redirected { .. }
        | HubError::Refused { .. }
        | HubError::Unreachable { .. }
        | HubError::Untrusted { .. } => of(error).map_or(ErrorClass::Foreign, |line| line.class),
    }
}

/// The line for an error that came of a call; none for what this program decided by itself.
pub(super) fn of(error: &HubError) -> Option<&'static ClassRow> {
    let (service, seen) = match error {
        HubError::GivenUp(first) => return of(first),
        HubError::Lost { service, .. } => (service, CallResult::NoAnswer),
        HubError::Malformed { service, source, .. } => {
            let seen = match source.status() {
                Some(status) => CallResult::Answer { status, code: None, explained: false },
                None if source.is_other_shape() => CallResult::OtherShape,
                None => CallResult::NotPromised,
            };
            (service, seen)
        }
        HubError::Redirected { service, status, .. } => {
            (service, CallResult::Answer { status: *status, code: None, explained: false })
        }
        HubError::Refused { service, status, code, .. } => {
            (service, CallResult::Answer { status: *status, code: code.as_deref(), explained: true })
        }
        HubError::Unreachable { service, .. } => (service, CallResult::NoConnection),
        HubError::Untrusted { service, .. } => (service, CallResult::TlsFailure),
        _ => return None,
    };
    Some(line(*service, seen))
}

/// Makes the lines of a table.
macro_rules! class_rows {
    ($($on:expr => $class:ident, $source:literal, $meaning:expr, $advice:expr;)+) => {
        &[$(ClassRow { on: $on, class: ErrorClass::$class, meaning: $meaning, advice: $advice, source: $source },)+]
    };
}
use class_rows;

/// Codes first, statuses from the particular to the general.
static TABLE: &[ClassRow] = class_rows! {
    // Too many calls.
    ErrorPattern::Code("GenericTooManyRequests") => Throttled, "quotas", "", THROTTLED;
    ErrorPattern::Code("ThrottlingException") => Throttled, "quotas", "", THROTTLED;
    ErrorPattern::Code("ThrottleBacklogLimitExceeded") => Throttled, "quotas", "", THROTTLED;
    ErrorPattern::Code("ThrottlingBacklogTimeout") => Throttled, "quotas", "", THROTTLED;
    ErrorPattern::Code("DeviceThrottlingLimitExceeded") => Throttled, "quotas", "", THROTTLED;
    // Failures of the service, whatever the status that comes with them.
    ErrorPattern::Code("RequestCanceled") => Transient, "api", "", LATER;
    ErrorPattern::Code("RequestTimedOut") => Transient, "api", "", LATER;
    ErrorPattern::Code("ConnectionForcefullyClosedOnFaultInjection") => Transient, "errors", "the hub is being upgraded", LATER;
    ErrorPattern::Code("ConnectionRejectedOnFaultInjection") => Transient, "errors", "the hub is being upgraded", LATER;
    ErrorPattern::Code("ServerError") => Transient, "errors", "", LATER;
    ErrorPattern::Code("GenericTimeout") => Transient, "errors", "", LATER;
    ErrorPattern::Code("ServiceUnavailable") => Transient, "errors", "", LATER;
    ErrorPattern::Code("PartitionNotFound") => Transient, "errors", "", LATER;
    ErrorPattern::Code("ServerBusy") => Transient, "errors", "", LATER;
    ErrorPattern::Code("IotHubRestoring") => Transient, "api", "the hub is being restored", LATER;
    // What no waiting within a run mends.
    ErrorPattern::Code("InvalidProtocolVersion") => Permanent, "errors", "the hub does not know this version of the API",
        "check that the address is that of an IoT hub";
    ErrorPattern::Code("IotHubNotFound") => Permanent, "errors", "there is no hub of this name", "check the hub's name";
    ErrorPattern::Code("IotHubSuspended") => Permanent, "api", "the hub is suspended",
        "ask whoever is responsible for the Azure subscription to enable it again; then resume the run";
    ErrorPattern::Code("IotHubQuotaExceeded") => Permanent, "quotas",
        "the hub's quota is used up: its messages of the day until midnight UTC, or its number of devices",
        "wait until midnight UTC, when the day's messages are counted anew, or raise the hub's units or tier; a hub that \
         is full takes no new device before others are deleted; then resume the run";
    ErrorPattern::Code("IpFilterDenied") => Permanent, "here", "the hub's IP filter blocks this address",
        "allow this station's address (the hub's settings, Networking), or use a different address; then resume the run";
    ErrorPattern::Code("OperationNotAvailableInCurrentTier") => Permanent, "errors", "the hub's tier has no such operation",
        "a basic hub has no twins: use a hub of tier F1, S1, S2 or S3";
    ErrorPattern::Code("KeyEncryptionKeyRevoked") => Permanent, "api", "the key that the hub's data is encrypted with was revoked",
        "ask whoever is responsible for the hub to restore the key; then resume the run";
    // Who asks.
    ErrorPattern::Code("GenericUnauthorized") => Auth, "api", "", CREDENTIALS;
    ErrorPattern::Code("IotHubUnauthorizedAccess") => Auth, "errors", "", CREDENTIALS;
    ErrorPattern::Code("IotHubUnauthorized") => Auth, "errors", "", CREDENTIALS;
    // Of one item, with a status that would otherwise stop the run.
    ErrorPattern::Code("SystemModuleModifyUnauthorizedAccess") => Input, "api", "", "";
    ErrorPattern::Code("DeviceDisabled") => Input, "errors", "", "";
    // Statuses.
    ErrorPattern::Status(300, 399) => Permanent, "here", "a hub never redirects: what answers is not the hub",
        "check the hub's name; where a network wants a sign-in first (a login page), sign in; where calls go through a \
         proxy, set HTTPS_PROXY; nothing was sent on";
    ErrorPattern::Status(401, 401) => Auth, "errors", "", CREDENTIALS;
    ErrorPattern::Status(402, 402) => Permanent, "9110", "the hub wants to be paid first",
        "ask whoever is responsible for the Azure subscription; then resume the run";
    ErrorPattern::Status(403, 403) => Permanent, "errors", "no call of this kind is let through",
        "check the hub's networking rules (IP filter, private access only), the policy's or role's rights, and what \
         stands between this station and the hub; then resume the run";
    ErrorPattern::Status(407, 407) => Permanent, "9110", "a proxy wants to know who asks",
        "put the proxy's user into HTTPS_PROXY, or go round it with NO_PROXY";
    ErrorPattern::Status(408, 408) => Transient, "9110", "", LATER;
    ErrorPattern::Status(425, 425) => Transient, "8470", "", LATER;
    ErrorPattern::Status(429, 429) => Throttled, "quotas", "", THROTTLED;
    ErrorPattern::Status(499, 499) => Transient, "api", "", LATER;
    ErrorPattern::Unexplained(400, 499) => Foreign, "here", "", FOREIGN;
    ErrorPattern::WithoutOwnCode(ServiceKind::Hub, 404) => Permanent, "here", "what answers has no such operation",
        "check that the address is that of an IoT hub, not of a DPS";
    ErrorPattern::Status(400, 499) => Input, "errors", "", "";
    ErrorPattern::Status(501, 501) => Permanent, "9110", "what answers has no such operation",
        "check that the address is that of an IoT hub";
    ErrorPattern::Status(505, 505) => Permanent, "9110", "what answers has no such operation",
        "check that the address is that of an IoT hub";
    ErrorPattern::Status(511, 511) => Foreign, "6585", "the network wants a sign-in first", FOREIGN;
    ErrorPattern::Status(500, 599) => Transient, "errors", "", LATER;
    ErrorPattern::Status(0, u16::MAX) => Foreign, "here", "", FOREIGN;
    // No error answer.
    ErrorPattern::Other(CallResult::TlsFailure) => Permanent, "here", "", "";
    ErrorPattern::Other(CallResult::NoConnection) => Transient, "here", "", "check that the hub is up, and that its name and port are right";
    ErrorPattern::Other(CallResult::NoAnswer) => Transient, "9110", "", LATER;
    ErrorPattern::Other(CallResult::NotPromised) => Foreign, "here", "", FOREIGN;
    ErrorPattern::Other(CallResult::OtherShape) => Input, "here", "", "";
};

/// Nothing is left for it; it is there because a search may fail.
static ANYTHING_ELSE: ClassRow = ClassRow {
    on: ErrorPattern::Status(0, u16::MAX),
    class: ErrorClass::Foreign,
    meaning: "",
    advice: FOREIGN,
    source: "here",
};

const CREDENTIALS: &str = "check the connection string's policy and key, and this machine's clock; creating identities and \
     reading twins needs `iothubowner` or a policy with registry and service rights, with Entra ID the role `IoT Hub Data \
     Contributor`; an address that the hub's IP filter keeps out is told the same";
const FOREIGN: &str = "something between this station and the hub answers in its place: a login page? Sign in to the network, \
     or set HTTPS_PROXY, or check the hub's name";
const LATER: &str = "the hub, or the way to it, has a problem; run the same command again later";
const THROTTLED: &str = "the hub's tier and units bound its rate; run the same command again later";

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(status: u16, code: Option<&str>) -> ErrorClass {
        line(ServiceKind::Hub, CallResult::Answer { status, code, explained: true }).class
    }

    /// Every line is found by what it is about; none is hidden behind an earlier one.
    #[test]
    fn every_line_is_reached_and_has_a_source() {
        let sources = [
            "errors",
            "quotas",
            "ip filter",
            "api",
            "sdk",
            "9110",
            "6585",
            "8470",
            "live",
            "here",
            "dps",
            "dps limits",
        ];
        let hub = TABLE.iter().map(|expected| (ServiceKind::Hub, expected));
        let dps = dps::TABLE.iter().map(|expected| (ServiceKind::Dps, expected));
        for (service, expected) in hub.chain(dps) {
            let seen = match expected.on {
                ErrorPattern::Code(code) => {
                    CallResult::Answer { status: 400, code: Some(code), explained: true }
                }
                ErrorPattern::Status(0, _) => {
                    CallResult::Answer { status: 299, code: None, explained: false }
                }
                ErrorPattern::Status(400, 499) => {
                    CallResult::Answer { status: 409, code: None, explained: true }
                }
                ErrorPattern::Status(500, _) => {
                    CallResult::Answer { status: 503, code: None, explained: false }
                }
                ErrorPattern::Status(from, _) => {
                    CallResult::Answer { status: from, code: None, explained: true }
                }
                ErrorPattern::Unexplained(from, _) => {
                    CallResult::Answer { status: from, code: None, explained: false }
                }
                ErrorPattern::WithoutOwnCode(_, status) => {
                    CallResult::Answer { status, code: None, explained: true }
                }
                ErrorPattern::Other(seen) => seen,
            };
            assert!(
                std::ptr::eq(line(service, seen), expected),
                "{expected:?} is hidden behind {:?}",
                line(service, seen)
            );
            assert!(sources.contains(&expected.source), "{expected:?}");
        }
    }

    #[test]
    fn a_run_stops_with_advice_and_an_item_fails_with_the_hubs_own_words() {
        for line in TABLE.iter().chain(dps::TABLE) {
            let stops =
                matches!(line.class, ErrorClass::Permanent) && !matches!(line.on, ErrorPattern::Other(_));
            assert!(!stops || !(line.meaning.is_empty() || line.advice.is_empty()), "{line:?}");
            for text in [line.meaning, line.advice] {
                assert!(!text.ends_with('.') && !text.contains("  "), "{text}");
            }
        }
    }

    #[test]
    fn the_code_decides_before_the_status_and_the_status_where_there_is_no_known_code() {
        for (status, code, class) in [
            (400, None, ErrorClass::Input),
            (400, Some("ArgumentInvalid"), ErrorClass::Input),
            (400, Some("InvalidProtocolVersion"), ErrorClass::Permanent),
            (400, Some("ThrottlingException"), ErrorClass::Throttled),
            (400, Some("NeverHeardOf"), ErrorClass::Input),
            (401, None, ErrorClass::Auth),
            (401, Some("IotHubUnauthorizedAccess"), ErrorClass::Auth),
            (401, Some("IotHubNotFound"), ErrorClass::Permanent),
            (401, Some("SystemModuleModifyUnauthorizedAccess"), ErrorClass::Input),
            (402, None, ErrorClass::Permanent),
            (403, None, ErrorClass::Permanent),
            (403, Some("IotHubQuotaExceeded"), ErrorClass::Permanent),
            (403, Some("IpFilterDenied"), ErrorClass::Permanent),
            (403, Some("NeverHeardOf"), ErrorClass::Permanent),
            (403, Some("DeviceDisabled"), ErrorClass::Input),
            (404, Some("DeviceNotFound"), ErrorClass::Input),
            (404, Some("IotHubNotFound"), ErrorClass::Permanent),
            (408, None, ErrorClass::Transient),
            (409, Some("DeviceAlreadyExists"), ErrorClass::Input),
            (412, Some("PreconditionFailed"), ErrorClass::Input),
            (413, Some("TooManyDevices"), ErrorClass::Input),
            (429, None, ErrorClass::Throttled),
            (500, Some("ServerError"), ErrorClass::Transient),
            (501, None, ErrorClass::Permanent),
            (502, None, ErrorClass::Transient),
            (503, None, ErrorClass::Transient),
            (504, None, ErrorClass::Transient),
            (511, None, ErrorClass::Foreign),
        ] {
            assert_eq!(class_of(status, code), class, "{status} {code:?}");
        }
    }

    #[test]
    fn what_is_not_in_a_hubs_words_is_no_refusal_by_the_hub() {
        for status in [400, 404, 409, 412, 413, 418] {
            let seen = CallResult::Answer { status, code: None, explained: false };
            assert_eq!(line(ServiceKind::Hub, seen).class, ErrorClass::Foreign, "{status}");
        }
        // These mean the same, whoever says them.
        for (status, class) in [
            (307, ErrorClass::Permanent),
            (401, ErrorClass::Auth),
            (403, ErrorClass::Permanent),
            (407, ErrorClass::Permanent),
            (429, ErrorClass::Throttled),
            (502, ErrorClass::Transient),
        ] {
            let seen = CallResult::Answer { status, code: None, explained: false };
            assert_eq!(line(ServiceKind::Hub, seen).class, class, "{status}");
        }
    }
}

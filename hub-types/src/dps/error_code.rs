//! The error codes of DPS: six-digit numbers, which are 1000 × the HTTP status + n.
//!
//! An error has the form [`ServiceError`]. The codes 400207, 401002, 404201, 404202, 409201 and
//! 409202 were met in answers of a live DPS. The others are not documented and follow its pattern:
//! 201 of an individual enrolment, 202 of a group, 203 of a registration.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::timestamp::Timestamp;

/// Declares the codes once: variant and number.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)+) => {
        /// An error code of DPS.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DpsErrorCode {
            $($(#[$doc])* $name,)+
        }

        impl DpsErrorCode {
            /// Every code, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The six-digit number.
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$name => $number,)+
                }
            }

            /// The name for logs. It is not sent.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

error_codes! {
    /// A body, an id or a header breaks a rule.
    InvalidRequest = 400_000,
    /// The function of a custom allocation did not answer as it must.
    CustomAllocationFailed = 400_207,
    /// The token, the certificate or the entry of a caller does not allow the operation.
    Unauthorized = 401_002,
    /// The service has no room for one more entry.
    QuotaExceeded = 403_001,
    /// No such individual enrolment, or none for a device that registers.
    EnrollmentNotFound = 404_201,
    /// No such enrolment group.
    EnrollmentGroupNotFound = 404_202,
    /// No such registration.
    RegistrationNotFound = 404_203,
    /// The path does not know the method.
    MethodNotAllowed = 405_000,
    /// The body arrived too slowly.
    RequestTimeout = 408_000,
    /// The individual enrolment exists already.
    EnrollmentAlreadyExists = 409_201,
    /// The enrolment group exists already.
    EnrollmentGroupAlreadyExists = 409_202,
    /// The ETag is not the current one of the individual enrolment.
    EnrollmentEtagMismatch = 412_201,
    /// The ETag is not the current one of the enrolment group.
    EnrollmentGroupEtagMismatch = 412_202,
    /// The ETag is not the current one of the registration.
    RegistrationEtagMismatch = 412_203,
    /// The message is too large.
    MessageTooLarge = 413_000,
    /// The body is not JSON.
    UnsupportedMediaType = 415_000,
    /// Too many operations.
    Throttled = 429_001,
    /// The service failed.
    ServerError = 500_001,
    /// The service does not support the operation.
    NotImplemented = 501_000,
    /// The service is not available.
    ServiceUnavailable = 503_001,
}

impl DpsErrorCode {
    /// Returns the code with this six-digit number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// Returns the HTTP status of the code.
    pub fn http_status(self) -> u16 {
        u16::try_from(self.number() / 1000).unwrap_or(500)
    }
}

impl fmt::Display for DpsErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// The body of an error answer. The code may be one that this crate does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceError {
    /// The six-digit number.
    #[serde(default)]
    pub error_code: u32,
    /// Identifies the request for Microsoft's support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_id: Option<String>,
    /// The error in words.
    #[serde(default)]
    pub message: String,
    /// Further facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<serde_json::Map<String, serde_json::Value>>,
    /// The time of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_utc: Option<Timestamp>,
}

impl ServiceError {
    /// Returns the code, if it is a known one.
    pub fn code(&self) -> Option<DpsErrorCode> {
        DpsErrorCode::from_number(self.error_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_by_its_number() {
        assert!(DpsErrorCode::ALL.is_sorted_by_key(|code| code.number()));
        for code in DpsErrorCode::ALL {
            assert_eq!(DpsErrorCode::from_number(code.number()), Some(*code));
            assert!((400..600).contains(&code.http_status()), "{code}");
        }
        assert_eq!(DpsErrorCode::from_number(401_003), None);
    }

    #[test]
    fn an_error_of_a_live_service_is_read() {
        let text = r#"{"errorCode":401002,"trackingId":"8ad0463c-6427-4479-9dfa-3e8bb7003e9b","message":"Invalid certificate.","timestampUtc":"2020-04-10T05:24:22.4718526Z"}"#;
        let error: ServiceError = serde_json::from_str(text).unwrap();
        assert_eq!(error.code(), Some(DpsErrorCode::Unauthorized));
        assert_eq!(serde_json::to_string(&error).unwrap(), text);
        let bare: ServiceError = serde_json::from_str("{}").unwrap();
        assert_eq!(bare.code(), None);
    }
}

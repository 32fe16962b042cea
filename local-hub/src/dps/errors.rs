//! The errors of a DPS.

use hub_types::dps::DpsErrorCode;

use crate::api_error::ApiError;

impl ApiError {
    /// An error with a code of DPS.
    pub(crate) fn dps(code: DpsErrorCode, text: impl Into<String>) -> Self {
        Self { status: code.http_status(), number: code.number(), name: code.name(), text: text.into() }
    }

    /// A request to a DPS that breaks a rule.
    pub(crate) fn dps_request(text: impl Into<String>) -> Self {
        Self::dps(DpsErrorCode::InvalidRequest, text)
    }
}

/// The number of an error in an answer. The codes of a hub, which the shared parts of both services
/// use, become the general code of their status.
pub(super) fn number(error: &ApiError) -> u32 {
    match DpsErrorCode::from_number(error.number) {
        Some(code) => code.number(),
        None => u32::from(error.status) * 1000,
    }
}

#[cfg(test)]
mod tests {
    use hub_types::ErrorCode;

    use super::*;

    #[test]
    fn codes_of_a_hub_become_the_general_code_of_their_status() {
        for (error, expected) in [
            (ApiError::dps(DpsErrorCode::EnrollmentAlreadyExists, ""), 409_201),
            (ApiError::throttled("Enrollment"), 429_001),
            (ApiError::argument(""), 400_000),
            (ApiError::new(ErrorCode::MessageTooLarge, ""), 413_000),
            (ApiError::not_implemented("RegisterDevice"), 501_000),
        ] {
            assert_eq!(number(&error), expected, "{error}");
        }
    }
}

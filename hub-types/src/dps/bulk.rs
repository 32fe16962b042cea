//! Bulk operations on enrolments and groups: `POST /enrollments` and `POST /enrollmentGroups`.

use serde::{Deserialize, Serialize};

use crate::dps::enrollment::{EnrollmentGroup, IndividualEnrollment};
use crate::dps::error_code::DpsErrorCode;
use crate::dps::id::{EnrollmentGroupId, RegistrationId};
use crate::dps::words::wire_words;
use crate::etag::Etag;

wire_words! {
    /// The operation to perform on each item.
    BulkMode, "bulk mode" {
        /// Create; an error if it exists.
        Create = "create",
        /// Delete; an error if it is missing.
        Delete = "delete",
        /// Replace the version that the item's ETag names. A live DPS refuses an item without an ETag
        /// as one that exists already.
        Update = "update",
        /// Replace the version that the item's ETag names.
        UpdateIfMatchEtag = "updateIfMatchETag",
    }
}

/// A bulk operation on individual enrolments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnrollmentBulk<Item = IndividualEnrollment> {
    /// The entries.
    pub enrollments: Vec<Item>,
    /// The operation on each.
    pub mode: BulkMode,
}

/// A bulk operation on enrolment groups.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentGroupBulk<Item = EnrollmentGroup> {
    /// The groups.
    pub enrollment_groups: Vec<Item>,
    /// The operation on each.
    pub mode: BulkMode,
}

/// An individual enrolment to delete. All other members are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentReference {
    /// The id of the enrolment.
    pub registration_id: RegistrationId,
    /// The version to delete; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// An enrolment group to delete. All other members are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentGroupReference {
    /// The id of the group.
    pub enrollment_group_id: EnrollmentGroupId,
    /// The version to delete; absent means any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// The answer to a bulk operation. The HTTP status is 200 even if items failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentBulkResult {
    /// The items that failed.
    #[serde(default)]
    pub errors: Vec<EnrollmentBulkError>,
    /// True if no item failed.
    pub is_successful: bool,
}

/// An item that failed. Groups have `enrollmentGroupId` in place of `registrationId`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentBulkError {
    /// The id of an individual enrolment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_id: Option<String>,
    /// The id of a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment_group_id: Option<String>,
    /// The six-digit number of the error.
    #[serde(default)]
    pub error_code: u32,
    /// The error in words.
    #[serde(default)]
    pub error_status: String,
}

impl EnrollmentBulkError {
    /// Returns the error code, if it is a known one.
    pub fn code(&self) -> Option<DpsErrorCode> {
        DpsErrorCode::from_number(self.error_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{from_str, from_value, json, to_string};

    #[test]
    fn modes_are_read_in_any_case_and_written_in_camel_case() {
        for text in ["UpdateIfMatchETag", "updateIfMatchETag", "updateifmatchetag"] {
            assert_eq!(BulkMode::parse(text), Some(BulkMode::UpdateIfMatchEtag));
        }
        assert_eq!(to_string(&BulkMode::UpdateIfMatchEtag).unwrap(), r#""updateIfMatchETag""#);
        assert_eq!(BulkMode::parse("upsert"), None);
    }

    #[test]
    fn the_answers_of_a_live_service_are_read_and_written() {
        for text in [
            r#"{"errors":[],"isSuccessful":true}"#,
            r#"{"errors":[{"registrationId":"a","errorCode":409201,"errorStatus":"Enrollment already exists."}],"isSuccessful":false}"#,
            r#"{"errors":[{"enrollmentGroupId":"g","errorCode":409202,"errorStatus":"EnrollmentGroup already exists."}],"isSuccessful":false}"#,
        ] {
            let result: EnrollmentBulkResult = from_str(text).unwrap();
            assert_eq!(result.is_successful, result.errors.is_empty());
            assert!(result.errors.iter().all(|error| error.code().is_some()));
            assert_eq!(to_string(&result).unwrap(), text);
        }
    }

    #[test]
    fn a_deletion_needs_no_attestation() {
        let document = json!({"mode": "delete", "enrollments": [{"registrationId": "a"}, {"registrationId": "b", "etag": "x"}]});
        let bulk: EnrollmentBulk<EnrollmentReference> = from_value(document.clone()).unwrap();
        assert_eq!(bulk.enrollments[1].etag, Some(Etag::new("x")));
        assert!(from_value::<EnrollmentBulk>(document).is_err());
    }
}

//! The versions of the service API of IoT Hub.

use http::Uri;
use hub_types::ErrorCode;

use crate::api_error::{ApiError, ApiResult};
use crate::rest::version::{ApiVersion, KnownVersions, RequestedVersion};

/// Reads the `api-version` of a request.
pub(super) fn requested(uri: &Uri) -> ApiResult<RequestedVersion> {
    VERSIONS.requested(uri, |text| ApiError::new(ErrorCode::InvalidProtocolVersion, text))
}

impl ApiVersion {
    /// Returns true if twins have a `modelId`: since the previews of IoT Plug and Play.
    pub(crate) fn has_model_id(self) -> bool {
        self.as_str() >= "2020-05-31-preview"
    }
}

/// The versions that clients send and that a live hub accepted.
const VERSIONS: KnownVersions = KnownVersions {
    since: "2015-08-15",
    oldest: "2016-11-14",
    later: &[
        "2017-06-30",
        "2018-04-01",
        "2018-06-30",
        "2019-07-01-preview",
        "2019-10-01",
        "2020-03-13",
        "2020-05-31-preview",
        "2020-09-30",
        "2021-04-12",
        "2022-07-01-preview",
        "2024-03-31",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: &str) -> ApiResult<RequestedVersion> {
        requested(&format!("/devices?api-version={version}").parse().unwrap())
    }

    #[test]
    fn known_versions_are_in_order() {
        assert!(VERSIONS.later.is_sorted() && VERSIONS.later.first() > Some(&VERSIONS.oldest));
        for known in [VERSIONS.oldest].iter().chain(VERSIONS.later) {
            assert_eq!(asked(known), Ok(RequestedVersion { served: ApiVersion(known), unknown: None }));
        }
    }

    #[test]
    fn other_versions_are_served_as_the_nearest_that_is_known() {
        for (version, served) in [
            ("2026-11-01-preview", "2024-03-31"),
            ("2025-08-01", "2024-03-31"),
            ("2020-03-01", "2019-10-01"),
            ("2019-06-30", "2018-06-30"),
            ("2018-08-30-preview", "2018-06-30"),
            ("2017-11-08-preview", "2017-06-30"),
            ("2015-08-15-preview", "2016-11-14"),
        ] {
            let expected = RequestedVersion { served: ApiVersion(served), unknown: Some(version.to_owned()) };
            assert_eq!(asked(version), Ok(expected), "{version}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        let texts = [
            "",
            "latest",
            "1.0",
            "1999-01-01",
            "2024-13-01",
            "2024-02-30",
            "2024-03-31-beta",
            "2024-3-31",
            "20240331",
        ];
        for text in texts {
            assert_eq!(asked(text).map_err(|error| error.name), Err("InvalidProtocolVersion"), "{text}");
        }
        assert!(requested(&"/devices".parse().unwrap()).is_err());
    }
}

//! The `api-version` of a request, and the known version of the service API that serves it.

use std::fmt;

use http::Uri;
use hub_types::ErrorCode;

use super::call::query_parameter;
use crate::api_error::{ApiError, ApiResult};

/// A known version of the service API. Later versions compare as greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(&'static str);

/// The requested version, and the known version that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedVersion {
    pub(crate) served: ApiVersion,
    /// The requested version, if it is not a known one.
    pub(crate) unknown: Option<String>,
}

impl ApiVersion {
    /// The newest version that this hub knows.
    pub(crate) const NEWEST: Self = Self("2024-03-31");

    pub(crate) fn as_str(self) -> &'static str {
        self.0
    }

    /// Returns true if twins have a `modelId`: since the previews of IoT Plug and Play.
    pub(crate) fn has_model_id(self) -> bool {
        self.0 >= "2020-05-31-preview"
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl RequestedVersion {
    /// Reads the parameter of a request. Future versions and old previews are served by the newest
    /// known version that is not newer than the requested one, or by the oldest.
    pub(crate) fn of(uri: &Uri) -> ApiResult<Self> {
        let refused = |text: String| Err(ApiError::new(ErrorCode::InvalidProtocolVersion, text));
        let Some(asked) = query_parameter(uri, "api-version") else {
            return refused("the api-version is missing".to_owned());
        };
        if let Some(known) = API_VERSIONS.into_iter().find(|known| *known == asked) {
            return Ok(Self { served: ApiVersion(known), unknown: None });
        }
        if !is_version(&asked) {
            return refused(format!(
                "the api-version has the form {newest} or {newest}-preview",
                newest = ApiVersion::NEWEST
            ));
        }
        Ok(Self { served: nearest(&asked), unknown: Some(asked) })
    }
}

/// The nearest known version. Versions begin with a date, so they are ordered by their texts.
fn nearest(asked: &str) -> ApiVersion {
    let [oldest, ..] = API_VERSIONS;
    ApiVersion(API_VERSIONS.into_iter().take_while(|known| *known <= asked).last().unwrap_or(oldest))
}

/// Returns true if a text is the date of a version, or a date and `-preview`.
fn is_version(text: &str) -> bool {
    let date = text.strip_suffix("-preview").unwrap_or(text);
    let format = time::macros::format_description!("[year]-[month]-[day]");
    date.len() == 10 && time::Date::parse(date, format).is_ok() && date >= FIRST_PREVIEW
}

/// The first preview; IoT Hub had no earlier version.
const FIRST_PREVIEW: &str = "2015-08-15";

/// The versions that clients send and that a live hub accepted, the oldest first.
const API_VERSIONS: [&str; 12] = [
    "2016-11-14",
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
];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: &str) -> ApiResult<RequestedVersion> {
        RequestedVersion::of(&format!("/devices?api-version={version}").parse().unwrap())
    }

    #[test]
    fn known_versions_are_in_order() {
        assert!(API_VERSIONS.is_sorted());
        assert_eq!(API_VERSIONS.last(), Some(&ApiVersion::NEWEST.as_str()));
        for known in API_VERSIONS {
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
        assert!(RequestedVersion::of(&"/devices".parse().unwrap()).is_err());
    }
}

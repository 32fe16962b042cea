//! The `api-version` of a request, and the known version of an API that serves it.

use std::fmt;

use http::Uri;

use super::call::query_parameter;
use crate::api_error::{ApiError, ApiResult};

/// A known version of an API. Later versions compare as greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) &'static str);

/// The known versions of an API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownVersions {
    /// The date of the first preview, before which the service had no version.
    pub(crate) since: &'static str,
    pub(crate) oldest: &'static str,
    /// The versions after the oldest one, in order.
    pub(crate) later: &'static [&'static str],
}

/// The requested version, and the known version that serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedVersion {
    pub(crate) served: ApiVersion,
    /// The requested version, if it is not a known one.
    pub(crate) unknown: Option<String>,
}

impl ApiVersion {
    pub(crate) fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl KnownVersions {
    /// Reads the parameter of a request. `refused` makes the error of a missing or illegal version.
    pub(crate) fn requested(
        &self,
        uri: &Uri,
        refused: impl Fn(String) -> ApiError,
    ) -> ApiResult<RequestedVersion> {
        let asked = query_parameter(uri, "api-version");
        let asked = asked.ok_or_else(|| refused("the api-version is missing".to_owned()))?;
        let served = self.serving(&asked).map_err(refused)?;
        Ok(RequestedVersion { served, unknown: Some(asked).filter(|asked| asked != served.0) })
    }

    /// The known version that serves a requested one. Future versions and old previews are served
    /// by the newest known version that is not newer than the requested one, or by the oldest.
    pub(crate) fn serving(&self, asked: &str) -> Result<ApiVersion, String> {
        if !self.is_version(asked) {
            let newest = self.later.last().unwrap_or(&self.oldest);
            return Err(format!("the api-version has the form {newest} or {newest}-preview"));
        }
        // Versions begin with a date, so they are ordered by their texts.
        let not_newer = self.later.iter().take_while(|known| **known <= asked);
        Ok(ApiVersion(not_newer.last().unwrap_or(&self.oldest)))
    }

    /// Returns true if a text is the date of a version, or a date and `-preview`.
    fn is_version(&self, text: &str) -> bool {
        let date = text.strip_suffix("-preview").unwrap_or(text);
        let format = time::macros::format_description!("[year]-[month]-[day]");
        date.len() == 10 && time::Date::parse(date, format).is_ok() && date >= self.since
    }
}

//! The pages of queries.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hub_types::dps::DpsErrorCode;
use serde::{Deserialize, Serialize};

use super::super::DpsCall;
use crate::api_error::{ApiError, ApiResult};
use crate::rest::paging;
use crate::rest::reply::Reply;

/// The place and the size of a page. A page begins behind the last id of the page before it:
/// objects that are created or deleted between two pages are not repeated and do not shift others.
pub(super) struct Position {
    item_type: &'static str,
    size: usize,
    pub(super) after: Option<String>,
}

impl Position {
    /// Reads the headers of a query for objects of this type.
    pub(super) fn of(call: &DpsCall, item_type: &'static str) -> ApiResult<Self> {
        let after = paging::continuation(call)?.map(|token| read_token(token, item_type)).transpose()?;
        Ok(Self { item_type, size: paging::page_size(call)?, after })
    }

    /// The page of these objects, which are the ones from its beginning on, with their ids.
    pub(super) fn page<T: Serialize>(
        &self,
        mut objects: impl Iterator<Item = (String, T)>,
    ) -> ApiResult<Reply> {
        let (ids, page): (Vec<_>, Vec<_>) = objects.by_ref().take(self.size).unzip();
        let body = serde_json::to_vec(&page).map_err(|error| ApiError::server(error.to_string()))?;
        let is_last = objects.next().is_none();
        let last = ids.last().filter(|_| !is_last);
        Ok(paging::reply(body, self.item_type, last.map(|last| token(last, self.item_type))))
    }
}

#[derive(Deserialize)]
struct QuerySpecification {
    query: String,
}

/// Refuses a query that selects some of the objects: Microsoft documents no such conditions.
pub(super) fn check_query(call: &DpsCall) -> ApiResult<()> {
    let QuerySpecification { query } = call.document()?;
    let words: Vec<_> = query.split_whitespace().map(str::to_ascii_lowercase).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["*"] | ["select", "*"] | ["select", "*", "from", "enrollments" | "enrollmentgroups"] => Ok(()),
        _ => Err(ApiError::dps(
            DpsErrorCode::NotImplemented,
            "the local DPS answers the query `SELECT *` only",
        )),
    }
}

fn token(last: &str, item_type: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{item_type} {last}"))
}

fn read_token(token: &str, item_type: &str) -> ApiResult<String> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let last = text.as_ref().and_then(|text| text.strip_prefix(item_type)?.strip_prefix(' '));
    last.map(str::to_owned)
        .ok_or_else(|| ApiError::dps_request("x-ms-continuation is no token of this query"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_query() {
        let token = token("pump-0001", "Enrollment");
        assert_eq!(read_token(&token, "Enrollment").unwrap(), "pump-0001");
        assert!(read_token(&token, "EnrollmentGroup").is_err());
        for text in ["", "AAAA", "no base64!"] {
            assert!(read_token(text, "Enrollment").is_err(), "{text}");
        }
    }
}

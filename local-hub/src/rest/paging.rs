//! The pages of a query: the headers of their size and position.

use http::HeaderName;

use super::Api;
use super::call::Call;
use super::reply::Reply;
use crate::api_error::{ApiError, ApiResult};

/// The largest number of rows that a caller takes.
pub(crate) fn page_size<A: Api>(call: &Call<A>) -> ApiResult<usize> {
    let Some(text) = call.header("x-ms-max-item-count")?.filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_PAGE);
    };
    match text.parse::<i64>() {
        Ok(count) => Ok(usize::try_from(count)
            .ok()
            .filter(|count| *count > 0)
            .map_or(DEFAULT_PAGE, |count| count.min(MAX_PAGE))),
        Err(_) => Err(ApiError::argument("x-ms-max-item-count must be a whole number of at most 18 digits")),
    }
}

/// The position after which the page begins; `None` is the first page.
pub(crate) fn continuation<A: Api>(call: &Call<A>) -> ApiResult<Option<&str>> {
    // C# and Node send an empty one for the first page.
    Ok(call.header(CONTINUATION.as_str())?.filter(|token| !token.is_empty()))
}

/// A page with the type of its rows, and the position of the next page.
pub(crate) fn reply(body: Vec<u8>, item_type: &str, continuation: Option<String>) -> Reply {
    let reply = Reply::json(body).header(ITEM_TYPE, item_type.to_owned());
    // After the last page the header must be absent: Node asks on as long as there is one.
    match continuation {
        None => reply,
        Some(token) => reply.header(CONTINUATION, token),
    }
}

const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const DEFAULT_PAGE: usize = 100;
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");
const MAX_PAGE: usize = 1000;

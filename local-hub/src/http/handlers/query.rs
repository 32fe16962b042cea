//! `POST /devices/query`.

use http::HeaderName;
use serde::Deserialize;

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::Call;
use crate::hub::Hub;
use crate::query::{self, PageRequest, Query, QuerySource};
use crate::rest::reply::Reply;

#[derive(Deserialize)]
struct QueryBody {
    query: String,
}

pub(crate) async fn post(hub: &Hub, call: Call) -> ApiResult<Reply> {
    page(hub, call).await
}

/// Responds to a query over any data.
pub(crate) async fn page(source: &impl QuerySource, call: Call) -> ApiResult<Reply> {
    let QueryBody { query: text } = call.document()?;
    let query = Query::parse(&text).map_err(|error| ApiError::argument(format!("BadRequest: {error}")))?;
    let request = PageRequest {
        query: &query,
        text: &text,
        size: page_size(&call)?,
        // C# and Node send an empty one for the first page.
        continuation: call.header("x-ms-continuation")?.filter(|token| !token.is_empty()),
        model_id: call.version.has_model_id(),
    };
    let page = query::run(source, request).await?;
    let reply = Reply::json(page.body).header(ITEM_TYPE, page.item_type.as_str().to_owned());
    // After the last page the header must be absent: Node asks on as long as there is one.
    Ok(match page.continuation {
        None => reply,
        Some(token) => reply.header(CONTINUATION, token),
    })
}

fn page_size(call: &Call) -> ApiResult<usize> {
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

const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
const DEFAULT_PAGE: usize = 100;
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");
const MAX_PAGE: usize = 1000;

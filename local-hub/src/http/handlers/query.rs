//! `POST /devices/query`.

use serde::Deserialize;

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::query::{self, PageRequest, Query, QuerySource};
use crate::rest::paging;
use crate::rest::reply::Reply;

#[derive(Deserialize)]
struct QueryBody {
    query: String,
}

pub(crate) async fn post(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    page(hub, call).await
}

/// Responds to a query over any data.
pub(crate) async fn page(source: &impl QuerySource, call: HubCall) -> ApiResult<Reply> {
    let QueryBody { query: text } = call.document()?;
    let query = Query::parse(&text).map_err(|error| ApiError::argument(format!("BadRequest: {error}")))?;
    let request = PageRequest {
        query: &query,
        text: &text,
        size: paging::page_size(&call)?,
        continuation: paging::continuation(&call)?,
        model_id: call.version.has_model_id(),
    };
    let page = query::run(source, request).await?;
    Ok(paging::reply(page.body, page.item_type.as_str(), page.continuation))
}

//! Reads request bodies, within bounds of size and time.

use std::time::Duration;

use http_body_util::BodyExt;
use hub_types::ErrorCode;
use hyper::body::{Body, Bytes};
use tokio::time::timeout;

use crate::api_error::{ApiError, ApiResult};

/// Returns the body, if it is not too large.
pub(crate) async fn read<B: Body<Data = Bytes> + Unpin>(mut body: B, limit: usize) -> ApiResult<Bytes> {
    let reading = async {
        let mut content = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::argument("the body ended early"))?;
            let data = frame.into_data().unwrap_or_default();
            if content.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            content.extend_from_slice(&data);
        }
        Ok(Bytes::from(content))
    };
    let answer = timeout(READ_TIMEOUT, reading).await.unwrap_or_else(|_| Err(too_slow()));
    if answer.is_err() {
        discard(body).await;
    }
    answer
}

/// Reads and discards the rest of a body, up to a bound.
pub(crate) async fn discard<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let discarding = async {
        let mut discarded = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded += frame.into_data().unwrap_or_default().len();
            if discarded > MAX_DISCARDED {
                return;
            }
        }
    };
    // Who takes longer loses the connection with the answer.
    let _ = timeout(DISCARD_TIMEOUT, discarding).await;
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(ErrorCode::MessageTooLarge, format!("the body has more than {limit} bytes"))
}

fn too_slow() -> ApiError {
    let text = "the body took too long to arrive";
    ApiError { status: 408, ..ApiError::new(ErrorCode::GenericTimeout, text) }
}

const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_DISCARDED: usize = 64 * 1024 * 1024;
const READ_TIMEOUT: Duration = Duration::from_secs(30);

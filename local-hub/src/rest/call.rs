//! One parsed request: ids from its path, headers, query parameters, body.

use cli_support::wrong_form::JsonMistake;
use http::{HeaderMap, Uri};
use hub_types::twin::check_numbers;
use hub_types::{ErrorCode, IfMatch};
use hyper::body::Bytes;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::routes::RouteMatch;
use super::service::RequestHead;
use super::version::ApiVersion;
use super::{Api, Presented};
use crate::api_error::{ApiError, ApiResult};

/// An authorized request.
pub(crate) struct Call<A: Api> {
    pub(crate) operation: A::Operation,
    pub(crate) caller: A::Caller,
    pub(crate) version: ApiVersion,
    /// The client's certificates.
    pub(crate) presented: Presented,
    ids: Vec<String>,
    uri: Uri,
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl<A: Api> Call<A> {
    pub(super) fn new(
        found: RouteMatch<A>,
        caller: A::Caller,
        version: ApiVersion,
        head: &RequestHead,
        body: Bytes,
    ) -> Self {
        Self {
            operation: found.operation,
            caller,
            version,
            presented: Presented::clone(&head.presented),
            ids: found.ids,
            uri: head.parts.uri.clone(),
            headers: head.parts.headers.clone(),
            body,
        }
    }

    pub(crate) fn if_match(&self) -> ApiResult<Option<IfMatch>> {
        Ok(self.header("if-match")?.and_then(IfMatch::parse))
    }

    /// A header. Characters other than printable ASCII are an error, and do not count as a missing
    /// header.
    pub(crate) fn header(&self, name: &str) -> ApiResult<Option<&str>> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        value.to_str().map(Some).map_err(|_| unreadable(name))
    }

    /// The headers with that prefix, which is removed, and their values.
    pub(crate) fn headers_with_prefix(&self, prefix: &str) -> ApiResult<Vec<(String, String)>> {
        let mut found = Vec::new();
        for (name, value) in &self.headers {
            if let Some(rest) = name.as_str().strip_prefix(prefix) {
                let value = value.to_str().map_err(|_| unreadable(name.as_str()))?;
                found.push((rest.to_owned(), value.to_owned()));
            }
        }
        Ok(found)
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        query_parameter(&self.uri, name)
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as an object. An array is refused, although the library would take its elements
    /// for members.
    pub(crate) fn document<T: DeserializeOwned>(&self) -> ApiResult<T> {
        match self.body.trim_ascii_start() {
            [b'{', ..] => self.json(),
            _ => self
                .json::<Value>()
                .and(Err(ApiError::argument("the body cannot be read: it is not an object"))),
        }
    }

    /// The body as JSON of any kind. Invalid JSON and JSON of the wrong structure are two different
    /// errors.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> ApiResult<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let code =
                if error.is_data() { ErrorCode::ArgumentInvalid } else { ErrorCode::IotHubFormatError };
            ApiError::new(code, format!("the body can't be read: {}", JsonMistake::new(&error)))
        })
    }

    /// The body as a document that is stored, passed on or becomes part of a twin: a twin must be
    /// able to keep its numbers unchanged. Reported properties are not checked, because a client
    /// that sends a whole twin back did not write them.
    pub(crate) fn exact_document<T: DeserializeOwned>(&self) -> ApiResult<T> {
        let document = self.document()?;
        check_numbers(&self.body, &["reported"]).map_err(|error| ApiError::argument(error.to_string()))?;
        Ok(document)
    }

    /// The ids in the path, in order.
    pub(crate) fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The id in a place of the path, counted from 0.
    pub(crate) fn id(&self, place: usize) -> &str {
        self.ids.get(place).map_or("", String::as_str)
    }
}

/// The first parameter of that name in the URI, decoded.
pub(crate) fn query_parameter(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&');
    let mut found = pairs.filter_map(|pair| pair.split_once('=')).filter(|(key, _)| *key == name);
    let (_, value) = found.next()?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

fn unreadable(header: &str) -> ApiError {
    ApiError::argument(format!("the header {header} has characters that are no printable ASCII"))
}

//! The `attributes` of identities, which clients of api-version 2024-03-31 use and this hub does
//! not store. Writing them is refused with an error, so that they are not lost silently.

use serde_json::{Map, Value};

use crate::api_error::{ApiError, ApiResult};

/// Refuses the body of a request that writes attributes.
pub(crate) fn refuse_in_body(body: &[u8]) -> ApiResult<()> {
    // Hardly any body names them, as it is or escaped, and reading one twice takes its time.
    let has = |text: &[u8]| body.windows(text.len()).any(|bytes| bytes == text);
    if !has(b"attributes") && !has(b"\\u") {
        return Ok(());
    }
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(document) => refuse_in(&document),
        // Whoever reads the whole document says what is wrong with it.
        Err(_) => Ok(()),
    }
}

/// Refuses a document that writes attributes.
pub(crate) fn refuse_in(document: &Map<String, Value>) -> ApiResult<()> {
    document.get("attributes").map_or(Ok(()), refuse_value)
}

fn refuse_value(attributes: &Value) -> ApiResult<()> {
    if attributes.is_null() || attributes.as_object().is_some_and(Map::is_empty) {
        return Ok(());
    }
    let text = "the local hub does not keep `attributes` of devices and modules; leave them out, or use tags";
    Err(ApiError { text: text.to_owned(), ..ApiError::not_implemented("attributes") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_attributes_of_the_document_itself_with_content_are_refused() {
        for (body, is_refused) in [
            (json!({"attributes": {"a": 1}}), true),
            (json!({"attributes": 1}), true),
            (json!({"attributes": {}}), false),
            (json!({"attributes": null}), false),
            (json!({"tags": {"attributes": {"a": 1}}}), false),
            (json!(["attributes"]), false),
        ] {
            assert_eq!(refuse_in_body(body.to_string().as_bytes()).is_err(), is_refused, "{body}");
        }
        assert!(refuse_in_body(br#"{"\u0061ttributes": {"a": 1}}"#).is_err());
    }
}

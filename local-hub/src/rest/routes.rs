//! The way from a request to its operation.
//!
//! Routes are matched one by one, method included, because paths overlap: `/devices/query` is an
//! operation under POST and a device under GET.

use http::Method;
use hub_types::id::decode_path_segment;

use super::Api;
use crate::api_error::ApiError;

/// A route to an operation. `{}` in a path stands for any one segment.
pub(crate) struct Route<A: Api> {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) right: A::Right,
    pub(crate) operation: A::Operation,
}

/// The route of a request, with the decoded segments in the places of `{}`.
pub(crate) struct RouteMatch<A: Api> {
    pub(crate) right: A::Right,
    pub(crate) operation: A::Operation,
    pub(crate) ids: Vec<String>,
}

/// Finds the operation. A trailing slash is ignored: C# and Node write one.
pub(crate) fn find<A: Api>(method: &Method, path: &str) -> Result<RouteMatch<A>, ApiError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut path_is_known = false;
    for route in A::ROUTES {
        let Some(ids) = captures(route.path, path) else {
            continue;
        };
        if route.method != *method {
            path_is_known = true;
            continue;
        }
        let ids: Option<Vec<String>> = ids.into_iter().map(decode_path_segment).collect();
        return Ok(RouteMatch {
            right: route.right,
            operation: route.operation,
            ids: ids.ok_or_else(|| ApiError::argument("an id in the path is not percent-encoded UTF-8"))?,
        });
    }
    Err(no_operation(A::NAME, path_is_known))
}

/// The segments of `path` in the places of `{}`; `None` if the path has a different form.
fn captures<'p>(template: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let mut segments = path.split('/');
    let mut captured = Vec::new();
    for wanted in template.split('/') {
        let segment = segments.next()?;
        match wanted {
            "{}" if !segment.is_empty() => captured.push(segment),
            // A live hub reads paths in any letter case: Node writes `devicebound`.
            literal if literal.eq_ignore_ascii_case(segment) => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(captured)
}

fn no_operation(service: &str, path_is_known: bool) -> ApiError {
    let (status, reason) =
        if path_is_known { (405, "with this method at this path") } else { (404, "at this path") };
    let text = format!("{service} has no operation {reason}");
    ApiError { status, number: 0, name: "InvalidOperation", text }
}

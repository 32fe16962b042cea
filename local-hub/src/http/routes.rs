//! The way from a request to its operation.
//!
//! Routes are matched one by one, method included, because IoT Hub's paths overlap:
//! `/devices/query` is an operation under POST and a device under GET.

use http::Method;
use hub_types::id::decode_path_segment;

use super::operations::{Operation, ROUTES};
use crate::access::policy::Right;
use crate::api_error::ApiError;

/// A route to an operation. `{}` in a path stands for any one segment.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) right: Right,
    pub(crate) operation: Operation,
}

/// The route of a request, with the decoded segments in the places of `{}`.
#[derive(Debug)]
pub(crate) struct RouteMatch {
    pub(crate) right: Right,
    pub(crate) operation: Operation,
    pub(crate) ids: Vec<String>,
}

impl RouteMatch {
    /// Returns true for operations that devices request with their own credentials.
    pub(crate) fn is_for_devices(&self) -> bool {
        self.right == Right::DeviceConnect
    }
}

/// Finds the operation. A trailing slash is ignored: C# and Node write one.
pub(crate) fn find(method: &Method, path: &str) -> Result<RouteMatch, ApiError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut path_is_known = false;
    for route in ROUTES {
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
    Err(no_operation(path_is_known))
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

fn no_operation(path_is_known: bool) -> ApiError {
    let (status, name, text) = if path_is_known {
        (405, "InvalidOperation", "IoT Hub has no operation with this method at this path")
    } else {
        (404, "InvalidOperation", "IoT Hub has no operation at this path")
    };
    ApiError { status, name, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(method: Method, path: &str) -> Result<Operation, u16> {
        find(&method, path).map(|found| found.operation).map_err(|error| error.status)
    }

    #[test]
    fn overlapping_paths_are_told_apart_by_their_method() {
        assert_eq!(operation(Method::POST, "/devices/query"), Ok(Operation::Query));
        assert_eq!(operation(Method::GET, "/devices/query"), Ok(Operation::GetDevice));
        assert_eq!(operation(Method::GET, "/devices/keys/modules"), Ok(Operation::ListModules));
        assert_eq!(operation(Method::GET, "/jobs/v2/query"), Ok(Operation::QueryScheduledJobs));
        let modules = operation(Method::GET, "/digitaltwins/models/d");
        assert_eq!(modules, Ok(Operation::NotImplemented("GetDigitalTwinModel")));
    }

    #[test]
    fn paths_are_read_in_any_letter_case_and_ids_are_not() {
        let received = operation(Method::GET, "/devices/d/messages/devicebound");
        assert_eq!(received, Ok(Operation::NotImplemented("ReceiveDeviceBoundNotification")));
        let ids = find(&Method::GET, "/Devices/Pump").map(|found| found.ids);
        assert_eq!(ids, Ok(vec!["Pump".to_owned()]));
    }

    #[test]
    fn a_slash_at_the_end_makes_no_difference() {
        assert_eq!(operation(Method::GET, "/devices/"), Ok(Operation::ListDevices));
        assert_eq!(operation(Method::GET, "/devices/d/"), Ok(Operation::GetDevice));
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        assert_eq!(operation(Method::GET, "/"), Err(404));
        assert_eq!(operation(Method::GET, "/devices//modules"), Err(404));
        assert_eq!(operation(Method::GET, "/devices/d/modules/m/x"), Err(404));
        assert_eq!(operation(Method::PATCH, "/devices/d"), Err(405));
        assert_eq!(operation(Method::GET, "/devices/%ff"), Err(400));
    }

    #[test]
    fn ids_are_decoded() {
        let found = find(&Method::GET, "/twins/a%23b%25/modules/%24edgeAgent").map(|found| found.ids);
        assert_eq!(found, Ok(vec!["a#b%".to_owned(), "$edgeAgent".to_owned()]));
    }
}

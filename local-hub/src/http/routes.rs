//! Every operation of the service API: its method, its path, and the right it needs.
//!
//! The table is matched row by row, method included, because IoT Hub's paths overlap: `/devices/query`
//! is an operation under POST and a device under GET.

use std::collections::BTreeSet;

use http::Method;
use hub_types::id::decode_path_segment;

use crate::access::policy::Right;
use crate::api_error::ApiError;

/// The requested operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// An operation of IoT Hub that this hub does not support, by its name.
    Absent(&'static str),
    ApplyConfigurationContent,
    BulkRegistry,
    CancelImportExportJob,
    CancelScheduledJob,
    CreateImportExportJob,
    CreateOrUpdateConfiguration,
    CreateScheduledJob,
    DeleteConfiguration,
    DeleteDevice,
    DeleteModule,
    GetConfiguration,
    GetConfigurations,
    GetDevice,
    GetDeviceStatistics,
    GetImportExportJob,
    GetImportExportJobs,
    GetModule,
    GetScheduledJob,
    GetServiceStatistics,
    GetTwin,
    InvokeMethod,
    ListDevices,
    ListModules,
    PatchTwin,
    PurgeCommandQueue,
    PutDevice,
    PutModule,
    PutTwin,
    Query,
    QueryScheduledJobs,
    RegenerateKeys,
    SendCommand,
    TestConfigurationQueries,
}

impl Operation {
    /// Returns true if the operation changes nothing.
    pub(crate) fn only_reads(self) -> bool {
        matches!(
            self,
            Self::GetConfiguration
                | Self::GetConfigurations
                | Self::GetDevice
                | Self::GetDeviceStatistics
                | Self::GetImportExportJob
                | Self::GetImportExportJobs
                | Self::GetModule
                | Self::GetScheduledJob
                | Self::GetServiceStatistics
                | Self::GetTwin
                | Self::ListDevices
                | Self::ListModules
                | Self::Query
                | Self::QueryScheduledJobs
                | Self::TestConfigurationQueries
        )
    }

    /// The name for logs and error messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Absent(name) => name,
            Self::ApplyConfigurationContent => "ApplyConfigurationContent",
            Self::BulkRegistry => "BulkRegistry",
            Self::CancelImportExportJob => "CancelImportExportJob",
            Self::CancelScheduledJob => "CancelScheduledJob",
            Self::CreateImportExportJob => "CreateImportExportJob",
            Self::CreateOrUpdateConfiguration => "CreateOrUpdateConfiguration",
            Self::CreateScheduledJob => "CreateScheduledJob",
            Self::DeleteConfiguration => "DeleteConfiguration",
            Self::DeleteDevice => "DeleteDevice",
            Self::DeleteModule => "DeleteModule",
            Self::GetConfiguration => "GetConfiguration",
            Self::GetConfigurations => "GetConfigurations",
            Self::GetDevice => "GetDevice",
            Self::GetDeviceStatistics => "GetDeviceStatistics",
            Self::GetImportExportJob => "GetImportExportJob",
            Self::GetImportExportJobs => "GetImportExportJobs",
            Self::GetModule => "GetModule",
            Self::GetScheduledJob => "GetScheduledJob",
            Self::GetServiceStatistics => "GetServiceStatistics",
            Self::GetTwin => "GetTwin",
            Self::InvokeMethod => "InvokeMethod",
            Self::ListDevices => "ListDevices",
            Self::ListModules => "ListModules",
            Self::PatchTwin => "PatchTwin",
            Self::PurgeCommandQueue => "PurgeCommandQueue",
            Self::PutDevice => "PutDevice",
            Self::PutModule => "PutModule",
            Self::PutTwin => "PutTwin",
            Self::Query => "Query",
            Self::QueryScheduledJobs => "QueryScheduledJobs",
            Self::RegenerateKeys => "RegenerateKeys",
            Self::SendCommand => "SendCommand",
            Self::TestConfigurationQueries => "TestConfigurationQueries",
        }
    }
}

/// The name of every operation, unsupported ones included, in alphabetical order.
pub(crate) fn operation_names() -> Vec<&'static str> {
    let names: BTreeSet<_> = ROUTES.iter().map(|route| route.operation.name()).collect();
    names.into_iter().collect()
}

/// One row of the table. `{}` in a path stands for any one segment.
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

const fn route(method: Method, path: &'static str, right: Right, operation: Operation) -> Route {
    Route { method, path, right, operation }
}

/// The complete API of version 2021-04-12, the additions of 2024-03-31, the earlier previews that
/// clients still use, and the device operations over HTTPS.
pub(crate) const ROUTES: &[Route] = {
    use Operation::Absent;
    use Right::{DeviceConnect, RegistryRead, RegistryWrite, ServiceConnect};
    const GET: Method = Method::GET;
    const PUT: Method = Method::PUT;
    const POST: Method = Method::POST;
    const PATCH: Method = Method::PATCH;
    const DELETE: Method = Method::DELETE;
    &[
        route(GET, "/devices", RegistryRead, Operation::ListDevices),
        route(POST, "/devices", RegistryWrite, Operation::BulkRegistry),
        route(POST, "/devices/query", ServiceConnect, Operation::Query),
        route(POST, "/devices/keys/regenerate", RegistryWrite, Operation::RegenerateKeys),
        route(GET, "/devices/{}", RegistryRead, Operation::GetDevice),
        route(PUT, "/devices/{}", RegistryWrite, Operation::PutDevice),
        route(DELETE, "/devices/{}", RegistryWrite, Operation::DeleteDevice),
        route(DELETE, "/devices/{}/commands", ServiceConnect, Operation::PurgeCommandQueue),
        route(POST, "/devices/{}/messages/deviceBound", ServiceConnect, Operation::SendCommand),
        route(
            POST,
            "/devices/{}/applyConfigurationContent",
            RegistryWrite,
            Operation::ApplyConfigurationContent,
        ),
        route(GET, "/devices/{}/modules", RegistryRead, Operation::ListModules),
        route(GET, "/devices/{}/modules/{}", RegistryRead, Operation::GetModule),
        route(PUT, "/devices/{}/modules/{}", RegistryWrite, Operation::PutModule),
        route(DELETE, "/devices/{}/modules/{}", RegistryWrite, Operation::DeleteModule),
        route(GET, "/twins/{}", ServiceConnect, Operation::GetTwin),
        route(PATCH, "/twins/{}", ServiceConnect, Operation::PatchTwin),
        route(PUT, "/twins/{}", ServiceConnect, Operation::PutTwin),
        route(GET, "/twins/{}/modules/{}", ServiceConnect, Operation::GetTwin),
        route(PATCH, "/twins/{}/modules/{}", ServiceConnect, Operation::PatchTwin),
        route(PUT, "/twins/{}/modules/{}", ServiceConnect, Operation::PutTwin),
        route(POST, "/twins/{}/methods", ServiceConnect, Operation::InvokeMethod),
        route(POST, "/twins/{}/modules/{}/methods", ServiceConnect, Operation::InvokeMethod),
        route(GET, "/statistics/devices", RegistryRead, Operation::GetDeviceStatistics),
        route(GET, "/statistics/service", RegistryRead, Operation::GetServiceStatistics),
        route(POST, "/jobs/create", RegistryWrite, Operation::CreateImportExportJob),
        route(GET, "/jobs", RegistryRead, Operation::GetImportExportJobs),
        route(GET, "/jobs/v2/query", ServiceConnect, Operation::QueryScheduledJobs),
        route(GET, "/jobs/v2/{}", ServiceConnect, Operation::GetScheduledJob),
        route(PUT, "/jobs/v2/{}", ServiceConnect, Operation::CreateScheduledJob),
        route(POST, "/jobs/v2/{}/cancel", ServiceConnect, Operation::CancelScheduledJob),
        route(GET, "/jobs/{}", RegistryRead, Operation::GetImportExportJob),
        route(DELETE, "/jobs/{}", RegistryWrite, Operation::CancelImportExportJob),
        route(GET, "/configurations", RegistryRead, Operation::GetConfigurations),
        route(POST, "/configurations/testQueries", RegistryRead, Operation::TestConfigurationQueries),
        route(GET, "/configurations/{}", RegistryRead, Operation::GetConfiguration),
        route(PUT, "/configurations/{}", RegistryWrite, Operation::CreateOrUpdateConfiguration),
        route(DELETE, "/configurations/{}", RegistryWrite, Operation::DeleteConfiguration),
        route(GET, "/messages/serviceBound/feedback", ServiceConnect, Absent("ReceiveFeedbackNotification")),
        route(
            DELETE,
            "/messages/serviceBound/feedback/{}",
            ServiceConnect,
            Absent("CompleteFeedbackNotification"),
        ),
        route(
            POST,
            "/messages/serviceBound/feedback/{}/abandon",
            ServiceConnect,
            Absent("AbandonFeedbackNotification"),
        ),
        route(
            GET,
            "/messages/serviceBound/filenotifications",
            ServiceConnect,
            Absent("ReceiveFileNotification"),
        ),
        route(
            DELETE,
            "/messages/serviceBound/filenotifications/{}",
            ServiceConnect,
            Absent("CompleteFileNotification"),
        ),
        route(
            POST,
            "/messages/serviceBound/filenotifications/{}/abandon",
            ServiceConnect,
            Absent("AbandonFileNotification"),
        ),
        route(GET, "/digitaltwins/{}", ServiceConnect, Absent("GetDigitalTwin")),
        route(PATCH, "/digitaltwins/{}", ServiceConnect, Absent("UpdateDigitalTwin")),
        route(POST, "/digitaltwins/{}/commands/{}", ServiceConnect, Absent("InvokeRootLevelCommand")),
        route(
            POST,
            "/digitaltwins/{}/components/{}/commands/{}",
            ServiceConnect,
            Absent("InvokeComponentCommand"),
        ),
        // Until 2019-07-01-preview components were interfaces.
        route(GET, "/digitaltwins/models/{}", ServiceConnect, Absent("GetDigitalTwinModel")),
        route(GET, "/digitaltwins/{}/interfaces", ServiceConnect, Absent("GetInterfaces")),
        route(PATCH, "/digitaltwins/{}/interfaces", ServiceConnect, Absent("UpdateInterfaces")),
        route(GET, "/digitaltwins/{}/interfaces/{}", ServiceConnect, Absent("GetInterface")),
        route(
            POST,
            "/digitaltwins/{}/interfaces/{}/commands/{}",
            ServiceConnect,
            Absent("InvokeInterfaceCommand"),
        ),
        route(POST, "/twins/{}/streams/{}", ServiceConnect, Absent("InitiateDeviceStream")),
        route(POST, "/twins/{}/modules/{}/streams/{}", ServiceConnect, Absent("InitiateDeviceStream")),
        route(POST, "/devices/{}/messages/events", DeviceConnect, Absent("SendDeviceEvent")),
        route(POST, "/devices/{}/modules/{}/messages/events", DeviceConnect, Absent("SendModuleEvent")),
        route(
            GET,
            "/devices/{}/messages/deviceBound",
            DeviceConnect,
            Absent("ReceiveDeviceBoundNotification"),
        ),
        // Rejects too, with the parameter `reject`.
        route(
            DELETE,
            "/devices/{}/messages/deviceBound/{}",
            DeviceConnect,
            Absent("CompleteDeviceBoundNotification"),
        ),
        route(
            POST,
            "/devices/{}/messages/deviceBound/{}/abandon",
            DeviceConnect,
            Absent("AbandonDeviceBoundNotification"),
        ),
        route(POST, "/devices/{}/files", DeviceConnect, Absent("CreateFileUploadSasUri")),
        route(POST, "/devices/{}/files/notifications", DeviceConnect, Absent("UpdateFileUploadStatus")),
        route(POST, "/devices/{}/files/notifications/{}", DeviceConnect, Absent("UpdateFileUploadStatus")),
        route(
            GET,
            "/devices/{}/modules/{}/deviceAndModuleInDeviceScope",
            DeviceConnect,
            Absent("GetDeviceAndModuleInScope"),
        ),
        route(
            GET,
            "/devices/{}/modules/{}/devicesAndModulesInDeviceScope",
            DeviceConnect,
            Absent("GetDevicesAndModulesInScope"),
        ),
        route(
            POST,
            "/devices/{}/modules/{}/getDeviceAndModuleOnBehalfOf",
            DeviceConnect,
            Absent("GetDeviceAndModuleOnBehalfOf"),
        ),
        route(
            POST,
            "/devices/{}/modules/{}/devicesAndModulesInTargetDeviceScope",
            DeviceConnect,
            Absent("GetDevicesAndModulesInTargetScope"),
        ),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::policy::Policies;

    fn operation(method: Method, path: &str) -> Result<Operation, u16> {
        find(&method, path).map(|found| found.operation).map_err(|error| error.status)
    }

    #[test]
    fn what_is_not_implemented_is_known_by_name() {
        let absent = ROUTES.iter().filter_map(|route| match route.operation {
            Operation::Absent(name) => Some(format!("{name}: {} {}", route.method, route.path)),
            _ => None,
        });
        let list = absent.collect::<Vec<_>>().join("\n") + "\n";
        assert_eq!(list, include_str!("../../not-implemented.txt"));
    }

    /// Compares the table with a file, which a different test compares with the responses of a
    /// running hub.
    #[test]
    fn who_may_do_what_is_written_down() {
        let policies = Policies::generate();
        let allowed = |right| {
            let mut names: Vec<_> = policies.names().collect();
            names.retain(|name| policies.find(name).is_some_and(|policy| policy.allows(right)));
            names.sort_unstable();
            names.join(" ")
        };
        let rows = ROUTES.iter();
        let rows = rows.map(|row| {
            format!("{} {} {}: {}", row.operation.name(), row.method, row.path, allowed(row.right))
        });
        let table = rows.collect::<Vec<_>>().join("\n") + "\n";
        assert_eq!(table, include_str!("../../rights.txt"));
    }

    #[test]
    fn overlapping_paths_are_told_apart_by_their_method() {
        assert_eq!(operation(Method::POST, "/devices/query"), Ok(Operation::Query));
        assert_eq!(operation(Method::GET, "/devices/query"), Ok(Operation::GetDevice));
        assert_eq!(operation(Method::GET, "/devices/keys/modules"), Ok(Operation::ListModules));
        assert_eq!(operation(Method::GET, "/jobs/v2/query"), Ok(Operation::QueryScheduledJobs));
        let modules = operation(Method::GET, "/digitaltwins/models/d");
        assert_eq!(modules, Ok(Operation::Absent("GetDigitalTwinModel")));
    }

    #[test]
    fn paths_are_read_in_any_letter_case_and_ids_are_not() {
        let received = operation(Method::GET, "/devices/d/messages/devicebound");
        assert_eq!(received, Ok(Operation::Absent("ReceiveDeviceBoundNotification")));
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

//! The table of all operations of the service API of IoT Hub: the complete API of version
//! 2021-04-12, the additions of 2024-03-31, the earlier previews that clients still use, and the
//! device operations over HTTPS.

use hub_types::limits::OperationClass as Class;

use super::handlers::{
    bulk, cloud_to_device, configurations, devices, import_export, keys, methods, modules, query,
    scheduled_jobs, statistics, twins,
};
use crate::access::policy::Right;
use crate::hub::Hub;
use crate::rest::operations::{by_handler, charged, free, operations};

// Source of the throttling: "Azure IoT Hub billing information".
operations! {
    /// The requested operation.
    Operation of Hub;

    implemented {
        ListDevices: Reads, free(Class::Registry, "RegistryRead"), devices::list,
            RegistryRead GET "/devices";
        BulkRegistry: Writes, by_handler(), bulk::post.await,
            RegistryWrite POST "/devices";
        Query: Reads, charged(Class::Query, "Query"), query::post.await,
            ServiceConnect POST "/devices/query";
        RegenerateKeys: Writes, by_handler(), keys::regenerate.await,
            RegistryWrite POST "/devices/keys/regenerate";
        GetDevice: Reads, free(Class::Registry, "RegistryRead"), devices::get,
            RegistryRead GET "/devices/{}";
        PutDevice: Writes, free(Class::Registry, "RegistryWrite"), devices::put.await,
            RegistryWrite PUT "/devices/{}";
        DeleteDevice: Writes, free(Class::Registry, "RegistryWrite"), devices::delete.await,
            RegistryWrite DELETE "/devices/{}";
        // A throttle of its own is not documented.
        PurgeCommandQueue: Writes, free(Class::CloudToDevice, "PurgeCommandQueue"), cloud_to_device::purge.await,
            ServiceConnect DELETE "/devices/{}/commands";
        SendCommand: Writes, charged(Class::CloudToDevice, "SendCommand"), cloud_to_device::send.await,
            ServiceConnect POST "/devices/{}/messages/deviceBound";
        ApplyConfigurationContent: Writes, charged(Class::Configuration, "ConfigurationWrite"), configurations::apply.await,
            RegistryWrite POST "/devices/{}/applyConfigurationContent";
        ListModules: Reads, free(Class::Registry, "RegistryRead"), modules::list,
            RegistryRead GET "/devices/{}/modules";
        GetModule: Reads, free(Class::Registry, "RegistryRead"), modules::get,
            RegistryRead GET "/devices/{}/modules/{}";
        PutModule: Writes, free(Class::Registry, "RegistryWrite"), modules::put.await,
            RegistryWrite PUT "/devices/{}/modules/{}";
        DeleteModule: Writes, free(Class::Registry, "RegistryWrite"), modules::delete.await,
            RegistryWrite DELETE "/devices/{}/modules/{}";
        GetTwin: Reads, charged(Class::TwinRead, "TwinRead"), twins::get,
            ServiceConnect GET "/twins/{}" "/twins/{}/modules/{}";
        PatchTwin: Writes, charged(Class::TwinUpdate, "TwinUpdate"), twins::patch.await,
            ServiceConnect PATCH "/twins/{}" "/twins/{}/modules/{}";
        PutTwin: Writes, charged(Class::TwinUpdate, "TwinUpdate"), twins::put.await,
            ServiceConnect PUT "/twins/{}" "/twins/{}/modules/{}";
        InvokeMethod: Writes, by_handler(), methods::post.await,
            ServiceConnect POST "/twins/{}/methods" "/twins/{}/modules/{}/methods";
        GetDeviceStatistics: Reads, free(Class::Registry, "RegistryRead"), statistics::devices,
            RegistryRead GET "/statistics/devices";
        GetServiceStatistics: Reads, free(Class::Registry, "RegistryRead"), statistics::service,
            RegistryRead GET "/statistics/service";
        CreateImportExportJob: Writes, free(Class::Job, "Jobs"), import_export::create.await,
            RegistryWrite POST "/jobs/create";
        GetImportExportJobs: Reads, free(Class::Job, "Jobs"), import_export::list,
            RegistryRead GET "/jobs";
        QueryScheduledJobs: Reads, free(Class::Job, "Jobs"), scheduled_jobs::query,
            ServiceConnect GET "/jobs/v2/query";
        GetScheduledJob: Reads, free(Class::Job, "Jobs"), scheduled_jobs::get,
            ServiceConnect GET "/jobs/v2/{}";
        CreateScheduledJob: Writes, free(Class::Job, "Jobs"), scheduled_jobs::create.await,
            ServiceConnect PUT "/jobs/v2/{}";
        CancelScheduledJob: Writes, free(Class::Job, "Jobs"), scheduled_jobs::cancel.await,
            ServiceConnect POST "/jobs/v2/{}/cancel";
        GetImportExportJob: Reads, free(Class::Job, "Jobs"), import_export::get,
            RegistryRead GET "/jobs/{}";
        CancelImportExportJob: Writes, free(Class::Job, "Jobs"), import_export::cancel.await,
            RegistryWrite DELETE "/jobs/{}";
        GetConfigurations: Reads, free(Class::Configuration, "ConfigurationRead"), configurations::list,
            RegistryRead GET "/configurations";
        TestConfigurationQueries: Reads, free(Class::Configuration, "ConfigurationRead"), configurations::test_queries,
            RegistryRead POST "/configurations/testQueries";
        GetConfiguration: Reads, free(Class::Configuration, "ConfigurationRead"), configurations::get,
            RegistryRead GET "/configurations/{}";
        CreateOrUpdateConfiguration: Writes, free(Class::Configuration, "ConfigurationWrite"), configurations::put.await,
            RegistryWrite PUT "/configurations/{}";
        DeleteConfiguration: Writes, free(Class::Configuration, "ConfigurationWrite"), configurations::delete.await,
            RegistryWrite DELETE "/configurations/{}";
    }

    not_implemented {
        ReceiveFeedbackNotification: ServiceConnect GET "/messages/serviceBound/feedback";
        CompleteFeedbackNotification: ServiceConnect DELETE "/messages/serviceBound/feedback/{}";
        AbandonFeedbackNotification: ServiceConnect POST "/messages/serviceBound/feedback/{}/abandon";
        ReceiveFileNotification: ServiceConnect GET "/messages/serviceBound/filenotifications";
        CompleteFileNotification: ServiceConnect DELETE "/messages/serviceBound/filenotifications/{}";
        AbandonFileNotification: ServiceConnect POST "/messages/serviceBound/filenotifications/{}/abandon";
        GetDigitalTwin: ServiceConnect GET "/digitaltwins/{}";
        UpdateDigitalTwin: ServiceConnect PATCH "/digitaltwins/{}";
        InvokeRootLevelCommand: ServiceConnect POST "/digitaltwins/{}/commands/{}";
        InvokeComponentCommand: ServiceConnect POST "/digitaltwins/{}/components/{}/commands/{}";
        // Until 2019-07-01-preview components were interfaces.
        GetDigitalTwinModel: ServiceConnect GET "/digitaltwins/models/{}";
        GetInterfaces: ServiceConnect GET "/digitaltwins/{}/interfaces";
        UpdateInterfaces: ServiceConnect PATCH "/digitaltwins/{}/interfaces";
        GetInterface: ServiceConnect GET "/digitaltwins/{}/interfaces/{}";
        InvokeInterfaceCommand: ServiceConnect POST "/digitaltwins/{}/interfaces/{}/commands/{}";
        InitiateDeviceStream: ServiceConnect POST "/twins/{}/streams/{}" "/twins/{}/modules/{}/streams/{}";
        SendDeviceEvent: DeviceConnect POST "/devices/{}/messages/events";
        SendModuleEvent: DeviceConnect POST "/devices/{}/modules/{}/messages/events";
        ReceiveDeviceBoundNotification: DeviceConnect GET "/devices/{}/messages/deviceBound";
        // Rejects too, with the parameter `reject`.
        CompleteDeviceBoundNotification: DeviceConnect DELETE "/devices/{}/messages/deviceBound/{}";
        AbandonDeviceBoundNotification: DeviceConnect POST "/devices/{}/messages/deviceBound/{}/abandon";
        CreateFileUploadSasUri: DeviceConnect POST "/devices/{}/files";
        UpdateFileUploadStatus: DeviceConnect POST
            "/devices/{}/files/notifications"
            "/devices/{}/files/notifications/{}";
        GetDeviceAndModuleInScope: DeviceConnect GET "/devices/{}/modules/{}/deviceAndModuleInDeviceScope";
        GetDevicesAndModulesInScope: DeviceConnect GET "/devices/{}/modules/{}/devicesAndModulesInDeviceScope";
        GetDeviceAndModuleOnBehalfOf: DeviceConnect POST "/devices/{}/modules/{}/getDeviceAndModuleOnBehalfOf";
        GetDevicesAndModulesInTargetScope: DeviceConnect POST
            "/devices/{}/modules/{}/devicesAndModulesInTargetDeviceScope";
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::api_error::ApiError;
    use crate::rest::operations::check_table;
    use crate::rest::routes::{self, RouteMatch};

    #[test]
    fn every_operation_is_written_down_with_the_policies_that_may_use_it() {
        check_table::<Hub>("operations.txt", |operation| matches!(operation, Operation::NotImplemented(_)));
    }

    fn find(method: &Method, path: &str) -> Result<RouteMatch<Hub>, ApiError> {
        routes::find(method, path)
    }

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

//! The throttle class of each operation of the service API, and the operations that are charged as
//! messages.

use hub_types::limits::OperationClass;

use super::routes::Operation;
use crate::api_error::ApiResult;
use crate::hub::Hub;

/// The throttling of an operation, and its charging as messages of the day.
struct Meter {
    class: OperationClass,
    /// The name of the operation in a 429 response.
    kind: &'static str,
    charged: bool,
}

/// Waits until the operation may begin, or refuses it.
pub(crate) async fn admit(hub: &Hub, operation: Operation) -> ApiResult<()> {
    let Some(Meter { class, kind, charged }) = meter(operation) else {
        return Ok(());
    };
    hub.throttle().admit(class, 1, kind).await?;
    if charged { hub.throttle().check_quota() } else { Ok(()) }
}

/// Charges an operation as messages of the day: by the size of its request or of its response,
/// whichever is larger.
pub(crate) fn charge(hub: &Hub, operation: Operation, sent: usize, answered: usize) {
    if meter(operation).is_some_and(|meter| meter.charged) {
        hub.throttle().charge(sent.max(answered));
    }
}

/// The meter of an operation. Source: "Azure IoT Hub billing information".
fn meter(operation: Operation) -> Option<Meter> {
    let free = |class, kind| Meter { class, kind, charged: false };
    let charged = |class, kind| Meter { class, kind, charged: true };
    Some(match operation {
        // Nothing is done. Of a bulk call and of a method the size must be known first: who reads
        // them asks.
        Operation::Absent(_)
        | Operation::BulkRegistry
        | Operation::InvokeMethod
        | Operation::RegenerateKeys => return None,
        Operation::ApplyConfigurationContent => charged(OperationClass::Configuration, "ConfigurationWrite"),
        Operation::CreateOrUpdateConfiguration | Operation::DeleteConfiguration => {
            free(OperationClass::Configuration, "ConfigurationWrite")
        }
        Operation::GetConfiguration | Operation::GetConfigurations | Operation::TestConfigurationQueries => {
            free(OperationClass::Configuration, "ConfigurationRead")
        }
        Operation::CancelImportExportJob
        | Operation::CancelScheduledJob
        | Operation::CreateImportExportJob
        | Operation::CreateScheduledJob
        | Operation::GetImportExportJob
        | Operation::GetImportExportJobs
        | Operation::GetScheduledJob
        | Operation::QueryScheduledJobs => free(OperationClass::Job, "Jobs"),
        Operation::DeleteDevice | Operation::DeleteModule | Operation::PutDevice | Operation::PutModule => {
            free(OperationClass::Registry, "RegistryWrite")
        }
        Operation::GetDevice
        | Operation::GetDeviceStatistics
        | Operation::GetModule
        | Operation::GetServiceStatistics
        | Operation::ListDevices
        | Operation::ListModules => free(OperationClass::Registry, "RegistryRead"),
        Operation::GetTwin => charged(OperationClass::TwinRead, "TwinRead"),
        Operation::PatchTwin | Operation::PutTwin => charged(OperationClass::TwinUpdate, "TwinUpdate"),
        // A throttle of its own is not documented.
        Operation::PurgeCommandQueue => free(OperationClass::CloudToDevice, "PurgeCommandQueue"),
        Operation::Query => charged(OperationClass::Query, "Query"),
        Operation::SendCommand => charged(OperationClass::CloudToDevice, "SendCommand"),
    })
}

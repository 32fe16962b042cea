//! Which throttle each operation of the service API falls under, and which are charged as messages.

use hub_types::limits::OperationClass;

use super::routes::Operation;
use crate::hub::Hub;
use crate::registry::Answer;

/// Waits until the operation may begin, or refuses it.
pub(crate) async fn admit(hub: &Hub, operation: Operation) -> Answer<()> {
    let Some((class, kind)) = throttled_as(operation) else {
        return Ok(());
    };
    hub.throttle().admit(class, 1, kind).await?;
    if is_message(class) { hub.throttle().check_quota() } else { Ok(()) }
}

/// Counts what was done as messages of the day: what was sent or what was answered, whichever is more.
pub(crate) fn charge(hub: &Hub, operation: Operation, sent: usize, answered: usize) {
    if throttled_as(operation).is_some_and(|(class, _)| is_message(class)) {
        hub.throttle().charge(sent.max(answered));
    }
}

/// The class, and the name that a 429 gives the operation.
fn throttled_as(operation: Operation) -> Option<(OperationClass, &'static str)> {
    Some(match operation {
        // Nothing is done. Of a bulk call the size must be known first: its handler asks.
        Operation::Absent(_) | Operation::BulkRegistry | Operation::RegenerateKeys => return None,
        // Microsoft's clients do these over AMQP or not at all; no throttle is documented for them.
        Operation::PurgeCommandQueue | Operation::SendCommand => return None,
        Operation::DeleteDevice | Operation::DeleteModule | Operation::PutDevice | Operation::PutModule => {
            (OperationClass::Registry, "RegistryWrite")
        }
        Operation::ApplyConfigurationContent
        | Operation::CreateOrUpdateConfiguration
        | Operation::DeleteConfiguration => (OperationClass::Configuration, "ConfigurationWrite"),
        Operation::GetConfiguration | Operation::GetConfigurations | Operation::TestConfigurationQueries => {
            (OperationClass::Configuration, "ConfigurationRead")
        }
        Operation::CancelImportExportJob
        | Operation::CancelScheduledJob
        | Operation::CreateImportExportJob
        | Operation::CreateScheduledJob
        | Operation::GetImportExportJob
        | Operation::GetImportExportJobs
        | Operation::GetScheduledJob
        | Operation::QueryScheduledJobs => (OperationClass::Job, "Jobs"),
        Operation::GetDevice
        | Operation::GetDeviceStatistics
        | Operation::GetModule
        | Operation::GetServiceStatistics
        | Operation::ListDevices
        | Operation::ListModules => (OperationClass::Registry, "RegistryRead"),
        Operation::GetTwin => (OperationClass::TwinRead, "TwinRead"),
        Operation::InvokeMethod => (OperationClass::DirectMethod, "DirectMethod"),
        Operation::PatchTwin | Operation::PutTwin => (OperationClass::TwinUpdate, "TwinUpdate"),
        Operation::Query => (OperationClass::Query, "Query"),
    })
}

/// Source: "Azure IoT Hub pricing"; operations on the registry, on jobs and on configurations are not.
fn is_message(class: OperationClass) -> bool {
    matches!(
        class,
        OperationClass::DirectMethod
            | OperationClass::Query
            | OperationClass::TwinRead
            | OperationClass::TwinUpdate
    )
}

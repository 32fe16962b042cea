//! The implementation of each operation: one file per resource.

use std::sync::Arc;

use super::call::Call;
use super::reply::Reply;
use super::routes::Operation;
use crate::api_error::{ApiError, ApiResult};
use crate::hub::Hub;

mod bulk;
mod cloud_to_device;
mod configurations;
mod devices;
mod import_export;
mod keys;
mod methods;
mod modules;
pub(crate) mod query;
mod scheduled_jobs;
mod statistics;
mod twins;

/// Performs the operation of a call.
pub(crate) async fn perform(hub: &Arc<Hub>, call: Call) -> ApiResult<Reply> {
    match call.operation {
        Operation::Absent(name) => Err(ApiError::not_implemented(name)),
        Operation::ApplyConfigurationContent => configurations::apply(hub, call).await,
        Operation::BulkRegistry => bulk::post(hub, call).await,
        Operation::CancelImportExportJob => import_export::cancel(hub, call).await,
        Operation::CancelScheduledJob => scheduled_jobs::cancel(hub, call).await,
        Operation::CreateImportExportJob => import_export::create(hub, call).await,
        Operation::CreateOrUpdateConfiguration => configurations::put(hub, call).await,
        Operation::CreateScheduledJob => scheduled_jobs::create(hub, call).await,
        Operation::DeleteConfiguration => configurations::delete(hub, call).await,
        Operation::DeleteDevice => devices::delete(hub, call).await,
        Operation::DeleteModule => modules::delete(hub, call).await,
        Operation::GetConfiguration => configurations::get(hub, call),
        Operation::GetConfigurations => configurations::list(hub, call),
        Operation::GetDevice => devices::get(hub, call),
        Operation::GetDeviceStatistics => statistics::devices(hub),
        Operation::GetImportExportJob => import_export::get(hub, call),
        Operation::GetImportExportJobs => import_export::list(hub),
        Operation::GetModule => modules::get(hub, call),
        Operation::GetScheduledJob => scheduled_jobs::get(hub, call),
        Operation::GetServiceStatistics => statistics::service(hub),
        Operation::GetTwin => twins::get(hub, call),
        Operation::InvokeMethod => methods::post(hub, call).await,
        Operation::ListDevices => devices::list(hub, call),
        Operation::ListModules => modules::list(hub, call),
        Operation::PatchTwin => twins::patch(hub, call).await,
        Operation::PurgeCommandQueue => cloud_to_device::purge(hub, call).await,
        Operation::PutDevice => devices::put(hub, call).await,
        Operation::PutModule => modules::put(hub, call).await,
        Operation::PutTwin => twins::put(hub, call).await,
        Operation::Query => query::post(&**hub, call).await,
        Operation::QueryScheduledJobs => scheduled_jobs::query(hub, call),
        Operation::RegenerateKeys => keys::regenerate(hub, call).await,
        Operation::SendCommand => cloud_to_device::send(hub, call).await,
        Operation::TestConfigurationQueries => configurations::test_queries(call),
    }
}

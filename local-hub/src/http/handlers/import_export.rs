//! `/jobs`: imports and exports.

use std::sync::Arc;

use hub_types::{ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};

use crate::api_error::{ApiError, ApiResult};
use crate::http::call::HubCall;
use crate::hub::Hub;
use crate::job_runner::{ImportExportRequest, begin_import_export};
use crate::jobs::{Job, JobStatus, JobWork};
use crate::rest::reply::Reply;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateJobBody {
    r#type: String,
    input_blob_container_uri: Option<String>,
    input_blob_name: Option<String>,
    output_blob_container_uri: Option<String>,
    output_blob_name: Option<String>,
    exclude_keys_in_export: Option<bool>,
    include_configurations: Option<bool>,
    storage_authentication_type: Option<String>,
}

/// A job in a response, without absent members. The containers are left out, because they may hold
/// secrets; the client named the blobs itself.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportExportDocument<'j> {
    job_id: &'j str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time_utc: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_utc: Option<Timestamp>,
    r#type: &'static str,
    status: &'static str,
    progress: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_blob_name: Option<&'j str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_blob_name: Option<&'j str>,
    exclude_keys_in_export: bool,
    use_secondary_storage_as_source: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason: Option<&'j str>,
}

pub(crate) async fn create(hub: &Arc<Hub>, call: HubCall) -> ApiResult<Reply> {
    let body: CreateJobBody = call.document()?;
    if body.include_configurations == Some(true) {
        return Err(ApiError::not_implemented("CreateImportExportJob with includeConfigurations"));
    }
    if body.storage_authentication_type.is_some_and(|kind| kind.eq_ignore_ascii_case("identityBased")) {
        return Err(ApiError::not_implemented("CreateImportExportJob with identityBased storage"));
    }
    let imports = match body.r#type.to_ascii_lowercase().as_str() {
        "export" => false,
        "import" => true,
        _ => return Err(ApiError::argument("type must be import or export")),
    };
    let output = body.output_blob_container_uri.ok_or_else(|| {
        ApiError::new(ErrorCode::BlobContainerValidationError, "outputBlobContainerUri is missing")
    })?;
    let name =
        |given: Option<String>| given.filter(|name| !name.is_empty()).unwrap_or_else(|| BLOB.to_owned());
    let request = ImportExportRequest {
        imports,
        input: body.input_blob_container_uri,
        output,
        input_blob: name(body.input_blob_name),
        output_blob: name(body.output_blob_name),
        exclude_keys: body.exclude_keys_in_export.unwrap_or_default(),
    };
    let job = begin_import_export(hub, request).await?;
    document(&job).map_or_else(|| Err(not_found(&job.id)), |document| Reply::document(&document))
}

pub(crate) fn list(hub: &Hub, _call: HubCall) -> ApiResult<Reply> {
    hub.read_jobs(|jobs| Reply::document(&jobs.iter().filter_map(document).collect::<Vec<_>>()))
}

pub(crate) fn get(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    hub.read_jobs(|jobs| {
        let found = jobs.get(call.name()).and_then(document);
        Reply::document(&found.ok_or_else(|| not_found(call.name()))?)
    })
}

/// Cancels a job. Identities that it has moved stay moved.
pub(crate) async fn cancel(hub: &Hub, call: HubCall) -> ApiResult<Reply> {
    let id = call.name().to_owned();
    hub.write_jobs(|jobs, now, touched| {
        if jobs.get(&id).and_then(document).is_none() {
            return Err(not_found(&id));
        }
        jobs.update(&id, touched, |job| {
            if job.status.is_active() {
                job.status = JobStatus::Cancelled;
                job.ended = Some(now);
            }
        });
        Ok(())
    })
    .await?;
    Ok(Reply::no_content())
}

fn document(job: &Job) -> Option<ImportExportDocument<'_>> {
    let JobWork::ImportExport(transfer) = &job.work else { return None };
    Some(ImportExportDocument {
        job_id: &job.id,
        start_time_utc: job.started,
        end_time_utc: job.ended,
        r#type: if transfer.imports { "import" } else { "export" },
        status: job.status.as_str(),
        progress: transfer.progress,
        input_blob_name: named(&transfer.input_blob),
        output_blob_name: named(&transfer.output_blob),
        exclude_keys_in_export: transfer.exclude_keys,
        use_secondary_storage_as_source: false,
        failure_reason: job.failure.as_deref(),
    })
}

fn named(blob: &str) -> Option<&str> {
    Some(blob).filter(|blob| *blob != BLOB)
}

fn not_found(id: &str) -> ApiError {
    ApiError::new(ErrorCode::JobNotFound, format!("there is no job `{id}`"))
}

/// The default name of a blob.
const BLOB: &str = "devices.txt";

//! Imports: a blob of lines, each a bulk item, into the registry.
//!
//! As on the service, a line that fails does not fail the job: it goes to `importErrors.log`.

use cli_support::wrong_form::JsonMistake;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};

use hub_types::ErrorCode;
use hub_types::bulk::{BulkError, BulkItem, BulkProperties, ImportMode};
use hub_types::identity::{Capabilities, Status};
use hub_types::limits::MAX_BULK_ITEMS;
use hub_types::twin::check_numbers;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::import_export::report_progress;
use crate::api_error::{ApiError, ApiResult};
use crate::blobs::{Blobs, Container};
use crate::hub::Hub;
use crate::jobs::{ImportExportJob, Job};
use crate::registry::{BulkEntry, attributes};

pub(super) async fn run(
    hub: &Hub,
    job: &Job,
    transfer: &ImportExportJob,
    blobs: &Blobs,
    input: &Container,
    output: &Container,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let file = blobs.fetch(input, &transfer.input_blob).await?;
    let size = file.metadata()?.len().max(1);
    let mut lines = BufReader::new(file);
    let mut errors = BufWriter::new(NamedTempFile::new()?);
    let (mut read, mut failed, mut ended) = (0_u64, 0_u64, false);
    while !ended {
        let mut entries = Vec::new();
        while entries.len() < MAX_BULK_ITEMS {
            let mut line = Vec::new();
            let taken = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            read += u64::try_from(taken).unwrap_or(0);
            match line.trim_ascii() {
                [] if taken == 0 => {
                    ended = true;
                    break;
                }
                [] => {}
                text => match entry(text) {
                    Some(entry) => entries.push(entry),
                    None => {
                        failed += 1;
                        write_error(&mut errors, &unreadable())?;
                    }
                },
            }
        }
        let refused = match import(hub, job, entries).await {
            Err(_) if !hub.read_jobs(|jobs| jobs.is_running(job)) => break,
            imported => imported?,
        };
        for error in refused {
            failed += 1;
            write_error(&mut errors, &logged(&error))?;
        }
        let percent = u8::try_from(read.saturating_mul(100) / size).unwrap_or(100).min(100);
        if !report_progress(hub, job, percent).await? {
            break;
        }
    }
    if failed > 0 {
        let log = errors.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        blobs.store(output, "importErrors.log", log).await?;
    }
    Ok(())
}

async fn import(hub: &Hub, job: &Job, entries: Vec<BulkEntry>) -> ApiResult<Vec<BulkError>> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let written =
        hub.write_for(job, |registry, now, journal| Ok(registry.bulk(entries, now, journal))).await?;
    Ok(written.value.errors)
}

/// A line as an item; `None` if it is not valid. The service requires a `status` in every line.
fn entry(line: &[u8]) -> Option<BulkEntry> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let text = |name| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let (device, module) = (text("id")?, text("moduleId"));
    text("status")?;
    let numbers = check_numbers(line, &["reported"]).map_err(|error| ApiError::argument(error.to_string()));
    let kept = value.as_object().map_or(Ok(()), attributes::refuse_in).and(numbers);
    match BulkItem::deserialize(&value) {
        Ok(item) => Some(BulkEntry { device, module, item: kept.map(|()| item) }),
        // Members of the wrong type and words that no member has are a line that can't be read; ids,
        // thumbprints and keys that break a rule are an item that is refused.
        Err(error) => {
            LineShape::deserialize(&value).ok()?;
            Some(BulkEntry {
                device,
                module,
                item: Err(ApiError::argument(JsonMistake::new(&error).to_string())),
            })
        }
    }
}

/// The members of a line, by their types only.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its types only")]
struct LineShape {
    id: String,
    module_id: Option<String>,
    import_mode: Option<ImportMode>,
    #[serde(rename = "eTag")]
    etag: Option<String>,
    status: Status,
    status_reason: Option<String>,
    authentication: Option<AuthenticationShape>,
    #[serde(rename = "twinETag")]
    twin_etag: Option<String>,
    tags: Option<Map<String, Value>>,
    properties: Option<BulkProperties>,
    capabilities: Option<Capabilities>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "read for its types only")]
struct AuthenticationShape {
    r#type: Option<AuthenticationType>,
    symmetric_key: Option<BTreeMap<String, Option<String>>>,
    x509_thumbprint: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum AuthenticationType {
    CertificateAuthority,
    None,
    Sas,
    SelfSigned,
}

fn unreadable() -> Value {
    json!({
        "errorCode": ErrorCode::DeserializationError.number(),
        "errorStatus": "the line can't be read as a device or module with a status",
    })
}

/// The entry in the error log, which has numbers in place of the names of a bulk call.
fn logged(error: &BulkError) -> Value {
    let number = error.code().map_or(0, ErrorCode::number);
    let mut logged =
        json!({ "deviceId": error.device_id, "errorCode": number, "errorStatus": error.error_status });
    if let (Some(module), Some(logged)) = (&error.module_id, logged.as_object_mut()) {
        logged.insert("moduleId".to_owned(), json!(module));
    }
    logged
}

fn write_error(log: &mut impl Write, error: &Value) -> std::io::Result<()> {
    writeln!(log, "{error}")
}

/// The maximum length of a line in bytes, ample for a device with the largest twin; a longer line
/// is read as several invalid lines.
const MAX_LINE: u64 = 1024 * 1024;

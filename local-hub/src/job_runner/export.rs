//! Exports: every device and module of the registry, a line each, into a blob.

use std::io::{BufWriter, Write};
use std::ops::Bound;

use hub_types::DeviceId;
use tempfile::NamedTempFile;

use super::import_export::report_progress;
use crate::blobs::{Blobs, Container};
use crate::hub::Hub;
use crate::jobs::{ImportExportJob, Job};
use crate::registry::{Registry, write_export_lines};

pub(super) async fn run(
    hub: &Hub,
    job: &Job,
    transfer: &ImportExportJob,
    blobs: &Blobs,
    output: &Container,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut lines = BufWriter::new(NamedTempFile::new()?);
    if transfer.exclude_keys {
        writeln!(lines, "Keys are left out of this export: it can't be imported to make the same devices.")?;
    }
    let mut after: Option<DeviceId> = None;
    let mut written = 0;
    loop {
        let (text, devices, last, all) =
            hub.read(|registry| step(registry, after.as_ref(), transfer.exclude_keys))?;
        lines.write_all(&text)?;
        written += devices;
        let Some(last) = last else { break };
        after = Some(last);
        let percent = u8::try_from(written * 100 / all.max(1)).unwrap_or(100).min(100);
        if !report_progress(hub, job, percent).await? {
            return Ok(());
        }
    }
    let file = lines.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    blobs.store(output, &transfer.output_blob, file).await?;
    Ok(())
}

/// The lines of the next devices, their number, the last of them, and the number of all devices.
fn step(
    registry: &Registry,
    after: Option<&DeviceId>,
    exclude_keys: bool,
) -> serde_json::Result<(Vec<u8>, usize, Option<DeviceId>, usize)> {
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let (mut text, mut devices, mut last) = (Vec::new(), 0, None);
    for (id, record) in registry.devices_from(start).take(DEVICES_PER_STEP) {
        write_export_lines(&mut text, id, record, exclude_keys)?;
        devices += 1;
        last = Some(id.clone());
    }
    Ok((text, devices, last, registry.device_count()))
}

const DEVICES_PER_STEP: usize = 1000;

//! A CA, certificates for ten devices, and the list that a hub is provisioned from.
//!
//! Run it with a new folder: `cargo run -p cert-tool --example issue_batch -- /tmp/factory`

use std::path::PathBuf;

use anyhow::Context;
use cert_tool::{
    CaOptions, CertificateAuthority, IssueOptions, IssueRequest, Issued, IssuedStore, KeySource, Outcome,
    Sink, issue_batch,
};
use hub_types::{DeviceId, IdentityId};
use time::OffsetDateTime;

fn main() -> anyhow::Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).context("name a folder")?.into();
    let now = OffsetDateTime::now_utc();
    let ca_folder = folder.join("ca");
    let ca = if CertificateAuthority::exists(&ca_folder) {
        CertificateAuthority::open(&ca_folder)?
    } else {
        CertificateAuthority::init(&ca_folder, &CaOptions::default(), now)?
    };

    let devices =
        (1..=10).map(|n| DeviceId::new(&format!("sensor-{n:02}"))).collect::<Result<Vec<_>, _>>()?;
    let requests =
        devices.into_iter().map(|device| IssueRequest::new(IdentityId::from(device), KeySource::Generate));
    let mut store = IssuedStore::open(&ca, &folder.join("issued"), Sink::Bundle)?;
    let mut thumbprints = Vec::new();
    let summary = issue_batch(&ca, &IssueOptions::new(now), requests, &mut store, &mut |issued: &Issued| {
        // Called in order, and only when the certificate is on the disk.
        if let Outcome::Issued(record) | Outcome::AlreadyThere(record) = &issued.outcome {
            thumbprints.push((issued.identity.clone(), record.sha256));
        }
    })?;
    assert_eq!(summary.issued + summary.already_there, thumbprints.len() as u64);
    Ok(())
}

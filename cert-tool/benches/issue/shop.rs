//! A CA in a folder of its own, and what it issues.

use std::num::NonZeroUsize;

use cert_tool::{
    CaOptions, CertificateAuthority, IssueOptions, IssueRequest, IssuedAuth, IssuedStore, KeySource, Secret,
    Sink, issue_batch,
};
use hub_types::IdentityId;
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::compare::Stopwatch;

pub(crate) struct Shop {
    pub(crate) folder: TempDir,
    ca: CertificateAuthority,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with(&CaOptions::default())
    }

    pub(crate) fn with(options: &CaOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca");
        let pin = &mut |_: cert_tool::SecretFor<'_>| Ok(Some(Secret::new("4711")));
        CertificateAuthority::init_with(&path, options, now(), pin).unwrap();
        let ca = CertificateAuthority::open_with(&path, &mut |asked_for| match asked_for {
            cert_tool::SecretFor::Key(_) => Ok(None),
            _ => pin(asked_for),
        });
        Self { ca: ca.unwrap(), folder }
    }

    /// Issues for devices `device0`, `device1`, …
    pub(crate) fn issue(
        &self,
        sink: Sink,
        threads: NonZeroUsize,
        count: u64,
        key: impl Fn(u64) -> KeySource + Send + Sync,
    ) -> Stopwatch {
        let out = self.folder.path().join("out");
        let mut store = IssuedStore::open(&self.ca, &out, sink).unwrap();
        let options = IssueOptions { threads: Some(threads), ..IssueOptions::new(now()) };
        let requests = (0..count).map(|n| IssueRequest {
            identity: device(n),
            key: key(n),
            auth: IssuedAuth::default(),
        });
        let watch = Stopwatch::start();
        let summary = issue_batch(&self.ca, &options, requests, &mut store, &mut |_| {}).unwrap();
        let watch = watch.stopped();
        assert_eq!(summary.issued, count);
        watch
    }
}

pub(crate) fn device(n: u64) -> IdentityId {
    IdentityId::parse(&format!("device{n}"), None).unwrap()
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

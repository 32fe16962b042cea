//! A CA in a folder of its own, and what it issues.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use cert_tool::{
    CaOptions, CertificateAuthority, Columns, IssueOptions, IssueRequest, IssuedStore, KeySource, ProfileRow,
    Secret, Sink, issue_batch,
};
use hub_types::IdentityId;
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::compare::Stopwatch;

pub(crate) struct Shop {
    pub(crate) folder: TempDir,
    ca: CertificateAuthority,
    profile: Option<String>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with(&CaOptions::default())
    }

    /// A CA whose certificates have a profile.
    pub(crate) fn with_profile(profile: &str) -> Self {
        let mut shop = Self::make(&CaOptions::default(), &format!("[{PROFILE}]\n{profile}"));
        shop.profile = Some(PROFILE.to_owned());
        shop
    }

    pub(crate) fn with(options: &CaOptions) -> Self {
        Self::make(options, "")
    }

    fn make(options: &CaOptions, profiles: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca");
        let pin = &mut |_: cert_tool::SecretFor<'_>| Ok(Some(Secret::new("4711")));
        CertificateAuthority::init_with(&path, options, now(), pin).unwrap();
        std::fs::write(path.join("profile.toml"), profiles).unwrap();
        let ca = CertificateAuthority::open_with(&path, &mut |asked_for| match asked_for {
            cert_tool::SecretFor::Key(_) => Ok(None),
            _ => pin(asked_for),
        });
        Self { ca: ca.unwrap(), folder, profile: None }
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
        let profile = self.profile.clone();
        let options = IssueOptions { threads: Some(threads), profile, ..IssueOptions::new(now()) };
        let columns = Columns::from(BTreeMap::from([("x_line".to_owned(), "L1".to_owned())]));
        let row = ProfileRow { profile: None, columns };
        let request = |n| IssueRequest { row: row.clone(), ..IssueRequest::new(device(n), key(n)) };
        let requests = (0..count).map(request);
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

const PROFILE: &str = "bench";

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

//! How far bulk issuing is from what the cryptography alone costs: making a P-256 key and signing
//! once, against `issue_batch` to a bundle on the disk. Compare within one run only.
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use cert_tool::{
    CaOptions, CertificateAuthority, IssueOptions, IssueRequest, IssuedAuth, IssuedStore, KeySource, Sink,
    issue_batch,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hub_types::IdentityId;
use time::OffsetDateTime;

fn benches(criterion: &mut Criterion) {
    let cores = thread::available_parallelism().unwrap();
    let mut group = criterion.benchmark_group("issue");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(12));
    for threads in [NonZeroUsize::MIN, cores] {
        group.bench_function(format!("raw_{threads}"), |bencher| {
            bencher.iter_custom(|count| raw(count, threads));
        });
        group.bench_function(format!("bundle_{threads}"), |bencher| {
            bencher.iter_custom(|count| bundle(count, threads));
        });
    }
    group.finish();
}

/// Key generation and a signature of 400 bytes, without any output.
fn raw(count: u64, threads: NonZeroUsize) -> Duration {
    let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
    let ca = EcdsaKeyPair::generate(algorithm).unwrap();
    let random = SystemRandom::new();
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            scope.spawn(|| {
                for _ in 0..count.div_ceil(threads.get() as u64) {
                    let key = EcdsaKeyPair::generate(algorithm).unwrap();
                    std::hint::black_box(key.to_pkcs8v1().unwrap());
                    std::hint::black_box(ca.sign(&random, &[7; 400]).unwrap());
                }
            });
        }
    });
    begun.elapsed()
}

fn bundle(count: u64, threads: NonZeroUsize) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let now = OffsetDateTime::now_utc();
    let ca = CertificateAuthority::init(&folder.path().join("ca"), &CaOptions::default(), now).unwrap();
    let mut store = IssuedStore::open(&ca, &folder.path().join("out"), Sink::Bundle).unwrap();
    let options = IssueOptions { threads: Some(threads), ..IssueOptions::new(now) };
    let requests = (0..count).map(|n| IssueRequest {
        identity: IdentityId::parse(&format!("device{n}"), None).unwrap(),
        key: KeySource::Generate,
        auth: IssuedAuth::default(),
    });
    let begun = Instant::now();
    let summary = issue_batch(&ca, &options, requests, &mut store, &mut |_| {}).unwrap();
    let elapsed = begun.elapsed();
    assert_eq!(summary.issued, count);
    elapsed
}

criterion_group!(issue, benches);
criterion_main!(issue);

//! `cert-tool thumbprint` of one file as a whole process, from start to exit: what a script pays for each
//! file. Beside it `openssl x509 -fingerprint`.
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::process::{Command, Stdio};
use std::time::Duration;

use cert_tool::{CaOptions, CertificateAuthority};
use criterion::{Criterion, criterion_group, criterion_main};
use time::OffsetDateTime;

fn benches(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    CertificateAuthority::init(&ca, &CaOptions::default(), OffsetDateTime::now_utc()).unwrap();
    let certificate = ca.join("root.pem");
    let mut group = criterion.benchmark_group("thumbprint");
    group.sample_size(30).measurement_time(Duration::from_secs(4));
    group.bench_function("cert-tool", |bencher| {
        bencher
            .iter(|| run(Command::new(env!("CARGO_BIN_EXE_cert-tool")).arg("thumbprint").arg(&certificate)));
    });
    group.bench_function("openssl", |bencher| {
        let arguments = ["x509", "-noout", "-fingerprint", "-sha256", "-in"];
        bencher.iter(|| run(Command::new("openssl").args(arguments).arg(&certificate)));
    });
    group.finish();
}

fn run(command: &mut Command) {
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
}

criterion_group!(all, benches);
criterion_main!(all);

//! Keys made here, P-256, to streams on the disk with thumbprints, list and index.

use std::hint::black_box;

use cert_tool::{KeySource, Sink};

use crate::bare::{Signing, generate, repeat};
use crate::compare::{compare, setting, thread_counts};
use crate::shop::Shop;

pub(crate) fn run() {
    let count = setting("BENCH_COUNT", 20_000);
    for threads in thread_counts() {
        for sink in [Sink::Csv, Sink::Bundle] {
            compare(
                &format!("generate, {}, {threads} threads", sink.as_str()),
                count,
                |count| {
                    let ca = Signing::new();
                    repeat(
                        count,
                        threads,
                        || (),
                        |(), _| {
                            black_box(generate().to_pkcs8v1().unwrap());
                            ca.sign();
                        },
                    )
                },
                |count| Shop::new().issue(sink, threads, count, |_| KeySource::Generate),
            );
        }
    }
}

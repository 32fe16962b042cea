//! A profile with a subject, alternative names and two extensions of one's own, against the same bare
//! operations as without a profile.

use std::hint::black_box;

use cert_tool::{KeySource, Sink};

use crate::bare::{Signing, generate, repeat};
use crate::compare::{compare, setting, thread_counts};
use crate::shop::Shop;

pub(crate) fn run() {
    let count = setting("BENCH_COUNT", 20_000);
    for threads in thread_counts() {
        compare(
            &format!("profile, bundle, {threads} threads"),
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
            |count| Shop::with_profile(PROFILE).issue(Sink::Bundle, threads, count, |_| KeySource::Generate),
        );
    }
}

const PROFILE: &str = r#"
subject = "C=DE,O=Acme,OU={{ x_line }},serialNumber={{ device_id }}"
extended_key_usages = ["clientAuth", "serverAuth"]
san = { dns = ["{{ device_id }}.plant7.example"], uri = ["urn:dev:{{ device_id }}"] }
extensions = [
    { oid = "1.3.6.1.4.1.55555.1", utf8 = "{{ x_line }}" },
    { oid = "1.3.6.1.4.1.55555.2", octets = "0102" },
]
"#;

//! Requests that devices made, against verifying a signature and making one. Each signature is of another key:
//! of one that is verified again and again the processor learns the way, which depends on its numbers.

use std::hint::black_box;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, KeyPair as _, UnparsedPublicKey};
use cert_tool::{CsrInput, KeySource, KeyType, PrivateKey, Sink, create_csr};

use crate::bare::{MESSAGE, Signing, generate, repeat};
use crate::compare::{compare, setting, thread_counts};
use crate::shop::{Shop, device};

pub(crate) fn run() {
    let count = setting("BENCH_COUNT", 20_000);
    let requests: Vec<_> = (0..count)
        .map(|n| create_csr(&device(n), &PrivateKey::generate(KeyType::P256).unwrap()).unwrap())
        .collect();
    let random = SystemRandom::new();
    let signatures: Vec<_> = (0..count)
        .map(|_| {
            let key = generate();
            let signature = key.sign(&random, &MESSAGE).unwrap();
            (key.public_key().as_ref().to_vec(), signature)
        })
        .collect();
    for threads in thread_counts() {
        compare(
            &format!("requests, bundle, {threads} threads"),
            count,
            |count| {
                let ca = Signing::new();
                repeat(
                    count,
                    threads,
                    || (),
                    |(), n| {
                        let (point, signature) = signatures.get(n as usize).unwrap();
                        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
                        key.verify(black_box(&MESSAGE), signature.as_ref()).unwrap();
                        ca.sign();
                    },
                )
            },
            |count| {
                let request = |n: u64| requests.get(n as usize).unwrap().clone();
                Shop::new().issue(Sink::Bundle, threads, count, |n| KeySource::Csr(CsrInput::Pem(request(n))))
            },
        );
    }
}

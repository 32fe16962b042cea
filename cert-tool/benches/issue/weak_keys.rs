//! The checks for weak RSA keys of 2,048 bits with the verification of a signature, against the verification alone.

use std::hint::black_box;
use std::num::NonZeroUsize;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use cert_tool::PublicKey;

use crate::bare::{MESSAGE, repeat};
use crate::compare::{compare, setting};

pub(crate) fn run() {
    let count = setting("BENCH_COUNT", 20_000);
    let signatures: Vec<_> = (0..KEYS).map(|_| Signature::new()).collect();
    let signature = |n: u64| signatures.get((n % KEYS) as usize).unwrap();
    compare(
        "weak keys, RSA 2048, 1 thread",
        count,
        |count| repeat(count, NonZeroUsize::MIN, || (), |(), n| signature(n).verify()),
        |count| {
            let verify = |n| {
                let signature = signature(n);
                let key = PublicKey::from_der(black_box(&signature.info)).unwrap();
                assert_eq!(key.weakness(), None);
                signature.verify();
            };
            repeat(count, NonZeroUsize::MIN, || (), |(), n| verify(n))
        },
    );
}

/// A signature, and the key that verifies it.
struct Signature {
    key: Vec<u8>,
    /// The key as a `SubjectPublicKeyInfo`.
    info: Vec<u8>,
    signature: Vec<u8>,
}

impl Signature {
    fn new() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &MESSAGE, &mut signature).unwrap();
        let key = pair.public_key();
        Self { key: key.as_ref().to_vec(), info: key.as_der().unwrap().as_ref().to_vec(), signature }
    }

    fn verify(&self) {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key);
        key.verify(black_box(&MESSAGE), &self.signature).unwrap();
    }
}

const KEYS: u64 = 20;

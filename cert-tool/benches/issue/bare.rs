//! Operations of the library below, without anything around them.

use std::hint::black_box;
use std::num::NonZeroUsize;
use std::thread;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::compare::Stopwatch;

/// The message that is signed, as long as the signed part of a certificate.
pub(crate) const MESSAGE: [u8; 400] = [7; 400];

/// A key of a CA.
pub(crate) struct Signing {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signing {
    pub(crate) fn new() -> Self {
        Self { key: generate(), random: SystemRandom::new() }
    }

    pub(crate) fn sign(&self) {
        black_box(self.key.sign(&self.random, &MESSAGE).unwrap());
    }
}

pub(crate) fn generate() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap()
}

/// Does something so many times, shared out among threads. `prepare` is called once by each.
pub(crate) fn repeat<T>(
    count: u64,
    threads: NonZeroUsize,
    prepare: impl Fn() -> T + Sync,
    each: impl Fn(&T, u64) + Sync,
) -> Stopwatch {
    let watch = Stopwatch::start();
    let threads = threads.get() as u64;
    thread::scope(|scope| {
        for first in 0..threads {
            let (prepare, each) = (&prepare, &each);
            scope.spawn(move || {
                let prepared = prepare();
                (first..count).step_by(threads as usize).for_each(|n| each(&prepared, n));
            });
        }
    });
    watch.stopped()
}

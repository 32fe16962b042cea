//! A kill at any moment is harmless: whatever is left of the three files, issuing again gives every
//! identity exactly one certificate, and a key that fits.

use std::collections::HashMap;
use std::fs::OpenOptions;

use cert_tool::{Error, IssuedStore, Sink};
use proptest::prelude::*;

use crate::support::{Factory, facts, generate, openssl_certificate};

const HEADER_BYTES: u64 = 132;

/// What no kill leaves behind is not repaired: private keys would go.
#[test]
fn a_file_that_was_taken_away_is_missed_and_nothing_is_dropped() {
    for name in ["issued.csv", "certificates.pem", "private-keys.pem"] {
        let factory = Factory::new();
        factory.issue(Sink::Bundle, vec![generate("a"), generate("b")]);
        let path = factory.path("out").join(name);
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let opened = IssuedStore::open(&factory.out(), Sink::Bundle);
        assert!(matches!(opened, Err(Error::Damaged { .. })), "{name}");
        std::fs::write(&path, kept).unwrap();
        let (summary, told) = factory.issue(Sink::Bundle, vec![generate("a"), generate("b")]);
        assert_eq!(summary.already_there, 2, "{name}");
        told.iter().for_each(|issued| drop(openssl_certificate(facts(issued))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn issuing_again_after_a_cut_gives_each_identity_one_certificate(
        cuts in proptest::array::uniform3(proptest::option::weighted(0.7, 0.0..=1.0)),
        first in 0_usize..20,
        all in 20_usize..30,
    ) {
        let factory = Factory::new();
        let requests = |count| (0..count).map(|n| generate(&format!("device{n}"))).collect::<Vec<_>>();
        let (_, before) = factory.issue(Sink::Bundle, requests(first));
        for (name, cut) in ["issued.csv", "certificates.pem", "private-keys.pem"].iter().zip(cuts) {
            let Some(cut) = cut else { continue };
            let file = OpenOptions::new().write(true).open(factory.path("out").join(name)).unwrap();
            let length = file.metadata().unwrap().len();
            // The header is on the disk before anything is issued.
            let least = if *name == "issued.csv" { HEADER_BYTES } else { 0 };
            file.set_len(least + ((length - least) as f64 * cut) as u64).unwrap();
        }
        let store = IssuedStore::open(&factory.out(), Sink::Bundle).unwrap();
        let kept: Vec<_> = before.iter().filter(|issued| store.contains(&issued.identity)).collect();
        drop(store);
        let (summary, after) = factory.issue(Sink::Bundle, requests(all));
        prop_assert_eq!(summary.already_there, kept.len() as u64);
        prop_assert_eq!(summary.issued, (all - kept.len()) as u64);
        // What was certain stayed.
        for (before, after) in kept.iter().zip(&after) {
            prop_assert_eq!(facts(before), facts(after));
        }
        for issued in &after {
            openssl_certificate(facts(issued));
        }
        let list = std::fs::read_to_string(factory.path("out/issued.csv")).unwrap();
        let mut times = HashMap::new();
        for line in list.lines().skip(1) {
            *times.entry(line.split(',').next().unwrap().to_owned()).or_insert(0) += 1;
        }
        prop_assert_eq!(times.len(), all);
        prop_assert!(times.values().all(|count| *count == 1));
        // The bundles hold what the list says, and nothing else.
        let count = |name: &str| {
            std::fs::read_to_string(factory.path("out").join(name)).unwrap().matches("-----BEGIN").count()
        };
        prop_assert_eq!((count("certificates.pem"), count("private-keys.pem")), (all, all));
    }
}

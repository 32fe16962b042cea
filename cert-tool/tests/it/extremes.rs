//! Numbers and dates at the ends of their ranges: each is obeyed or refused, and never the end of the program.

use std::collections::BTreeSet;

use crate::support::Shop;

const HUGE: [&str; 5] = ["65536", "1000000", "4294967295", "4294967296", "18446744073709551615"];
const DATES: [&str; 9] = [
    "0000-01-01",
    "0000-01-01T00:00:00+23:59",
    "0001-01-01T00:00:00Z",
    "1970-01-01",
    "2050-01-01",
    "9979-01-01",
    "9999-12-31",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
];
const SPANS: [&str; 4] = ["0", "1h", "1000000d", "1000000w"];

/// Commands with their options: `OUT` is a new path in each run, and the value follows the option at the end.
const COMMANDS: [(&str, &[&str]); 18] = [
    ("ca init OUT --name A", &["--days", "--path-length"]),
    ("ca sign plant/issuing.csr --ca ca --out OUT", &["--days", "--path-length"]),
    ("ca cross-sign other/root.pem --ca root --out OUT", &["--days"]),
    ("ca renew renewed", &["--days"]),
    ("ca rekey renewed", &["--days"]),
    ("ca crl ca --out OUT", &["--days"]),
    ("ca policy limited", &["--max-days", "--max-certificates"]),
    ("issue --ca ca --device-id OUT --out OUT", &["--days", "--threads"]),
    ("issue --ca ca --count 1 --pattern n-{} --out OUT", &["--first"]),
    ("issue --ca ca --first 18446744073709551615 --pattern n-{} --out OUT", &["--count"]),
    ("sign two.csr --ca ca --out OUT", &["--days", "--threads"]),
    ("pfx out --all --password-file password --out OUT", &["--threads"]),
    ("bundle out --all --hub h.azure-devices.net --ca ca --out OUT", &["--threads"]),
    ("renew --ca ca --within 1h --out OUT", &["--days", "--threads"]),
    ("renew --ca ca --out OUT", &["--within"]),
    ("expiring --ca ca", &["--within"]),
    ("verify out/devices/device01/chain.pem --ca ca", &["--at"]),
    ("test-pki OUT", &["--at", "--seed"]),
];

fn values(option: &str) -> Vec<&'static str> {
    match option {
        "--at" => DATES.to_vec(),
        "--within" => SPANS.to_vec(),
        _ => [["0", "1"].as_slice(), &HUGE].concat(),
    }
}

#[test]
fn no_number_and_no_date_ends_the_program() {
    let shop = Shop::new();
    for words in [
        "issue --ca ca --device-id device01 --out out --days 10",
        "revoke --ca ca --device-id device01",
        "csr --device-id device02 --key-out two.key --out two.csr",
        "ca csr plant --name Plant",
        "ca init root --root-only --name Root",
        "ca init other --root-only --name Other",
        "ca init renewed --name Renewed",
        "ca init limited --name Limited",
    ] {
        shop.ok(words);
    }
    shop.write_secret("password", "secret\n");
    let mut number = 0;
    for (words, options) in COMMANDS {
        for option in options {
            for value in values(option) {
                number += 1;
                let words = words.replace("OUT", &format!("new-{number}"));
                let output = shop.output(&format!("{words} {option} {value}"));
                let code = output.status.code();
                let err = String::from_utf8_lossy(&output.stderr);
                assert!(matches!(code, Some(0..=3)), "{words} {option} {value}: {:?}: {err}", output.status);
                let is_said = !err.is_empty() || !output.stdout.is_empty();
                assert!(code == Some(0) || is_said, "{words} {option} {value}: nothing said");
            }
        }
    }
}

/// A width of many digits is memory.
#[test]
fn a_pattern_has_no_more_digits_than_a_device_id() {
    let shop = Shop::new();
    for width in ["129", "65536", "4294967296", "18446744073709551615"] {
        let said = shop.fails(2, &format!("issue --ca ca --count 1 --pattern p{{:0{width}}} --out out"));
        assert!(said.contains("instead of `{:0"), "{said}");
    }
}

#[test]
fn what_a_number_of_threads_may_be_is_said() {
    let shop = Shop::new();
    let said = shop.fails(2, "issue --ca ca --device-id a --out out --threads 100000");
    assert!(said.contains("it must be a number from 1 to 256"), "{said}");
    shop.ok("issue --ca ca --device-id a --out out --threads 256");
}

/// Each option that takes a number, a span or a time stands in the table above.
#[test]
fn every_option_with_a_number_or_a_date_is_walked() {
    let shop = Shop::new();
    let known: BTreeSet<&str> = COMMANDS.iter().flat_map(|(_, options)| options.iter().copied()).collect();
    let kinds = ["<DAYS>", "<COUNT>", "<N>", "<THREADS>", "<SEED>", "<TIME>", "<NUMBER>", "<SECONDS>"];
    let verbs = shop.ok("--help");
    let names = |text: &str| -> Vec<String> {
        let commands =
            text.split("Commands:").nth(1).unwrap_or_default().split("Options:").next().unwrap_or_default();
        let lines = commands.lines().filter_map(|line| line.strip_prefix("  "));
        lines
            .filter_map(|line| line.split(' ').next())
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let top = names(&verbs);
    let of_ca = names(&shop.ok("ca --help")).into_iter().map(|verb| format!("ca {verb}"));
    let all: Vec<_> = top.into_iter().filter(|verb| verb != "ca" && verb != "help").chain(of_ca).collect();
    assert!(all.len() > 25, "{all:?}");
    for verb in all.iter().filter(|verb| *verb != "ca help") {
        for line in
            shop.ok(&format!("{verb} --help")).lines().filter(|line| line.trim_start().starts_with("--"))
        {
            let mut words = line.split_whitespace();
            let (option, kind) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            assert!(!kinds.contains(&kind) || known.contains(option), "{verb}: {line}");
        }
    }
}

/// Dates and days of a profile, at the ends of their ranges.
#[test]
fn no_date_of_a_profile_ends_the_program() {
    let shop = Shop::new();
    let days = ["0", "1", "-1", "4294967295", "4294967296", "18446744073709551615"];
    let days = days.map(|days| format!("days = {days}"));
    let dates =
        DATES.iter().flat_map(|date| ["not_before", "not_after"].map(|key| format!("{key} = {date}")));
    for (number, setting) in days.into_iter().chain(dates).enumerate() {
        shop.write_secret("ca/profile.toml", &format!("[p]\n{setting}\n"));
        for words in [
            format!("issue --ca ca --device-id d{number} --profile p --out o{number}"),
            "ca show ca".to_owned(),
        ] {
            let output = shop.output(&words);
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(
                matches!(output.status.code(), Some(0..=3)),
                "{setting}: {words}: {:?}: {err}",
                output.status
            );
            assert!(!err.contains("+00:00:00"), "{setting}: {err}");
        }
    }
}

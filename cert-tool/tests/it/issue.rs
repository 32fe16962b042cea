//! `cert-tool issue`.

use crate::support::Shop;

#[test]
fn the_same_command_again_issues_only_what_is_missing() {
    let shop = Shop::new();
    shop.write("batch.csv", "device_id,module_id\na,\na,m\n");
    let said = shop.ok("issue --ca ca --from batch.csv --out out");
    assert!(said.starts_with("2 issued, 0 already there, 0 refused"), "{said}");
    shop.write("batch.csv", "device_id,module_id\nb,\na,\na,m\n");
    let said = shop.ok("issue --ca ca --from batch.csv --out out");
    assert!(said.starts_with("1 issued, 2 already there, 0 refused"), "{said}");
    assert_eq!(shop.ok("issue --ca ca --from batch.csv --out out --format json").lines().count(), 3);
    // The list is a batch in which nothing is left to do.
    let said = shop.ok("issue --ca ca --from out/issued.csv --out again");
    assert!(said.starts_with("0 issued, 0 already there, 0 refused"), "{said}");
}

#[test]
fn everything_wrong_with_a_batch_is_said_at_once_and_nothing_is_done() {
    let shop = Shop::new();
    shop.write("batch.csv", "device_id,module_id\na b,\ngood,\na/b,\ngood,\n");
    let error = shop.fails(2, "issue --ca ca --from batch.csv --out out");
    for line in ["batch.csv:2:", "batch.csv:4:", "batch.csv:5:"] {
        assert!(error.contains(line), "{error}");
    }
    assert!(!shop.path("out").exists());
}

#[test]
fn one_that_is_refused_does_not_stop_the_others() {
    let shop = Shop::new();
    shop.ok("csr --device-id somebody --key-out key.pem --out b.csr");
    shop.write("batch.csv", "device_id,csr\na,\nb,b.csr\nc,\n");
    let said = shop.run("issue --ca ca --from batch.csv --out out");
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("2 issued, 0 already there, 1 refused"), "{}", said.out);
    assert!(said.err.contains("refused: b: its request is for `somebody`"), "{}", said.err);
    let said = shop.run("issue --ca ca --from batch.csv --out out --format json");
    let refused = said.out.lines().find(|line| line.contains(r#""outcome":"refused""#)).unwrap();
    assert!(refused.contains(r#""device_id":"b""#), "{refused}");
}

#[test]
fn a_common_name_that_x509_has_no_room_for_must_be_asked_for() {
    let shop = Shop::new();
    let issue = format!("issue --ca ca --out out --device-id {}", "d".repeat(65));
    let error = shop.fails(1, &issue);
    assert!(error.contains("its common name has 65 characters, X.509 allows 64"), "{error}");
    shop.ok(&format!("{issue} --allow-long-cn"));
}

#[test]
fn usage_is_checked_before_anything() {
    let shop = Shop::new();
    for words in [
        "issue --ca ca --out out",
        "issue --ca ca --out out --module-id m",
        "issue --ca ca --out out --device-id a --from b",
        "issue --ca ca --out out --device-id a/b",
        "issue --ca ca --out out --from nowhere.csv",
        "issue --ca ca --out out --device-id a --days 0",
    ] {
        shop.fails(2, words);
    }
    assert!(!shop.path("out").exists());
}

/// Whatever is typed or goes wrong, no output has a byte of a key in it.
#[test]
fn no_key_is_ever_printed() {
    let shop = Shop::new();
    let said = shop.run("issue --ca ca --device-id a --out out --format json");
    assert!(!said.out.contains("PRIVATE KEY") && !said.err.contains("PRIVATE KEY"));
    let said = shop.run("show out/devices/a/key.pem");
    let key = std::fs::read_to_string(shop.path("out/devices/a/key.pem")).unwrap();
    let line = key.lines().nth(1).unwrap();
    assert!(!said.out.contains(line) && !said.err.contains(line));
}

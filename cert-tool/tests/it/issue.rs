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
    assert!(
        said.err.contains("refused: batch.csv:3: b.csr: b: its request is for `somebody`"),
        "{}",
        said.err
    );
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

/// No output has a byte of a key in it, whatever is typed or goes wrong.
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

/// The process itself, killed in the middle, interrupted in the middle, and let go on.
#[test]
#[cfg(unix)]
fn a_killed_or_interrupted_run_goes_on_where_it_stopped() {
    let shop = Shop::new();
    let rows: String = (0..20_000).map(|n| format!("device{n}\n")).collect();
    shop.write("batch.csv", &format!("device_id\n{rows}"));
    let words = "issue --ca ca --from batch.csv --out out";
    let list = shop.path("out/issued.csv");
    let mut least = 0;
    for signal in ["KILL", "INT"] {
        let mut child = shop.start(words);
        let length = || list.metadata().map_or(0, |metadata| metadata.len());
        // Something new is certain, so it is in the midst of it.
        while length() <= least.max(1000) {
            assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let kill = std::process::Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let code = child.wait().unwrap().code();
        assert_eq!(code, if signal == "INT" { Some(4) } else { None });
        least = length();
    }
    let said = shop.ok(words);
    let [issued, already_there]: [u64; 2] = said
        .split(", ")
        .take(2)
        .map(|part| part.split(' ').next().unwrap().parse().unwrap())
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    assert_eq!(issued + already_there, 20_000);
    assert!(already_there >= 2048 && issued > 0, "{said}");
    let text = std::fs::read_to_string(list).unwrap();
    assert!(
        text.lines()
            .skip(1)
            .map(|line| line.split(',').next().unwrap())
            .eq((0..20_000).map(|n| format!("device{n}")))
    );
}

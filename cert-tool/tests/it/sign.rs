//! `cert-tool sign`.

use crate::support::Shop;

#[test]
fn a_module_s_request_from_openssl_is_signed() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.openssl(r"req -new -key key.pem -subj /CN=device01\/module01 -out module01.csr");
    shop.write("batch.csv", "device_id,module_id\ndevice01,\ndevice01,module01\n");
    shop.ok("sign module01.csr --ca ca --out signed --expect batch.csv");
    let certificate = "signed/modules/device01/module01/cert.pem";
    shop.factory.assert_openssl_accepts(&shop.path(certificate));
    let shown = shop.openssl(&format!("x509 -in {certificate} -noout -subject -nameopt RFC2253"));
    assert_eq!(shown.trim(), "subject=CN=device01/module01");
    assert_eq!(
        shop.openssl(&format!("x509 -in {certificate} -noout -pubkey")),
        shop.openssl("pkey -in key.pem -pubout")
    );
}

#[test]
fn links_that_lead_in_a_circle_are_followed_once() {
    let shop = Shop::new();
    std::fs::create_dir_all(shop.path("inbox/sub")).unwrap();
    shop.ok("csr --device-id a --key-out a.key --out inbox/a.csr");
    std::os::unix::fs::symlink(".", shop.path("inbox/x")).unwrap();
    std::os::unix::fs::symlink("..", shop.path("inbox/sub/y")).unwrap();
    let said = shop.run("sign inbox --ca ca --out out");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.err.contains("and 1 more passed over: this folder was looked at already"), "{}", said.err);
    assert_eq!(shop.ok("list --ca ca").lines().count(), 1);
}

#[test]
fn a_lost_key_is_replaced_by_a_request_too() {
    let shop = Shop::new();
    shop.ok("csr --device-id a --key-out a.key --out a.csr");
    shop.ok("csr --device-id a --key-out b.key --out b.csr");
    shop.ok("sign a.csr --ca ca --out out");
    let refused = shop.fails(1, "sign b.csr --ca ca --out new");
    assert!(refused.contains("--out NEW_DIR --replace"), "{refused}");
    shop.ok("sign b.csr --ca ca --out new --replace");
    assert!(shop.ok("find --ca ca --device-id a").contains("new/devices/a/cert.pem"));
}

#[test]
fn each_that_is_refused_is_named_with_the_reason_and_the_rest_are_signed() {
    let shop = Shop::new();
    std::fs::create_dir(shop.path("in")).unwrap();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.openssl("ecparam -name prime192v1 -genkey -noout -out p192.pem");
    shop.openssl("ecparam -name secp521r1 -genkey -noout -out p521.pem");
    for (file, how) in [
        ("good", "-key key.pem -subj /CN=a"),
        ("same-key", "-key key.pem -subj /CN=b"),
        ("unexpected", "-key key.pem -subj /CN=stranger"),
        ("two-names", "-key key.pem -subj /CN=a/CN=b"),
        ("no-name", "-key key.pem -subj /O=acme"),
        ("no-id", "-key key.pem -subj /CN=a%b^c"),
        ("curve", "-key p192.pem -subj /CN=c"),
        ("p521", "-key p521.pem -subj /CN=e"),
        ("weak", "-newkey rsa:1024 -nodes -keyout rsa.pem -subj /CN=d"),
    ] {
        shop.openssl(&format!("req -new {how} -out in/{file}.csr"));
    }
    let mut changed = std::fs::read(shop.path("in/good.csr")).unwrap();
    // A digit of the signature, near the end of the base64.
    let at = changed.len() - 50;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    std::fs::write(shop.path("in/changed.csr"), changed).unwrap();
    shop.write("batch.csv", "device_id\na\nb\nc\nd\ne\n");
    let said = shop.run("sign in --ca ca --out signed --expect batch.csv");
    assert_eq!(said.code, 1);
    assert_eq!(said.out, "1 issued, 0 already there, 9 refused: signed/issued.csv\n");
    let refused = [
        ("in/changed.csr: a", "bad signature", "bad_signature"),
        ("in/curve.csr: c", "the curve is P-192", "weak_key"),
        ("in/no-id.csr", "is not an identity", "no_identity"),
        ("in/no-name.csr", "0 common names", "one_common_name"),
        ("in/p521.csr: e", "P-521, which IoT Hub is not known to take", "weak_key"),
        ("in/two-names.csr", "2 common names", "one_common_name"),
        ("in/unexpected.csr: stranger", "not in the batch", "not_expected"),
        ("in/weak.csr: d", "RSA with 1024 bits", "weak_key"),
        ("in/same-key.csr: b", "its key is that of `a`", "key_of_another"),
    ];
    for (subject, reason, rule) in refused {
        let line = said.err.lines().find(|line| line.starts_with(&format!("refused: {subject}: ")));
        let is_told =
            line.is_some_and(|line| line.contains(reason) && line.ends_with(&format!("(rule {rule})")));
        assert!(is_told, "{subject}: {}", said.err);
    }
    // The report has the same, in the order of the files.
    let said = shop.run("sign in --ca ca --out signed --expect batch.csv --format json");
    let report: Vec<serde_json::Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let files: Vec<_> = report.iter().map(|row| row["request"].as_str().unwrap()).collect();
    assert!(files.len() == 10 && files.is_sorted(), "{files:?}");
    for (subject, _, rule) in refused {
        let (file, identity) = subject.split_once(": ").unwrap_or((subject, ""));
        let row = &report[files.iter().position(|it| *it == file).unwrap()];
        assert_eq!((&row["outcome"], &row["rule"]), (&"refused".into(), &rule.into()), "{row}");
        assert_eq!(row["device_id"].as_str().unwrap_or_default(), identity, "{row}");
    }
    let good = &report[files.iter().position(|file| *file == "in/good.csr").unwrap()];
    assert_eq!((&good["outcome"], &good["rule"]), (&"already_there".into(), &serde_json::Value::Null));
    shop.factory.assert_openssl_accepts(&shop.path("signed/devices/a/cert.pem"));
    assert!(!shop.path("signed/devices/b").exists());
}

#[test]
fn what_a_request_asks_for_beyond_its_key_is_not_granted() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.openssl("req -new -key key.pem -subj /CN=a -addext basicConstraints=critical,CA:TRUE -addext 1.2.3.4=DER:0500 -out a.csr");
    shop.ok("sign a.csr --ca ca --out signed");
    let shown = shop.openssl("x509 -in signed/devices/a/cert.pem -noout -text");
    assert!(shown.contains("CA:FALSE") && !shown.contains("1.2.3.4"), "{shown}");
}

/// Writes a text as PowerShell does.
fn write_utf16(shop: &Shop, file: &str, text: &str) {
    let bytes: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    std::fs::write(shop.path(file), bytes).unwrap();
}

#[test]
fn requests_and_keys_in_utf16_with_a_mark_are_read() {
    let shop = Shop::new();
    shop.ok("csr --device-id a --key-out a.pem --out a.csr");
    let read = |file: &str| std::fs::read_to_string(shop.path(file)).unwrap();
    write_utf16(&shop, "wide.csr", &read("a.csr"));
    // Rewriting keeps the mode of the key.
    write_utf16(&shop, "a.pem", &read("a.pem"));
    shop.ok("sign wide.csr --ca ca --out signed");
    shop.ok("csr --device-id a --key a.pem --out again.csr");
    shop.ok("verify signed/devices/a/cert.pem --ca ca --key a.pem");
}

#[test]
fn hostile_files_are_refused_by_name_and_stop_nobody() {
    let shop = Shop::new();
    std::fs::create_dir(shop.path("in")).unwrap();
    for name in ["a", "b"] {
        shop.ok(&format!("csr --device-id {name} --key-out {name}.pem --out in/{name}.csr"));
    }
    let good = std::fs::read_to_string(shop.path("in/a.csr")).unwrap();
    let second = std::fs::read_to_string(shop.path("in/b.csr")).unwrap();
    std::fs::remove_file(shop.path("in/b.csr")).unwrap();
    // Without a mark nobody can tell the order of the bytes.
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (file, bytes) in [
        ("cut", good.as_bytes()[..good.len() / 2].to_vec()),
        ("two", format!("{good}{second}").into_bytes()),
        ("zeros", vec![0; 10 << 20]),
        ("utf16", utf16),
        ("empty", Vec::new()),
        ("key", std::fs::read(shop.path("a.pem")).unwrap()),
    ] {
        std::fs::write(shop.path(&format!("in/{file}.csr")), bytes).unwrap();
    }
    let said = shop.run("sign in --ca ca --out signed --format json");
    assert_eq!(said.code, 1, "{}", said.err);
    for (file, reason) in [
        ("cut", "truncated PEM"),
        ("two", "2 requests"),
        ("zeros", "more than"),
        ("utf16", "UTF-16"),
        ("empty", "empty"),
        ("key", "a private key"),
    ] {
        let named = format!("refused: in/{file}.csr:");
        let line = said.err.lines().find(|line| line.starts_with(&named));
        assert!(line.is_some_and(|line| line.contains(reason)), "{file}: {}", said.err);
        assert!(said.out.contains(&format!(r#""request":"in/{file}.csr""#)), "{file}: {}", said.out);
    }
    shop.factory.assert_openssl_accepts(&shop.path("signed/devices/a/cert.pem"));
}

#[test]
fn a_request_may_be_der_in_base64_in_its_cell() {
    let shop = Shop::new();
    shop.ok("csr --device-id a --key-out a.pem --out a.csr");
    let pem = std::fs::read_to_string(shop.path("a.csr")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    shop.write("batch.csv", &format!("device_id,csr\na,{base64}\n"));
    shop.ok("issue --ca ca --from batch.csv --out out --sink folder");
    assert_eq!(
        shop.openssl("x509 -in out/devices/a/cert.pem -noout -pubkey"),
        shop.openssl("pkey -in a.pem -pubout")
    );
}

#[test]
fn requests_in_the_batch_are_signed_beside_those_in_files() {
    let shop = Shop::new();
    std::fs::create_dir(shop.path("in")).unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        shop.ok(&format!("csr --device-id {name} --key-out {name}.pem --out in/{name}.csr"));
    }
    let request = |name: &str| std::fs::read_to_string(shop.path(&format!("in/{name}.csr"))).unwrap();
    let base64: String = request("b").lines().filter(|line| !line.starts_with("-----")).collect();
    let batch = format!(
        "device_id,csr,auth,primary_thumbprint\na,\"{}\",,\nb,{base64},x509_ca,\nc,in/c.csr,,\n\
         wrong,in/a.csr,,\nd,,,\ne,,sas,\ngone,in/none.csr,,\n",
        request("a")
    );
    shop.write("batch.csv", &batch);
    let said = shop.run("sign in/d.csr in/e.csr --ca ca --out signed --expect batch.csv --format csv");
    assert_eq!(said.code, 1, "{}", said.err);
    for (subject, rule) in [
        ("in/e.csr: e", "not_wanted"),
        // The lines of the PEM count.
        ("batch.csv:12: in/a.csr: wrong", "other_identity"),
        ("batch.csv:15: in/none.csr: gone", "bad_request"),
    ] {
        let line = said.err.lines().find(|line| line.starts_with(&format!("refused: {subject}: ")));
        assert!(
            line.is_some_and(|line| line.ends_with(&format!("(rule {rule})"))),
            "{subject}: {}",
            said.err
        );
    }
    for name in ["a", "b", "c", "d"] {
        let certificate = format!("signed/devices/{name}/cert.pem");
        shop.factory.assert_openssl_accepts(&shop.path(&certificate));
        assert_eq!(
            shop.openssl(&format!("x509 -in {certificate} -noout -pubkey")),
            shop.openssl(&format!("pkey -in {name}.pem -pubout"))
        );
    }
    let issued = std::fs::read_to_string(shop.path("signed/issued.csv")).unwrap();
    assert!(issued.contains("\nb,,x509_ca,,") && issued.contains("\nd,,x509_thumbprint,"), "{issued}");
    // The batch alone is enough, and nothing is signed twice.
    let again = shop.run("sign --ca ca --out signed --expect batch.csv");
    assert_eq!(again.out, "0 issued, 3 already there, 2 refused: signed/issued.csv\n", "{}", again.err);
    shop.write("ids.csv", "device_id\na\n");
    assert!(shop.fails(2, "sign --ca ca --out signed --expect ids.csv").contains("there are no requests"));
    assert!(shop.fails(2, "sign --ca ca --out signed").contains("REQUESTS"));
}

#[test]
#[cfg(unix)]
fn a_request_may_come_through_a_pipe() {
    let shop = Shop::new();
    shop.ok("csr --device-id a --key-out a.pem --out a.csr");
    shop.bash("cert-tool sign <(cat a.csr) --ca ca --out signed");
    shop.factory.assert_openssl_accepts(&shop.path("signed/devices/a/cert.pem"));
}

#[test]
fn whatever_reads_a_batch_refuses_ids_that_do_not_match_the_pattern() {
    let shop = Shop::new();
    shop.write("good.csv", "device_id\nPMP-0001\n");
    shop.write("batch.csv", "device_id\nPMP-0001\nPMP-2\n");
    shop.ok("issue --ca ca --from good.csv --out issued --id-pattern PMP-[0-9]{4}");
    shop.ok("csr --device-id PMP-0001 --key-out d.key --out d.csr");
    for verb in [
        "issue --ca ca --from batch.csv --out other",
        "csr --from batch.csv --out requests",
        "renew --ca ca --from batch.csv --out renewed",
        "sign d.csr --ca ca --out signed --expect batch.csv",
        "pfx issued --from batch.csv --out pfx --password-file pw",
    ] {
        let said = shop.fails(2, &format!("{verb} --id-pattern PMP-[0-9]{{4}}"));
        assert!(said.contains("batch.csv:3: column device_id: \"PMP-2\""), "{verb}: {said}");
        assert!(said.contains("does not match the pattern `PMP-[0-9]{4}`"), "{verb}: {said}");
    }
    // Without a batch there is nothing to match.
    let alone = "issue --ca ca --device-id d --out alone --id-pattern x";
    assert!(shop.fails(2, alone).contains("--from"), "{}", shop.fails(2, alone));
}

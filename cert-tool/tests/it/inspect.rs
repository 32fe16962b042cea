//! `cert-tool show` and `cert-tool thumbprint`.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::Shop;

#[test]
fn thumbprints_are_those_of_openssl() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let certificate = "out/devices/a/cert.pem";
    shop.openssl(&format!("x509 -in {certificate} -outform DER -out a.der"));
    shop.openssl(&format!(
        "pkcs12 -export -in {certificate} -inkey out/devices/a/key.pem -passout pass: -out a.pfx"
    ));
    for file in [certificate, "a.der", "a.pfx", "out/devices/a/chain.pem"] {
        let said = &lines(&shop.ok(&format!("thumbprint {file} --format json")))[0];
        for hash in ["sha1", "sha256"] {
            let shown = shop.openssl(&format!("x509 -in {certificate} -noout -fingerprint -{hash}"));
            let expected = shown.trim().split_once('=').unwrap().1.replace(':', "");
            assert_eq!(said[hash], expected.as_str(), "{file}");
        }
    }
}

#[test]
fn thumbprints_of_many_from_stdin_are_a_table_with_the_place_of_each() {
    let shop = Shop::new();
    let rows: String = (0..50).map(|n| format!("d{n}\n")).collect();
    shop.write("batch.csv", &format!("device_id\n{rows}"));
    shop.ok("issue --ca ca --from batch.csv --out out");
    let bundle = std::fs::read(shop.path("out/certificates.pem")).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("cert-tool"));
    command.args(["thumbprint", "-", "--format", "csv"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&bundle).unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let issued = std::fs::read_to_string(shop.path("out/issued.csv")).unwrap();
    assert_eq!(said.lines().count(), 51, "{said}");
    assert_eq!(said.lines().next(), Some("file,sha1,sha256,kind"));
    for (line, row) in said.lines().zip(issued.lines()).skip(1) {
        let (line, row): (Vec<_>, Vec<_>) = (line.split(',').collect(), row.split(',').collect());
        assert_eq!((line[1], line[2]), (row[4], row[3]));
        let offset = row[8].split_once('#').unwrap().1;
        let place = if offset == "0" { "stdin".to_owned() } else { format!("stdin#{offset}") };
        assert_eq!(line[0], place);
    }
}

/// zlint refuses keyEncipherment beside clientAuth alone: a client's key only signs (RFC 5280 §4.2.1.12).
#[test]
fn keys_of_every_kind_are_for_signatures_only() {
    let shop = Shop::new();
    for key_type in ["p256", "p384", "rsa2048"] {
        shop.ok(&format!("issue --ca ca --device-id {key_type} --key-type {key_type} --out {key_type}"));
        let said = &lines(&shop.ok(&format!("show {key_type}/devices/{key_type}/cert.pem --format json")))[0];
        assert_eq!(said["key_usage"], serde_json::json!(["digitalSignature"]), "{key_type}");
    }
}

#[test]
fn a_certificate_says_all_that_a_hub_looks_at() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --module-id m --out out");
    let said = &lines(&shop.ok("show out/modules/a/m/chain.pem --format json"))[0];
    assert_eq!(said["kind"], "certificate");
    assert_eq!(said["common_name"], "a/m");
    assert_eq!(said["issuer"], "CN=Factory Issuing CA");
    assert_eq!(said["key"], "P-256");
    assert_eq!(said["ca"], false);
    assert_eq!(said["key_usage"], serde_json::json!(["digitalSignature"]));
    assert_eq!(said["extended_key_usage"], serde_json::json!(["clientAuth"]));
    assert_eq!(said["signature"], "ECDSA with SHA-256");
    let issuing = &lines(&shop.ok("show ca/issuing.pem --format json"))[0];
    assert_eq!(issuing["path_length"], 0);
    assert_eq!(issuing["subject_key_id"], said["authority_key_id"]);
    let text = shop.ok("show out/modules/a/m/chain.pem");
    assert!(text.contains("  extended key usage: clientAuth\n"), "{text}");
    assert_eq!(text.matches("\n  subject: ").count(), 2, "the chain has two certificates:\n{text}");
}

#[test]
fn a_key_its_request_and_its_certificate_show_the_same_public_key_and_never_the_secret() {
    let shop = Shop::new();
    shop.ok("csr --device-id a --key-out key.pem --out a.csr");
    shop.openssl("req -x509 -new -key key.pem -subj /CN=a -days 1 -out a.pem");
    shop.openssl("pkey -in key.pem -outform DER -out key.der");
    shop.openssl("pkey -in key.pem -pubout -out public.pem");
    shop.openssl("pkcs12 -export -in a.pem -inkey key.pem -passout pass:secret -name mine -out new.pfx");
    shop.openssl("pkcs12 -export -legacy -in a.pem -inkey key.pem -passout pass:secret -out old.pfx");
    shop.write_secret("password", "secret\n");
    let files = "key.pem key.der public.pem a.csr a.pem new.pfx old.pfx";
    let text = shop.ok(&format!("show {files} --password-file password --format json"));
    let said = lines(&text);
    let kinds: Vec<_> = said.iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "private key",
            "private key",
            "public key",
            "request",
            "certificate",
            "certificate",
            "private key",
            "certificate",
            "private key"
        ]
    );
    assert!(said.iter().all(|one| one["public_key_sha256"] == said[0]["public_key_sha256"]), "{text}");
    assert_eq!(said[3]["signature_is_good"], true);
    assert_eq!(said[5]["friendly_name"], "mine");
    let secret = shop.openssl("pkey -in key.pem -noout -text");
    let secret: String =
        secret.lines().skip(2).take(3).collect::<String>().replace([':', ' '], "").to_uppercase();
    // With a byte of zero before it, or without one of its own.
    assert!((60..=66).contains(&secret.len()), "{}", secret.len());
    assert!(!text.to_uppercase().contains(&secret[..32]));
}

#[test]
fn a_password_is_asked_for_and_a_wrong_one_is_told() {
    let shop = Shop::new();
    shop.ok("csr --device-id a --key-out key.pem --out a.csr");
    shop.openssl("req -x509 -new -key key.pem -subj /CN=a -days 1 -out a.pem");
    shop.openssl("pkcs12 -export -in a.pem -inkey key.pem -passout pass:secret -out a.pfx");
    shop.openssl("pkcs8 -topk8 -in key.pem -passout pass:secret -out locked.pem");
    shop.write_secret("wrong", "guess\n");
    let said = shop.fails(1, "thumbprint a.pfx");
    assert!(said.contains("`a.pfx` is locked\n  hint: give its password (--password-file"), "{said}");
    let said = shop.fails(1, "thumbprint a.pfx --password-file wrong");
    assert!(
        said.contains("that password, passphrase or PIN does not open `a.pfx`") && !said.contains("guess"),
        "{said}"
    );
    assert!(shop.fails(2, "thumbprint a.pfx --password-file none").contains("`none`"));
    assert_eq!(lines(&shop.ok("show locked.pem --format json"))[0]["kind"], "encrypted private key");
    assert!(shop.fails(1, "thumbprint locked.pem").contains("`locked.pem` is an encrypted private key"));
    shop.write_secret("right", "secret\n");
    let open = lines(&shop.ok("show key.pem locked.pem --password-file right --format json"));
    assert_eq!(open[0]["public_key_sha256"], open[1]["public_key_sha256"]);
    assert_eq!(open[1]["kind"], "private key");
    let said = shop.fails(1, "show locked.pem --password-file wrong");
    assert!(said.contains("does not open `locked.pem`"), "{said}");
    let verify = "verify a.pem --ca a.pem --key locked.pem";
    assert!(shop.fails(2, verify).contains("`locked.pem` is locked"));
    assert!(shop.run(&format!("{verify} --password-file right")).out.contains("private key: ok"));
}

#[test]
fn a_revocation_list_says_what_is_revoked_and_when() {
    let shop = Shop::new();
    shop.openssl("req -x509 -newkey rsa:2048 -nodes -keyout k.pem -subj /CN=CA -days 9 -out ca.pem");
    shop.write("index.txt", "R\t301231235959Z\t261101000000Z,keyCompromise\t1F\tunknown\t/CN=a\n");
    shop.write("number", "07\n");
    shop.write(
        "ca.cnf",
        "[ca]\ndefault_ca=it\n[it]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\n",
    );
    shop.openssl("ca -gencrl -config ca.cnf -keyfile k.pem -cert ca.pem -crldays 9 -out crl.pem");
    shop.openssl("crl -in crl.pem -outform DER -out crl.der");
    for file in ["crl.pem", "crl.der"] {
        let said = &lines(&shop.ok(&format!("show {file} --format json")))[0];
        assert_eq!(said["kind"], "revocation list");
        assert_eq!(said["issuer"], "CN=CA");
        assert_eq!(said["number"], "7");
        let revoked = said["revoked"][0].as_str().unwrap();
        assert!(revoked.starts_with("1F since 2026-11-01T00:00:00Z"), "{revoked}");
        let shown = shop.openssl("crl -in crl.pem -noout -fingerprint -sha256");
        assert_eq!(said["sha256"], shown.trim().split_once('=').unwrap().1.replace(':', "").as_str());
    }
}

#[test]
fn what_can_not_be_shown_is_named_and_the_others_are_shown() {
    let shop = Shop::new();
    let whole = std::fs::read_to_string(shop.path("ca/root.pem")).unwrap();
    shop.write("cut.pem", &whole[..whole.len() / 2]);
    shop.write("damaged.pem", &whole.replace("MII", "MIX"));
    shop.write("typo.pem", &whole.replace("MII", "M*I"));
    shop.write("dh.pem", "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n");
    shop.write("empty.pem", "");
    shop.write("text.pem", "hello");
    std::fs::write(shop.path("zeros.pem"), vec![0; 10_000_000]).unwrap();
    let utf16: Vec<u8> = whole.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(shop.path("utf16.pem"), [&[0xff, 0xfe], utf16.as_slice()].concat()).unwrap();
    std::fs::write(shop.path("unmarked.pem"), &utf16).unwrap();
    for (file, found) in [
        ("cut.pem", "truncated PEM"),
        ("damaged.pem", "a certificate, but damaged"),
        ("typo.pem", "damaged PEM"),
        ("dh.pem", "PEM with the label DH PARAMETERS"),
        ("empty.pem", "empty"),
        ("text.pem", "neither PEM nor DER"),
        ("zeros.pem", "nothing but zero bytes"),
        ("unmarked.pem", "text in UTF-16"),
        ("ca/root.pem#7", "a place where no PEM block begins"),
    ] {
        for verb in ["show", "thumbprint"] {
            let said = shop.run(&format!("{verb} {file} ca/root.pem"));
            assert_eq!(said.code, 1);
            assert!(said.err.contains(&format!("`{file}` is {found}, not a certificate")), "{}", said.err);
            assert!(said.out.starts_with("ca/root.pem"), "{}", said.out);
        }
    }
    // As PowerShell writes it.
    assert_eq!(
        shop.ok("thumbprint utf16.pem --format json").replace("utf16.pem", "ca/root.pem"),
        shop.ok("thumbprint ca/root.pem --format json")
    );
    shop.ok("show utf16.pem");
    assert!(shop.fails(1, "show none.pem").contains("can't open `none.pem`"));
    assert!(shop.fails(1, "show ca").contains("`ca`"));
}

#[test]
fn a_name_that_is_no_text_is_shown_as_bytes() {
    let shop = Shop::new();
    shop.openssl("req -x509 -newkey rsa:2048 -nodes -keyout k.pem -utf8 -subj /CN=XXXX -days 9 -outform DER -out a.der");
    let mut der = std::fs::read(shop.path("a.der")).unwrap();
    while let Some(at) = der.windows(4).position(|window| window == b"XXXX") {
        der[at..at + 4].copy_from_slice(&[0xff, 0x1b, b'[', b'm']);
    }
    std::fs::write(shop.path("a.der"), der).unwrap();
    let text = shop.ok("show a.der");
    assert!(text.contains("CN=#0C04FF1B5B6D"), "{text}");
    assert!(text.contains("common name:") && text.contains("none"), "{text}");
    let said = &lines(&shop.ok("show a.der --format json"))[0];
    assert_eq!(said["common_name"], Value::Null);
}

#[test]
fn a_file_that_is_far_too_large_is_not_read() {
    let shop = Shop::new();
    shop.write("large.pem", &"x".repeat(17 * 1024 * 1024));
    assert!(shop.fails(1, "show large.pem").contains("`large.pem` has more than 16777216 bytes"));
}

/// Each secret is read once, whatever it is needed for: `<(…)` is a pipe.
#[test]
#[cfg(unix)]
fn secrets_may_come_through_pipes() {
    let shop = Shop::new();
    shop.bash("cert-tool ca init locked --encrypt --passphrase-file <(echo sesame)");
    shop.bash("cert-tool issue --ca locked --device-id a --out out --passphrase-file <(echo sesame)");
    shop.bash("cert-tool pfx out --device-id a --out a.pfx --password-file <(echo secret)");
    shop.openssl("pkcs8 -topk8 -in out/devices/a/key.pem -passout pass:secret -out locked.pem");
    let said =
        shop.bash("cert-tool thumbprint a.pfx locked.pem a.pfx --password-file <(echo secret) --format csv");
    assert_eq!(said.lines().filter(|line| line.ends_with("certificate")).count(), 4, "{said}");
    let verify = "cert-tool verify a.pfx --ca locked --key locked.pem --password-file <(echo secret)";
    assert!(shop.bash(verify).contains("private key: ok"));
    shop.bash(
        "mkfifo -m 600 fifo; echo secret > fifo & cert-tool show a.pfx a.pfx locked.pem --password-file fifo",
    );
}

fn lines(json: &str) -> Vec<Value> {
    json.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

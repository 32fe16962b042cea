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
fn each_that_is_refused_is_named_with_the_reason_and_the_rest_are_signed() {
    let shop = Shop::new();
    std::fs::create_dir(shop.path("in")).unwrap();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.openssl("ecparam -name prime192v1 -genkey -noout -out p192.pem");
    for (file, how) in [
        ("good", "-key key.pem -subj /CN=a"),
        ("same-key", "-key key.pem -subj /CN=b"),
        ("unexpected", "-key key.pem -subj /CN=stranger"),
        ("two-names", "-key key.pem -subj /CN=a/CN=b"),
        ("no-name", "-key key.pem -subj /O=acme"),
        ("no-id", "-key key.pem -subj /CN=a%b^c"),
        ("curve", "-key p192.pem -subj /CN=c"),
        ("weak", "-newkey rsa:1024 -nodes -keyout rsa.pem -subj /CN=d"),
    ] {
        shop.openssl(&format!("req -new {how} -out in/{file}.csr"));
    }
    let mut changed = std::fs::read(shop.path("in/good.csr")).unwrap();
    // A digit of the signature, near the end of the base64.
    let at = changed.len() - 50;
    changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
    std::fs::write(shop.path("in/changed.csr"), changed).unwrap();
    shop.write("batch.csv", "device_id\na\nb\nc\nd\n");
    let said = shop.run("sign in --ca ca --out signed --expect batch.csv");
    assert_eq!(said.code, 1);
    for (subject, reason) in [
        ("in/changed.csr", "bad signature"),
        ("in/curve.csr", "the curve is P-192"),
        ("in/no-id.csr", "no identity"),
        ("in/no-name.csr", "0 common names"),
        ("in/two-names.csr", "2 common names"),
        ("in/unexpected.csr", "not in the batch"),
        ("in/weak.csr", "RSA with 1024 bits"),
        ("b", "its key is that of `a`"),
    ] {
        let line = said.err.lines().find(|line| line.starts_with(&format!("refused: {subject}:")));
        assert!(line.is_some_and(|line| line.contains(reason)), "{subject}: {}", said.err);
    }
    let said = shop.run("sign in --ca ca --out signed --expect batch.csv --format json");
    assert_eq!(said.out.lines().filter(|line| line.contains(r#""outcome":"refused""#)).count(), 8);
    assert_eq!(said.out.lines().filter(|line| line.contains(r#""outcome":"already_there""#)).count(), 1);
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
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(good.encode_utf16().flat_map(u16::to_le_bytes)).collect();
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

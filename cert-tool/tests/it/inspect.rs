//! `cert-tool show` and `cert-tool thumbprint`.

use crate::support::Shop;

#[test]
fn thumbprints_are_those_of_openssl() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let certificate = "out/devices/a/cert.pem";
    shop.openssl(&format!("x509 -in {certificate} -outform DER -out a.der"));
    for file in [certificate, "a.der", "out/devices/a/chain.pem"] {
        let said: serde_json::Value =
            serde_json::from_str(&shop.ok(&format!("thumbprint {file} --format json"))).unwrap();
        for hash in ["sha1", "sha256"] {
            let shown = shop.openssl(&format!("x509 -in {certificate} -noout -fingerprint -{hash}"));
            let expected = shown.trim().split_once('=').unwrap().1.replace(':', "");
            assert_eq!(said[hash], expected.as_str());
        }
    }
}

#[test]
fn what_is_no_certificate_is_named_and_the_others_are_shown() {
    let shop = Shop::new();
    shop.ok("csr --device-id a --key-out key.pem --out a.csr");
    let whole = std::fs::read_to_string(shop.path("ca/root.pem")).unwrap();
    shop.write("cut.pem", &whole[..whole.len() / 2]);
    shop.write("empty.pem", "");
    shop.write("text.pem", "hello");
    shop.write("zeros.pem", "\0\0\0\0");
    std::fs::write(shop.path("utf16.pem"), [0xff, 0xfe, b'-', 0]).unwrap();
    for (file, found) in [
        ("key.pem", "a private key"),
        ("a.csr", "a certificate request"),
        ("cut.pem", "truncated PEM"),
        ("empty.pem", "empty"),
        ("text.pem", "neither PEM nor DER"),
        ("zeros.pem", "nothing but zero bytes"),
        ("utf16.pem", "text in UTF-16"),
        ("ca/root.pem#7", "a place where no PEM block begins"),
    ] {
        let said = shop.run(&format!("show {file} ca/root.pem"));
        assert_eq!(said.code, 1);
        assert!(said.err.contains(&format!("`{file}` is {found}, not a certificate")), "{}", said.err);
        assert!(said.out.contains("CN=Factory Root CA"), "{}", said.out);
    }
}

#[test]
fn a_file_that_is_far_too_large_is_not_read() {
    let shop = Shop::new();
    shop.write("large.pem", &"x".repeat(1024 * 1024 + 1));
    assert!(shop.fails(1, "show large.pem").contains("more than 1048576 bytes"));
}

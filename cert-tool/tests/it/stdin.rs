//! `-` as a file of certificates, requests, lists or keys: it is stdin, by this name in every message.

use crate::support::Shop;

/// A shop with a CA, a device's certificate, key and request, and a revocation list.
fn shop() -> Shop {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id device01 --out out");
    shop.ok("extract out --device-id device01 --out d");
    shop.ok("csr --device-id device02 --key-out two.key --out two.csr");
    shop.ok("ca crl ca --out list.crl");
    shop.ok("ca csr plant --name Plant");
    shop
}

#[test]
fn every_verb_that_reads_certificates_requests_or_keys_reads_them_from_stdin() {
    let shop = shop();
    for (words, file) in [
        ("show -", "d/chain.pem"),
        ("thumbprint -", "d/cert.pem"),
        ("verify - --ca ca --device-id device01", "d/chain.pem"),
        ("verify d/chain.pem --ca -", "ca/root.pem"),
        ("verify d/cert.pem --ca ca/root.pem --intermediates -", "ca/issuing.pem"),
        ("verify d/chain.pem --ca ca --crl -", "list.crl"),
        ("verify d/chain.pem --ca ca --key -", "d/key.pem"),
        ("verify - --each --ca ca", "d/chain.pem"),
        ("convert - --to p7b --out chain.p7b", "d/chain.pem"),
        ("csr --device-id device01 --key - --out one.csr", "d/key.pem"),
        ("sign - --ca ca --out signed", "two.csr"),
        ("ca sign - --ca ca --out plant.pem", "plant/issuing.csr"),
        ("ca import copy --certificate ca/issuing.pem --key -", "ca/issuing.key"),
        ("ca import other --certificate - --key ca/issuing.key", "ca/issuing.pem"),
        ("bundle out --device-id device01 --hub h.azure-devices.net --ca - --out bundle", "ca/root.pem"),
    ] {
        let said = shop.run_fed(words, file);
        assert_eq!(said.code, 0, "{words}: {}{}", said.out, said.err);
        assert!(!said.out.contains("`-`") && !said.err.contains("`-`"), "{words}: {}{}", said.out, said.err);
    }
    let said = shop.run_fed("verify - --ca ca", "d/chain.pem");
    assert!(said.out.lines().all(|line| line.starts_with("stdin: ")), "{}", said.out);
}

#[test]
fn what_stdin_is_instead_is_said_by_this_name() {
    let shop = shop();
    shop.write("words", "no certificate\n");
    for (words, code) in [
        ("show -", 1),
        ("thumbprint -", 1),
        ("verify - --ca ca", 1),
        ("verify d/chain.pem --ca -", 3),
        ("verify d/chain.pem --ca ca --crl -", 3),
        ("verify d/chain.pem --ca ca --key -", 3),
        ("convert - --to p7b --out chain.p7b", 3),
        ("csr --device-id device01 --key - --out one.csr", 3),
        ("sign - --ca ca --out signed", 1),
        ("ca cross-sign - --ca ca --out cross.pem", 3),
    ] {
        let said = shop.run_fed(words, "words");
        assert_eq!(said.code, code, "{words}: {}{}", said.out, said.err);
        assert!(said.err.contains("stdin"), "{words}: {}", said.err);
    }
}

#[test]
fn stdin_is_read_once() {
    let said = shop().run_fed("verify - --ca -", "d/chain.pem");
    assert_eq!(said.code, 1, "{}", said.err);
    let said = shop().run_fed("convert - - --to pem --out x.pem", "d/chain.pem");
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("stdin is read once"), "{}", said.err);
}

/// Nobody knows whether anything will ever come out of it, and the CA is locked meanwhile.
#[cfg(unix)]
#[test]
fn a_pipe_with_a_name_is_not_waited_for() {
    let shop = shop();
    shop.bash("mkfifo pipe");
    for words in [
        "show pipe",
        "verify pipe --ca ca",
        "verify d/chain.pem --ca pipe",
        "convert pipe --to p7b --out x.p7b",
        "sign pipe --ca ca --out signed",
        "ca sign pipe --ca ca --out x.pem",
        "ca cross-sign pipe --ca ca --out x.pem",
        "ca import copy --certificate pipe --key ca/issuing.key",
    ] {
        let said = shop.run(words);
        assert!(said.code != 0 && said.err.contains("a pipe or device"), "{words}: {}", said.err);
    }
}

//! `cert-tool verify --for`: what each party asks of a certificate, and what it lets pass.

use crate::support::Shop;

/// A key and a self-signed certificate of it, as people make them with OpenSSL.
fn self_signed(shop: &Shop, file: &str, more: &str) -> String {
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.openssl(&format!("req -x509 -new -key key.pem -subj /CN=a -days 9 {more} -out {file}"));
    let shown = shop.openssl(&format!("x509 -in {file} -noout -fingerprint -sha256"));
    shown.trim().split_once('=').unwrap().1.to_owned()
}

/// The lines that are not `ok`, without the file.
fn told(out: &str) -> Vec<&str> {
    out.lines().filter(|line| !line.ends_with(": ok")).map(|line| line.split_once(": ").unwrap().1).collect()
}

#[test]
fn a_hub_that_knows_the_thumbprint_looks_at_match_and_dates_only() {
    let shop = Shop::new();
    // By `openssl req -x509`: CA:TRUE, no extended key usage.
    let thumbprint = self_signed(&shop, "ca.pem", "");
    let said = shop.run(&format!("verify ca.pem --thumbprint {thumbprint}"));
    assert_eq!(told(&said.out), ["not a CA: advice: its basic constraints say CA:TRUE"]);
    assert_eq!(said.code, 0);
    // For servers only.
    let thumbprint = self_signed(&shop, "server.pem", "-addext extendedKeyUsage=serverAuth");
    let said = shop.run(&format!("verify server.pem --thumbprint {thumbprint} --format json"));
    assert_eq!(said.code, 0);
    let usage: serde_json::Value = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|check: &serde_json::Value| check["check"] == "usage")
        .unwrap();
    assert_eq!(usage["ok"], true);
    assert_eq!(usage["advice"], "its extended key usage lacks clientAuth");
    assert_eq!(usage["fault"], serde_json::Value::Null);
    // Of version 1, as in Microsoft's tutorial.
    shop.openssl("req -new -key key.pem -subj /CN=a -out a.csr");
    shop.openssl("x509 -req -in a.csr -signkey key.pem -days 9 -out v1.pem");
    let shown = shop.openssl("x509 -in v1.pem -noout -fingerprint -sha256");
    let thumbprint = shown.trim().split_once('=').unwrap().1;
    let said = shop.run(&format!("verify v1.pem --thumbprint {thumbprint}"));
    assert_eq!(said.code, 0, "{}", said.out);
    // Dates, key and thumbprint count as before.
    let said = shop.run(&format!("verify v1.pem --thumbprint {thumbprint} --at 2001-01-01"));
    assert!(said.code == 1 && said.out.contains("dates: FAILED"), "{}", said.out);
    let said = shop.run(&format!("verify v1.pem --thumbprint {}", "00".repeat(32)));
    assert!(said.code == 1 && said.out.contains("thumbprint: FAILED"), "{}", said.out);
    // Below a CA the same certificate is refused.
    let said = shop.run(&format!("verify ca.pem --thumbprint {thumbprint} --ca ca.pem"));
    assert!(said.code == 1 && said.out.contains("not a CA: FAILED"), "{}", said.out);
}

#[test]
fn no_extended_key_usage_is_any_purpose() {
    let shop = Shop::new();
    self_signed(&shop, "a.pem", "-addext basicConstraints=critical,CA:FALSE");
    for purpose in ["hub-ca", "dps", "tls-client", "tls-server"] {
        let said = shop.run(&format!("verify a.pem --ca a.pem --for {purpose}"));
        assert!(said.out.contains("usage: ok"), "{purpose}: {}", said.out);
    }
}

#[test]
fn a_server_is_judged_by_its_own_usage_and_host_name() {
    let shop = Shop::new();
    self_signed(
        &shop,
        "gateway.pem",
        "-addext basicConstraints=critical,CA:FALSE -addext extendedKeyUsage=serverAuth \
         -addext subjectAltName=DNS:gateway.example,IP:192.0.2.1",
    );
    let verify = "verify gateway.pem --ca gateway.pem --for";
    for host in ["gateway.example", "GATEWAY.example", "192.0.2.1"] {
        let said = shop.run(&format!("{verify} tls-server --host {host}"));
        assert!(said.out.contains("host name: ok") && said.out.contains("usage: ok"), "{}", said.out);
    }
    for host in ["other.example", "192.0.2.2"] {
        let said = shop.run(&format!("{verify} tls-server --host {host}"));
        let fault = format!("host name: FAILED: its alternative names have no `{host}`");
        assert!(said.code == 1 && said.out.contains(&fault), "{}", said.out);
    }
    let said = shop.run(&format!("{verify} tls-client"));
    assert!(said.out.contains("usage: FAILED: its extended key usage lacks clientAuth"), "{}", said.out);
    assert!(shop.fails(2, &format!("{verify} hub-ca --host a.example")).contains("`--for tls-server`"));
    assert!(shop.fails(2, &format!("{verify} tls-server --host a..b")).contains("neither a DNS name"));
}

#[test]
fn a_registration_id_has_its_own_rules() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id pump-1 --out out");
    shop.ok("issue --ca ca --device-id pump-1 --module-id m --out out");
    let of = |device: &str| format!("verify out/devices/{device}/chain.pem --ca ca --for dps");
    shop.ok(&of("pump-1"));
    // Registration ids know no case.
    shop.ok(&format!("{} --device-id PUMP-1", of("pump-1")));
    let said = shop.run(&format!("{} --device-id pump-2", of("pump-1")));
    assert!(said.out.contains("common name: FAILED: it is `pump-1`, not `pump-2`"), "{}", said.out);
    let said = shop.run("verify out/modules/pump-1/m/chain.pem --ca ca --for dps");
    assert!(said.out.contains("common name: FAILED: \"pump-1/m\" is not a registration id"), "{}", said.out);
    self_signed(&shop, "odd.pem", "-subj /CN=a*b -addext basicConstraints=critical,CA:FALSE");
    let said = shop.run("verify odd.pem --ca odd.pem --for dps");
    assert!(said.out.contains("common name: FAILED: \"a*b\" is not a registration id"), "{}", said.out);
}

#[test]
fn a_purpose_says_what_it_needs() {
    let shop = Shop::new();
    let said = shop.fails(2, "verify ca/root.pem --ca ca --for hub-thumbprint");
    assert!(said.contains("needs the thumbprint that the hub knows: `--thumbprint`"), "{said}");
    let thumbprint = "00".repeat(32);
    let said = shop.fails(2, &format!("verify ca/root.pem --thumbprint {thumbprint} --for hub-ca"));
    assert!(said.contains("give `--ca`"), "{said}");
}

#[test]
fn the_profile_of_rfc_5280_is_advice_for_hubs_and_counts_for_tls() {
    let shop = Shop::new();
    // Without key identifiers: OpenSSL writes the issuer's name and serial number instead.
    self_signed(
        &shop,
        "root.pem",
        "-addext subjectKeyIdentifier=none -addext authorityKeyIdentifier=none \
         -addext basicConstraints=critical,CA:TRUE",
    );
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out device.pem");
    shop.openssl("req -new -key device.pem -subj /CN=b -out b.csr");
    shop.write("b.cnf", "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n");
    shop.openssl("x509 -req -in b.csr -CA root.pem -CAkey key.pem -days 9 -extfile b.cnf -out b.pem");
    let advice = "profile: advice: its authority key identifier has no key identifier (RFC 5280 §4.2.1.1); \
                  CN=a: it is a CA's, and has no subject key identifier (RFC 5280 §4.2.1.2)";
    let said = shop.run("verify b.pem --ca root.pem");
    assert!(said.code == 0 && said.out.contains(advice), "{}", said.out);
    let said = shop.run("verify b.pem --ca root.pem --for tls-client");
    assert!(said.code == 1 && said.out.contains(&advice.replace("advice", "FAILED")), "{}", said.out);
}

#[test]
fn each_certificate_of_a_bundle_is_judged_and_others_are_never_passed_over_in_silence() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    shop.ok("issue --ca ca --device-id b --out out");
    shop.ok("ca init other --name Other");
    shop.ok("issue --ca other --device-id c --out foreign");
    let read = |path: &str| std::fs::read_to_string(shop.path(path)).unwrap();
    let bundle = [
        read("out/devices/a/chain.pem"),
        read("out/devices/a/key.pem"),
        read("foreign/devices/c/cert.pem"),
        read("out/devices/b/chain.pem"),
    ];
    shop.write("bundle.pem", &bundle.concat());
    let said = shop.run("verify bundle.pem --each --ca ca");
    let chains: Vec<_> = said.out.lines().filter(|line| line.contains(": chain: ")).collect();
    let verdicts: Vec<_> = chains.iter().map(|line| line.ends_with("chain: ok")).collect();
    assert_eq!(verdicts, [true, false, true], "{}", said.out);
    assert!(chains[1].starts_with("bundle.pem#"), "{}", chains[1]);
    assert_eq!(said.code, 1);
    // Without `--each` the first counts, and the others are named.
    let said = shop.run("verify bundle.pem --ca ca");
    assert!(said.err.contains("2 more certificates that are no CA's; `--each` judges all"), "{}", said.err);
    let one = read("out/devices/a/cert.pem");
    shop.write("many.pem", &one.repeat(101));
    let said = shop.run("verify many.pem --ca ca");
    assert!(said.code == 1 && said.err.contains("--each"), "{}", said.err);
    let said = shop.run("verify many.pem --each --ca ca");
    assert_eq!((said.code, said.out.matches("chain: ok").count()), (0, 101));
}

#[test]
fn intermediates_stand_between_and_are_not_trusted() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --device-id a --out out");
    let verify = "verify out/devices/a/cert.pem --ca ca/root.pem";
    let said = shop.run(verify);
    assert!(said.out.contains("chain: FAILED: no trusted certificate"), "{}", said.out);
    shop.ok(&format!("{verify} --intermediates ca/issuing.pem"));
    shop.ok("ca init other --name Other");
    let said = shop.run("verify out/devices/a/cert.pem --ca other/root.pem --intermediates ca/issuing.pem");
    assert!(said.code == 1 && said.out.contains("chain: FAILED"), "{}", said.out);
}

/// OpenSSL refuses these certificates, and others accept them.
#[test]
fn what_only_some_validators_refuse_is_advice() {
    let shop = Shop::new();
    let subject = "/CN=device01";
    for (name, words) in [
        ("ca", "req -x509 -subj /CN=CA -days 9 -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem"),
        ("device", &format!("req -new -subj {subject} -out device.csr")),
    ] {
        shop.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"));
        shop.openssl(&format!("{words} -key {name}.key"));
    }
    let usual = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                 extendedKeyUsage=clientAuth\nsubjectKeyIdentifier=hash\n";
    let by_key = "authorityKeyIdentifier=keyid\n";
    for (extensions, check, advice) in [
        (
            "authorityKeyIdentifier=DER:30:06:80:04:01:02:03:04\n".to_owned(),
            "profile",
            Some(
                "CN=device01: its authority key identifier names a different subject key identifier than that of CN=CA",
            ),
        ),
        (
            format!("{by_key}nsCertType=server\n"),
            "usage",
            Some("its Netscape certificate type is not for clients, and OpenSSL obeys it"),
        ),
        (
            format!("{by_key}subjectAltName=DER:30:00\n"),
            "profile",
            Some("its extension subjectAltName has no name (RFC 5280 §4.2.1.6)"),
        ),
        (format!("{by_key}nsCertType=client,server\n"), "usage", None),
        (by_key.to_owned(), "profile", None),
    ] {
        shop.write("extensions.cnf", &format!("{usual}{extensions}"));
        shop.openssl(
            "x509 -req -in device.csr -CA ca.pem -CAkey ca.key -days 9 -extfile extensions.cnf -out device.pem",
        );
        let words = ["verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.pem", "device.pem"];
        let openssl =
            std::process::Command::new("openssl").args(words).current_dir(shop.path("")).output().unwrap();
        assert_eq!(openssl.status.success(), advice.is_none(), "OpenSSL: {extensions}");
        let said = shop.run("verify device.pem --ca ca.pem --device-id device01");
        assert_eq!(said.code, 0, "{extensions}: {}", said.out);
        let line =
            said.out.lines().find_map(|line| line.strip_prefix(&format!("device.pem: {check}: "))).unwrap();
        match advice {
            Some(advice) => assert!(line.starts_with(&format!("advice: {advice}")), "{line}"),
            None => assert_eq!(line, "ok"),
        }
    }
    shop.write("extensions.cnf", &format!("{usual}{by_key}subjectAltName=DER:30:00\n"));
    shop.openssl(
        "x509 -req -in device.csr -CA ca.pem -CAkey ca.key -days 9 -extfile extensions.cnf -out device.pem",
    );
    let said = shop.run("verify device.pem --ca ca.pem --for tls-client");
    assert!(
        said.code == 1 && said.out.contains("profile: FAILED: its extension subjectAltName"),
        "{}",
        said.out
    );
}

#[test]
fn verify_refuses_the_keys_that_sign_refuses_with_the_same_words() {
    let shop = Shop::new();
    shop.write("leaf.cnf", "basicConstraints=critical,CA:FALSE\nauthorityKeyIdentifier=keyid\n");
    for (name, how, reason) in [
        (
            "p521",
            "ecparam -name secp521r1 -genkey -noout -out",
            "the curve is P-521, which IoT Hub is not known to take",
        ),
        ("k256", "ecparam -name secp256k1 -genkey -noout -out", "the curve is neither P-256 nor P-384"),
        ("e3", "genrsa -3 -out", "its RSA exponent is even, small or huge"),
        ("small", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out", "RSA with 1024 bits"),
        ("p384", "ecparam -name secp384r1 -genkey -noout -out", ""),
        ("rsa", "genrsa -out", ""),
    ] {
        shop.openssl(&format!("{how} {name}.key"));
        shop.openssl(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        shop.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca/issuing.pem -CAkey ca/issuing.key -CAcreateserial -days 5 -extfile leaf.cnf \
             -out {name}.pem"
        ));
        let verified = shop.run(&format!("verify {name}.pem --ca ca"));
        let verdict = verified.out.lines().find_map(|line| line.split_once(": key: ")).unwrap().1;
        let signed = shop.run(&format!("sign {name}.csr --ca ca --out signed"));
        match verdict.strip_prefix("FAILED: ") {
            None => assert!(reason.is_empty() && signed.code == 0, "{name}: {verdict}: {}", signed.err),
            Some(words) => {
                assert!(
                    !reason.is_empty() && words.starts_with(reason) && verified.code == 1,
                    "{name}: {words}"
                );
                assert!(
                    signed.err.contains(words) && signed.err.contains("(rule weak_key)"),
                    "{}",
                    signed.err
                );
            }
        }
    }
}

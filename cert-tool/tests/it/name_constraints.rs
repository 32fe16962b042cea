//! `cert-tool verify`: which of several paths counts, and what a CA's own limits say, judged beside OpenSSL.

use crate::support::Shop;

/// Extensions of a CA with more beside them.
fn ca_extensions(more: &str) -> String {
    format!(
        "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
         subjectKeyIdentifier=hash\n{more}\n"
    )
}

impl Shop {
    /// A key in `NAME.key` and a request for it in `NAME.csr`.
    fn request(&self, name: &str, subject: &str) {
        self.openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {name}.key"));
        self.request_again(name, name, subject);
    }

    /// A request in `NAME.csr` for a key that is there.
    fn request_again(&self, name: &str, key: &str, subject: &str) {
        self.openssl(&format!("req -new -key {key}.key -subj {subject} -out {name}.csr"));
    }

    /// Signs `NAME.csr` into `NAME.pem` with the key of another, or with its own.
    fn certify(&self, name: &str, issuer: Option<&str>, days: i32, extensions: &str) {
        self.write("extensions.cnf", extensions);
        let by = match issuer {
            Some(issuer) => format!("-CA {issuer}.pem -CAkey {issuer}.key"),
            None => format!("-signkey {name}.key"),
        };
        self.openssl(&format!(
            "x509 -req -in {name}.csr {by} -days {days} -extfile extensions.cnf -out {name}.pem"
        ));
    }

    /// A root, and a CA below it with extensions of its own.
    fn limited(&self, extensions: &str) {
        self.request("root", "/CN=Root");
        self.certify("root", None, 9, &ca_extensions(""));
        self.request("ca", "/O=Acme/CN=CA");
        self.certify("ca", Some("root"), 9, &ca_extensions(extensions));
    }

    /// A device's certificate by the CA, with alternative names.
    fn device(&self, subject: &str, names: &str) {
        self.request("device", subject);
        let names = if names.is_empty() { String::new() } else { format!("subjectAltName={names}\n") };
        let extensions = format!("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n{names}");
        self.certify("device", Some("ca"), 9, &extensions);
    }

    /// Returns the verdict on the device's names; OpenSSL must agree.
    fn names(&self) -> String {
        let said = self.run("verify device.pem --ca root.pem --intermediates ca.pem --for hub-ca");
        let line = said.out.lines().find_map(|line| line.split_once("name constraints: ")).unwrap();
        let words = ["verify", "-CAfile", "root.pem", "-untrusted", "ca.pem", "device.pem"];
        let folder = self.path("");
        let openssl = std::process::Command::new("openssl").args(words).current_dir(folder).output().unwrap();
        let text = String::from_utf8_lossy(&openssl.stderr).into_owned();
        assert_eq!(openssl.status.success(), line.1 == "ok", "{} against {text}", line.1);
        line.1.to_owned()
    }
}

#[test]
fn e_mail_addresses_are_judged() {
    let shop = Shop::new();
    shop.limited("nameConstraints=critical,permitted;email:plant.example,excluded;email:boss@plant.example");
    for (names, expected) in [
        ("email:a@plant.example", "ok"),
        ("", "ok"),
        (
            "email:a@other.example",
            "FAILED: O=Acme, CN=CA: it may not give the e-mail address `a@other.example`",
        ),
        ("email:boss@plant.example", "FAILED: O=Acme, CN=CA: it may not give the e-mail address `boss@"),
    ] {
        shop.device("/CN=device", names);
        let said = shop.names();
        assert!(said.starts_with(expected), "{names}: {said}");
    }
    // An address in the subject is one too.
    shop.device("/CN=device/emailAddress=a@other.example", "");
    assert!(shop.names().contains("the e-mail address `a@other.example`"));
}

#[test]
fn uris_are_judged() {
    let shop = Shop::new();
    shop.limited("nameConstraints=critical,permitted;URI:.plant.example");
    for (names, is_good) in [
        ("URI:https://a.plant.example/x", true),
        ("URI:https://plant.example/x", false),
        ("URI:https://a.plant.example.org", false),
    ] {
        shop.device("/CN=device", names);
        let said = shop.names();
        assert_eq!(said == "ok", is_good, "{names}: {said}");
        assert!(is_good || said.contains("it may not give the URI `https://"), "{said}");
    }
}

#[test]
fn directory_names_are_judged() {
    let shop = Shop::new();
    shop.limited("nameConstraints=critical,permitted;dirName:plant\n[plant]\nO=Acme");
    for (subject, is_good) in [
        ("/O=Acme/CN=device", true),
        // RFC 5280 §7.1: case does not count.
        ("/O=ACME/CN=device", true),
        ("/O=Acme", true),
        ("/O=Other/CN=device", false),
        ("/CN=device/O=Acme", false),
    ] {
        shop.device(subject, "");
        let said = shop.names();
        assert_eq!(said == "ok", is_good, "{subject}: {said}");
        assert!(is_good || said.contains("it may not give the directory name"), "{said}");
    }
}

#[test]
fn a_kind_of_name_that_is_not_judged_is_said_to_be_unsupported() {
    let shop = Shop::new();
    shop.limited("nameConstraints=critical,permitted;otherName:1.2.3.4;UTF8:acme");
    shop.device("/CN=device", "");
    let said = shop.run("verify device.pem --ca root.pem --intermediates ca.pem");
    assert!(said.out.contains("name constraints: ok"), "no such name: {}", said.out);
    shop.device("/CN=device", "otherName:1.2.3.4;UTF8:other");
    let said = shop.run("verify device.pem --ca root.pem --intermediates ca.pem");
    let told = "name constraints: FAILED: O=Acme, CN=CA: it limits names of the kind otherName, \
                which is not supported";
    assert!(said.code == 1 && said.out.contains(told), "{}", said.out);
}

#[test]
fn self_issued_certificates_do_not_count_for_the_path_length() {
    let shop = Shop::new();
    shop.request("root", "/CN=Root");
    shop.certify("root", None, 9, &ca_extensions(""));
    shop.request("old", "/O=Acme/CN=CA");
    let none_below = ca_extensions("").replace("CA:TRUE", "CA:TRUE,pathlen:0");
    shop.certify("old", Some("root"), 9, &none_below);
    // The CA's new key, certified with its old one.
    shop.request("ca", "/O=Acme/CN=CA");
    shop.certify("ca", Some("old"), 9, &none_below);
    shop.device("/CN=device", "");
    shop.ok("verify device.pem --ca root.pem --intermediates ca.pem --intermediates old.pem");
    // A CA of another name counts.
    shop.request("ca", "/O=Acme/CN=Sub-CA");
    shop.certify("ca", Some("old"), 9, &none_below);
    shop.device("/CN=device", "");
    let said = shop.run("verify device.pem --ca root.pem --intermediates ca.pem --intermediates old.pem");
    let told = "chain: FAILED: O=Acme, CN=CA: it allows 0 CAs below it, there are 1 (path length)";
    assert!(said.code == 1 && said.out.contains(told), "{}", said.out);
}

#[test]
fn a_renewed_certificate_counts_beside_the_expired_one_in_any_order() {
    let shop = Shop::new();
    shop.limited("");
    shop.device("/CN=device", "");
    // The same names and keys, expired yesterday.
    let read = |path: &str| std::fs::read_to_string(shop.path(path)).unwrap();
    let (root, ca) = (read("root.pem"), read("ca.pem"));
    shop.certify("root", None, -1, &ca_extensions(""));
    shop.certify("ca", Some("root"), -1, &ca_extensions(""));
    let (old_root, old_ca) = (read("root.pem"), read("ca.pem"));
    let both = |one: &str, other: &str| [[one, other].concat(), [other, one].concat()];
    for roots in both(&root, &old_root) {
        for between in both(&ca, &old_ca) {
            shop.write("roots.pem", &roots);
            shop.write("between.pem", &between);
            let said = shop.run("verify device.pem --ca roots.pem --intermediates between.pem");
            assert_eq!(said.code, 0, "{}", said.out);
        }
    }
    shop.write("roots.pem", &old_root);
    let said = shop.run("verify device.pem --ca roots.pem --intermediates between.pem");
    assert!(said.code == 1 && said.out.contains("dates: FAILED: CN=Root: it was good until"), "{}", said.out);
}

#[test]
fn an_issuer_that_may_not_issue_does_not_hide_one_that_may() {
    let shop = Shop::new();
    shop.limited("");
    shop.device("/CN=device", "");
    let good = std::fs::read_to_string(shop.path("ca.pem")).unwrap();
    let mute = ca_extensions("").replace("keyCertSign,", "");
    shop.certify("ca", Some("root"), 9, &mute);
    let mute = std::fs::read_to_string(shop.path("ca.pem")).unwrap();
    for between in [[good.as_str(), &mute].concat(), [mute.as_str(), &good].concat()] {
        shop.write("between.pem", &between);
        shop.ok("verify device.pem --ca root.pem --intermediates between.pem");
    }
    let said = shop.run("verify device.pem --ca root.pem --intermediates ca.pem");
    assert!(
        said.out.contains("chain: FAILED: O=Acme, CN=CA: its key usage lacks keyCertSign"),
        "{}",
        said.out
    );
}

/// A CA `plant` whose certificates may have DNS names below `plant7.example` and addresses of one
/// network only.
fn limited_plant() -> Shop {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only --name Vault");
    shop.ok("ca csr plant --name Plant");
    shop.ok("ca sign plant/issuing.csr --ca vault --out plant.pem --permit dns:plant7.example --permit ip:10.0.0.0/8");
    shop.ok("ca import plant --certificate plant.pem");
    shop
}

/// Asserts that OpenSSL accepts a certificate below the vault.
fn openssl_accepts(shop: &Shop, leaf: &str) {
    shop.openssl(&format!("verify -CAfile vault/root.pem -untrusted plant/issuing.pem {leaf}"));
}

#[test]
fn a_ca_refuses_names_that_its_own_constraints_forbid() {
    let shop = limited_plant();
    shop.write(
        "plant/profile.toml",
        "[gateway]\nextended_key_usages = [\"clientAuth\", \"serverAuth\"]\n[gateway.san]\n\
         dns = [\"{{ device_id }}.{{ x_domain }}\"]\nip = [\"{{ x_ip }}\"]\n",
    );
    let header = "device_id,x_domain,x_ip";
    shop.write(
        "batch.csv",
        &format!(
            "{header}\ngood,plant7.example,10.1.2.3\nname,plant7.acme.example,10.1.2.3\n\
             address,plant7.example,11.1.2.3\n"
        ),
    );
    let said = shop.run("issue --ca plant --from batch.csv --profile gateway --sink folder --out out");
    assert_eq!(said.code, 1, "{}", said.err);
    for told in [
        "CN=Plant Issuing CA: it may not give the DNS name `name.plant7.acme.example`: its name constraints \
         permit only `dns:plant7.example` (rule name_constraints)",
        "CN=Plant Issuing CA: it may not give the IP address `11.1.2.3`: its name constraints permit only \
         `ip:10.0.0.0/8` (rule name_constraints)",
        "hint: change the name",
        "1 issued",
    ] {
        assert!(said.err.contains(told) || said.out.contains(told), "{told}: {}{}", said.err, said.out);
    }
    openssl_accepts(&shop, "out/devices/good/cert.pem");
}

#[test]
fn a_common_name_that_openssl_takes_for_a_host_is_refused_by_a_limited_ca() {
    let shop = limited_plant();
    for id in ["gw-1", "gw-1.plant7.example"] {
        shop.ok(&format!("issue --ca plant --device-id {id} --out out"));
        openssl_accepts(&shop, &format!("out/devices/{id}/cert.pem"));
    }
    let said = shop.fails(1, "issue --ca plant --device-id gw-1.other.example --out out");
    assert!(said.contains("gw-1.other.example") && said.contains("OpenSSL"), "{said}");
    // The same for a request of the device.
    shop.ok("csr --device-id gw-2.other.example --key-out gw-2.key --out gw-2.csr");
    let said = shop.fails(1, "sign gw-2.csr --ca plant --out signed");
    assert!(said.contains("rule name_constraints"), "{said}");
    // A CA without limits issues it, and does not renew it with the limits of its next certificate.
    shop.ok("ca csr free --name Free");
    shop.ok("ca sign free/issuing.csr --ca vault --out free.pem");
    shop.ok("ca import free --certificate free.pem");
    shop.ok("issue --ca free --device-id gw-1.other.example --out free-out");
    shop.ok("ca renew free");
    shop.ok("ca sign free/issuing.csr --ca vault --keep-subject --days 3655 --permit dns:plant7.example --out limited.pem");
    shop.ok("ca import free --certificate limited.pem");
    let said = shop.fails(1, "renew --ca free --device-id gw-1.other.example --out renewed");
    assert!(said.contains("rule name_constraints"), "{said}");
}

#[test]
fn a_common_name_that_openssl_takes_for_a_host_is_advised_against() {
    let shop = Shop::new();
    shop.limited("nameConstraints=critical,permitted;DNS:plant7.example");
    let openssl = |shop: &Shop| {
        let words = ["verify", "-CAfile", "root.pem", "-untrusted", "ca.pem", "device.pem"];
        let tool = std::process::Command::new("openssl").args(words).current_dir(shop.path("")).output();
        tool.unwrap().status.success()
    };
    for (subject, names, is_good) in [
        ("/CN=gw-1.plant7.example", "", true),
        ("/CN=gw-1", "", true),
        ("/CN=gw-1.other.example", "", false),
        // With a DNS name beside it, OpenSSL takes the common name for a name of no kind.
        ("/CN=gw-1.other.example", "DNS:gw-1.plant7.example", true),
        ("/CN=gw-1.other.example", "IP:10.0.0.1", false),
    ] {
        shop.device(subject, names);
        for purpose in ["hub-ca", "dps", "tls-client"] {
            let said = shop.run(&format!(
                "verify device.pem --ca root.pem --intermediates ca.pem --for {purpose} --format json"
            ));
            let checks: Vec<serde_json::Value> =
                said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let check = checks.iter().find(|check| check["check"] == "name constraints").unwrap();
            let advice = check["advice"].as_str().unwrap_or_default();
            assert_eq!(check["ok"], true, "{subject} {names}: {check}");
            let told = "O=Acme, CN=CA: it may not give the DNS name `gw-1.other.example`: its name constraints \
                        permit only `dns:plant7.example`; OpenSSL takes";
            assert!(advice.starts_with(told) != is_good, "{subject} {names}: {check}");
        }
        assert_eq!(openssl(&shop), is_good, "{subject} {names}");
    }
}

#[test]
fn a_dns_name_or_address_beyond_the_limits_is_named_with_its_issuer() {
    let shop = Shop::new();
    shop.limited("nameConstraints=critical,permitted;DNS:plant7.example,excluded;IP:10.0.9.0/255.255.255.0");
    for (names, told) in [
        (
            "DNS:gw.plant7.acme.example",
            "O=Acme, CN=CA: it may not give the DNS name `gw.plant7.acme.example`: its name constraints permit \
             only `dns:plant7.example`",
        ),
        (
            "IP:10.0.9.1",
            "O=Acme, CN=CA: it may not give the IP address `10.0.9.1`: its name constraints exclude \
             `ip:10.0.9.0/24`",
        ),
    ] {
        shop.device("/CN=device", names);
        assert_eq!(shop.names(), format!("FAILED: {told}"));
        let said = shop.run("verify device.pem --ca root.pem --intermediates ca.pem");
        assert!(said.out.contains(&format!("chain: FAILED: {told}")), "{}", said.out);
    }
}

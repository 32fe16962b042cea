//! Damaged extensions of others' certificates. The parser answers for one as if it were absent, so each door is
//! tried with each extension that limits what a certificate may do.

use crate::support::Shop;

/// Extensions, and values that are not theirs: of a wrong type, cut off, empty, with more behind them.
const DAMAGED: &[(&str, &[&str])] = &[
    ("2.5.29.15", &["0500", "030205", "0400", "030201060500"]),
    ("2.5.29.19", &["0500", "3003", "020100", "30030101FF0500"]),
    ("2.5.29.37", &["0500", "300a06082b0601", "0400", "300a06082b060105050703020500"]),
    ("2.5.29.17", &["0500", "30038205", "0400", "3003820161ff"]),
    ("2.5.29.30", &["0500", "3005a003", "0400", "30000500"]),
];

/// The good form of the extensions of a CA, which one that is damaged takes the place of.
fn config(oid: &str, value: &str, is_ca: bool) -> String {
    let mut lines = vec!["subjectKeyIdentifier=hash".to_owned()];
    let basic = if is_ca { "critical,CA:TRUE" } else { "critical,CA:FALSE" };
    let usage = if is_ca { "critical,keyCertSign,cRLSign" } else { "critical,digitalSignature" };
    lines.extend((oid != "2.5.29.19").then(|| format!("basicConstraints={basic}")));
    lines.extend((oid != "2.5.29.15").then(|| format!("keyUsage={usage}")));
    lines.push(format!("{oid}=DER:{value}"));
    format!("[req]\ndistinguished_name=dn\n[dn]\n[x]\n{}\n", lines.join("\n"))
}

#[test]
fn a_damaged_extension_is_refused_at_every_door() {
    let shop = Shop::new();
    shop.openssl("ecparam -name prime256v1 -genkey -noout -out key.pem");
    shop.write_secret("key.pem", &std::fs::read_to_string(shop.path("key.pem")).unwrap());
    shop.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout sub.key -subj /CN=Sub -out sub.csr");
    for (oid, values) in DAMAGED {
        for value in *values {
            let at = format!("{oid} {value}");
            shop.write("x.cnf", &config(oid, value, true));
            shop.openssl(
                "req -x509 -new -key key.pem -config x.cnf -extensions x -subj /CN=Bad -days 30 -out ca.pem",
            );
            let said = shop.run("ca import bad --certificate ca.pem --key key.pem");
            assert_eq!(said.code, 3, "{at}: {}", said.err);
            assert!(!shop.path("bad").exists(), "{at}");
            // A folder of a CA into which the certificate was put by hand.
            std::fs::create_dir_all(shop.path("by-hand")).unwrap();
            for (from, to) in [
                ("ca.pem", "root.pem"),
                ("ca.pem", "issuing.pem"),
                ("key.pem", "root.key"),
                ("key.pem", "issuing.key"),
            ] {
                shop.write_secret(
                    &format!("by-hand/{to}"),
                    &std::fs::read_to_string(shop.path(from)).unwrap(),
                );
            }
            private(&shop, "by-hand");
            for words in [
                "issue --ca by-hand --device-id a --out new",
                "ca sign sub.csr --ca by-hand --out sub.pem",
                "ca renew by-hand --days 900",
                "ca renew by-hand --root --days 900",
                "ca crl by-hand --out new.crl",
            ] {
                let told = shop.fails(3, words);
                assert!(told.contains("damaged"), "{at}: {words}: {told}");
            }
            for file in ["new", "sub.pem", "new.crl"] {
                assert!(!shop.path(file).exists(), "{at}: {file}");
            }
            shop.write("y.cnf", &config(oid, value, false));
            shop.openssl("req -x509 -new -key key.pem -config y.cnf -extensions x -subj /CN=leaf -days 30 -out leaf.pem");
            let said = shop.run("verify leaf.pem --ca leaf.pem");
            let told = format!("extensions: FAILED: {oid} is damaged");
            assert!(said.code == 1 && said.out.contains(&told), "{at}: {}", said.out);
        }
    }
}

#[cfg(unix)]
fn private(shop: &Shop, folder: &str) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(shop.path(folder), std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[cfg(not(unix))]
fn private(_: &Shop, _: &str) {}

//! A CA whose key is in a PKCS#11 token: a real SoftHSM 2. The module keeps its state in the process
//! and finds its tokens by an environment variable, so each test uses the binary.

use std::path::Path;
use std::process::Command;

use crate::support::{Said, Shop};

#[test]
fn keys_of_every_kind_issue_in_bulk_and_openssl_likes_it() {
    let hsm = Hsm::new();
    for key_type in ["p256", "p384", "rsa2048"] {
        let uri = hsm.uri(&format!("ca-{key_type}"));
        let said =
            hsm.run(&["ca", "init", key_type, "--key-type", key_type, "--pkcs11", &uri, "--pin-file", "pin"]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(said.out.contains(&format!("key:        {uri}")), "{}", said.out);
        assert!(!hsm.shop.path(&format!("{key_type}/issuing.key")).exists());
        hsm.shop.write("batch.csv", &batch(40));
        let out = format!("out-{key_type}");
        let said = hsm.run(&[
            "issue",
            "--ca",
            key_type,
            "--from",
            "batch.csv",
            "--out",
            &out,
            "--sink",
            "folder",
            "--threads",
            "4",
            "--pin-file",
            "pin",
        ]);
        assert!(said.code == 0 && said.out.starts_with("40 issued"), "{}{}", said.out, said.err);
        for device in ["d0", "d39"] {
            hsm.shop.openssl(&format!("verify -x509_strict -purpose sslclient -CAfile {key_type}/root.pem -untrusted {key_type}/issuing.pem {out}/devices/{device}/cert.pem"));
        }
    }
}

/// A root and an issuing CA in a token live as those in files do, and so does a CA with an encrypted key.
#[test]
fn a_ca_in_a_token_is_renewed_and_signs_cas() {
    let hsm = Hsm::new();
    let (root, issuing) = (hsm.uri("root"), hsm.uri("issuing"));
    let ok = |words: &[&str]| {
        let said = hsm.run(&[words, &["--pin-file", "pin"]].concat());
        assert_eq!(said.code, 0, "{words:?}: {}", said.err);
    };
    ok(&["ca", "init", "vault", "--root-only", "--name", "Vault", "--pkcs11", &root]);
    ok(&["ca", "csr", "plant", "--name", "Plant", "--pkcs11", &issuing]);
    ok(&["ca", "sign", "plant/issuing.csr", "--ca", "vault", "--out", "plant.pem"]);
    ok(&["ca", "import", "plant", "--certificate", "plant.pem"]);
    ok(&["ca", "renew", "plant"]);
    ok(&[
        "ca",
        "sign",
        "plant/issuing.csr",
        "--ca",
        "vault",
        "--keep-subject",
        "--days",
        "5000",
        "--out",
        "again.pem",
    ]);
    ok(&["ca", "import", "plant", "--certificate", "again.pem"]);
    ok(&["ca", "renew", "vault", "--root", "--days", "9000"]);
    ok(&["ca", "crl", "vault", "--out", "vault.crl"]);
    ok(&["issue", "--ca", "plant", "--out", "out", "--device-id", "a", "--sink", "folder"]);
    hsm.shop.openssl("verify -x509_strict -purpose sslclient -CAfile vault/root.pem -untrusted plant/issuing.pem out/devices/a/cert.pem");
    hsm.shop.openssl("crl -in vault.crl -CAfile vault/root.pem -noout");
}

#[test]
fn a_pin_comes_by_file_environment_or_pin_source_and_never_in_the_uri() {
    let hsm = Hsm::new();
    let uri = hsm.uri("ca");
    let init = ["ca", "init", "ca2", "--pkcs11", &uri];
    let said = hsm.run(&init);
    assert!(said.code == 3 && said.err.contains("the token `plant` is locked"), "{}", said.err);
    let said = hsm.run_with(&init, &[("CERT_TOOL_PIN", "0000")]);
    assert!(said.code == 3 && said.err.contains("does not open the token `plant`"), "{}", said.err);
    let said = hsm.run_with(&init, &[("CERT_TOOL_PIN", "4711")]);
    assert_eq!(said.code, 0, "{}", said.err);

    let with_value = format!("{uri}&pin-value=4711");
    let said = hsm.run(&["ca", "init", "ca3", "--pkcs11", &with_value]);
    assert!(said.code == 2 && said.err.contains("pin-value"), "{}", said.err);
    assert!(!said.err.contains("4711") && !hsm.shop.path("ca3").exists(), "{}", said.err);

    let with_source = format!("{uri}&pin-source=file:{}", hsm.shop.path("pin").to_string_lossy());
    let said = hsm.run(&["ca", "init", "ca4", "--pkcs11", &with_source]);
    assert_eq!(said.code, 0, "{}", said.err);
    // The key that was there is the key that is used.
    let key = |ca: &str| hsm.shop.openssl(&format!("x509 -in {ca}/issuing.pem -noout -pubkey"));
    assert_eq!(key("ca2"), key("ca4"));
    let said = hsm.run(&["issue", "--ca", "ca4", "--out", "out", "--device-id", "a"]);
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn what_is_wrong_with_a_token_is_told() {
    let hsm = Hsm::new();
    for (uri, told) in [
        (hsm.uri("ca").replace("token=plant", "token=elsewhere"), "no token fits it"),
        (
            format!("pkcs11:object=ca?module-path={}", hsm.shop.path("no.so").to_string_lossy()),
            "can't load the module",
        ),
        ("pkcs11:object=ca".to_owned(), "module-path"),
    ] {
        let said = hsm.run(&["ca", "init", "bad", "--pkcs11", &uri, "--pin-file", "pin"]);
        assert!(said.code >= 2 && said.err.contains(told), "{uri}: {}", said.err);
        assert!(!hsm.shop.path("bad/issuing.pem").exists());
    }
    // Two keys of one name are told from one.
    for id in ["%01", "%02"] {
        let uri = hsm.uri("twin").replace("object=twin", &format!("object=twin;id={id}"));
        let ca = format!("twin{}", &id[1..]);
        assert_eq!(hsm.run(&["ca", "init", &ca, "--pkcs11", &uri, "--pin-file", "pin"]).code, 0);
    }
    let said = hsm.run(&["ca", "init", "twins", "--pkcs11", &hsm.uri("twin"), "--pin-file", "pin"]);
    assert!(said.code == 3 && said.err.contains("2 keys in the token fit it"), "{}", said.err);
}

#[test]
fn a_token_key_is_requested_signed_imported_and_proved() {
    let hsm = Hsm::new();
    let uri = hsm.uri("plant");
    let ok = |args: &[&str]| {
        let said = hsm.run(args);
        assert_eq!(said.code, 0, "{args:?}: {}", said.err);
    };
    ok(&[
        "ca",
        "init",
        "vault",
        "--root-only",
        "--key-type",
        "rsa2048",
        "--pkcs11",
        &hsm.uri("root"),
        "--pin-file",
        "pin",
    ]);
    ok(&["ca", "csr", "plant", "--pkcs11", &uri, "--pin-file", "pin"]);
    hsm.shop.openssl("req -in plant/issuing.csr -noout -verify");
    ok(&["ca", "sign", "plant/issuing.csr", "--ca", "vault", "--out", "plant.pem", "--pin-file", "pin"]);
    ok(&["ca", "import", "plant", "--certificate", "plant.pem", "--pin-file", "pin"]);
    // The same again for a CA whose folder was lost.
    ok(&["ca", "import", "again", "--certificate", "plant.pem", "--pkcs11", &uri, "--pin-file", "pin"]);
    ok(&["ca", "prove", "again", "--code", "C0DE", "--out", "proof.pem", "--pin-file", "pin"]);
    hsm.shop.openssl("verify -x509_strict -CAfile vault/root.pem -untrusted plant/issuing.pem proof.pem");
    let said = hsm.run(&[
        "ca",
        "import",
        "wrong",
        "--certificate",
        "plant.pem",
        "--pkcs11",
        &hsm.uri("root"),
        "--pin-file",
        "pin",
    ]);
    assert!(said.code == 3 && said.err.contains("not the one of its certificate"), "{}", said.err);
}

#[test]
fn two_key_pairs_of_one_id_are_told_apart_by_their_labels() {
    let hsm = Hsm::new();
    for label in ["one", "two"] {
        let uri = hsm.uri(label).replace(&format!("object={label}"), &format!("object={label};id=%20"));
        let made = hsm.run(&["ca", "csr", &format!("made-{label}"), "--pkcs11", &uri, "--pin-file", "pin"]);
        assert_eq!(made.code, 0, "{}", made.err);
    }
    for label in ["one", "two"] {
        let ca = format!("ca-{label}");
        let said = hsm.run(&["ca", "csr", &ca, "--pkcs11", &hsm.uri(label), "--pin-file", "pin"]);
        assert_eq!(said.code, 0, "{}", said.err);
        let key = |ca: &str| hsm.shop.openssl(&format!("req -in {ca}/issuing.csr -noout -pubkey"));
        assert_eq!(key(&ca), key(&format!("made-{label}")), "{label}");
        hsm.shop.openssl(&format!("req -in {ca}/issuing.csr -noout -verify"));
    }
}

/// A token `plant` with the PIN 4711, in the folder of a shop.
struct Hsm {
    shop: Shop,
    configuration: String,
}

impl Hsm {
    fn new() -> Self {
        let shop = Shop::new();
        std::fs::create_dir(shop.path("tokens")).unwrap();
        let tokens = shop.path("tokens");
        shop.write(
            "softhsm2.conf",
            &format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.to_string_lossy()),
        );
        cert_tool_pin(&shop.path("pin"));
        let configuration = shop.path("softhsm2.conf").to_string_lossy().into_owned();
        let output = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "plant", "--so-pin", "12345678", "--pin", "4711"])
            .env("SOFTHSM2_CONF", &configuration)
            .output()
            .unwrap_or_else(|error| panic!("{error}: run scripts/install-test-needs"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { shop, configuration }
    }

    fn uri(&self, object: &str) -> String {
        format!("pkcs11:token=plant;object={object}?module-path={}", module())
    }

    fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, &[])
    }

    fn run_with(&self, args: &[&str], environment: &[(&str, &str)]) -> Said {
        let environment = [environment, &[("SOFTHSM2_CONF", self.configuration.as_str())]].concat();
        self.shop.run_args_with(args, &environment)
    }
}

/// Returns the path at which the distributions install SoftHSM's module.
fn module() -> &'static str {
    let places = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    places
        .into_iter()
        .find(|place| Path::new(place).exists())
        .expect("SoftHSM 2: run scripts/install-test-needs")
}

fn cert_tool_pin(path: &Path) {
    std::fs::write(path, "4711\n").unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn batch(count: usize) -> String {
    std::iter::once("device_id\n".to_owned()).chain((0..count).map(|n| format!("d{n}\n"))).collect()
}

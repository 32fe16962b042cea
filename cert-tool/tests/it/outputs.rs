//! Other forms of what there is: requests in base64, PKCS #7, DER, and bundles.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::Shop;

const HUB: &str = "--hub plant7.azure-devices.net --ca ca";

fn issued() -> Shop {
    let shop = Shop::new();
    shop.write("batch.csv", "device_id,module_id\nPump-1,\nPump-1,m1\nGw-1,\n");
    shop.ok("issue --ca ca --from batch.csv --out out");
    shop
}

/// Makes sure that a folder and its files are their owner's alone, and returns the names of the files.
fn private_files(folder: &Path) -> Vec<String> {
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder), 0o700);
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.to_string_lossy());
            path.file_name().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_request_in_base64_is_one_line_that_openssl_reads() {
    let shop = Shop::new();
    shop.ok("csr --device-id d1 --key-type p384 --key-out key.pem --format base64-der --out csr.b64");
    let text = fs::read_to_string(shop.path("csr.b64")).unwrap();
    assert!(text.lines().count() == 1 && !text.contains("BEGIN"), "{text}");
    shop.openssl("base64 -d -A -in csr.b64 -out csr.der");
    let shown = shop.openssl("req -inform DER -in csr.der -noout -subject -text");
    assert!(shown.contains("CN = d1") && shown.contains("ecdsa-with-SHA384"), "{shown}");
    shop.ok("csr --device-id d1 --key key.pem --format der --out csr2.der");
    shop.openssl("req -inform DER -in csr2.der -noout -verify");
    let said = shop.run("csr --device-id d2 --key-out key2.pem --format base64-der --out csr2.b64");
    assert!(said.code == 0 && said.err.contains("P-384 only"), "{said:?}");
    assert!(!said.err.contains("registration id"), "{said:?}");
    for identity in ["d!", "d --module-id m"] {
        let words = format!("csr --device-id {identity} --key key.pem --format base64-der --out odd.b64");
        let said = shop.run(&words);
        assert!(said.code == 0 && said.err.contains("is not a registration id"), "{said:?}");
    }
    // Of a batch they stand in the list, which is signed as it is.
    shop.write("batch.csv", "device_id\nd3\nd4\n");
    shop.ok("csr --from batch.csv --key-type p384 --format base64-der --out requests");
    shop.ok("sign --ca ca --expect requests/requests.csv --out signed");
    let said = shop.fails(2, "ca show ca --format base64-der");
    assert!(said.contains("are for requests"), "{said}");
}

#[test]
fn certificates_are_converted_to_what_openssl_reads() {
    let shop = issued();
    shop.ok("extract out --device-id Pump-1 --out pem");
    shop.ok("convert pem/chain.pem --to p7b --out chain.p7b");
    let shown = shop.openssl("pkcs7 -inform DER -in chain.p7b -print_certs -noout");
    assert!(shown.contains("CN = Pump-1") && shown.contains("Issuing CA"), "{shown}");
    shop.ok("convert ca/root.pem --to der --out root.cer");
    shop.ok("convert root.cer --to pem --out root2.pem");
    assert_eq!(
        shop.openssl("x509 -noout -fingerprint -in root2.pem"),
        shop.openssl("x509 -noout -fingerprint -in ca/root.pem")
    );
    let said = shop.fails(3, "convert pem/chain.pem --to der --out two.der");
    assert!(said.contains("there are 2") && said.contains("p7b") && !shop.path("two.der").exists(), "{said}");
    assert!(shop.fails(3, "convert ca/root.pem --to pem --out root2.pem").contains("already there"));
    let said = shop.fails(2, "convert pem/chain.pem --to jks --out x.jks");
    assert!(said.contains("PFX") && said.contains("cert-tool pfx"), "{said}");
}

#[test]
fn der_files_of_one_identity_fit_together() {
    let shop = issued();
    shop.ok("extract out --device-id Pump-1 --module-id m1 --encoding der --out der");
    assert_eq!(private_files(&shop.path("der")), ["cert.der", "chain.p7b", "key.der"]);
    let of_certificate = shop.openssl("x509 -inform DER -in der/cert.der -noout -pubkey");
    assert_eq!(of_certificate, shop.openssl("pkey -inform DER -in der/key.der -pubout"));
    assert!(shop.openssl("pkcs7 -inform DER -in der/chain.p7b -print_certs -noout").contains("Pump-1/m1"));
}

#[test]
fn a_bundle_has_what_its_owner_needs() {
    let shop = issued();
    shop.ok(&format!("bundle out --device-id Pump-1 --module-id m1 {HUB} --out m1"));
    assert_eq!(
        private_files(&shop.path("m1")),
        ["cert.pem", "chain.pem", "connection.json", "key.pem", "root.pem"]
    );
    shop.openssl(
        "verify -x509_strict -purpose sslclient -CAfile m1/root.pem -untrusted m1/chain.pem m1/cert.pem",
    );
    let text = fs::read_to_string(shop.path("m1/connection.json")).unwrap();
    let connection: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        connection["connectionString"],
        "HostName=plant7.azure-devices.net;DeviceId=Pump-1;ModuleId=m1;x509=true"
    );
    for file in ["certFile", "keyFile", "rootFile"] {
        assert!(shop.path("m1").join(connection["x509"][file].as_str().unwrap()).exists());
    }
    shop.ok(&format!("bundle out --device-id Gw-1 --edge {HUB} --installed-in /var/secrets --out gw"));
    assert!(private_files(&shop.path("gw")).contains(&"config.toml".to_owned()));
    let config: toml::Table = fs::read_to_string(shop.path("gw/config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["trust_bundle_cert"].as_str(), Some("file:///var/secrets/root.pem"));
    let provisioning = config["provisioning"].as_table().unwrap();
    assert_eq!(provisioning["source"].as_str(), Some("manual"));
    assert_eq!(provisioning["iothub_hostname"].as_str(), Some("plant7.azure-devices.net"));
    assert_eq!(provisioning["device_id"].as_str(), Some("Gw-1"));
    let x509 = provisioning["authentication"].as_table().unwrap();
    assert_eq!(x509["method"].as_str(), Some("x509"));
    assert_eq!(x509["identity_cert"].as_str(), Some("file:///var/secrets/chain.pem"));
    assert_eq!(x509["identity_pk"].as_str(), Some("file:///var/secrets/key.pem"));
    shop.ok("bundle out --device-id Gw-1 --edge --dps-scope 0ne00112233 --ca ca/root.pem --out dps");
    let config: toml::Table = fs::read_to_string(shop.path("dps/config.toml")).unwrap().parse().unwrap();
    assert_eq!(config["provisioning"]["source"].as_str(), Some("dps"));
    assert_eq!(config["provisioning"]["attestation"]["registration_id"].as_str(), Some("Gw-1"));
}

#[test]
fn bundles_of_all_are_made_once_and_begun_ones_are_cleaned_up() {
    let shop = issued();
    // What a killed run left.
    fs::create_dir_all(shop.path("all/devices/._pump-1.partial")).unwrap();
    fs::write(shop.path("all/devices/._pump-1.partial/key.pem"), "half a key").unwrap();
    let said = shop.ok(&format!("bundle out --all {HUB} --out all"));
    assert!(said.contains("3 bundles made, 0 already there"), "{said}");
    let partial = |folder: &str| {
        let entries = fs::read_dir(shop.path(folder)).unwrap();
        entries.filter(|it| it.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".partial")).count()
    };
    assert_eq!(partial("all/devices"), 0);
    fs::remove_dir_all(shop.path("all/devices/_gw-1")).unwrap();
    let said = shop.ok(&format!("bundle out --all {HUB} --out all"));
    assert!(said.contains("1 bundle made, 2 already there"), "{said}");
    shop.ok(&format!("bundle out --from batch.csv {HUB} --tar --out tars"));
    let tar = shop.path("tars/devices/_pump-1.tar");
    assert_eq!(tar.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    shop.bash("tar -xpf tars/devices/_pump-1.tar");
    assert_eq!(private_files(&shop.path("_pump-1")).len(), 5);
    assert_eq!(
        fs::read(shop.path("_pump-1/key.pem")).unwrap(),
        fs::read(shop.path("all/devices/_pump-1/key.pem")).unwrap()
    );
    shop.ok("issue --ca ca --device-id other --out out2");
    let said = shop.fails(3, &format!("bundle out2 --all {HUB} --out all"));
    assert!(said.contains("bundles for the certificates of a different folder"), "{said}");
}

#[test]
fn bundles_that_would_not_connect_are_refused() {
    let shop = issued();
    for (code, words, told) in [
        (3, "--device-id Pump-1 --hub h.example --ca ca/issuing.pem", "an issuing CA is not a root"),
        (1, "--device-id Pump-1 --module-id m1 --edge --hub h.example --ca ca", "is a module"),
        (2, "--device-id Pump-2 --hub h.example --ca ca", "has no certificate"),
        (2, "--device-id Pump-1 --hub HostName=h;SharedAccessKey=c2VjcmV0 --ca ca", "must be a host name"),
        (2, "--device-id Pump-1 --hub a..b --ca ca", "must be a host name"),
        (2, "--device-id Pump-1 --hub . --ca ca", "must be a host name"),
        (2, "--device-id Pump-1 --hub=-x --ca ca", "must be a host name"),
        (2, "--device-id Pump-1 --hub h.example:0 --ca ca", "must be a host name"),
        (1, "--device-id Pump-1 --module-id m1 --dps-scope 0ne1 --ca ca", "only devices register"),
        (2, "--device-id Pump-1 --hub h.example --dps-scope 0ne1 --ca ca", "cannot be used with"),
        (2, "--device-id Pump-1 --ca ca", "--hub"),
    ] {
        let said = shop.fails(code, &format!("bundle out {words} --out b"));
        assert!(said.contains(told) && !shop.path("b").exists(), "{words}: {said}");
    }
    shop.ok(&format!("bundle out --device-id Pump-1 {HUB} --out b"));
    assert!(shop.fails(3, &format!("bundle out --device-id Pump-1 {HUB} --out b")).contains("already there"));
}

#[test]
fn bundles_of_one_folder_are_made_with_the_same_options() {
    let shop = issued();
    shop.ok(&format!("bundle out --all {HUB} --out all"));
    let before = fs::read(shop.path("all/devices/_pump-1/connection.json")).unwrap();
    for words in [
        "--hub plant8.azure-devices.net --ca ca/root.pem",
        "--dps-scope 0ne00112233 --ca ca/root.pem",
        "--hub plant7.azure-devices.net --ca ca/root.pem --edge",
        "--hub plant7.azure-devices.net --ca ca/root.pem --tar",
        "--hub plant7.azure-devices.net --ca ca/root.pem --hub-root ca/root.pem",
    ] {
        let said = shop.fails(3, &format!("bundle out --all {words} --out all"));
        assert!(said.contains("`all` has bundles that were made with different options"), "{words}: {said}");
    }
    assert_eq!(fs::read(shop.path("all/devices/_pump-1/connection.json")).unwrap(), before);
    // An earlier version wrote no digest of the options.
    let origin = fs::read_to_string(shop.path("all/.issued")).unwrap();
    fs::write(shop.path("all/.issued"), origin.lines().next().unwrap()).unwrap();
    let said = shop.fails(3, &format!("bundle out --all {HUB} --out all"));
    assert!(said.contains("or by an earlier version"), "{said}");
}

#[test]
fn identities_that_a_service_does_not_take_are_refused_and_the_rest_get_their_bundles() {
    let shop = issued();
    shop.ok("issue --ca ca --device-id q%? --out out --sink bundle");
    let said = shop.run("bundle out --all --edge --hub plant7.azure-devices.net --ca ca --out edge");
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("refused: Pump-1/m1: it is a module; IoT Edge"), "{}", said.err);
    assert!(said.err.contains("(rule not_bundled)"), "{}", said.err);
    assert!(shop.path("edge/devices/_pump-1").exists() && !shop.path("edge/modules").exists());
    let said = shop.run("bundle out --all --dps-scope 0ne00112233 --ca ca --out dps");
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.err.contains("refused: q%?: a Device Provisioning Service takes no such"), "{}", said.err);
    assert!(said.err.contains("refused: Pump-1/m1: it is a module; only devices register"), "{}", said.err);
    assert!(shop.path("dps/devices/_gw-1").exists());
}

#[test]
fn a_bundle_has_the_root_of_the_hub_apart_from_that_of_the_devices() {
    let shop = Shop::new();
    shop.ok("ca init hub --root-only --name Hub");
    shop.ok("issue --ca ca --device-id a --out out");
    shop.ok(&format!("bundle out --device-id a {HUB} --hub-root hub/root.pem --out with"));
    shop.ok(&format!("bundle out --device-id a {HUB} --out without"));
    let read = |file: &str| fs::read_to_string(shop.path(file)).unwrap();
    let files = |folder: &str| {
        let text = read(&format!("{folder}/connection.json"));
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["x509"].clone()
    };
    assert_eq!(
        (&files("with")["serverRootFile"], &files("with")["rootFile"]),
        (&"server-root.pem".into(), &"root.pem".into())
    );
    assert_eq!(read("with/server-root.pem"), read("hub/root.pem"));
    assert_eq!(read("with/root.pem"), read("ca/root.pem"));
    assert!(
        files("without").get("serverRootFile").is_none() && !shop.path("without/server-root.pem").exists()
    );
    shop.fails(2, &format!("bundle out --device-id a {HUB} --edge --hub-root hub/root.pem --out edge"));
}

#[test]
fn a_bundle_takes_the_folder_of_a_root_for_its_root() {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only --name Vault");
    shop.ok("ca csr plant --name Plant");
    shop.ok("ca sign plant/issuing.csr --ca vault --out plant.pem");
    shop.ok("ca import plant --certificate plant.pem");
    shop.ok("issue --ca plant --device-id a --out out");
    shop.ok("bundle out --device-id a --hub h.example --ca vault --out with-root");
    let read = |file: &str| fs::read_to_string(shop.path(file)).unwrap();
    assert_eq!(read("with-root/root.pem"), read("vault/root.pem"));
}

#[test]
fn a_key_on_the_standard_output_is_not_written_over() {
    let shop = Shop::new();
    shop.bash("cert-tool csr --device-id a --key-out /dev/stdout --out a.csr > key.pem");
    let text = fs::read_to_string(shop.path("key.pem")).unwrap();
    assert!(text.starts_with("-----BEGIN PRIVATE KEY-----\n") && text.ends_with("a.csr\n"), "{text}");
    let own = shop.openssl("pkey -in key.pem -pubout");
    assert_eq!(own, shop.openssl("req -in a.csr -noout -pubkey"));
}

#[test]
fn an_output_replaces_a_file_of_its_kind_only() {
    let shop = Shop::new();
    let key = fs::read(shop.path("ca/issuing.key")).unwrap();
    shop.ok("issue --ca ca --out out --device-id a");
    let list = "expiring --ca ca --within 900d --out";
    for (command, kind, code) in [
        ("ca crl ca --out ca/issuing.key", "a revocation list", 3),
        ("ca crl ca --out ca/index.db", "a revocation list", 3),
        (&format!("{list} ca/issuing.key"), "a list of expiring certificates", 2),
        ("csr --device-id q --key-out new.key --out ca/issuing.key", "a certificate signing request", 2),
        ("csr --device-id q --key-out same --out same", "a certificate signing request", 2),
        ("csr --device-id q --key ca/issuing.key --out ca/issuing.key", "a certificate signing request", 2),
    ] {
        let said = shop.fails(code, command);
        assert!(said.contains(&format!("is not {kind}")), "{command}: {said}");
        assert!(fs::read(shop.path("ca/issuing.key")).unwrap() == key, "{command}");
    }
    assert!(fs::read_to_string(shop.path("same")).unwrap().contains("PRIVATE KEY"));
    assert!(fs::read(shop.path("ca/index.db")).unwrap().starts_with(b"SQLite format 3"));
    // Files of the same kind are replaced, in whatever form.
    for _ in 0..2 {
        shop.ok("ca crl ca --out list.crl");
        shop.ok(&format!("{list} list.csv"));
        for format in ["text", "der", "base64-der"] {
            shop.ok(&format!("csr --device-id q --key new.key --out q.csr --format {format}"));
        }
    }
}

//! A CA's whole life: the books of a root, more tiers, renewal, new keys, cross-certificates, revocation and its
//! release; judged by OpenSSL.

use std::fs;

use crate::support::Shop;

/// The lines of JSON that a command printed.
fn json(text: &str) -> Vec<serde_json::Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Has OpenSSL, at its strictest, judge a client's certificate with what stands between.
pub(crate) fn openssl_verifies(shop: &Shop, root: &str, leaf: &str, between: &[&str]) {
    let text: String = between.iter().map(|file| fs::read_to_string(shop.path(file)).unwrap()).collect();
    shop.write("between.pem", &text);
    shop.openssl(&format!(
        "verify -x509_strict -purpose sslclient -CAfile {root} -untrusted between.pem {leaf}"
    ));
}

/// A shop with a root in `vault` and an issuing CA below it in `plant`.
pub(crate) fn vault_and_plant() -> Shop {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only --name Vault");
    shop.ok("ca csr plant --name Plant");
    shop.ok("ca sign plant/issuing.csr --ca vault --out plant.pem");
    shop.ok("ca import plant --certificate plant.pem");
    shop
}

#[test]
fn a_root_keeps_books_of_the_cas_that_it_signs() {
    let shop = vault_and_plant();
    let listed = json(&shop.ok("list --ca vault --format json"));
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["ca"], &listed[0]["state"]), (&"CN=Plant Issuing CA".into(), &"current".into()));
    let serial = listed[0]["serial"].as_str().unwrap();
    for which in
        [format!("--serial {serial}"), "--thumbprint ".to_owned() + listed[0]["thumbprint"].as_str().unwrap()]
    {
        assert!(shop.ok(&format!("find --ca vault {which}")).contains("CN=Plant Issuing CA: current"));
    }
    // An empty list first, then one with the CA, which OpenSSL refuses from then on.
    assert!(shop.ok("ca crl vault --out vault.crl").contains("list 1 with 0 certificates"));
    let name = "Plant Issuing CA";
    let revoke = ["revoke", "--ca", "vault", "--name", name, "--reason", "cessationOfOperation"];
    let said = shop.run_args(&revoke);
    assert!(said.code == 0 && said.err.contains("remove the CA there"), "a CA is no identity: {}", said.err);
    assert!(shop.ok("list --ca vault --revoked").contains("CN=Plant Issuing CA: revoked"));
    assert!(shop.ok("ca crl vault --out vault.crl").contains("list 2 with 1 certificate,"));
    let shown = shop.openssl("crl -in vault.crl -CAfile vault/root.pem -noout -text");
    assert!(shown.contains(serial) && shown.contains("Cessation Of Operation"), "{shown}");
    shop.ok("issue --ca plant --out out --device-id a");
    let said = shop.run("verify out/devices/a/chain.pem --ca vault/root.pem --crl vault.crl");
    assert!(said.code == 1 && said.out.contains("revocation: FAILED"), "{}", said.out);
}

#[test]
fn a_root_in_the_folder_of_its_issuing_ca_has_books_of_its_own() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --out out --device-id a");
    assert!(!shop.ok("list --ca ca").contains("Issuing CA"));
    assert!(shop.ok("list --ca ca --root").contains("CN=Factory Issuing CA: current"));
    // As in a folder of a version that kept no such books.
    for file in ["root.db", "root.db-wal", "root.db-shm"] {
        let _ = fs::remove_file(shop.path("ca").join(file));
    }
    assert!(shop.ok("list --ca ca --root").contains("CN=Factory Issuing CA: current"));
    assert!(shop.ok("ca crl ca --root --out root.crl").contains("root.crl: list 1 with 0 certificates"));
    let error = shop.fails(3, "list --ca out --root");
    assert!(error.contains("there is no root in it"), "{error}");
}

#[test]
fn a_compromised_key_of_a_ca_gets_no_other_certificate() {
    let shop = vault_and_plant();
    for (ca, name, reason) in
        [("vault", "Plant Issuing CA", "keyCompromise"), ("ca", "Factory Issuing CA", "cACompromise")]
    {
        let tier: &[&str] = if ca == "ca" { &["--root"] } else { &[] };
        let revoke = ["revoke", "--ca", ca, "--name", name, "--reason", reason];
        let said = shop.run_args(&[&revoke, tier].concat());
        assert_eq!(said.code, 0, "{}", said.err);
    }
    shop.openssl("req -new -key plant/issuing.key -subj /CN=Other -out other.csr");
    shop.openssl(
        "req -x509 -key plant/issuing.key -subj /CN=Other -days 90 -addext keyUsage=critical,keyCertSign,cRLSign \
         -out other.pem",
    );
    for door in [
        "ca sign plant/issuing.csr --ca vault --out again.pem",
        "ca sign other.csr --ca vault --keep-subject --out again.pem",
        "ca cross-sign other.pem --ca vault --out again.pem",
        "ca renew ca --days 3651",
    ] {
        let error = shop.fails(3, door);
        assert!(
            error.contains("its key is compromised") && error.contains("compromised_key"),
            "{door}: {error}"
        );
        assert!(!shop.path("again.pem").exists(), "{door}");
    }
    assert_eq!(shop.ok("list --ca vault").lines().count(), 1);
}

#[test]
fn three_tiers_and_more_stand_on_path_lengths() {
    let shop = Shop::new();
    shop.ok("ca init world --root-only --name World --path-length 2");
    let below = |name: &str, ca: &str, length: u8| {
        shop.ok(&format!("ca csr {name} --name {name}"));
        shop.ok(&format!("ca sign {name}/issuing.csr --ca {ca} --path-length {length} --out {name}.pem"));
        shop.ok(&format!("ca import {name} --certificate {name}.pem"));
    };
    below("europe", "world", 1);
    below("plant", "europe", 0);
    shop.ok("issue --ca plant --out out --device-id a");
    openssl_verifies(&shop, "world/root.pem", "out/devices/a/cert.pem", &["out/issuing.pem"]);
    assert!(shop.ok("list --ca europe").contains("CN=plant Issuing CA: current"));
    // The chain that goes with a certificate leads up to the root.
    assert_eq!(fs::read_to_string(shop.path("out/devices/a/chain.pem")).unwrap().matches("BEGIN").count(), 3);

    shop.ok("ca csr line --name Line");
    for (ca, length, told) in [
        (
            "plant",
            0,
            "its path length is 0: it signs the certificates of devices and modules, not those of CAs",
        ),
        ("europe", 1, "its path length is 1, so that of a CA below it is at most 0, not 1"),
    ] {
        let error = shop
            .fails(3, &format!("ca sign line/issuing.csr --ca {ca} --path-length {length} --out line.pem"));
        assert!(error.contains(told), "{error}");
        assert!(!shop.path("line.pem").exists());
    }
    // An issuing CA that may have CAs below it, in the folder of its root, from the start.
    shop.ok("ca init both --path-length 1");
    let shown = shop.openssl("x509 -in both/issuing.pem -noout -text");
    assert!(shown.contains("CA:TRUE, pathlen:1"), "{shown}");
}

#[test]
fn a_root_is_not_taken_for_an_issuing_ca() {
    let shop = vault_and_plant();
    for words in ["issue --ca vault --out out --device-id a", "ca prove vault --code X --out p.pem"] {
        let error = shop.fails(3, words);
        assert!(error.contains("`vault` can't be used: it has a root only"), "{error}");
    }
    assert!(!shop.path("out").exists() && !shop.path("p.pem").exists());
}

#[test]
fn a_foreign_request_keeps_its_subject_to_the_byte() {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only --name Vault");
    shop.write(
        "req.cnf",
        "[req]\ndistinguished_name=dn\nprompt=no\nstring_mask=default\n[dn]\nC=DE\n0.OU=North\n1.OU=South\n\
         O=Acme, Ltd\nCN=Partner CA\n+serialNumber=17\n",
    );
    shop.openssl("req -new -newkey rsa:3072 -nodes -keyout partner.key -config req.cnf -multivalue-rdn -out partner.csr");
    let error = shop.fails(3, "ca sign partner.csr --ca vault --out partner.pem");
    assert!(error.contains("not one common name") && error.contains("--keep-subject"), "{error}");
    let printed = shop.ok("ca sign partner.csr --ca vault --keep-subject --out partner.pem --format json");
    assert!(json(&printed)[0].to_string().contains("O=Acme\\\\, Ltd"), "{printed}");
    let name =
        |what: &str| shop.openssl(&format!("{what} -noout -subject -nameopt RFC2253,dump_all,dump_der"));
    assert_eq!(name("x509 -in partner.pem"), name("req -in partner.csr"));
    shop.openssl("verify -x509_strict -CAfile vault/root.pem partner.pem");
    shop.ok("ca import partner --certificate partner.pem --key partner.key");
    shop.ok("issue --ca partner --out out --device-id a");
    openssl_verifies(&shop, "vault/root.pem", "out/devices/a/cert.pem", &["partner/issuing.pem"]);
}

#[test]
fn the_names_below_a_ca_may_be_limited() {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only --name Vault");
    shop.ok("ca csr plant --name Plant");
    for (option, reason) in [
        ("--permit 10.0.0.0/8", "write `dns:"),
        ("--permit dn:O=Acme", "rustls"),
        ("--exclude ip:10.0.0.1/8", "bits behind"),
    ] {
        let error = shop.fails(2, &format!("ca sign plant/issuing.csr --ca vault --out plant.pem {option}"));
        assert!(error.contains(reason), "{error}");
    }
    shop.ok("ca sign plant/issuing.csr --ca vault --out plant.pem --permit dns:plant7.example --permit ip:10.0.0.0/8 --exclude ip:10.9.0.0/16");
    let shown = shop.openssl("x509 -in plant.pem -noout -text");
    for line in [
        "X509v3 Name Constraints: critical",
        "DNS:plant7.example",
        "IP:10.0.0.0/255.0.0.0",
        "IP:10.9.0.0/255.255.0.0",
    ] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    shop.ok("ca import plant --certificate plant.pem");
    shop.ok("issue --ca plant --out out --device-id a");
    openssl_verifies(&shop, "vault/root.pem", "out/devices/a/cert.pem", &["plant/issuing.pem"]);
    // Limits of a renewed CA stay.
    shop.ok("ca renew plant");
    shop.ok("ca sign plant/issuing.csr --ca vault --out again.pem");
}

#[test]
fn azure_device_registry_gets_a_root_and_its_own_ca_signed() {
    let shop = Shop::new();
    for (options, told) in [
        ("--root-only --key-type rsa3072", "a root with a key on P-256 or P-384, not RSA-3072"),
        ("--root-only --path-length 2", "a root with path length 1, not 2"),
        ("--root-only --days 365", "a root of more than 365 days"),
    ] {
        let error = shop.fails(3, &format!("ca init acme --for azure-device-registry {options}"));
        assert!(error.contains(told), "{error}");
        assert!(!shop.path("acme").exists());
    }
    shop.fails(2, "ca init acme --for azure-device-registry");
    shop.ok("ca init acme --root-only --for azure-device-registry --key-type p384 --name Acme");
    let shown = shop.openssl("x509 -in acme/root.pem -noout -text");
    assert!(shown.contains("CA:TRUE, pathlen:1"), "{shown}");
    assert!(shown.contains("Digital Signature, Certificate Sign, CRL Sign"), "{shown}");
    assert!(!shown.contains("Extended Key Usage") && shown.contains("ASN1 OID: secp384r1"), "{shown}");

    // The request as Azure makes it: an organisation and a common name that nobody may change.
    shop.openssl("req -new -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -keyout azure.key -sha384 -subj /O=Microsoft/CN=ns-4711.intermediate -out azure.csr");
    let error =
        shop.fails(3, "ca sign azure.csr --ca acme --for azure-device-registry --days 364 --out azure.pem");
    assert!(error.contains("fewer than 365 days"), "{error}");
    shop.ok("ca sign azure.csr --ca acme --for azure-device-registry --days 730 --out azure.pem");
    let name =
        |what: &str| shop.openssl(&format!("{what} -noout -subject -nameopt RFC2253,dump_all,dump_der"));
    assert_eq!(name("x509 -in azure.pem"), name("req -in azure.csr"));
    shop.openssl("verify -x509_strict -CAfile acme/root.pem azure.pem");
    assert!(shop.openssl("x509 -in azure.pem -noout -text").contains("CA:TRUE, pathlen:0"));
    assert!(shop.openssl("x509 -in azure.pem -noout -checkend 31536000").contains("will not expire"));

    shop.ok("ca init plain --root-only");
    let error = shop.fails(3, "ca sign azure.csr --ca plain --for azure-device-registry --out other.pem");
    assert!(error.contains("Azure Device Registry does not take it: its path length is not 1"), "{error}");
    shop.openssl("req -new -newkey rsa:2048 -nodes -keyout rsa.key -subj /CN=x -out rsa.csr");
    let error = shop.fails(3, "ca sign rsa.csr --ca acme --for azure-device-registry --out other.pem");
    assert!(error.contains("the key of the request is not on"), "{error}");
    let error = shop.fails(3, "ca rekey acme acme2");
    assert!(error.contains("the CA in `acme` can't be used: its path length is 1, too low"), "{error}");
    assert!(!error.contains(".new") && !shop.path("acme2").exists(), "{error}");
}

#[test]
fn a_renewed_ca_is_the_same_ca() {
    let shop = Shop::new();
    shop.ok("ca init short --days 400 --name Short");
    shop.ok("issue --ca short --out out --device-id a");
    let error = shop.fails(3, "ca renew short --days 100");
    assert!(error.contains("would end on"), "{error}");
    let before = fs::read_to_string(shop.path("short/issuing.pem")).unwrap();
    // The root ends first, so that it is renewed first.
    shop.ok("ca renew short --root --days 9000");
    shop.ok("ca renew short --days 5000");
    assert_ne!(fs::read_to_string(shop.path("short/issuing.pem")).unwrap(), before);
    let earlier: Vec<_> = fs::read_dir(shop.path("short"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("-until-"))
        .collect();
    assert_eq!(earlier.len(), 2, "{earlier:?}");
    // What was issued before stays good with either, and issuing goes on in the same folder.
    shop.ok("issue --ca short --out out --device-id b --days 1000");
    for leaf in ["a", "b"] {
        openssl_verifies(
            &shop,
            "short/root.pem",
            &format!("out/devices/{leaf}/cert.pem"),
            &["short/issuing.pem"],
        );
        shop.ok(&format!("verify out/devices/{leaf}/chain.pem --ca short"));
    }
    shop.write("old.pem", &before);
    openssl_verifies(&shop, "short/root.pem", "out/devices/a/cert.pem", &["old.pem"]);
    let listed = shop.ok("list --ca short --root");
    assert!(listed.contains("Issuing CA: replaced") && listed.contains("Issuing CA: current"), "{listed}");
}

#[test]
fn a_ca_whose_root_is_elsewhere_is_renewed_through_a_request() {
    let shop = vault_and_plant();
    shop.ok("issue --ca plant --out out --device-id a");
    shop.ok("ca renew plant");
    shop.ok("ca sign plant/issuing.csr --ca vault --keep-subject --days 5000 --out again.pem");
    shop.ok("ca import plant --certificate again.pem");
    shop.ok("issue --ca plant --out out --device-id b");
    openssl_verifies(&shop, "vault/root.pem", "out/devices/a/cert.pem", &["plant/issuing.pem"]);
    assert!(
        shop.fails(3, "ca import plant --certificate again.pem").contains("has this certificate already")
    );
}

#[test]
fn the_old_name_with_another_key_is_refused_by_whoever_is_asked() {
    let shop = vault_and_plant();
    let before = fs::read(shop.path("plant/issuing.pem")).unwrap();
    shop.ok("ca csr other --name Plant");
    let error = shop.fails(3, "ca sign other/issuing.csr --ca vault --out other.pem");
    assert!(error.contains("it has signed `CN=Plant Issuing CA` with another key"), "{error}");
    assert!(!shop.path("other.pem").exists());
    // A root that knows nothing of the first one signs it; the CA itself is not fooled.
    shop.ok("ca init second --root-only --name Vault");
    shop.ok("ca sign other/issuing.csr --ca second --out other.pem");
    let error = shop.fails(3, "ca import plant --certificate other.pem");
    assert!(
        error.contains("`CN=Plant Issuing CA` is for another key") && error.contains("ca rekey"),
        "{error}"
    );
    assert_eq!(fs::read(shop.path("plant/issuing.pem")).unwrap(), before);
    assert_eq!(json(&shop.ok("list --ca vault --format json")).len(), 1);
    // With the old one revoked, its name is free.
    shop.bash("cert-tool revoke --ca vault --name 'Plant Issuing CA' --reason superseded");
    shop.ok("ca sign other/issuing.csr --ca vault --out third.pem");
    let error = shop.fails(3, "ca rekey ca new --name Factory");
    assert!(error.contains("a CA with a new key needs a new name (--name)"), "{error}");
    assert!(!shop.path("new").exists());
}

#[test]
fn a_hold_is_released_and_a_revocation_is_not() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --out out --device-id a");
    shop.ok("revoke --ca ca --device-id a --reason certificateHold");
    assert!(shop.ok("find --ca ca --device-id a").contains("a: on hold"));
    assert!(shop.ok("ca crl ca --out ca.crl").contains("with 1 certificate,"));
    assert!(shop.openssl("crl -in ca.crl -noout -text").contains("Certificate Hold"));
    let released = shop.run("revoke --ca ca --device-id a --release");
    assert!(released.code == 0 && released.err.contains("enable it again"), "{}", released.err);
    assert!(!released.err.contains("disable the identity"), "{}", released.err);
    assert!(shop.ok("ca crl ca --out ca.crl").contains("list 2 with 0 certificates"));
    assert!(shop.run("revoke --ca ca --device-id a --release").err.contains("is not on hold"));
    // A hold may become final; then nothing releases it.
    shop.ok("revoke --ca ca --device-id a --reason certificateHold");
    shop.ok("revoke --ca ca --device-id a --reason keyCompromise");
    let error = shop.fails(3, "revoke --ca ca --device-id a --release");
    assert!(error.contains("is revoked for good; only `certificateHold` can be released"), "{error}");
    let said = shop.run("revoke --ca ca --device-id a --reason certificateHold");
    assert!(said.err.contains("was revoked before") && said.out.contains("a: revoked"), "{}", said.out);
}

#[test]
fn of_processes_that_sign_one_name_at_once_one_gets_it() {
    let shop = Shop::new();
    shop.ok("ca init world --root-only --name World");
    for round in 0..4 {
        for one in 0..4 {
            shop.ok(&format!("ca csr {round}-{one} --name Site-{round}"));
        }
        let sign = |one: usize| {
            shop.run(&format!("ca sign {round}-{one}/issuing.csr --ca world --out {round}-{one}.pem"))
        };
        let signed = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|one| scope.spawn(move || (one, sign(one)))).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        let (good, refused): (Vec<_>, Vec<_>) = signed.iter().partition(|(_, said)| said.code == 0);
        assert_eq!(
            good.len(),
            1,
            "round {round}: {:?}",
            signed.iter().map(|(_, said)| &said.err).collect::<Vec<_>>()
        );
        for (one, said) in refused {
            assert!(said.code == 3 && said.err.contains("with another key"), "{}", said.err);
            assert!(!shop.path(&format!("{round}-{one}.pem")).exists());
        }
    }
}

#[test]
fn a_key_that_is_found_compromised_later_gets_no_certificate_whatever_the_first_reason_was() {
    let shop = Shop::new();
    for (id, first) in [("a", ""), ("b", "--reason superseded"), ("c", "--reason cessationOfOperation")] {
        shop.ok(&format!("csr --device-id {id} --key-out {id}.key --out {id}.csr"));
        shop.ok(&format!("sign {id}.csr --ca ca --out signed"));
        shop.ok(&format!("revoke --ca ca --device-id {id} {first}"));
        let said = shop.run(&format!("revoke --ca ca --device-id {id} --reason keyCompromise"));
        assert!(said.code == 0 && !said.err.contains("was revoked before"), "{}", said.err);
        // No way back.
        shop.ok(&format!("revoke --ca ca --device-id {id} --reason superseded"));
        shop.write("again.csv", &format!("device_id,csr\n{id},{id}.csr\n"));
        let said = shop.fails(1, "issue --ca ca --from again.csv --out again --replace");
        assert!(said.contains("rule compromised_key"), "{said}");
    }
    shop.ok("ca crl ca --out ca.crl");
    let list = shop.openssl("crl -in ca.crl -noout -text");
    assert_eq!(list.matches("Key Compromise").count(), 3, "{list}");
}

#[test]
fn a_ca_whose_certificates_nobody_would_accept_is_not_imported() {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only --name Vault");
    let conf = |name: &str, extensions: &str| {
        shop.write(
            "ca.cnf",
            &format!("[req]\ndistinguished_name=dn\n[dn]\n[ca]\nsubjectKeyIdentifier=hash\n{extensions}\n"),
        );
        shop.openssl(&format!("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {name}.key -config ca.cnf -extensions ca -days 30 -subj /CN={name} -out {name}.pem"));
    };
    let usual = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";
    conf("critical", &format!("{usual}\n1.3.6.1.4.1.99999.1=critical,DER:0500"));
    conf("server", &format!("{usual}\nextendedKeyUsage=serverAuth"));
    conf("good", usual);
    conf("excluding", &format!("{usual}\nnameConstraints=critical,excluded;dirName:any\n[any]\n"));
    conf("permitting", &format!("{usual}\nnameConstraints=critical,permitted;dirName:acme\n[acme]\nO=Acme"));
    conf("others", &format!("{usual}\nnameConstraints=critical,excluded;dirName:acme\n[acme]\nO=Acme"));
    // A bit of the self-signature is another one.
    let text = shop.openssl("x509 -in good.pem -outform PEM");
    shop.openssl("x509 -in good.pem -outform DER -out good.der");
    let mut der = fs::read(shop.path("good.der")).unwrap();
    let last = der.len() - 1;
    der[last] ^= 1;
    fs::write(shop.path("damaged.pem"), &der).unwrap();
    shop.write("damaged.key", &fs::read_to_string(shop.path("good.key")).unwrap());
    shop.openssl("req -new -key good.key -subj /CN=past -out past.csr");
    shop.write("past.ext", usual);
    shop.openssl("x509 -req -in past.csr -key good.key -days -1 -extfile past.ext -out past.pem");
    shop.write("past.key", &fs::read_to_string(shop.path("good.key")).unwrap());
    for (name, told) in [
        ("critical", "1.3.6.1.4.1.99999.1"),
        ("server", "clientAuth"),
        ("damaged", "the self-signature of `CN=good` is not good"),
        ("past", "and the clock says"),
    ] {
        set_private(&shop, &format!("{name}.key"));
        let error = shop.fails(3, &format!("ca import new --certificate {name}.pem --key {name}.key"));
        assert!(error.contains(told), "{name}: {error}");
        assert!(!shop.path("new").exists(), "{name}: half a CA");
    }
    // Names of certificates depend on the devices and their profiles.
    for (name, warning) in [
        (
            "excluding",
            "CN=excluding: it may not give the directory name: its name constraints exclude a directory name",
        ),
        ("permitting", "its name constraints permit only a directory name"),
        ("others", ""),
    ] {
        set_private(&shop, &format!("{name}.key"));
        let said = shop.run(&format!("ca import {name} --certificate {name}.pem --key {name}.key"));
        assert_eq!(said.code, 0, "{name}: {}", said.err);
        let told = "warning: certificates of this CA may be refused: name constraints: ";
        assert_eq!(said.err.contains(told), !warning.is_empty(), "{name}: {}", said.err);
        assert!(said.err.contains(warning), "{name}: {}", said.err);
    }
    // A path length of 0 below one of 0.
    shop.ok("ca csr inner --name Inner");
    shop.write(
        "inner.ext",
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign",
    );
    shop.openssl("x509 -req -in inner/issuing.csr -CA ca/issuing.pem -CAkey ca/issuing.key -CAcreateserial -days 30 -extfile inner.ext -out inner.pem");
    let error =
        shop.fails(3, "ca import inner --certificate inner.pem --chain ca/issuing.pem --chain ca/root.pem");
    assert!(error.contains("chain: ") && error.contains("path length"), "{error}");
    assert!(!shop.path("inner/issuing.pem").exists());
    assert!(text.contains("BEGIN"));
    set_private(&shop, "good.key");
    shop.ok("ca import new --certificate good.pem --key good.key");
}

fn set_private(shop: &Shop, file: &str) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        fs::set_permissions(shop.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn what_a_ca_signs_says_where_its_list_and_its_certificate_are() {
    let shop = Shop::new();
    let error = shop.fails(2, "ca init plant --crl-url https://pki.acme.example/plant.crl");
    assert!(error.contains("must begin with `http://`") && !shop.path("plant").exists(), "{error}");
    shop.ok("ca init plant --root-crl-url http://pki.acme.example/root.crl --root-issuer-url http://pki.acme.example/root.crt --crl-url http://pki.acme.example/plant.crl");
    shop.ok("ca policy plant --crl-url http://a.example/1.crl --crl-url http://b.example/2.crl --issuer-url http://a.example/1.crt");
    let issuing = shop.openssl("x509 -in plant/issuing.pem -noout -text");
    for line in ["URI:http://pki.acme.example/root.crl", "CA Issuers - URI:http://pki.acme.example/root.crt"]
    {
        assert!(issuing.contains(line), "{line}: {issuing}");
    }
    shop.ok("issue --ca plant --out out --device-id a");
    let leaf = shop.openssl("x509 -in out/devices/a/cert.pem -noout -text");
    for line in [
        "URI:http://a.example/1.crl",
        "URI:http://b.example/2.crl",
        "CA Issuers - URI:http://a.example/1.crt",
    ] {
        assert!(leaf.contains(line), "{line}: {leaf}");
    }
    openssl_verifies(&shop, "plant/root.pem", "out/devices/a/cert.pem", &["plant/issuing.pem"]);
}

//! `cert-tool ca`.

use std::fs;
use std::path::Path;

use crate::support::Shop;

#[test]
fn a_ca_is_made_once_and_openssl_likes_it() {
    let shop = Shop::new();
    for key_type in ["p256", "p384", "rsa2048"] {
        let ca = format!("new-{key_type}");
        let said = shop.run_args(&["ca", "init", &ca, "--name", "Plant 7", "--key-type", key_type]);
        assert_eq!(said.code, 0, "{}", said.err);
        assert!(
            said.out.contains("CN=Plant 7 Root CA") && said.out.contains("CN=Plant 7 Issuing CA"),
            "{}",
            said.out
        );
        shop.openssl(&format!("verify -x509_strict -CAfile {ca}/root.pem {ca}/issuing.pem"));
    }
    let error = shop.fails(3, "ca init new-p256");
    assert!(error.contains("is already there"), "{error}");
    assert_eq!(shop.ok("ca show new-p256 --format json").lines().count(), 2);
}

#[test]
fn a_ca_that_is_not_there_is_told_from_one_that_is_open_to_all() {
    let shop = Shop::new();
    assert!(shop.fails(3, "ca show nowhere").contains("`nowhere`"));
    let error = shop.fails(2, "ca show");
    assert!(error.contains("Usage"), "{error}");
}

#[test]
#[cfg(unix)]
fn a_key_that_others_can_read_is_refused_with_the_remedy() {
    let shop = Shop::new();
    set_mode(&shop.path("ca/issuing.key"), 0o644);
    let error = shop.fails(3, "issue --ca ca --out out --device-id a");
    assert!(error.contains("hint: chmod 600 ca/issuing.key"), "{error}");
    assert!(!shop.path("out").exists());
}

#[test]
#[cfg(unix)]
fn an_encrypted_key_is_opened_by_file_or_environment_and_openssl_reads_it() {
    let shop = Shop::new();
    shop.write_secret("passphrase", "open sesame\n");
    shop.write_secret("wrong", "open barley\n");
    shop.ok("ca init locked --passphrase-file passphrase");
    let text = fs::read_to_string(shop.path("locked/issuing.key")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
    shop.openssl("pkey -in locked/issuing.key -passin file:passphrase -noout -check");
    assert!(shop.ok("ca show locked").contains("in a file, encrypted"));

    let error = shop.fails(3, "issue --ca locked --out out --device-id a");
    assert!(error.contains("the key in `locked/issuing.key` is locked"), "{error}");
    let error = shop.fails(3, "issue --ca locked --out out --device-id a --passphrase-file wrong");
    assert!(error.contains("does not open") && !error.contains("barley"), "{error}");
    assert!(!shop.path("out").exists());
    shop.ok("issue --ca locked --out out --device-id a --passphrase-file passphrase");
    let said = shop
        .run_with("issue --ca locked --out out --device-id b", &[("CERT_TOOL_PASSPHRASE", "open sesame")]);
    assert_eq!(said.code, 0, "{}", said.err);
    let said = shop.run_with("issue --ca locked --out out --device-id c", &[("CERT_TOOL_PASSPHRASE", "")]);
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("CERT_TOOL_PASSPHRASE is set but empty"), "{}", said.err);
}

#[test]
#[cfg(unix)]
fn a_passphrase_that_others_can_read_is_refused() {
    let shop = Shop::new();
    shop.write_secret("passphrase", "open sesame");
    set_mode(&shop.path("passphrase"), 0o644);
    let error = shop.fails(3, "ca init locked --passphrase-file passphrase");
    assert!(error.contains("hint: chmod 600 passphrase"), "{error}");
    assert!(!shop.path("locked").exists());
    // Nobody to ask, and nothing given.
    assert!(shop.fails(2, "ca init locked --encrypt").contains("--encrypt needs a passphrase"));
}

#[test]
fn an_offline_root_signs_the_issuing_ca_through_a_request() {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only --name Vault");
    assert!(!shop.path("vault/issuing.key").exists());
    shop.ok("ca csr plant --name Plant --key-type p384");
    let error = shop.fails(3, "issue --ca plant --out out --device-id a");
    assert!(error.contains("plant/issuing.pem"), "{error}");
    shop.ok("ca sign plant/issuing.csr --ca vault --out plant.pem --days 100");
    shop.ok("ca import plant --certificate plant.pem");
    let shown = shop.openssl("x509 -in plant/issuing.pem -noout -text");
    assert!(shown.contains("CA:TRUE, pathlen:0") && shown.contains("CN = Plant Issuing CA"), "{shown}");
    shop.ok("issue --ca plant --out out --device-id a");
    shop.openssl("verify -x509_strict -purpose sslclient -CAfile vault/root.pem -untrusted plant/issuing.pem out/devices/a/cert.pem");
    assert!(
        shop.fails(3, "ca import plant --certificate plant.pem").contains("has this certificate already")
    );
}

#[test]
fn a_root_signs_only_what_is_plainly_a_ca_s_request() {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only");
    shop.openssl("req -new -newkey rsa:1024 -nodes -keyout weak.pem -subj /CN=Weak -out weak.csr");
    shop.openssl("req -new -newkey rsa:2048 -nodes -keyout long.pem -subj /O=Acme/CN=Plant -out long.csr");
    for (file, reason) in
        [("weak.csr", "RSA with 1024 bits"), ("long.csr", "not one common name of 1 to 64 characters")]
    {
        let error = shop.fails(3, &format!("ca sign {file} --ca vault --out out.pem"));
        assert!(error.contains(reason), "{error}");
        assert!(!shop.path("out.pem").exists());
    }
}

#[test]
fn an_imported_ca_keeps_its_name_to_the_byte() {
    let shop = Shop::new();
    // Two units, a part with two values, and an old string type: all that encoders lose.
    shop.write(
        "ca.cnf",
        "[req]\ndistinguished_name=dn\nprompt=no\nx509_extensions=ca\nstring_mask=default\n[dn]\n0.OU=North\n1.OU=South\n\
         O=Ac\\xe9me\nCN=Old CA\n+serialNumber=17\n[ca]\nbasicConstraints=critical,CA:TRUE\n\
         keyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n",
    );
    shop.openssl("req -x509 -newkey rsa:3072 -nodes -keyout ca.key -config ca.cnf -days 300 -out old.pem -multivalue-rdn");
    let error = shop.fails(3, "ca import imported --certificate old.pem --key ca/issuing.key");
    assert!(error.contains("its key is not the one of its certificate"), "{error}");
    let error = shop.fails(2, "ca import imported --certificate old.pem --key missing.key");
    assert!(error.contains("missing.key") && !shop.path("imported").exists(), "{error}");
    shop.ok("ca import imported --certificate old.pem --key ca.key");
    shop.ok("issue --ca imported --out out --device-id a");
    shop.openssl("verify -x509_strict -purpose sslclient -CAfile old.pem out/devices/a/cert.pem");
    let name = |file: &str, what: &str| {
        shop.openssl(&format!("x509 -in {file} -noout -{what} -nameopt RFC2253,dump_all,dump_der"))
    };
    let (issuer, subject) = (name("out/devices/a/cert.pem", "issuer"), name("old.pem", "subject"));
    assert_eq!(issuer.strip_prefix("issuer="), subject.strip_prefix("subject="));
    assert!(subject.contains('+') && subject.matches("OU=").count() == 2, "{subject}");
}

#[test]
fn an_imported_chain_must_hang_together() {
    let shop = Shop::new();
    shop.ok("ca init vault --root-only");
    shop.ok("ca init stranger --root-only");
    shop.ok("ca csr plant");
    shop.ok("ca sign plant/issuing.csr --ca vault --out plant.pem");
    shop.openssl("x509 -in plant.pem -out alone.pem");
    let error = shop.fails(3, "ca import plant --certificate alone.pem --chain stranger/root.pem");
    assert!(error.contains("has not signed"), "{error}");
    assert!(!shop.path("plant/issuing.pem").exists());
    let error = shop.fails(3, "ca import plant --certificate ca/issuing.pem");
    assert!(error.contains("its key is not the one of its certificate"), "{error}");
    shop.ok("issue --ca ca --out out --device-id a");
    let error =
        shop.fails(3, "ca import leaf --certificate out/devices/a/cert.pem --key out/devices/a/key.pem");
    assert!(error.contains("not one of a CA"), "{error}");
    shop.ok("ca import plant --certificate alone.pem --chain vault/root.pem");
}

#[test]
#[cfg(unix)]
fn a_key_that_comes_encrypted_stays_encrypted() {
    let shop = Shop::new();
    shop.write_secret("passphrase", "open sesame");
    shop.openssl("pkcs8 -topk8 -in ca/issuing.key -out locked.key -passout file:passphrase");
    set_mode(&shop.path("locked.key"), 0o600);
    shop.ok("ca import copy --certificate ca/issuing.pem --chain ca/root.pem --key locked.key --passphrase-file passphrase");
    let text = fs::read_to_string(shop.path("copy/issuing.key")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{text}");
    shop.ok("issue --ca copy --out out --device-id a --passphrase-file passphrase");
}

#[test]
fn possession_is_proved_to_the_letter() {
    let shop = Shop::new();
    let code = "106A5SD242AF512B3498BD6098C4941E66R34H268DDB3288";
    shop.ok(&format!("ca prove ca --code {code} --out issuing-proof.pem"));
    shop.ok(&format!("ca prove ca --code {code} --root --out root-proof.pem"));
    for (ca, proof) in [("ca/issuing.pem", "issuing-proof.pem"), ("ca/root.pem", "root-proof.pem")] {
        shop.openssl(&format!("verify -x509_strict -partial_chain -CAfile {ca} {proof}"));
        let subject = shop.openssl(&format!("x509 -in {proof} -noout -subject -nameopt RFC2253"));
        assert_eq!(subject.trim(), format!("subject=CN={code}"));
    }
    let said = shop.run_args(&["ca", "prove", "ca", "--code", "two words", "--out", "bad.pem"]);
    assert!(said.code == 2 && said.err.contains("no space"), "{}", said.err);
}

#[test]
fn a_policy_holds_for_all_that_issue_and_names_its_rule() {
    let shop = Shop::new();
    let shown = shop.ok("ca policy ca --identities pump-[0-9]+(/.*)? --max-days 30 --key-types p256,rsa2048");
    assert!(shown.contains("identities pump-[0-9]+(/.*)?, max_days 30, key_types P-256 RSA-2048"), "{shown}");
    let error = shop.fails(3, "issue --ca ca --out out --device-id pump-1");
    assert!(error.contains("rule `max_days` allows 30 days, not 365") && error.contains("--days"), "{error}");
    let said = shop.run("issue --ca ca --out out --days 30 --device-id my-pump-1");
    assert!(said.code == 1 && said.err.contains("rule `identities`"), "{}", said.err);
    let said = shop.run("issue --ca ca --out out --days 30 --device-id pump-1 --key-type p384");
    assert!(said.code == 1 && said.err.contains("rule `key_types`"), "{}", said.err);
    shop.ok("issue --ca ca --out out --days 30 --device-id pump-1 --module-id m");

    shop.write("batch.csv", "device_id\npump-2\nvalve\n");
    let said = shop.run("issue --ca ca --out batch --days 30 --from batch.csv");
    assert!(said.code == 1 && said.out.starts_with("1 issued, 0 already there, 1 refused"), "{}", said.out);

    shop.ok("csr --device-id pump-3 --key-type p384 --key-out p384.pem --out p384.csr");
    let said = shop.run("sign p384.csr --ca ca --out signed --days 30");
    assert!(
        said.code == 1 && said.err.contains("its key is P-384, allowed are P-256, RSA-2048"),
        "{}",
        said.err
    );
    shop.ok("ca policy ca --clear");
    shop.ok("sign p384.csr --ca ca --out signed");
}

#[test]
fn a_policy_with_a_mistake_stops_issuing() {
    let shop = Shop::new();
    let said = shop.run("ca policy ca --identities (");
    assert!(said.code == 2 && said.err.contains("unclosed group"), "{}", said.err);
    fs::write(shop.path("ca/policy.toml"), "max_day = 3\n").unwrap();
    let error = shop.fails(3, "issue --ca ca --out out --device-id a");
    assert!(error.contains("policy.toml") && error.contains("max_day"), "{error}");
    // Two spellings of one OID would be two rules.
    fs::write(shop.path("ca/policy.toml"), "extensions = [\"1.3.6.1.4.01.55555.1\"]\n").unwrap();
    let error = shop.fails(3, "issue --ca ca --out out --device-id a");
    assert!(error.contains("write `1.3.6.1.4.1.55555.1`"), "{error}");
}

#[cfg(unix)]
#[test]
fn of_two_processes_that_make_a_ca_in_one_folder_one_succeeds() {
    let shop = Shop::new();
    for round in 0..6 {
        for (make, folder) in [("ca init", format!("made-{round}")), ("ca rekey ca", format!("next-{round}"))]
        {
            let command = |which| format!("{make} {folder} --name {folder}-{which}");
            let both = [1, 2].map(|which| shop.start_heard(&command(which)));
            let ended = both.map(|one| one.wait_with_output().unwrap());
            let codes = ended.each_ref().map(|one| one.status.code());
            assert!(codes == [Some(0), Some(3)] || codes == [Some(3), Some(0)], "{make} {folder}: {ended:?}");
            let lost = ended.iter().find(|one| !one.status.success()).unwrap();
            let said = String::from_utf8_lossy(&lost.stderr);
            assert!(said.contains("makes a CA in") || said.contains("already there"), "{said}");
            shop.ok(&format!("issue --ca {folder} --device-id d --out out-{folder}"));
        }
    }
}

#[cfg(unix)]
#[test]
fn a_file_of_a_ca_that_is_a_link_to_nothing_does_not_count_as_absent() {
    let shop = Shop::new();
    for file in ["policy.toml", "chain.pem"] {
        std::os::unix::fs::symlink("not-mounted", shop.path(&format!("ca/{file}"))).unwrap();
        let error = shop.fails(3, "issue --ca ca --out out --device-id a");
        assert!(error.contains("follow the link") && error.contains(file), "{error}");
        assert!(!shop.path("out").exists());
        fs::remove_file(shop.path(&format!("ca/{file}"))).unwrap();
    }
    shop.ok("issue --ca ca --out out --device-id a");
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_pfx_file_of_a_ca_is_taken_apart_as_the_message_says() {
    let shop = Shop::new();
    shop.ok("ca init other");
    shop.bash("openssl pkcs12 -export -in other/issuing.pem -inkey other/issuing.key -out ca.pfx -passout pass:secret");
    let said = shop.fails(3, "ca import new --certificate ca.pfx");
    let commands: Vec<String> =
        said.split('`').filter(|part| part.starts_with("openssl")).map(str::to_owned).collect();
    let [certificates, key] = commands.as_slice() else { panic!("{said}") };
    shop.bash(&format!("{certificates} -passin pass:secret"));
    shop.bash(&format!("{key} -passin pass:secret -passout pass:secret && chmod 600 ca.pfx.key"));
    shop.write_secret("passphrase", "secret\n");
    shop.ok("ca import new --certificate ca.pfx.pem --key ca.pfx.key --passphrase-file passphrase");
}

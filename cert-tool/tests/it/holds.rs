//! Certificates on hold: every door refuses them as such, and nothing but a release or a final revocation ends a
//! hold.

use crate::support::Shop;

fn held() -> Shop {
    let shop = Shop::new();
    shop.ok("issue --ca ca --out out --device-id a");
    shop.ok("issue --ca ca --out out --device-id b");
    shop.ok("revoke --ca ca --device-id a --reason certificateHold");
    shop
}

#[test]
fn a_certificate_on_hold_is_refused_as_such_at_every_door() {
    let shop = held();
    shop.ok("csr --device-id a --key-out a.key --out a.csr");
    shop.write("batch.csv", "device_id\na\n");
    for words in [
        "issue --ca ca --out out --device-id a",
        "issue --ca ca --out new --device-id a",
        "issue --ca ca --out new --device-id a --replace",
        "issue --ca ca --out new --from batch.csv --replace",
        "sign a.csr --ca ca --out new",
        "renew --ca ca --out new --device-id a",
        "renew --ca ca --out new --device-id a --same-key",
        "renew --ca ca --out new --from batch.csv",
        "bundle out --ca ca --hub h.azure-devices.net --device-id a --out new",
    ] {
        let told = shop.fails(1, words);
        assert!(told.contains("on hold (certificateHold) (rule on_hold)"), "{words}: {told}");
        assert!(told.contains("cert-tool revoke --ca CA --device-id ID --release"), "{words}: {told}");
        assert!(!told.contains("revoked"), "{words}: {told}");
        assert!(!shop.path("new").exists(), "{words}: nothing is begun");
    }
    let json = shop.run("issue --ca ca --out out --device-id a --format json").out;
    assert!(json.contains("\"rule\":\"on_hold\""), "{json}");
    assert_eq!(shop.ok("list --ca ca").lines().filter(|line| line.starts_with("a: ")).count(), 1);
}

#[test]
fn nobody_vouches_for_a_ca_on_hold() {
    let shop = Shop::new();
    shop.ok("issue --ca ca --out out --device-id a");
    shop.bash("cert-tool revoke --ca ca --root --name 'Factory Issuing CA' --reason certificateHold");
    for words in [
        "bundle out --ca ca --hub h.azure-devices.net --device-id a --out new",
        "bundle out --ca ca --hub h.azure-devices.net --all --out new",
        "ca prove ca --code abc --out new",
        "issue --ca ca --out new --device-id b",
    ] {
        let told = shop.fails(3, words);
        assert!(told.contains("it is on hold (certificateHold) since "), "{words}: {told}");
        assert!(!shop.path("new").exists(), "{words}: {told}");
        let command = told.split('`').find(|part| part.starts_with("cert-tool revoke")).unwrap();
        assert!(command.contains("--root --serial") && command.ends_with("--release"), "{command}");
    }
    shop.bash("cert-tool revoke --ca ca --root --name 'Factory Issuing CA' --release");
    shop.ok("bundle out --ca ca --hub h.azure-devices.net --device-id a --out new");
}

#[test]
fn no_pfx_file_is_written_for_what_is_refused() {
    let shop = held();
    shop.write("batch.csv", "device_id\na\nb\nc\n");
    shop.write_secret("password", "secret enough\n");
    let said =
        shop.run("issue --ca ca --out out --from batch.csv --sink folder --pfx pfx --password-file password");
    assert_eq!(said.code, 1, "{}", said.err);
    let files = |name: &str| shop.path("pfx/devices").join(format!("{name}.pfx")).exists();
    assert!(files("b") && files("c") && !files("a"), "{}", said.err);
}

#[test]
fn the_rest_of_a_bundle_is_made() {
    let shop = held();
    let words = "bundle out --all --ca ca --hub h.azure-devices.net --out bundles";
    let said = shop.run(words);
    assert_eq!(said.code, 1, "{}", said.err);
    assert!(said.out.contains("1 bundle made, 0 already there, 1 refused: bundles"), "{}", said.out);
    assert!(said.err.contains("refused: a: its certificate is on hold"), "{}", said.err);
    assert!(shop.path("bundles/devices/b").exists() && !shop.path("bundles/devices/a").exists());
    shop.ok("revoke --ca ca --device-id a --release");
    assert!(shop.ok(words).contains("1 bundle made, 1 already there: bundles"));
}

#[test]
fn what_is_left_out_of_a_renewal_because_of_a_hold_is_told() {
    let shop = held();
    for words in ["renew --ca ca --out new --within 400d", "expiring --ca ca --within 400d"] {
        let said = shop.run(words);
        assert_eq!(said.code, 0, "{}", said.err);
        let told = "1 certificate that ends by then is on hold (certificateHold) and left out, that of `a`";
        assert!(said.err.contains(told), "{words}: {}", said.err);
    }
    assert!(!shop.ok("list --ca ca").contains("a: current"));
}

#[test]
fn verify_reads_the_books_of_the_folder_of_a_ca() {
    let shop = held();
    let words = "verify out/devices/a/chain.pem --ca ca";
    let said = shop.run(words);
    assert_eq!(said.code, 1, "{}", said.out);
    let told = "revocation: FAILED: it is on hold (certificateHold) since ";
    assert!(said.out.contains(told) && said.out.contains("as the books in `ca` say"), "{}", said.out);
    // The command in the message is the way out.
    let command = said.out.split('`').find(|part| part.starts_with("cert-tool revoke")).unwrap().to_owned();
    shop.bash(&command);
    shop.ok(words);
    shop.ok("revoke --ca ca --device-id a --reason superseded");
    let said = shop.run(words);
    assert!(said.code == 1 && said.out.contains("FAILED: it was revoked on 2"), "{}", said.out);
    assert!(shop.run("verify out/devices/a/chain.pem out/devices/b/chain.pem --each --ca ca").code == 1);
    // A file with the root has no books.
    shop.ok("verify out/devices/a/chain.pem --ca ca/root.pem");
    shop.ok("verify out/devices/b/chain.pem --ca ca");
}

#[test]
fn a_hold_ends_by_a_release_or_for_good() {
    let shop = held();
    shop.ok("revoke --ca ca --device-id a --release");
    assert!(shop.ok("issue --ca ca --out out --device-id a").contains("already there"));
    shop.ok("renew --ca ca --out renewed --device-id a");
    shop.ok("revoke --ca ca --device-id a --reason certificateHold");
    shop.ok("revoke --ca ca --device-id a --reason superseded");
    let told = shop.fails(1, "issue --ca ca --out out --device-id a");
    assert!(told.contains("was revoked (rule revoked)"), "{told}");
    shop.ok("issue --ca ca --out new --device-id a --replace");
}

#[test]
fn a_ca_on_hold_neither_issues_nor_is_renewed() {
    let shop = Shop::new();
    shop.ok("ca init p --name P");
    shop.ok("issue --ca p --out out --device-id a");
    let revoke =
        |how: &str| shop.bash(&format!("cert-tool revoke --ca p --root --name 'P Issuing CA' {how}"));
    revoke("--reason certificateHold");
    for words in ["issue --ca p --out out --device-id b", "issue --ca p --out new --device-id b"] {
        let told = shop.fails(3, words);
        assert!(told.contains("the CA in `p` can't be used: its certificate: it is on hold"), "{told}");
        assert!(told.contains("cert-tool revoke --ca p --root --serial "), "{told}");
    }
    assert!(!shop.path("new").exists());
    let told = shop.fails(3, "ca renew p --days 5000");
    assert!(told.contains("rule `on_hold`") && told.contains("--name NAME"), "{told}");
    let said = shop.run("verify out/devices/a/chain.pem --ca p");
    assert!(
        said.code == 1 && said.out.contains("its issuer `CN=P Issuing CA`: it is on hold"),
        "{}",
        said.out
    );
    revoke("--release");
    shop.ok("issue --ca p --out out --device-id b");
    shop.ok("verify out/devices/b/chain.pem --ca p");
    revoke("--reason superseded");
    assert!(
        shop.fails(3, "issue --ca p --out out --device-id c")
            .contains("its certificate: it was revoked on 2")
    );
}

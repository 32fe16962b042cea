//! `cert-tool ca`.

use crate::support::Shop;

#[test]
fn a_ca_is_made_once_and_openssl_likes_it() {
    let shop = Shop::new();
    let said = shop.run_args(&["ca", "init", "new", "--name", "Plant 7", "--key-type", "p384"]);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.out.contains("CN=Plant 7 Root CA") && said.out.contains("CN=Plant 7 Issuing CA"),
        "{}",
        said.out
    );
    shop.openssl("verify -x509_strict -CAfile new/root.pem new/issuing.pem");
    let error = shop.fails(3, "ca init new");
    assert!(error.contains("is already there"), "{error}");
    assert_eq!(shop.ok("ca show new --format json").lines().count(), 2);
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
    use std::os::unix::fs::PermissionsExt;

    let shop = Shop::new();
    std::fs::set_permissions(shop.path("ca/issuing.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = shop.fails(3, "issue --ca ca --out out --device-id a");
    assert!(error.contains("hint: chmod 600 ca/issuing.key"), "{error}");
    assert!(!shop.path("out").exists());
}

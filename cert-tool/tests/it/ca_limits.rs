//! What the certificates of CAs limit, through renewals; and the names that they have alone.

use crate::support::Shop;

/// A root `w`, a limited CA `e` below it, and `p` below that, which has issued to a device.
fn three_tiers() -> Shop {
    let shop = Shop::new();
    shop.ok("ca init w --root-only --name W --path-length 2");
    shop.ok("ca csr e --name E");
    shop.ok("ca sign e/issuing.csr --ca w --path-length 1 --permit dns:ex.org --exclude ip:10.9.0.0/16 --out e.pem");
    shop.ok("ca import e --certificate e.pem");
    shop.ok("ca csr p --name P");
    shop.ok("ca sign p/issuing.csr --ca e --out p.pem");
    shop.ok("ca import p --certificate p.pem");
    shop.ok("issue --ca p --device-id d --out ip");
    shop
}

#[test]
fn a_renewed_ca_keeps_its_path_length_and_name_constraints() {
    let shop = three_tiers();
    let limits = |file: &str| {
        ["keyUsage", "basicConstraints", "nameConstraints"]
            .map(|name| shop.openssl(&format!("x509 -in {file} -noout -ext {name}")))
    };
    shop.ok("ca renew e");
    let said = shop.run("ca sign e/issuing.csr --ca w --keep-subject --out e2.pem");
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains(
            "the limits of its earlier certificate stay (path length: 1; name constraints: permitted `dns:ex.org`, \
             excluded `ip:10.9.0.0/16`)"
        ),
        "{}",
        said.err
    );
    assert_eq!(limits("e2.pem"), limits("e.pem"));
    let said = shop.run("ca import e --certificate e2.pem");
    assert!(said.code == 0 && !said.err.contains("warning"), "{}", said.err);
    shop.bash("cat e/issuing.pem p/issuing.pem > between.pem");
    shop.openssl(
        "verify -x509_strict -purpose sslclient -CAfile w/root.pem -untrusted between.pem ip/devices/d/cert.pem",
    );
}

#[test]
fn limits_that_a_renewal_changes_are_told_and_none_cuts_off_a_ca_below() {
    let shop = three_tiers();
    shop.ok("ca renew e");
    shop.ok("ca sign e/issuing.csr --ca w --keep-subject --path-length 0 --out short.pem");
    let before = shop.bash("cat e/issuing.pem");
    let error = shop.fails(3, "ca import e --certificate short.pem");
    assert!(
        error.contains("the path length of the new certificate is 0")
            && error.contains("`CN=P Issuing CA`")
            && error.contains("--path-length 1"),
        "{error}"
    );
    assert_eq!(shop.bash("cat e/issuing.pem"), before);
    // Options set other limits, which the import names.
    shop.ok(
        "ca sign e/issuing.csr --ca w --keep-subject --path-length 1 --permit dns:ex.net --out other.pem",
    );
    let said = shop.run("ca import e --certificate other.pem");
    let told = "its name constraints were: permitted `dns:ex.org`, excluded `ip:10.9.0.0/16`; they are now: permitted \
                `dns:ex.net`";
    assert!(said.code == 0 && said.err.contains(told), "{}", said.err);
    // Once the CA below is revoked, nothing is cut off.
    shop.bash("cert-tool revoke --ca e --name 'P Issuing CA' --reason certificateHold");
    shop.fails(3, "ca import e --certificate short.pem");
    shop.bash("cert-tool revoke --ca e --name 'P Issuing CA' --reason superseded");
    let said = shop.run("ca import e --certificate short.pem");
    assert!(said.code == 0 && said.err.contains("its path length was 1, and is 0 now"), "{}", said.err);
}

#[test]
fn a_ca_on_hold_keeps_its_name() {
    let shop = Shop::new();
    shop.ok("ca init w --root-only --name W");
    shop.ok("ca csr one --name P");
    shop.ok("ca csr two --name P");
    shop.ok("ca sign one/issuing.csr --ca w --out one.pem");
    let revoke = |reason: &str| {
        shop.bash(&format!("cert-tool revoke --ca w --name 'P Issuing CA' {reason}"));
    };
    revoke("--reason certificateHold");
    let error = shop.fails(3, "ca sign two/issuing.csr --ca w --out two.pem");
    assert!(error.contains("it is on hold, which can be released"), "{error}");
    assert!(!shop.path("two.pem").exists());
    revoke("--reason keyCompromise");
    shop.ok("ca sign two/issuing.csr --ca w --out two.pem");
}

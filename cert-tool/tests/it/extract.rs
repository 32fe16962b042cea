//! `cert-tool extract`.

use crate::support::Shop;

#[test]
fn what_comes_out_of_a_bundle_can_connect() {
    let shop = Shop::new();
    shop.write("batch.csv", "device_id,module_id\na,\nb,\nb,m\n");
    shop.ok("issue --ca ca --from batch.csv --out out");
    shop.ok("extract out --device-id b --module-id m --out taken");
    shop.openssl("verify -x509_strict -purpose sslclient -CAfile ca/root.pem -untrusted taken/chain.pem taken/cert.pem");
    assert_eq!(
        shop.openssl("pkey -in taken/key.pem -pubout"),
        shop.openssl("x509 -in taken/cert.pem -noout -pubkey")
    );
    let shown = shop.openssl("x509 -in taken/cert.pem -noout -subject -nameopt RFC2253");
    assert_eq!(shown.trim(), "subject=CN=b/m");
    assert!(shop.fails(2, "extract out --device-id c --out c").contains("`c` has no certificate"));
    assert!(shop.fails(3, "extract out --device-id a --out taken").contains("already there"));
}

//! Good certificates from untrusted CAs, or from CAs that are trusted only for other uses.

use super::{Cases, DATES, OK, RFC_5280, Verdict};
use crate::error::Error;
use crate::test_pki::encode::{
    KEY_USAGE, SERVER_AUTH, alternative_dns_name, basic_constraints, extended_key_usage, key_usage,
};
use crate::test_pki::family::{DAY, replace};
use crate::test_pki::keys::Key;

pub(super) fn add(cases: &mut Cases<'_>) -> Result<(), Error> {
    let family = cases.family;
    let device = ("device01", "device01");
    let verdict = |why, rule, openssl, webpki, cert_tool| Verdict { why, rule, openssl, webpki, cert_tool };
    let unknown = |why, openssl| verdict(why, RFC_5280, openssl, "UnknownIssuer", &["chain"]);
    let lost = "unable to get local issuer certificate";
    let made = cases.device("chain-missing", unknown("the issuing CA is not sent along", lost), |_| {})?;
    made.chain.clear();
    let other = family.ca_below(&family.other, "other-issuing", "Other Test Issuing CA", |_| {})?;
    cases.issued_by(&[&other], "wrong-ca", device, unknown("from a CA that nobody trusts", lost), |_| {})?;
    let rogue = Key::p256(family.seed, "self-signed")?;
    let made =
        cases.device("self-signed", unknown("signed with its own key", "self-signed certificate"), |_| {})?;
    made.chain.clear();
    let mut spec = family.leaf("self-signed", "device01", &family.issuing, &rogue);
    spec.issuer.clone_from(&spec.subject);
    spec.extensions.remove(0);
    made.leaf = spec.sign(&rogue);
    let forged = verdict(
        "signed by a CA that has the issuing CA's name, but not its key",
        RFC_5280,
        "certificate signature failure",
        "InvalidSignatureForPublicKey",
        &["chain"],
    );
    let made = cases.issued_by(&[&family.impostor], "impostor-ca", device, forged, |spec| {
        spec.extensions.remove(0);
    })?;
    made.chain = vec![family.issuing.der.clone()];

    let expired = family.ca_below(&family.root, "expired-ca", "Expired Test CA", |spec| {
        spec.not_after = family.at - DAY;
    })?;
    let over =
        verdict("its CA has ended", DATES, "certificate has expired", "CertExpired", &["chain", "dates"]);
    cases.issued_by(&[&expired], "expired-ca", device, over, |_| {})?;

    let below = family.ca_below(&family.issuing, "below-issuing", "Test CA below the issuing CA", |_| {})?;
    let long = verdict(
        "a CA below one that may have none below it (path length 0)",
        "RFC 5280 §4.2.1.9",
        "path length constraint exceeded",
        "PathLenConstraintViolated",
        &["chain"],
    );
    cases.issued_by(&[&below, &family.issuing], "path-length", device, long, |_| {})?;

    let no_ca = family.ca_below(&family.root, "leaf-issuer", "device02", |spec| {
        replace(spec, basic_constraints(false, None));
    })?;
    let no_issuer = verdict(
        "issued by a certificate that is no CA's",
        "RFC 5280 §6.1.4 (k)",
        "invalid CA certificate",
        "EndEntityUsedAsCa",
        &["chain"],
    );
    cases.issued_by(&[&no_ca], "issued-by-leaf", device, no_issuer, |_| {})?;

    let mute = family.ca_below(&family.root, "no-cert-sign", "Test CA that signs lists only", |spec| {
        spec.extensions.retain(|extension| extension.oid != KEY_USAGE);
        spec.extensions.push(key_usage(0x02, 7));
    })?;
    let may_not = verdict(
        "its CA may sign revocation lists only",
        "RFC 5280 §6.1.4 (n)",
        "invalid CA certificate",
        OK,
        &["chain"],
    );
    cases.issued_by(&[&mute], "no-cert-sign", device, may_not, |_| {})?;

    let servers = family.ca_below(&family.root, "server-ca", "Test CA for servers", |spec| {
        spec.extensions.push(extended_key_usage(SERVER_AUTH));
    })?;
    let for_servers = verdict(
        "its CA is for servers only",
        "RFC 5280 §4.2.1.12",
        "unsuitable certificate purpose",
        "RequiredEkuNotFoundContext",
        &["usage"],
    );
    cases.issued_by(&[&servers], "ca-for-servers", device, for_servers, |_| {})?;

    let names = |why, cert_tool| {
        verdict(
            why,
            "RFC 5280 §4.2.1.10",
            "permitted subtree violation",
            "NameConstraintViolation",
            cert_tool,
        )
    };
    let plant = family.plant_ca()?;
    cases.issued_by(
        &[&plant],
        "name-constraints",
        device,
        names("its CA may name only what is below O=Plant 7", &["name constraints"]),
        |_| {},
    )?;
    let domain = family.domain_ca()?;
    let outside = names("its CA may name only what is below factory.example", &["chain", "name constraints"]);
    cases.issued_by(&[&domain], "name-constraints-dns", device, outside, |spec| {
        spec.extensions.push(alternative_dns_name("device01.other.example"));
    })?;
    Ok(())
}

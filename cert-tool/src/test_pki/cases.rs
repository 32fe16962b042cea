//! The cases: each a good certificate with one thing changed.

mod chains;
mod content;

use super::encode::{COMMON_NAME, Hash, ORGANIZATION, Spec, key_usage, name};
use super::family::{Ca, FORGED_LIST, Family, LIST, REVOKED, STALE_LIST, replace};
use super::keys::{Key, RSA_2048};
use super::{CERTIFICATE_FILE, KEY_FILE, TestCase};
use crate::error::Error;

/// A case with its bytes.
pub(super) struct BuiltCase {
    pub(super) case: TestCase,
    pub(super) leaf: Vec<u8>,
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) key: Key,
}

/// All cases, the good ones first.
pub(super) fn all(family: &Family) -> Result<Vec<BuiltCase>, Error> {
    let mut cases = Cases { family, made: Vec::new() };
    good(&mut cases)?;
    wrong_names(&mut cases)?;
    content::add(&mut cases)?;
    wrong_signatures(&mut cases)?;
    chains::add(&mut cases)?;
    revocation(&mut cases)?;
    Ok(cases.made)
}

struct Cases<'a> {
    family: &'a Family,
    made: Vec<BuiltCase>,
}

/// The expected verdict on a case.
struct Verdict {
    why: &'static str,
    rule: &'static str,
    openssl: &'static str,
    webpki: &'static str,
    cert_tool: &'static [&'static str],
}

impl Cases<'_> {
    /// A certificate for `device01` from the issuing CA, changed before it is signed.
    fn device(
        &mut self,
        name: &str,
        verdict: Verdict,
        change: impl FnOnce(&mut Spec),
    ) -> Result<&mut BuiltCase, Error> {
        self.subject(name, "device01", "device01", verdict, change)
    }

    /// The same for a different identity and common name.
    fn subject(
        &mut self,
        name: &str,
        identity: &str,
        subject: &str,
        verdict: Verdict,
        change: impl FnOnce(&mut Spec),
    ) -> Result<&mut BuiltCase, Error> {
        let issuer = &self.family.issuing;
        self.issued_by(&[issuer], name, (identity, subject), verdict, change)
    }

    /// The same below other CAs, the first of which issues it. The certificates of all are sent.
    fn issued_by(
        &mut self,
        chain: &[&Ca],
        name: &str,
        (identity, subject): (&str, &str),
        verdict: Verdict,
        change: impl FnOnce(&mut Spec),
    ) -> Result<&mut BuiltCase, Error> {
        let key = Key::p256(self.family.seed, name)?;
        let issuer = chain.first().copied().unwrap_or(&self.family.issuing);
        let mut spec = self.family.leaf(name, subject, issuer, &key);
        change(&mut spec);
        self.made.push(BuiltCase {
            leaf: spec.sign(&issuer.key),
            chain: chain.iter().map(|ca| ca.der.clone()).collect(),
            key,
            case: TestCase {
                name: name.to_owned(),
                accept: verdict.cert_tool.is_empty(),
                identity: identity.to_owned(),
                why: verdict.why,
                rule: verdict.rule,
                certificate: format!("{name}/{CERTIFICATE_FILE}"),
                key: format!("{name}/{KEY_FILE}"),
                crls: Vec::new(),
                openssl: verdict.openssl,
                webpki: verdict.webpki,
                cert_tool: verdict.cert_tool,
            },
        });
        self.made.last_mut().ok_or(Error::Crypto("making the test PKI"))
    }
}

fn good(cases: &mut Cases<'_>) -> Result<(), Error> {
    let fine = |why| Verdict { why, rule: RFC_5280, openssl: OK, webpki: OK, cert_tool: &[] };
    cases.device("device", fine("a device"), |_| {})?;
    let module = "device01/module01";
    cases.subject("module", module, module, fine("a module: its name has a slash"), |_| {})?;
    let longest = "d".repeat(64);
    cases.subject(
        "device-64",
        &longest,
        &longest,
        fine("a common name of 64 characters, the most"),
        |_| {},
    )?;
    let odd = "a*b@c_d!e?f%20#+";
    cases.subject("device-odd-characters", odd, odd, fine("every character is one of an id"), |_| {})?;
    let p384 = Key::p384(cases.family.seed, "device-p384")?;
    let made = cases.device("device-p384", fine("a key on P-384"), with_key(&p384))?;
    made.key = p384;
    let rsa = Key::rsa(RSA_2048)?;
    let made = cases.device("device-rsa-2048", fine("an RSA key"), |spec| {
        with_key(&rsa)(spec);
        replace(spec, key_usage(0xa0, 3));
    })?;
    made.key = rsa;
    let made = cases.device(
        "device-not-revoked",
        fine("a revocation list covers it, and does not name it"),
        |_| {},
    )?;
    made.case.crls = vec![LIST.to_owned()];
    cases.device(
        "device-no-expiry",
        fine("good for ever, as IEEE 802.1AR has it: 99991231235959Z"),
        |spec| {
            // The one moment of which RFC 5280 §4.1.2.5 says that it is none.
            spec.not_after = time::macros::datetime!(9999-12-31 23:59:59 UTC);
        },
    )?;
    Ok(())
}

fn wrong_names(cases: &mut Cases<'_>) -> Result<(), Error> {
    let hub = |why| Verdict { why, rule: IDENTITY, openssl: OK, webpki: OK, cert_tool: &["common name"] };
    cases.subject("wrong-cn", "device01", "device02", hub("it is another device's"), |_| {})?;
    cases.subject("wrong-case-cn", "device01", "Device01", hub("ids are case-sensitive"), |_| {})?;
    let module = "device01/module01";
    cases.subject(
        "module-with-cn-of-device",
        module,
        "device01",
        hub("it is the device's, not the module's"),
        |_| {},
    )?;
    cases.subject(
        "device-with-cn-of-module",
        "device01",
        module,
        hub("it is a module's, not the device's"),
        |_| {},
    )?;
    let names = |names: Vec<&'static [u8]>| {
        move |spec: &mut Spec| {
            let names: Vec<_> = names.iter().map(|value| (COMMON_NAME, *value)).collect();
            spec.subject = name(&names);
        }
    };
    cases.device(
        "two-cns",
        hub("two common names, the second is right"),
        names(vec![b"device02", b"device01"]),
    )?;
    cases.device("empty-cn", hub("an empty common name"), names(vec![b""]))?;
    cases.device("cn-with-nul", hub("a NUL in the name, which C stops at"), names(vec![b"device01\0x"]))?;
    // OpenSSL can't even read it, and goes on with what follows in the file.
    let unread = Verdict { openssl: "verification failed", ..hub("a name that is no UTF-8") };
    cases.device("cn-not-utf8", unread, names(vec![b"device01\xff"]))?;
    cases.device("no-cn", hub("a subject without a common name"), |spec| {
        spec.subject = name(&[(ORGANIZATION, b"Factory")]);
    })?;
    let long = "d".repeat(65);
    let verdict =
        Verdict { rule: "RFC 5280 appendix A.1 (ub-common-name)", ..hub("a common name of 65 characters") };
    cases.subject("cn-65", &long, &long, verdict, |_| {})?;
    Ok(())
}

fn wrong_signatures(cases: &mut Cases<'_>) -> Result<(), Error> {
    let forged = |why| Verdict {
        why,
        rule: "RFC 5280 §6.1.3 (a)(1)",
        openssl: "certificate signature failure",
        webpki: "InvalidSignatureForPublicKey",
        cert_tool: &["chain"],
    };
    let made = cases.device("bad-signature", forged("one bit of the signature is another"), |_| {})?;
    if let Some(last) = made.leaf.last_mut() {
        *last ^= 1;
    }
    let made =
        cases.device("altered", forged("altered after it was signed: device02 became device01"), |spec| {
            spec.subject = name(&[(COMMON_NAME, b"device02")]);
        })?;
    let position = made.leaf.windows(8).position(|window| window == b"device02");
    if let Some(digit) = position.and_then(|start| made.leaf.get_mut(start + 7)) {
        *digit = b'1';
    }
    cases.device(
        "sha1-signature",
        Verdict {
            why: "signed with SHA-1",
            rule: "RFC 9155",
            openssl: "CA signature digest algorithm too weak",
            webpki: "UnsupportedSignatureAlgorithmContext",
            cert_tool: &["chain", "signature"],
        },
        |spec| spec.hash = Hash::Sha1,
    )?;
    let swapped = Key::p256(cases.family.seed, "swapped")?;
    let made = cases.device(
        "swapped-key",
        Verdict {
            why: "good, but the client has another key: the handshake must fail",
            rule: "RFC 8446 §4.4.3",
            openssl: OK,
            webpki: OK,
            cert_tool: &["private key"],
        },
        |_| {},
    )?;
    made.key = swapped;
    Ok(())
}

fn revocation(cases: &mut Cases<'_>) -> Result<(), Error> {
    let verdict = |why, openssl, webpki| Verdict {
        why,
        rule: "RFC 5280 §6.3",
        openssl,
        webpki,
        cert_tool: &["revocation"],
    };
    let revoked = verdict("its CA has revoked it", "certificate revoked", "CertRevoked");
    cases.device(REVOKED, revoked, |_| {})?.case.crls = vec![LIST.to_owned()];
    let stale = verdict("the revocation list is too old to say", "CRL has expired", "CrlExpired");
    cases.device("stale-list", stale, |_| {})?.case.crls = vec![STALE_LIST.to_owned()];
    let forged = verdict(
        "the revocation list is signed with another key",
        "unable to get certificate CRL",
        "InvalidCrlSignatureForPublicKey",
    );
    cases.device("forged-list", forged, |_| {})?.case.crls = vec![FORGED_LIST.to_owned()];
    Ok(())
}

fn with_key(key: &Key) -> impl FnOnce(&mut Spec) + use<> {
    let (info, id) = (key.info().to_vec(), key.id().to_vec());
    move |spec| {
        spec.key_info = info;
        replace(spec, super::encode::subject_key_id(&id));
    }
}

const OK: &str = "OK";
const RFC_5280: &str = "RFC 5280 §6.1";
const DATES: &str = "RFC 5280 §4.1.2.5";
const IDENTITY: &str = "IoT Hub: the common name is the device id, or device/module";

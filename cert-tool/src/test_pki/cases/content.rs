//! Certificates with forbidden content, from the right CA.

use super::{Cases, DATES, OK, Verdict, with_key};
use crate::error::Error;
use crate::test_pki::encode::{
    EXTENDED_KEY_USAGE, Extension, SERVER_AUTH, basic_constraints, extended_key_usage, key_usage,
};
use crate::test_pki::family::{DAY, YEARS_10, replace};
use crate::test_pki::keys::{Key, RSA_1024};

pub(super) fn add(cases: &mut Cases<'_>) -> Result<(), Error> {
    let at = cases.family.at;
    cases.device(
        "expired",
        Verdict {
            why: "it ended a day before",
            rule: DATES,
            openssl: "certificate has expired",
            webpki: "CertExpired",
            cert_tool: &["dates"],
        },
        |spec| {
            spec.not_before = at - DAY * 30;
            spec.not_after = at - DAY;
        },
    )?;
    cases.device(
        "not-yet-valid",
        Verdict {
            why: "it begins ten years later",
            rule: DATES,
            openssl: "certificate is not yet valid",
            webpki: "CertNotValidYet",
            cert_tool: &["dates"],
        },
        |spec| {
            spec.not_before = at + YEARS_10;
            spec.not_after = at + YEARS_10 + DAY;
        },
    )?;
    let usage = |why| Verdict {
        why,
        rule: "RFC 5280 §4.2.1.12",
        openssl: "unsuitable certificate purpose",
        webpki: "RequiredEkuNotFoundContext",
        cert_tool: &["usage"],
    };
    cases.device("server-only", usage("for servers only"), |spec| {
        replace(spec, extended_key_usage(SERVER_AUTH));
    })?;
    let why = "it has no extended key usage, so it is for every purpose";
    let verdict = Verdict { openssl: OK, webpki: OK, cert_tool: &[], ..usage(why) };
    cases.device("no-client-auth", verdict, |spec| {
        spec.extensions.retain(|it| it.oid != EXTENDED_KEY_USAGE)
    })?;
    let verdict = Verdict { rule: "RFC 5280 §4.2.1.3", webpki: OK, ..usage("its key is not for signing") };
    cases.device("no-digital-signature", verdict, |spec| replace(spec, key_usage(0x20, 3)))?;
    cases.device(
        "ca-true",
        Verdict {
            why: "it is a CA's: it could issue others",
            rule: "RFC 5280 §4.2.1.9",
            openssl: OK,
            webpki: "CaUsedAsEndEntity",
            cert_tool: &["chain", "not a CA"],
        },
        |spec| {
            replace(spec, basic_constraints(true, None));
            replace(spec, key_usage(0x86, 7));
        },
    )?;
    let weak = Key::rsa(RSA_1024)?;
    let made = cases.device(
        "weak-key",
        Verdict {
            why: "RSA with 1024 bits",
            rule: "NIST SP 800-131A",
            openssl: "EE certificate key too weak",
            webpki: OK,
            cert_tool: &["key"],
        },
        with_key(&weak),
    )?;
    made.key = weak;
    let unknown = Extension { oid: &[1, 3, 6, 1, 4, 1, 311, 999, 1], is_critical: true, value: vec![5, 0] };
    cases.device(
        "unknown-critical-extension",
        Verdict {
            why: "a critical extension that nobody knows",
            rule: "RFC 5280 §4.2",
            openssl: "unhandled critical extension",
            webpki: "UnsupportedCriticalExtension",
            cert_tool: &["chain", "extensions"],
        },
        |spec| spec.extensions.push(unknown),
    )?;
    cases.device(
        "extension-twice",
        Verdict {
            why: "key usage is there twice, and says two things",
            rule: "RFC 5280 §4.2",
            openssl: "unable to get local issuer certificate",
            webpki: "ExtensionValueInvalid",
            cert_tool: &["chain", "extensions"],
        },
        |spec| spec.extensions.push(key_usage(0x06, 7)),
    )?;
    cases.device(
        "version-1",
        Verdict {
            why: "of version 1: it has no extensions",
            rule: "RFC 5280 §4.1.2.1",
            openssl: OK,
            webpki: "UnsupportedCertVersion",
            cert_tool: &["chain"],
        },
        |spec| {
            spec.version = 0;
            spec.extensions.clear();
        },
    )?;
    let serial = |why| Verdict {
        why,
        rule: "RFC 5280 §4.1.2.2",
        openssl: OK,
        webpki: OK,
        cert_tool: &["serial number"],
    };
    cases
        .device("serial-negative", serial("a negative serial number"), |spec| spec.serial = vec![0x80, 1])?;
    cases.device("serial-21-bytes", serial("a serial number of 21 bytes"), |spec| {
        spec.serial = vec![0x41; 21]
    })?;
    Ok(())
}

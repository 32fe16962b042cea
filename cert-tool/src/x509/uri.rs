//! URIs in certificates (RFC 3986; RFC 5280 §4.2.1.6, §4.2.1.13, §4.2.2.1).

use fluent_uri::component::{Authority, Host};
use fluent_uri::{ParseErrorKind, Uri};

use crate::x509::dns_name;

/// Checks a URI that is an alternative name: absolute, and with a whole host where it has one.
pub(crate) fn check_name(text: &str) -> Result<(), String> {
    let uri = parse(text)?;
    match uri.authority() {
        Some(authority) => check_authority(authority),
        None if uri.path().as_str().is_empty() && uri.query().is_none() => {
            Err("nothing stands behind its scheme".to_owned())
        }
        None => Ok(()),
    }
}

/// Checks the address of a revocation list, a certificate or a responder, which everybody fetches.
pub(crate) fn check_address(text: &str) -> Result<(), String> {
    let uri = parse(text)?;
    match uri.scheme().as_str() {
        "http" => {}
        scheme if scheme.eq_ignore_ascii_case("https") => {
            let reason = "it must begin with `http://`: who checks the certificate of an https server needs this \
                          address first (RFC 5280 §8)";
            return Err(reason.to_owned());
        }
        _ => {
            return Err(
                "it must begin with `http://`, which all programs can fetch (RFC 5280 §4.2.1.13)".to_owned()
            );
        }
    }
    let Some(authority) = uri.authority() else { return Err("it has no host".to_owned()) };
    check_authority(authority)?;
    if authority.has_userinfo() {
        return Err(
            "it has a user name: everybody fetches it, and everybody can read the certificate".to_owned()
        );
    }
    match uri.fragment() {
        Some(_) => Err("it has a fragment (`#`), which is never sent to a server".to_owned()),
        None => Ok(()),
    }
}

fn parse(text: &str) -> Result<Uri<&str>, String> {
    Uri::parse(text).map_err(|error| {
        let other = text.get(error.index()..).and_then(|rest| rest.chars().next());
        if text.find(':').is_none_or(|end| error.index() < end) {
            return "it has no scheme, such as `http:`".to_owned();
        }
        let is_in_brackets =
            text.get(..error.index()).is_some_and(|before| before.rfind('[') > before.rfind(']'));
        match (error.kind(), other) {
            (ParseErrorKind::InvalidPctEncodedOctet, _) => {
                "a `%` in it is not followed by two hex digits".to_owned()
            }
            (ParseErrorKind::InvalidIpv6Addr, _) => NO_IPV6.to_owned(),
            _ if is_in_brackets => NO_IPV6.to_owned(),
            (_, None) => "it ends too early".to_owned(),
            (_, Some(char)) => format!(
                "it has the character U+{:04X} at a place where it must be written as `%` and two hex digits",
                u32::from(char)
            ),
        }
    })
}

const NO_IPV6: &str = "what it has in brackets is not an IPv6 address";

/// Checks that an authority has a whole host (RFC 5280 §4.2.1.6), a port that exists and no password.
fn check_authority(authority: Authority<'_>) -> Result<(), String> {
    if authority.userinfo().is_some_and(|user| user.as_str().contains(':')) {
        return Err("it has a password, which everybody can read in the certificate".to_owned());
    }
    if !matches!(authority.port_to_u16(), Ok(None | Some(1..))) {
        return Err("its port is not a number from 1 to 65535".to_owned());
    }
    match authority.host_parsed() {
        Host::RegName(name) if name.as_str().is_empty() => Err("it has no host".to_owned()),
        Host::RegName(name) => dns_name::check(name.as_str()),
        Host::IpvFuture { .. } => Err("its host is an IP address of an unknown version".to_owned()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_absolute_and_have_whole_hosts() {
        for good in [
            "https://a.example/x?y#z",
            "https://u@10.0.0.1:8443/",
            "coaps://[fd00::1]:5684/x",
            "urn:acme:gw-1",
            "spiffe://acme.example/plant-7/gw-1",
            "file://nas.acme.example/a",
            "a:b",
            "http://pki/a%20b",
        ] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for (bad, told) in
            BAD_EVERYWHERE.iter().chain(&[("urn:", "nothing stands"), ("file:///a", "no host")])
        {
            let reason = check_name(bad).unwrap_err();
            assert!(reason.contains(told), "{bad}: {reason}");
        }
    }

    #[test]
    fn only_addresses_that_everybody_can_fetch_are_taken() {
        for good in
            ["http://pki.acme.example/plant7.crl", "http://10.0.0.1:8080/a%20b?x=1", "http://[fd00::1]/a"]
        {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        let more = [
            ("https://pki.acme.example/a.crl", "must begin with `http://`: who checks"),
            ("HTTPS://pki.acme.example/a.crl", "must begin with `http://`: who checks"),
            ("HTTP://pki.acme.example/a.crl", "must begin with `http://`"),
            ("ldap://dir.acme.example/cn=a", "must begin with `http://`"),
            ("file:///etc/passwd", "must begin with `http://`"),
            ("urn:a:b", "must begin with `http://`"),
            ("http:a.crl", "no host"),
            ("http://u@pki/a.crl", "user name"),
            ("http://pki/a.crl#x", "fragment"),
        ];
        for (bad, told) in BAD_EVERYWHERE.iter().chain(&more) {
            let reason = check_address(bad).unwrap_err();
            assert!(reason.contains(told), "{bad}: {reason}");
        }
    }

    const BAD_EVERYWHERE: &[(&str, &str)] = &[
        ("", "no scheme"),
        ("pki.acme.example/a.crl", "no scheme"),
        ("//pki/a", "no scheme"),
        ("http://pki/a b.crl", "U+0020"),
        ("http://pki/é.crl", "U+00E9"),
        ("http://pkié/a", "U+00E9"),
        ("http://pki/a\u{1b}[2J", "U+001B"),
        ("http://pki/a\nb", "U+000A"),
        ("http://pki/%4", "two hex digits"),
        ("http://pki/%zz", "two hex digits"),
        ("http://pki%2eexample/a", "`pki%2eexample`"),
        ("http:///a.crl", "no host"),
        ("http://:80/a.crl", "no host"),
        ("http://u:p@pki/a.crl", "password"),
        ("http://pki:0/a", "port"),
        ("http://pki:99999/a", "port"),
        ("http://[fd00::zz]/a", "IPv6"),
        ("http://127.1/a", "IP address"),
        ("http://-a-/x", "not a DNS name"),
        ("http://a..b/x", "not a DNS name"),
    ];
}

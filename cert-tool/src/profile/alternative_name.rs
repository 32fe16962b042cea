//! [`AlternativeNames`]: the subject alternative names of a profile (RFC 5280 §4.2.1.6) as templates.

use std::collections::HashSet;
use std::net::IpAddr;

use super::columns::RowValues;
use super::der;
use super::template::Template;
use crate::policy::{NameKind, Policy};

/// A name as a template, and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct NameTemplate {
    pub(crate) kind: NameKind,
    pub(crate) value: Template,
    /// The line of the file.
    pub(crate) line: usize,
}

impl NameKind {
    /// Appends a name as a `GeneralName`, or says why it is not one.
    pub(crate) fn encode(self, name: &str, out: &mut Vec<u8>) -> Result<(), String> {
        if name.trim().is_empty() {
            return Err("it yields nothing".to_owned());
        }
        match self {
            Self::Dns => {
                check_dns(name)?;
                der::push(out, DNS_NAME, name.as_bytes());
            }
            Self::Uri => {
                check_uri(name)?;
                der::push(out, URI, name.as_bytes());
            }
            Self::Ip => match parse_ip(name)? {
                IpAddr::V4(address) => der::push(out, IP_ADDRESS, &address.octets()),
                IpAddr::V6(address) => der::push(out, IP_ADDRESS, &address.octets()),
            },
        }
        Ok(())
    }
}

/// Appends the names of a row as `GeneralNames`; an error comes with the line of the template.
pub(crate) fn render(
    names: &[NameTemplate],
    row: RowValues<'_>,
    policy: &Policy,
    value: &mut String,
    out: &mut Vec<u8>,
) -> Result<(), (NameKind, usize, String)> {
    der::wrap(out, der::SEQUENCE, |out| {
        let mut seen = HashSet::new();
        for name in names {
            let fault = |reason| (name.kind, name.line, reason);
            value.clear();
            name.value.render(row, value).map_err(fault)?;
            name.kind.encode(value, out).map_err(fault)?;
            policy.check_name(name.kind, value).map_err(fault)?;
            if names.len() > 1 && !seen.insert(value.to_ascii_lowercase()) {
                return Err(fault(format!("`{value}` stands there twice")));
            }
        }
        Ok(())
    })
}

/// Checks a name of the preferred syntax (RFC 5280 §4.2.1.6, RFC 1123 §2.1).
fn check_dns(name: &str) -> Result<(), String> {
    if name.starts_with("*.") || name == "*" {
        return Err(format!("`{name}` is a wildcard, which stands for other machines too"));
    }
    if !name.is_ascii() {
        return Err(format!("`{name}` is not ASCII: write its `xn--` form"));
    }
    if name.len() > 253 {
        return Err(format!("`{name}` has {} characters, DNS allows 253", name.len()));
    }
    if name.parse::<IpAddr>().is_ok() {
        return Err(format!("`{name}` is an IP address: write it under `ip`"));
    }
    for label in name.split('.') {
        let is_label = (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !is_label {
            return Err(format!(
                "`{name}` is not a DNS name: `{label}` is not 1 to 63 letters, digits and inner hyphens"
            ));
        }
    }
    Ok(())
}

/// Checks an absolute URI (RFC 3986 §3); its host, if it has one, must be whole (RFC 5280 §4.2.1.6).
pub(crate) fn check_uri(uri: &str) -> Result<(), String> {
    let bad = |reason: &str| format!("`{uri}` is not an absolute URI: {reason}");
    let (scheme, rest) = uri.split_once(':').ok_or_else(|| bad("it has no scheme"))?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    if !is_scheme {
        return Err(bad("it has no scheme"));
    }
    if let Some(other) = uri.chars().find(|char| !char.is_ascii_graphic() || "\"<>\\^`{|}".contains(*char)) {
        return Err(bad(&format!("it has the character U+{:04X}", u32::from(other))));
    }
    let Some(after) = rest.strip_prefix("//") else {
        return if rest.is_empty() { Err(bad("nothing stands behind its scheme")) } else { Ok(()) };
    };
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    if host.parse::<IpAddr>().is_ok() { Ok(()) } else { check_dns(host).map_err(|reason| bad(&reason)) }
}

fn parse_ip(name: &str) -> Result<IpAddr, String> {
    let address: IpAddr = name.parse().map_err(|_| format!("`{name}` is not an IP address"))?;
    if address.is_unspecified() || address.is_multicast() || name == "255.255.255.255" {
        return Err(format!("`{name}` is not the address of one machine"));
    }
    Ok(address)
}

const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(kind: NameKind, name: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        kind.encode(name, &mut out).map(|()| out)
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded(NameKind::Dns, "a.b").unwrap(), b"\x82\x03a.b");
        assert_eq!(encoded(NameKind::Uri, "urn:x:1").unwrap(), b"\x86\x07urn:x:1");
        assert_eq!(encoded(NameKind::Ip, "10.0.0.1").unwrap(), [0x87, 4, 10, 0, 0, 1]);
        assert_eq!(encoded(NameKind::Ip, "fd00::1").unwrap().len(), 18);
        for uri in ["https://a.example/x?y#z", "https://u@10.0.0.1:8443/", "coaps://[fd00::1]:5684/x"] {
            assert!(check_uri(uri).is_ok(), "{uri}");
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        let long = format!("{}.x", "a".repeat(64));
        for (kind, names) in [
            (
                NameKind::Dns,
                ["", " ", "*.a.b", "a_b", "-a.b", "a..b", "a.b.", "10.0.0.1", "köln.de", long.as_str()]
                    .as_slice(),
            ),
            (NameKind::Uri, &["", "a/b", "1a:b", "urn:", "http://", "http://a_b/", "urn:a b", "urn:ö"]),
            (NameKind::Ip, &["", "10.0.0", "10.0.0.0/8", "0.0.0.0", "::", "ff02::1", "255.255.255.255"]),
        ] {
            for name in names {
                assert!(encoded(kind, name).is_err(), "{kind:?} {name}");
            }
        }
    }
}

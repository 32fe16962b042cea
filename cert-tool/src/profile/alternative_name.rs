//! [`AlternativeNames`]: the subject alternative names of a profile (RFC 5280 §4.2.1.6) as templates.

use std::collections::HashSet;
use std::net::IpAddr;

use super::columns::RowValues;
use super::der;
use super::template::Template;
use crate::policy::{NameKind, Policy};
use crate::x509::rights::right_of_uri;
use crate::x509::{dns_name, uri};

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
                dns_name::check(name)?;
                der::push(out, DNS_NAME, name.as_bytes());
            }
            Self::Uri => {
                uri::check_name(name)
                    .map_err(|reason| format!("`{name}` is not an absolute URI: {reason}"))?;
                if let Some(right) = right_of_uri(name) {
                    return Err(format!("`{name}` is {right}, not a name of a device"));
                }
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
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        let long = format!("{}.x", "a".repeat(64));
        for (kind, names) in [
            (
                NameKind::Dns,
                [
                    "",
                    " ",
                    "*.a.b",
                    "a_b",
                    "-a.b",
                    "a..b",
                    "a.b.",
                    "10.0.0.1",
                    "127.1",
                    "köln.de",
                    long.as_str(),
                ]
                .as_slice(),
            ),
            (
                NameKind::Uri,
                &[
                    "",
                    "a/b",
                    "1a:b",
                    "urn:",
                    "http://",
                    "http://a_b/",
                    "urn:a b",
                    "urn:ö",
                    "tag:microsoft.com,2022-09-14:sid:S-1-5-21-1",
                ],
            ),
            (NameKind::Ip, &["", "10.0.0", "10.0.0.0/8", "0.0.0.0", "::", "ff02::1", "255.255.255.255"]),
        ] {
            for name in names {
                assert!(encoded(kind, name).is_err(), "{kind:?} {name}");
            }
        }
    }
}

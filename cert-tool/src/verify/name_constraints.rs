//! Name constraints (RFC 5280 §4.2.1.10) of directory names, e-mail addresses and URIs. Those of
//! DNS names and IP addresses are the validator's; all other kinds are said to be unsupported.

use x509_parser::certificate::X509Certificate;
use x509_parser::oid_registry::{OID_PKCS9_EMAIL_ADDRESS, OID_X509_EXT_NAME_CONSTRAINTS};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::der::{content_of, elements};
use crate::x509::name::{SEQUENCE, attribute_text, comparable_parts, name_text};

/// The names that a CA may give.
#[derive(Debug)]
pub(super) struct IssuerConstraints {
    permitted: Vec<Name>,
    excluded: Vec<Name>,
}

/// A name, or the base of a subtree of names.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// A directory name as its parts, in the form that equal ones share.
    Directory(Vec<Vec<u8>>),
    Email(String),
    Uri(String),
    /// A name of a kind that the validator judges.
    OfValidator,
    /// A name of a different kind, by its tag.
    Unsupported(u8),
}

impl IssuerConstraints {
    /// Reads the extension of a CA's certificate; `None` where it has none, an error where it is
    /// damaged.
    pub(super) fn of(issuer: &X509Certificate<'_>) -> Option<Result<Self, String>> {
        let extension = issuer.extensions().iter().find(|one| one.oid == OID_X509_EXT_NAME_CONSTRAINTS)?;
        Some(
            Self::read(extension.value)
                .ok_or_else(|| "its name constraints are damaged, or empty".to_owned()),
        )
    }

    fn read(extension: &[u8]) -> Option<Self> {
        let (mut permitted, mut excluded) = (None, None);
        for subtrees in elements(content_of(extension, SEQUENCE)?)? {
            let list = match subtrees.tag {
                0xa0 => &mut permitted,
                0xa1 => &mut excluded,
                _ => return None,
            };
            let bases: Option<Vec<_>> =
                elements(subtrees.content)?.iter().map(|one| base(one.whole)).collect();
            let bases = bases.filter(|bases| !bases.is_empty())?;
            if list.replace(bases).is_some() {
                return None;
            }
        }
        if permitted.is_none() && excluded.is_none() {
            return None;
        }
        Some(Self {
            permitted: permitted.into_iter().flatten().collect(),
            excluded: excluded.into_iter().flatten().collect(),
        })
    }

    /// The fault in the names of a certificate below.
    pub(super) fn fault(&self, below: &X509Certificate<'_>) -> Option<String> {
        let names = match names_of(below) {
            Ok(names) => names,
            Err(text) => return self.is_of_ours().then_some(text),
        };
        names.iter().find_map(|name| self.fault_of(name))
    }

    fn fault_of(&self, name: &Name) -> Option<String> {
        let mut permitted = self.permitted.iter().filter(|base| base.is_kind_of(name)).peekable();
        let mut excluded = self.excluded.iter().filter(|base| base.is_kind_of(name)).peekable();
        if permitted.peek().is_none() && excluded.peek().is_none() {
            return None;
        }
        let kind = match name {
            Name::OfValidator => return None,
            Name::Unsupported(tag) => {
                let kind = kind_text(*tag);
                return Some(format!("it limits names of the kind {kind}, which is not supported"));
            }
            Name::Directory(_) => "the directory name".to_owned(),
            Name::Email(address) => format!("the e-mail address `{address}`"),
            Name::Uri(uri) => format!("the URI `{uri}`"),
        };
        let is_permitted =
            permitted.peek().is_none() || permitted.any(|base| name.is_within(base) == Some(true));
        if is_permitted && excluded.all(|base| name.is_within(base) == Some(false)) {
            return None;
        }
        Some(format!("it may not give {kind}: its name constraints exclude it"))
    }

    /// Tells whether any of the constraints is not the validator's.
    fn is_of_ours(&self) -> bool {
        self.permitted.iter().chain(&self.excluded).any(|base| *base != Name::OfValidator)
    }
}

impl Name {
    /// Reads a `GeneralName`; `None` where it is damaged.
    fn read(tag: u8, content: &[u8]) -> Option<Self> {
        let text = || std::str::from_utf8(content).ok().filter(|text| text.is_ascii()).map(str::to_owned);
        Some(match tag {
            0x81 => Self::Email(text()?),
            0x82 | 0x87 => Self::OfValidator,
            0x86 => Self::Uri(text()?),
            0xa4 => match X509Name::from_der(content) {
                Ok(([], name)) => Self::Directory(comparable_parts(&name)),
                _ => return None,
            },
            other if other & 0xc0 == 0x80 => Self::Unsupported(other & 0x1f),
            _ => return None,
        })
    }

    fn is_kind_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(_), Self::Directory(_))
            | (Self::Email(_), Self::Email(_))
            | (Self::Uri(_), Self::Uri(_)) => true,
            (Self::Unsupported(one), Self::Unsupported(other)) => one == other,
            _ => false,
        }
    }

    /// Tells whether a name is in the subtree of a base of its kind; `None` where it has no place
    /// anywhere.
    fn is_within(&self, base: &Self) -> Option<bool> {
        match (self, base) {
            (Self::Directory(name), Self::Directory(base)) => Some(name.starts_with(base)),
            (Self::Email(address), Self::Email(base)) => is_mailbox_within(address, base),
            (Self::Uri(uri), Self::Uri(base)) => Some(is_host_within(host_of(uri)?, base)),
            _ => None,
        }
    }
}

/// The base of a subtree, whose minimum and maximum RFC 5280 does not use.
fn base(subtree: &[u8]) -> Option<Name> {
    match elements(content_of(subtree, SEQUENCE)?)?.as_slice() {
        [base] => Name::read(base.tag, base.content),
        _ => None,
    }
}

/// The names of a certificate: its subject, the e-mail addresses in that, and its alternative
/// names.
fn names_of(certificate: &X509Certificate<'_>) -> Result<Vec<Name>, String> {
    let damaged = |what: &str| format!("it limits names, and {what} of the certificate below can't be read");
    let subject = certificate.subject();
    let mut names = Vec::new();
    if subject.iter().next().is_some() {
        names.push(Name::Directory(comparable_parts(subject)));
    }
    for attribute in subject.iter_attributes().filter(|one| *one.attr_type() == OID_PKCS9_EMAIL_ADDRESS) {
        names.push(Name::Email(attribute_text(attribute).ok_or_else(|| damaged("an e-mail address"))?));
    }
    let alternative = certificate.extensions().iter().filter(|one| one.oid.as_bytes() == ALTERNATIVE_NAME);
    for extension in alternative {
        let read = || elements(content_of(extension.value, SEQUENCE)?);
        for name in read().ok_or_else(|| damaged("the alternative names"))? {
            names.push(Name::read(name.tag, name.content).ok_or_else(|| damaged("an alternative name"))?);
        }
    }
    Ok(names)
}

/// An address is within a base that is itself, its host, or with a leading dot a domain of its
/// host.
fn is_mailbox_within(address: &str, base: &str) -> Option<bool> {
    let (local, host) = address.rsplit_once('@')?;
    let is_quoted = local.starts_with('"') && local.ends_with('"') && local.len() > 1;
    if local.is_empty() || host.is_empty() || (local.contains('@') && !is_quoted) {
        return None;
    }
    Some(match base.rsplit_once('@') {
        Some((of_local, of_host)) => local == of_local && host.eq_ignore_ascii_case(of_host),
        None => is_host_within(host, base),
    })
}

/// A host is within a base that is the same, a domain above it with a leading dot, or empty.
fn is_host_within(host: &str, base: &str) -> bool {
    if base.starts_with('.') {
        let split = host.len().checked_sub(base.len()).and_then(|at| host.split_at_checked(at));
        return split.is_some_and(|(label, end)| !label.is_empty() && end.eq_ignore_ascii_case(base));
    }
    base.is_empty() || host.eq_ignore_ascii_case(base)
}

/// The host of a URI (RFC 3986 §3.2); `None` where there is none, or where it is an IP address.
fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let is_address = host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok();
    (!host.is_empty() && !is_address).then_some(host)
}

/// The name of a kind of `GeneralName` (RFC 5280 §4.2.1.6).
fn kind_text(tag: u8) -> &'static str {
    match tag {
        0 => "otherName",
        3 => "x400Address",
        5 => "ediPartyName",
        8 => "registeredID",
        _ => "unknown",
    }
}

/// The fault in the names below an issuer. `below` is the path from the end certificate up.
pub(super) fn fault(
    issuer: &X509Certificate<'_>,
    constraints: &Result<IssuerConstraints, String>,
    below: &[&X509Certificate<'_>],
) -> Option<String> {
    let told = |text: &str| format!("{}: {text}", name_text(issuer.subject()));
    let constraints = match constraints {
        Ok(constraints) => constraints,
        Err(text) => return Some(told(text)),
    };
    below.iter().enumerate().find_map(|(position, one)| {
        // RFC 5280 §6.1.3 (b): self-issued certificates between are exempt.
        if position > 0 && crate::x509::name::is_equal(one.subject(), one.issuer()) {
            return None;
        }
        constraints.fault(one).map(|text| told(&text))
    })
}

const ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_are_compared_as_the_rfc_says() {
        for (address, base, expected) in [
            ("root@example.com", "root@example.com", Some(true)),
            ("root@EXAMPLE.com", "root@example.com", Some(true)),
            ("Root@example.com", "root@example.com", Some(false)),
            ("a@example.com", "example.com", Some(true)),
            ("a@sub.example.com", "example.com", Some(false)),
            ("a@sub.example.com", ".example.com", Some(true)),
            ("a@example.com", ".example.com", Some(false)),
            ("a@badexample.com", "example.com", Some(false)),
            ("\"a@b\"@example.com", "example.com", Some(true)),
            ("a@b@example.com", "example.com", None),
            ("example.com", "example.com", None),
            ("@example.com", "example.com", None),
        ] {
            assert_eq!(is_mailbox_within(address, base), expected, "{address} {base}");
        }
    }

    #[test]
    fn hosts_of_uris_are_compared_and_others_have_no_place() {
        let within = |uri, base| host_of(uri).map(|host| is_host_within(host, base));
        for (uri, base, expected) in [
            ("https://host.example/a", "host.example", Some(true)),
            ("https://HOST.example:8443?b", "host.example", Some(true)),
            ("https://me:secret@host.example#c", "host.example", Some(true)),
            ("https://a.host.example", "host.example", Some(false)),
            ("https://a.host.example", ".host.example", Some(true)),
            ("https://host.example", ".host.example", Some(false)),
            ("https://other.example/host.example", "host.example", Some(false)),
            ("https://192.0.2.1/", "host.example", None),
            ("https://[2001:db8::1]/", "host.example", None),
            ("urn:device:1", "host.example", None),
        ] {
            assert_eq!(within(uri, base), expected, "{uri} {base}");
        }
    }

    #[test]
    fn constraints_that_say_nothing_or_too_much_are_damaged() {
        let value = crate::x509::name::value;
        let base = value(SEQUENCE, &value(0x81, b"example.com"));
        let permitted = value(0xa0, &base);
        assert!(IssuerConstraints::read(&value(SEQUENCE, &permitted)).is_some());
        let minimum = value(SEQUENCE, &[value(0x81, b"example.com"), value(0x80, &[1])].concat());
        for bad in [
            value(SEQUENCE, &[]),
            value(SEQUENCE, &value(0xa0, &[])),
            value(SEQUENCE, &[5, 0, 5, 0]),
            value(SEQUENCE, &[permitted.clone(), permitted.clone()].concat()),
            value(SEQUENCE, &value(0xa0, &minimum)),
        ] {
            assert!(IssuerConstraints::read(&bad).is_none(), "{bad:02x?}");
        }
    }
}

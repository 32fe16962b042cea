//! Name constraints (RFC 5280 §4.2.1.10) of directory names, e-mail addresses, URIs, DNS names and IP
//! addresses; all other kinds are said to be unsupported. On a path, the validator judges DNS names and
//! IP addresses, and this module names what the validator refuses.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::certificate::{TbsCertificate, X509Certificate};
use x509_parser::oid_registry::{OID_PKCS9_EMAIL_ADDRESS, OID_X509_EXT_NAME_CONSTRAINTS};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::der::{content_of, elements};
use crate::x509::certificate::Certificate;
use crate::x509::name::{SEQUENCE, attribute_text, comparable_parts, name_text};

/// The names that a CA may give.
#[derive(Debug)]
pub(crate) struct IssuerConstraints {
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
    Dns(String),
    /// An IP address, or a network: its address followed by its mask.
    Ip(Vec<u8>),
    /// A name of a different kind, by its tag.
    Unsupported(u8),
}

impl IssuerConstraints {
    /// Reads the extension of a CA's certificate; `None` where it has none, an error where it is
    /// damaged.
    pub(crate) fn of(issuer: &X509Certificate<'_>) -> Option<Result<Self, String>> {
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

    /// The fault in the names of a certificate below, of all kinds.
    fn fault(&self, below: &TbsCertificate<'_>) -> Option<String> {
        match names_of(below) {
            Ok(names) => names.iter().find_map(|name| self.fault_of(name)),
            Err(text) => Some(text),
        }
    }

    /// The fault in the names of a certificate below, apart from those that the validator judges.
    fn fault_beside_validator(&self, below: &TbsCertificate<'_>) -> Option<String> {
        let names = match names_of(below) {
            Ok(names) => names,
            Err(text) => return self.is_beside_validator().then_some(text),
        };
        names.iter().filter(|name| !name.is_of_validator()).find_map(|name| self.fault_of(name))
    }

    /// The fault in the common names of a certificate that has no DNS name. OpenSSL takes such a
    /// common name for a DNS name if it looks like one (X509_check_host(3)); RFC 5280 does not.
    pub(super) fn fault_of_common_names(&self, below: &TbsCertificate<'_>) -> Option<String> {
        if names_of(below).ok()?.iter().any(|name| matches!(name, Name::Dns(_))) {
            return None;
        }
        let names = below.subject().iter_common_name().filter_map(attribute_text);
        names.filter(|name| looks_like_host(name)).find_map(|name| {
            let fault = self.fault_of(&Name::Dns(name))?;
            Some(format!(
                "{fault}; OpenSSL takes a common name that looks like a host name for a DNS name, RFC 5280 does not"
            ))
        })
    }

    fn fault_of(&self, name: &Name) -> Option<String> {
        let mut permitted = self.permitted.iter().filter(|base| base.is_kind_of(name)).peekable();
        let mut excluded = self.excluded.iter().filter(|base| base.is_kind_of(name)).peekable();
        if permitted.peek().is_none() && excluded.peek().is_none() {
            return None;
        }
        let kind = match name {
            Name::Dns(name) => format!("the DNS name `{name}`"),
            Name::Ip(_) => format!("the IP address `{}`", name.text()),
            Name::Unsupported(tag) => {
                let kind = kind_text(*tag);
                return Some(format!("it limits names of the kind {kind}, which is not supported"));
            }
            Name::Directory(_) => "the directory name".to_owned(),
            Name::Email(address) => format!("the e-mail address `{address}`"),
            Name::Uri(uri) => format!("the URI `{uri}`"),
        };
        let bases: Vec<_> = permitted.collect();
        if !bases.is_empty() && !bases.iter().any(|base| name.is_within(base) == Some(true)) {
            let bases: Vec<_> = bases.iter().map(|base| base.to_string()).collect();
            let bases = bases.join(", ");
            return Some(format!("it may not give {kind}: its name constraints permit only {bases}"));
        }
        let base = excluded.find(|base| name.is_within(base) != Some(false))?;
        Some(format!("it may not give {kind}: its name constraints exclude {base}"))
    }

    /// Tells whether any of the constraints is not the validator's.
    fn is_beside_validator(&self) -> bool {
        self.permitted.iter().chain(&self.excluded).any(|base| !base.is_of_validator())
    }
}

impl fmt::Display for IssuerConstraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |word: &str, bases: &[Name]| {
            let bases: Vec<_> = bases.iter().map(ToString::to_string).collect();
            (!bases.is_empty()).then(|| format!("{word} {}", bases.join(", ")))
        };
        let lists = [list("permitted", &self.permitted), list("excluded", &self.excluded)];
        f.write_str(&lists.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

impl Name {
    /// Reads a `GeneralName`; `None` where it is damaged.
    fn read(tag: u8, content: &[u8]) -> Option<Self> {
        let text = || std::str::from_utf8(content).ok().filter(|text| text.is_ascii()).map(str::to_owned);
        Some(match tag {
            0x81 => Self::Email(text()?),
            0x82 => Self::Dns(String::from_utf8_lossy(content).into_owned()),
            0x87 => Self::Ip(content.to_vec()),
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
            | (Self::Uri(_), Self::Uri(_))
            | (Self::Dns(_), Self::Dns(_))
            | (Self::Ip(_), Self::Ip(_)) => true,
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
            (Self::Dns(name), Self::Dns(base)) => Some(is_dns_name_within(name, base)),
            (Self::Ip(address), Self::Ip(network)) => is_address_within(address, network),
            _ => None,
        }
    }

    fn is_of_validator(&self) -> bool {
        matches!(self, Self::Dns(_) | Self::Ip(_))
    }

    /// The name without its kind.
    fn text(&self) -> String {
        match self {
            Self::Directory(_) => "a directory name".to_owned(),
            Self::Email(text) | Self::Uri(text) | Self::Dns(text) => text.clone(),
            Self::Ip(bytes) => ip_text(bytes),
            Self::Unsupported(tag) => kind_text(*tag).to_owned(),
        }
    }
}

/// The base of a subtree, as the options `--permit` and `--exclude` take it.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Directory(_) | Self::Unsupported(_) => return f.write_str(&self.text()),
            Self::Email(_) => "email",
            Self::Uri(_) => "uri",
            Self::Dns(_) => "dns",
            Self::Ip(_) => "ip",
        };
        write!(f, "`{kind}:{}`", self.text())
    }
}

/// The text of an address, or of a network as its address and its mask.
fn ip_text(bytes: &[u8]) -> String {
    let address = |bytes: &[u8]| match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(four), _) => Ipv4Addr::from(four).to_string(),
        (_, Ok(sixteen)) => Ipv6Addr::from(sixteen).to_string(),
        _ => "damaged".to_owned(),
    };
    let (network, mask) = match bytes.len() {
        8 | 32 => bytes.split_at(bytes.len() / 2),
        _ => return address(bytes),
    };
    let prefix: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading: u32 = mask.iter().take_while(|byte| **byte == 0xff).map(|_| 8).sum::<u32>()
        + mask.iter().find(|byte| **byte != 0xff).map_or(0, |byte| byte.leading_ones());
    match prefix == leading {
        true => format!("{}/{prefix}", address(network)),
        false => format!("{}/{}", address(network), address(mask)),
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
fn names_of(certificate: &TbsCertificate<'_>) -> Result<Vec<Name>, String> {
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

/// A DNS name is within a base that is the same, a domain above it, or empty.
fn is_dns_name_within(name: &str, base: &str) -> bool {
    is_host_within(name, base) || (!base.starts_with('.') && is_host_within(name, &format!(".{base}")))
}

/// An address is within a network of its version whose mask leaves the network's address of it.
fn is_address_within(address: &[u8], network: &[u8]) -> Option<bool> {
    if !matches!(network.len(), 8 | 32) || !matches!(address.len(), 4 | 16) {
        return None;
    }
    let (network, mask) = network.split_at(network.len() / 2);
    let mut bytes = address.iter().zip(network).zip(mask);
    Some(address.len() == network.len() && bytes.all(|((own, base), mask)| own & mask == base & mask))
}

/// Tells whether OpenSSL takes a common name for a DNS name: two or more labels of letters, digits,
/// underscores and inner hyphens.
fn looks_like_host(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.contains('.') && name.split('.').all(is_label)
}

/// The host of a URI (RFC 3986 §3.2); `None` where there is none, or where it is an IP address.
fn host_of(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let is_address = host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok();
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

/// The names below an issuer that are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JudgedNames {
    All,
    /// All but those that the validator judges.
    BesideValidator,
}

/// The fault in the names below an issuer. `below` is the path from the end certificate up.
pub(super) fn fault(
    issuer: &X509Certificate<'_>,
    constraints: &Result<IssuerConstraints, String>,
    below: &[&X509Certificate<'_>],
    judged: JudgedNames,
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
        let fault = match judged {
            JudgedNames::All => constraints.fault(one),
            JudgedNames::BesideValidator => constraints.fault_beside_validator(one),
        };
        fault.map(|text| told(&text))
    })
}

/// The name constraints of the CAs above the certificates that a CA issues.
#[derive(Debug)]
pub(crate) struct PathConstraints(Vec<(String, Result<IssuerConstraints, String>)>);

impl PathConstraints {
    /// Reads the constraints of the CAs that have any.
    pub(crate) fn of<'a>(issuers: impl Iterator<Item = &'a Certificate>) -> Self {
        let read = |issuer: &Certificate| {
            let parsed = issuer.parsed();
            Some((name_text(parsed.subject()), IssuerConstraints::of(&parsed)?))
        };
        Self(issuers.filter_map(read).collect())
    }

    /// The fault in the names of a certificate that is not signed yet, with the CA that forbids
    /// the name. `tbs` is the DER of its `TBSCertificate`.
    pub(crate) fn fault(&self, tbs: &[u8]) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let (_, below) = TbsCertificate::from_der(tbs).ok()?;
        self.0.iter().find_map(|(issuer, constraints)| {
            let fault = match constraints {
                Ok(own) => own.fault(&below).or_else(|| own.fault_of_common_names(&below)),
                Err(text) => Some(text.clone()),
            };
            fault.map(|text| format!("{issuer}: {text}"))
        })
    }
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
    fn dns_names_are_within_their_domains_and_addresses_within_their_networks() {
        for (name, base, expected) in [
            ("plant7.example", "plant7.example", true),
            ("gw.PLANT7.example", "plant7.example", true),
            ("a.gw.plant7.example", "plant7.example", true),
            ("myplant7.example", "plant7.example", false),
            ("plant7.example", ".plant7.example", false),
            ("gw.plant7.acme.example", "plant7.example", false),
            ("anything", "", true),
        ] {
            assert_eq!(is_dns_name_within(name, base), expected, "{name} {base}");
        }
        for (address, network, expected) in [
            (&[10, 1, 2, 3][..], &[10, 0, 0, 0, 255, 0, 0, 0][..], Some(true)),
            (&[11, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0], Some(false)),
            (&[0; 16], &[0; 8], Some(false)),
            (&[10, 1, 2], &[0; 8], None),
        ] {
            assert_eq!(is_address_within(address, network), expected, "{address:?} {network:?}");
        }
        assert_eq!(Name::Ip(vec![10, 0, 0, 0, 255, 0, 0, 0]).to_string(), "`ip:10.0.0.0/8`");
        assert_eq!(Name::Ip(vec![10, 0, 0, 0, 255, 0, 255, 0]).to_string(), "`ip:10.0.0.0/255.0.255.0`");
    }

    #[test]
    fn a_common_name_looks_like_a_host_as_openssl_sees_it() {
        for host in ["gw-1.other.example", "a.b", "a_b.c"] {
            assert!(looks_like_host(host), "{host}");
        }
        for other in ["gw-1", "gw-1/m.x", "a..b", ".a", "a.", "-a.b", "a-.b", "a b.c", "*.a.b"] {
            assert!(!looks_like_host(other), "{other}");
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

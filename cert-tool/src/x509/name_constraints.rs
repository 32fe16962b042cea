//! [`NameConstraints`]: limits on the names in all certificates below a CA (RFC 5280 §4.2.1.10).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rcgen::{CidrSubnet, GeneralSubtree};

use crate::error::Error;

/// Limits on the names in all certificates below a CA. Only names of the kinds that are mentioned are limited.
///
/// ```
/// # fn main() -> Result<(), cert_tool::Error> {
/// use cert_tool::NameConstraints;
///
/// let limits = NameConstraints::new(["dns:plant7.example".parse()?], ["ip:10.0.9.0/24".parse()?]);
/// # let _ = limits;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameConstraints {
    permitted: Vec<NameSubtree>,
    excluded: Vec<NameSubtree>,
}

/// A name with all names below it: `dns:plant7.example`, `email:plant7.example`, `ip:10.0.0.0/8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSubtree(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Dns(String),
    Email(String),
    Ip { network: IpAddr, prefix: u8 },
}

impl NameConstraints {
    /// Names that are permitted, and of these the ones that are not.
    pub fn new(
        permitted: impl IntoIterator<Item = NameSubtree>,
        excluded: impl IntoIterator<Item = NameSubtree>,
    ) -> Self {
        Self { permitted: permitted.into_iter().collect(), excluded: excluded.into_iter().collect() }
    }

    /// Tells whether no name is limited.
    pub(crate) fn is_empty(&self) -> bool {
        self.permitted.is_empty() && self.excluded.is_empty()
    }

    pub(crate) fn to_params(&self) -> Option<rcgen::NameConstraints> {
        let subtrees = |of: &[NameSubtree]| of.iter().map(NameSubtree::to_params).collect::<Vec<_>>();
        (!self.is_empty()).then(|| rcgen::NameConstraints {
            permitted_subtrees: subtrees(&self.permitted),
            excluded_subtrees: subtrees(&self.excluded),
        })
    }
}

impl NameSubtree {
    fn to_params(&self) -> GeneralSubtree {
        match &self.0 {
            Kind::Dns(name) => GeneralSubtree::DnsName(name.clone()),
            Kind::Email(name) => GeneralSubtree::Rfc822Name(name.clone()),
            Kind::Ip { network, prefix } => {
                GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*network, *prefix))
            }
        }
    }
}

impl FromStr for NameSubtree {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |reason: &str| Error::BadNameSubtree { text: text.to_owned(), reason: reason.to_owned() };
        let Some((kind, name)) = text.split_once(':') else { return Err(bad(KINDS)) };
        let kind = match kind.to_ascii_lowercase().as_str() {
            "dns" => Kind::Dns(host(name).ok_or_else(|| bad("it needs a host or domain name"))?),
            "email" => Kind::Email(host(name).ok_or_else(|| bad("it needs a host or domain name"))?),
            "ip" => network(name).map_err(bad)?,
            // Programs disagree on them: rustls refuses all certificates below such a CA.
            "dn" | "dirname" | "directory" => {
                return Err(bad(
                    "limits on directory names make rustls and others refuse every certificate below the CA",
                ));
            }
            _ => return Err(bad(KINDS)),
        };
        Ok(Self(kind))
    }
}

impl fmt::Display for NameSubtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Dns(name) => write!(f, "dns:{name}"),
            Kind::Email(name) => write!(f, "email:{name}"),
            Kind::Ip { network, prefix } => write!(f, "ip:{network}/{prefix}"),
        }
    }
}

fn host(name: &str) -> Option<String> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= 253 && name.split('.').all(is_label)).then(|| name.to_owned())
}

fn network(text: &str) -> Result<Kind, &'static str> {
    const FORM: &str = "it needs a network, such as `10.0.0.0/8` or `fd00::/8`";
    let (address, prefix) = text.split_once('/').ok_or(FORM)?;
    let network: IpAddr = address.parse().map_err(|_| FORM)?;
    let prefix: u8 = prefix.parse().map_err(|_| FORM)?;
    let (bits, width) = match network {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    if prefix > width {
        return Err(FORM);
    }
    let host_bits = width - prefix;
    let mask = 1u128.checked_shl(host_bits.into()).map_or(u128::MAX, |bit| bit - 1);
    if bits & mask != 0 {
        return Err("the address has bits behind its prefix");
    }
    Ok(Kind::Ip { network, prefix })
}

const KINDS: &str = "write `dns:plant7.example`, `email:plant7.example` or `ip:10.0.0.0/8`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_read_or_told_what_it_lacks() {
        for good in [
            "dns:plant7.example",
            "email:acme.example",
            "ip:10.0.0.0/8",
            "ip:0.0.0.0/0",
            "ip:::/0",
            "ip:fd00::/8",
        ] {
            assert_eq!(good.parse::<NameSubtree>().unwrap().to_string(), good);
        }
        for (bad, reason) in [
            ("plant7.example", "write `dns:"),
            ("uri:http://x", "write `dns:"),
            ("dns:", "a host or domain name"),
            ("dns:.example", "a host or domain name"),
            ("dns:a b", "a host or domain name"),
            ("ip:10.0.0.1/8", "bits behind its prefix"),
            ("ip:10.0.0.0/33", "needs a network"),
            ("ip:10.0.0.0", "needs a network"),
            ("dn:O=Acme", "rustls"),
        ] {
            let error = bad.parse::<NameSubtree>().unwrap_err().to_string();
            assert!(error.contains(bad) && error.contains(reason), "{error}");
        }
    }
}

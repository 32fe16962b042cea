//! DNS names in certificates (RFC 5280 §4.2.1.6, RFC 1123 §2.1).

use std::net::IpAddr;

/// Checks a name of the preferred syntax, which is that of one machine.
pub(crate) fn check(name: &str) -> Result<(), String> {
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
    match name.rsplit('.').next() {
        Some(last) if is_number(last) => Err(format!(
            "`{name}` is read as an IP address by many programs, because its last part is a number: write the \
             address under `ip`"
        )),
        _ => Ok(()),
    }
}

/// Tells whether the last part of a host is a number, decimal or hex: then programs read the host as an IPv4
/// address (inet_aton; WHATWG URL, "ends in a number").
fn is_number(label: &str) -> bool {
    let hex = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_as_an_address_is_not_a_name() {
        for name in
            ["127.1", "2130706433", "0x7f.1", "0x7f000001", "a.0x", "0177.0.0.1", "a.1", "10.0.0.1", "1"]
        {
            let reason = check(name).unwrap_err();
            assert!(reason.contains("IP address"), "{name}: {reason}");
        }
        for name in ["a.b", "1.a", "gw-1", "0x7g", "3com", "a.x1", "xn--a.example", "1-2"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }
}

//! [`ExtendedKeyUsage`]: the purposes of a key.

use super::oid::parse_oid;
use super::rights::right_of;

/// A purpose of a key (RFC 5280 §4.2.1.12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExtendedKeyUsage {
    ClientAuth,
    Other(pkcs8::der::asn1::ObjectIdentifier),
    ServerAuth,
}

impl ExtendedKeyUsage {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::ClientAuth => "clientAuth".to_owned(),
            Self::Other(oid) => oid.to_string(),
            Self::ServerAuth => "serverAuth".to_owned(),
        }
    }

    /// Reads a purpose that a device may have.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "clientAuth" | "1.3.6.1.5.5.7.3.2" => Ok(Self::ClientAuth),
            "serverAuth" | "1.3.6.1.5.5.7.3.1" => Ok(Self::ServerAuth),
            "anyExtendedKeyUsage" | "2.5.29.37.0" => {
                Err(format!("`{text}` would let a device be anything: name its purposes"))
            }
            // OpenSSL takes both for serverAuth.
            _ if text == "1.3.6.1.4.1.311.10.3.3" || is_in(text, "2.16.840.1.113730.4") => {
                Err(format!("`{text}` is an old purpose of servers: write serverAuth, and names under `san`"))
            }
            _ if text.starts_with("1.3.6.1.5.5.7.3.")
                || !text.starts_with(|it: char| it.is_ascii_digit()) =>
            {
                Err(format!(
                    "`{text}` is not a purpose of a device: clientAuth, serverAuth, or an OID of your own"
                ))
            }
            _ => {
                let oid = parse_oid(text)?;
                match right_of(oid) {
                    None => Ok(Self::Other(oid)),
                    Some(right) => Err(format!("`{text}` is {right}, not a purpose of a device")),
                }
            }
        }
    }
}

fn is_in(oid: &str, arc: &str) -> bool {
    oid.strip_prefix(arc).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_one_spelling() {
        for (text, told) in [
            ("2.5.29.37.0", "anything"),
            ("2.5.029.37.0", "write `2.5.29.37.0`"),
            ("01.3.6.1.5.5.7.3.9", "write `1.3.6.1.5.5.7.3.9`"),
            ("1.3.6.1.5.5.07.3.2", "write `1.3.6.1.5.5.7.3.2`"),
            ("1.3.6.1.5.5.7.3.9", "not a purpose of a device"),
            ("1.3.6.1.4.1.311.10.3.3", "write serverAuth"),
            ("2.16.840.1.113730.4.1", "write serverAuth"),
            ("1.3.6.1.4.1.311.20.2.2", "smart card logon"),
            ("1.3.6.1.4.1.311.20.2.1", "enrolment agent"),
            ("1.3.6.1.4.1.311.20.02.2", "write `1.3.6.1.4.1.311.20.2.2`"),
            ("msSmartcardLogin", "not a purpose of a device"),
            ("anyExtendedKeyUsage", "anything"),
            ("1.3.6.1.4.1.311.10.12.1", "gives rights"),
            ("1.3.6.1.4.1.311.21.5", "exchange certificate"),
            ("1.3.6.1.4.1.311.21.6", "key recovery agent"),
            ("1.3.6.1.5.2.3.4", "Kerberos"),
            ("1.3.6.1.5.2.3.5", "Kerberos"),
            ("2.23.133.8.1", "TPM"),
        ] {
            let refusal = ExtendedKeyUsage::parse(text).unwrap_err();
            assert!(refusal.contains(told), "{text}: {refusal}");
        }
        assert!(matches!(ExtendedKeyUsage::parse("1.3.6.1.4.1.55555.7"), Ok(ExtendedKeyUsage::Other(_))));
    }
}

//! [`ExtendedKeyUsage`]: the purposes of a key.

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
            _ if text.starts_with("1.3.6.1.5.5.7.3.")
                || !text.starts_with(|it: char| it.is_ascii_digit()) =>
            {
                Err(format!(
                    "`{text}` is not a purpose of a device: clientAuth, serverAuth, or an OID of your own"
                ))
            }
            _ => {
                let oid = pkcs8::der::asn1::ObjectIdentifier::new(text);
                oid.map(Self::Other).map_err(|_| format!("`{text}` is not an OID"))
            }
        }
    }
}

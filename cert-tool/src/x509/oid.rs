//! Object identifiers as people write them.

use pkcs8::der::asn1::ObjectIdentifier;

/// Parses an object identifier in its only form: numbers without leading zeros, separated by dots
/// (X.680 §32.3). Rules compare identifiers by value, so a second spelling of one is refused.
pub(crate) fn parse_oid(text: &str) -> Result<ObjectIdentifier, String> {
    let oid = ObjectIdentifier::new(text).map_err(|_| format!("`{text}` is not an OID"))?;
    match oid.to_string() {
        written if written == text => Ok(oid),
        written => Err(format!("`{text}` is not an OID: its numbers have leading zeros, write `{written}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oid_has_one_spelling() {
        for text in ["1.3.6.1.4.1.55555.1", "2.5.29.37.0", "0.9.2342"] {
            assert_eq!(parse_oid(text).unwrap().to_string(), text);
        }
        for text in
            ["01.3.6.1", "2.5.029.37.0", "1.3.6.1.5.5.07.3.2", "1.3.", ".1.3", "1..3", "1.x", "", "1.3 "]
        {
            assert!(parse_oid(text).unwrap_err().contains("is not an OID"), "{text}");
        }
    }
}

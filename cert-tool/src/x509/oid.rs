//! Object identifiers as people write them.

use pkcs8::der::asn1::ObjectIdentifier;

/// Parses an object identifier in its only form: numbers without leading zeros, separated by dots
/// (X.680 §32.3). Rules compare identifiers by value, so a second spelling of one is refused.
pub(crate) fn parse_oid(text: &str) -> Result<ObjectIdentifier, String> {
    let oid = ObjectIdentifier::new(text).map_err(|_| match is_oid(text) {
        true => format!(
            "`{text}` is an OID that can't be used here: its second number must be below 40, each other one below \
             4294967296, and all of it short (39 bytes)"
        ),
        false => format!("`{text}` is not an OID"),
    })?;
    match oid.to_string() {
        written if written == text => Ok(oid),
        written => Err(format!("`{text}` is not an OID: its numbers have leading zeros, write `{written}`")),
    }
}

/// Tells whether a text is an object identifier of any length.
fn is_oid(text: &str) -> bool {
    let is_number = |arc: &&str| !arc.is_empty() && arc.bytes().all(|byte| byte.is_ascii_digit());
    let mut arcs = text.split('.');
    let is_shortest = |arc: &str| arc == "0" || !arc.starts_with('0');
    match (arcs.next(), arcs.next()) {
        (Some("0" | "1"), Some(second)) => second.parse::<u8>().is_ok_and(|second| second < 40),
        (Some("2"), Some(second)) => is_number(&second) && is_shortest(second),
        _ => false,
    }
    .then_some(arcs)
    .is_some_and(|mut arcs| arcs.all(|arc| is_number(&arc) && is_shortest(arc)))
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
        // An OID, whose refusal must not say that it is none.
        for text in ["2.999.4", "2.25.329800735698586629295641978511506172918", "1.3.4294967296"] {
            assert!(parse_oid(text).unwrap_err().contains("is an OID that can't be used here"), "{text}");
        }
        for text in ["3.1", "1.40", "2.x", "2.999.04"] {
            assert!(parse_oid(text).unwrap_err().contains("is not an OID"), "{text}");
        }
    }
}

//! The text of a distinguished name, with the escapes of RFC 4514 §2.4.
//!
//! Relative names stand in the order of the certificate, with `, ` between them, which is easier to read than
//! the reversed order of RFC 4514 and as unambiguous.

use hub_types::thumbprint::upper_hex;
use x509_parser::asn1_rs::ToDer as _;
use x509_parser::der_parser::oid;
use x509_parser::der_parser::oid::Oid;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::attribute_text;

/// The text of a name. No value can be taken for an attribute of its own.
pub(crate) fn name_text(name: &X509Name<'_>) -> String {
    let relative = name.iter().map(|relative| {
        let attributes: Vec<_> = relative.iter().map(attribute).collect();
        attributes.join("+")
    });
    relative.collect::<Vec<_>>().join(", ")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    let known = ATTRIBUTES.iter().find(|(known, _)| known == kind).map(|(_, short)| *short);
    match (known, attribute_text(attribute)) {
        (Some(short), Some(text)) => format!("{short}={}", escaped(&text)),
        (Some(short), None) => format!("{short}={}", encoded(attribute)),
        (None, _) => format!("{}={}", kind.to_id_string(), encoded(attribute)),
    }
}

/// The BER encoding in hex, for values that are not text and types that have no name.
fn encoded(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    // A value that was parsed can be encoded; its bare content stands for one that can't.
    let der = value.to_der_vec().unwrap_or_else(|_| value.data.to_vec());
    format!("#{}", upper_hex(&der))
}

/// A value in which nothing separates attributes or begins a value in hex.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, char) in text.chars().enumerate() {
        match char {
            '\0' => out.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', char]),
            ' ' if at == 0 || at == last => out.push_str("\\ "),
            '#' if at == 0 => out.push_str("\\#"),
            other => out.push(other),
        }
    }
    out
}

/// The short names of RFC 4514 §3, and others that programs show.
static ATTRIBUTES: [(Oid<'static>, &str); 19] = [
    (oid!(2.5.4.3), "CN"),
    (oid!(2.5.4.4), "SN"),
    (oid!(2.5.4.5), "serialNumber"),
    (oid!(2.5.4.6), "C"),
    (oid!(2.5.4.7), "L"),
    (oid!(2.5.4.8), "ST"),
    (oid!(2.5.4.9), "STREET"),
    (oid!(2.5.4.10), "O"),
    (oid!(2.5.4.11), "OU"),
    (oid!(2.5.4.12), "title"),
    (oid!(2.5.4.13), "description"),
    (oid!(2.5.4.17), "postalCode"),
    (oid!(2.5.4.42), "GN"),
    (oid!(2.5.4.46), "dnQualifier"),
    (oid!(2.5.4.65), "pseudonym"),
    (oid!(2.5.4.97), "organizationIdentifier"),
    (oid!(0.9.2342.19200300.100.1.1), "UID"),
    (oid!(0.9.2342.19200300.100.1.25), "DC"),
    (oid!(1.2.840.113549.1.9.1), "emailAddress"),
];

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::super::{OBJECT_IDENTIFIER, SEQUENCE, SET, value};
    use super::*;

    fn text_of(parts: &[(&[u8], u8, &[u8])]) -> String {
        let sets: Vec<_> = parts
            .iter()
            .map(|(oid, tag, text)| {
                let attribute = [value(OBJECT_IDENTIFIER, oid), value(*tag, text)].concat();
                value(SET, &value(SEQUENCE, &attribute))
            })
            .collect();
        let name = value(SEQUENCE, &sets.concat());
        name_text(&X509Name::from_der(&name).unwrap().1)
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    #[test]
    fn a_value_is_never_taken_for_an_attribute() {
        let one = text_of(&[(O, 0x0c, b"Acme, CN=x")]);
        let two = text_of(&[(O, 0x0c, b"Acme"), (CN, 0x0c, b"x")]);
        assert_eq!((one.as_str(), two.as_str()), ("O=Acme\\, CN=x", "O=Acme, CN=x"));
        for (value, shown) in [
            (&b"a+b;c"[..], "CN=a\\+b\\;c"),
            (b"\"<>\\", "CN=\\\"\\<\\>\\\\"),
            (b" a  b ", "CN=\\ a  b\\ "),
            (b" ", "CN=\\ "),
            (b"#1F", "CN=\\#1F"),
            (b"a#1=", "CN=a#1="),
            (b"a\0", "CN=a\\00"),
            (b"", "CN="),
        ] {
            assert_eq!(text_of(&[(CN, 0x0c, value)]), shown);
        }
    }

    #[test]
    fn every_string_type_is_text_and_nothing_else_is() {
        assert_eq!(text_of(&[(CN, 0x1e, b"\0P\x20\xac")]), "CN=P€", "BMPString");
        assert_eq!(text_of(&[(CN, 0x1c, b"\0\0\0P\0\x01\xf6\x00")]), "CN=P😀", "UniversalString");
        assert_eq!(text_of(&[(CN, 0x14, b"Ac\xe9")]), "CN=Acé", "TeletexString");
        assert_eq!(text_of(&[(CN, 0x16, b"a@b")]), "CN=a@b", "IA5String");
        assert_eq!(text_of(&[(CN, 0x0c, b"\xff")]), "CN=#0C01FF", "not UTF-8");
        assert_eq!(text_of(&[(CN, 0x02, b"\x07")]), "CN=#020107", "a number");
        assert_eq!(text_of(&[(&[0x2a, 3, 4], 0x0c, b"a")]), "1.2.3.4=#0C0161", "no short name");
    }
}

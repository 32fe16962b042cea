//! Distinguished names: their text in whatever encoding, and their comparison (RFC 5280 §7.1).

mod text;

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

pub(crate) use text::name_text;

/// The text of an attribute in any string type of `DirectoryString`; `None` where it is not text.
///
/// TeletexString is read as Latin-1, as OpenSSL and Windows write it.
pub(crate) fn attribute_text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    text(attribute.attr_value())
}

fn text(value: &Any<'_>) -> Option<String> {
    let bytes = value.data;
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(bytes).ok().map(str::to_owned)
        }
        Tag::T61String => Some(bytes.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let units: Vec<_> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
            rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let chars = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            rest.is_empty().then(|| chars.collect()).flatten()
        }
        _ => None,
    }
}

/// A name in the one form that all equal names have: a DER `Name` whose strings are UTF-8 in lower case,
/// without blanks at their ends and with single blanks within (RFC 5280 §7.1, RFC 4518 §2.6.1).
pub(crate) fn comparable(name: &X509Name<'_>) -> Vec<u8> {
    value(SEQUENCE, &comparable_parts(name).concat())
}

/// The relative distinguished names of a name, each in the form that all equal ones have.
pub(crate) fn comparable_parts(name: &X509Name<'_>) -> Vec<Vec<u8>> {
    let part = |relative: &RelativeDistinguishedName<'_>| {
        let mut attributes: Vec<_> = relative.iter().map(comparable_attribute).collect();
        attributes.sort_unstable();
        value(SET, &attributes.concat())
    };
    name.iter().map(part).collect()
}

/// Tells whether two names are equal, whatever their string types, case and blanks.
pub(crate) fn is_equal(one: &X509Name<'_>, other: &X509Name<'_>) -> bool {
    one.as_raw() == other.as_raw() || comparable(one) == comparable(other)
}

fn comparable_attribute(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let given = attribute.attr_value();
    let prepared = match text(given) {
        Some(text) => {
            let words: Vec<_> = text.split_whitespace().collect();
            value(UTF8_STRING, words.join(" ").to_lowercase().as_bytes())
        }
        None => value(given.tag().0.to_be_bytes()[3], given.data),
    };
    value(SEQUENCE, &[value(OBJECT_IDENTIFIER, attribute.attr_type().as_bytes()), prepared].concat())
}

/// A value in DER.
pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let first = length.iter().position(|byte| *byte != 0).unwrap_or(length.len());
    let digits = length.get(first..).unwrap_or_default();
    let mut out = Vec::with_capacity(2 + digits.len() + content.len());
    out.push(tag);
    match digits {
        [] => out.push(0),
        [short @ ..0x80] => out.push(*short),
        long => {
            // A length of a slice has at most eight bytes.
            out.push(0x80 | long.len().to_be_bytes().last().copied().unwrap_or_default());
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

pub(crate) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8_STRING: u8 = 0x0c;
const OBJECT_IDENTIFIER: u8 = 0x06;

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer as _;

    use super::*;

    fn name_of(parts: &[(u8, &[u8])]) -> Vec<u8> {
        let sets: Vec<_> = parts
            .iter()
            .map(|(tag, text)| {
                let attribute = [value(OBJECT_IDENTIFIER, &[0x55, 4, 3]), value(*tag, text)].concat();
                value(SET, &value(SEQUENCE, &attribute))
            })
            .collect();
        value(SEQUENCE, &sets.concat())
    }

    fn equal(one: &[(u8, &[u8])], other: &[(u8, &[u8])]) -> bool {
        let (one, other) = (name_of(one), name_of(other));
        let parsed = |der| X509Name::from_der(der).unwrap().1;
        is_equal(&parsed(&one), &parsed(&other))
    }

    #[test]
    fn string_type_case_and_blanks_do_not_count() {
        let plain: &[(u8, &[u8])] = &[(0x0c, b"Plant 7 CA")];
        let alike: [&[u8]; 2] = [b"plant 7 ca", b"  PLANT  7\tCA "];
        for text in alike {
            assert!(equal(plain, &[(0x13, text)]), "PrintableString {text:?}");
            assert!(equal(plain, &[(0x14, text)]), "TeletexString {text:?}");
            let bmp: Vec<u8> = text.iter().flat_map(|byte| [0, *byte]).collect();
            assert!(equal(plain, &[(0x1e, &bmp)]), "BMPString {text:?}");
            let universal: Vec<u8> = text.iter().flat_map(|byte| [0, 0, 0, *byte]).collect();
            assert!(equal(plain, &[(0x1c, &universal)]), "UniversalString {text:?}");
        }
    }

    #[test]
    fn everything_else_does() {
        let plain: &[(u8, &[u8])] = &[(0x0c, b"Plant 7 CA")];
        for other in [&b"Plant 7CA"[..], b"Plant 8 CA", b""] {
            assert!(!equal(plain, &[(0x0c, other)]));
        }
        assert!(!equal(plain, &[(0x0c, b"Plant 7 CA"), (0x0c, b"x")]));
        assert!(!equal(&[(0x0c, b"a"), (0x0c, b"b")], &[(0x0c, b"b"), (0x0c, b"a")]), "their order counts");
    }

    #[test]
    fn lengths_are_der() {
        for (length, head) in [(0, vec![4, 0]), (0x7f, vec![4, 0x7f]), (0x80, vec![4, 0x81, 0x80])] {
            assert!(value(4, &vec![0; length]).starts_with(&head));
        }
        assert!(value(4, &[0; 300]).starts_with(&[4, 0x82, 1, 44]));
    }
}

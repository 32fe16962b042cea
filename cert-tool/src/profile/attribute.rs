//! [`AttributeKind`]: the attributes of a subject (RFC 5280, appendix A.1; RFC 4519) with their string
//! types and bounds.

use hub_types::shown::is_seen;
use pkcs8::der::asn1::ObjectIdentifier;

use super::der::{IA5_STRING, PRINTABLE_STRING, UTF8_STRING};
use crate::x509::oid::parse_oid;
use crate::x509::rights::right_of;

/// A kind of attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AttributeKind {
    pub(crate) oid: ObjectIdentifier,
    /// The name in texts; `None` for the OID.
    pub(crate) name: Option<&'static str>,
    /// The tag of its string type.
    pub(crate) tag: u8,
    /// The greatest number of characters.
    pub(crate) longest: usize,
    /// The place in a name that runs from the country down.
    pub(crate) rank: u8,
}

impl AttributeKind {
    /// The kind with a name, in whatever case, or with an OID.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let known = KINDS.iter().find(|(names, ..)| names.iter().any(|name| name.eq_ignore_ascii_case(text)));
        if let Some(kind) = known {
            return Ok(Self::of(kind));
        }
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            let names: Vec<_> = KINDS.iter().filter_map(|(names, ..)| names.first().copied()).collect();
            return Err(format!(
                "`{text}` is not an attribute; write one of {}, or an OID such as 2.5.4.97",
                names.join(", ")
            ));
        }
        let oid = parse_oid(text)?;
        if let Some(right) = right_of(oid) {
            return Err(format!("`{text}` is {right}, not an attribute of a device"));
        }
        let known = KINDS.iter().find(|(_, known, ..)| *known == oid);
        Ok(known.map_or(Self { oid, name: None, tag: UTF8_STRING, longest: MAX_CHARS, rank: LAST }, Self::of))
    }

    pub(crate) fn common_name() -> Self {
        Self { oid: COMMON_NAME, name: Some("CN"), tag: UTF8_STRING, longest: 64, rank: LAST }
    }

    fn of(&(names, oid, tag, longest, rank): &Entry) -> Self {
        Self { oid, name: names.first().copied(), tag, longest, rank }
    }

    /// The kind with a value of a string type, or the name of the type that its values must have.
    pub(crate) fn as_string(self, tag: u8) -> Result<Self, &'static str> {
        // A directory string may be printable (RFC 5280 §4.1.2.4); no one knows the type of an attribute of one's own.
        let may_be =
            tag == self.tag || (self.tag == UTF8_STRING && (tag == PRINTABLE_STRING || self.name.is_none()));
        match self.tag {
            _ if may_be => Ok(Self { tag, ..self }),
            PRINTABLE_STRING => Err("PrintableString"),
            IA5_STRING => Err("IA5String"),
            _ => Err("UTF8String"),
        }
    }

    pub(crate) fn is_common_name(&self) -> bool {
        self.oid == COMMON_NAME
    }

    /// The name, or the OID.
    pub(crate) fn to_text(self) -> String {
        self.name.map_or_else(|| self.oid.to_string(), str::to_owned)
    }

    /// Checks a value against the rules of its string type, its bound and good sense.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        let name = self.to_text();
        if value.trim().is_empty() {
            return Err(format!("`{name}` yields nothing"));
        }
        if value.trim() != value {
            return Err(format!("`{name}` begins or ends with a blank"));
        }
        if value.chars().any(char::is_control) {
            return Err(format!("`{name}` has a control character"));
        }
        if let Some(unseen) = value.chars().find(|char| !is_seen(*char)) {
            return Err(format!("`{name}` has the invisible character U+{:04X}", u32::from(unseen)));
        }
        let (length, longest) = (value.chars().count(), self.longest);
        if length > longest {
            return Err(format!("`{name}` has {length} characters, X.509 allows {longest}"));
        }
        if let Some(other) = value.chars().find(|char| !self.allows(*char)) {
            return Err(format!("`{name}` can't have the character U+{:04X}", u32::from(other)));
        }
        if self.oid == COUNTRY && !(length == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase())) {
            return Err(format!("`{name}` is not a country's code of two capital letters, such as DE"));
        }
        if has_common_name(value) {
            return Err(format!(
                "`{name}` would be read as a second CN by programs that print names as text"
            ));
        }
        Ok(())
    }

    fn allows(&self, char: char) -> bool {
        match self.tag {
            PRINTABLE_STRING => char.is_ascii_alphanumeric() || " '()+,-./:=?".contains(char),
            IA5_STRING => char.is_ascii(),
            _ => true,
        }
    }
}

/// Checks the common name of a CA.
pub(crate) fn check_common_name(value: &str) -> Result<(), String> {
    AttributeKind::common_name().check(value)
}

/// Tells whether a value has `CN=` behind what separates attributes in a text of a name.
fn has_common_name(value: &str) -> bool {
    let upper = value.to_ascii_uppercase();
    let mut parts = upper.split([',', '+', ';', '/']);
    // Of the first part an attribute's own `=` stands before it.
    let first = parts.next().is_some_and(is_common_name);
    first || parts.any(is_common_name)
}

fn is_common_name(part: &str) -> bool {
    let Some((name, _)) = part.split_once('=') else { return false };
    let name = name.trim();
    let name = name.strip_prefix("OID.").unwrap_or(name);
    // Some programs read arcs with leading zeros.
    let arcs: Option<Vec<u32>> = name.split('.').map(|arc| arc.parse().ok()).collect();
    matches!(name, "CN" | "COMMONNAME" | "ID-AT-COMMONNAME") || arcs.is_some_and(|arcs| arcs == [2, 5, 4, 3])
}

type Entry = (&'static [&'static str], ObjectIdentifier, u8, usize, u8);

const fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

pub(crate) const COMMON_NAME: ObjectIdentifier = oid("2.5.4.3");
const COUNTRY: ObjectIdentifier = oid("2.5.4.6");
/// RFC 5280, `ub-name`, halved so that any certificate stays small.
const MAX_CHARS: usize = 1024;
const LAST: u8 = 6;

/// Names, OID, string type, bound (RFC 5280, appendix A.1) and rank.
const KINDS: &[Entry] = &[
    (&["CN", "commonName"], COMMON_NAME, UTF8_STRING, 64, LAST),
    (&["C", "countryName"], COUNTRY, PRINTABLE_STRING, 2, 0),
    (&["DC", "domainComponent"], oid("0.9.2342.19200300.100.1.25"), IA5_STRING, 63, 0),
    (&["ST", "stateOrProvinceName", "S"], oid("2.5.4.8"), UTF8_STRING, 128, 1),
    (&["L", "localityName"], oid("2.5.4.7"), UTF8_STRING, 128, 2),
    (&["postalCode"], oid("2.5.4.17"), UTF8_STRING, 40, 3),
    (&["STREET", "streetAddress"], oid("2.5.4.9"), UTF8_STRING, 128, 3),
    (&["O", "organizationName"], oid("2.5.4.10"), UTF8_STRING, 64, 4),
    (&["organizationIdentifier"], oid("2.5.4.97"), UTF8_STRING, 256, 4),
    (&["businessCategory"], oid("2.5.4.15"), UTF8_STRING, 128, 4),
    (&["OU", "organizationalUnitName"], oid("2.5.4.11"), UTF8_STRING, 64, 5),
    (&["serialNumber"], oid("2.5.4.5"), PRINTABLE_STRING, 64, LAST),
    (&["UID", "userId"], oid("0.9.2342.19200300.100.1.1"), UTF8_STRING, 256, LAST),
    (&["title"], oid("2.5.4.12"), UTF8_STRING, 64, LAST),
    (&["description"], oid("2.5.4.13"), UTF8_STRING, MAX_CHARS, LAST),
    (&["name"], oid("2.5.4.41"), UTF8_STRING, MAX_CHARS, LAST),
    (&["surname", "SN"], oid("2.5.4.4"), UTF8_STRING, MAX_CHARS, LAST),
    (&["givenName", "GN"], oid("2.5.4.42"), UTF8_STRING, MAX_CHARS, LAST),
    (&["dnQualifier"], oid("2.5.4.46"), PRINTABLE_STRING, 64, LAST),
    (&["emailAddress", "E"], oid("1.2.840.113549.1.9.1"), IA5_STRING, 255, LAST),
];

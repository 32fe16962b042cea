//! [`SubjectTemplate`]: the attributes of a subject beside its common name, as RFC 4514 writes them.
//!
//! The text is split before any value is put in, so no value can add an attribute.

use std::collections::HashSet;
use std::convert::Infallible;
use std::str::FromStr as _;

use pkcs8::der::Tag;
use x509_cert::attr::AttributeTypeAndValue;

use super::attribute::AttributeKind;
use super::columns::RowValues;
use super::der::{self, IA5_STRING, OBJECT_IDENTIFIER, PRINTABLE_STRING, SEQUENCE, SET, UTF8_STRING};
use super::template::Template;
use crate::error::Error;

/// The relative distinguished names of a subject, from the country down.
#[derive(Debug, Clone)]
pub(crate) struct SubjectTemplate {
    parts: Vec<Relative>,
    /// The common name, where the text has one.
    common_name: Option<String>,
}

/// A relative distinguished name: mostly one attribute.
type Relative = Vec<Attribute>;

#[derive(Debug, Clone)]
struct Attribute {
    kind: AttributeKind,
    value: Template,
    /// The whole attribute in DER, where no row can change it.
    encoded: Option<Vec<u8>>,
}

/// The relative names of a subject in DER, and as text for the rules of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RenderedSubject {
    pub(crate) der: Vec<u8>,
    pub(crate) text: String,
}

impl SubjectTemplate {
    /// Parses the text of a name with templates for values. A name may be written from either end: from
    /// the country down as OpenSSL prints it, or as RFC 4514 does from the most specific part.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in split(text, ',')? {
            let attributes = split(part, '+')?.into_iter().map(Attribute::parse);
            parts.push(attributes.collect::<Result<Relative, _>>()?);
        }
        let mut common_name = None;
        for part in &mut parts {
            for attribute in part.extract_if(.., |attribute| attribute.kind.is_common_name()) {
                let Some(value) = attribute.value.fixed() else {
                    return Err("a common name has no template: the CN is the identity".to_owned());
                };
                if common_name.replace(value.to_owned()).is_some() {
                    return Err("it has two common names".to_owned());
                }
            }
        }
        parts.retain(|part| !part.is_empty());
        parts.iter().try_for_each(check_types)?;
        let rank = |part: Option<&Relative>| part.into_iter().flatten().map(|it| it.kind.rank).min();
        if rank(parts.first()) >= rank(parts.last()) {
            parts.reverse();
        }
        Ok(Self { parts, common_name })
    }

    /// The common name, where the text has one: the subject of a leaf must have none.
    pub(crate) fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// The text, where no row can change it.
    pub(crate) fn fixed_text(&self) -> Option<String> {
        let mut text = String::new();
        for (place, attribute) in self.places() {
            attribute.append_text(place, attribute.value.fixed()?, &mut text);
        }
        Some(text)
    }

    /// The relative names in DER, where no row can change them.
    fn fixed_der(&self) -> Option<Vec<u8>> {
        let mut der = Vec::new();
        for part in &self.parts {
            let mut attributes: Vec<_> =
                part.iter().map(|attribute| attribute.encoded.clone()).collect::<Option<_>>()?;
            attributes.sort_unstable();
            der::push(&mut der, SET, &attributes.concat());
        }
        Some(der)
    }

    /// The attributes with their places in their relative names.
    fn places(&self) -> impl Iterator<Item = (usize, &Attribute)> {
        self.parts.iter().flat_map(|part| part.iter().enumerate())
    }

    /// The names for a row.
    pub(crate) fn render(&self, row: RowValues<'_>, with_text: bool) -> Result<RenderedSubject, String> {
        let mut rendered = RenderedSubject::default();
        let mut value = String::new();
        for part in &self.parts {
            let mut attributes = Vec::with_capacity(part.len());
            der::wrap(&mut rendered.der, SET, |out| {
                if let [attribute] = part.as_slice() {
                    return attribute.render(row, &mut value, out);
                }
                for attribute in part {
                    let mut own = Vec::new();
                    attribute.render(row, &mut value, &mut own)?;
                    attributes.push(own);
                }
                // A set of DER is sorted.
                attributes.sort_unstable();
                out.extend(attributes.concat());
                Ok::<_, String>(())
            })?;
        }
        if with_text {
            for (place, attribute) in self.places() {
                value.clear();
                attribute.value.render(row, &mut value)?;
                attribute.append_text(place, &value, &mut rendered.text);
            }
        }
        Ok(rendered)
    }
}

/// The subject of a CA in DER: the attributes of a text, and its common name.
pub(crate) fn ca_subject(text: Option<&str>, common_name: &str) -> Result<Vec<u8>, Error> {
    let mut names = Vec::new();
    if let Some(text) = text {
        let bad = |reason: &str| Error::BadSubject { text: text.to_owned(), reason: reason.to_owned() };
        let subject = SubjectTemplate::parse(text).map_err(|reason| bad(&reason))?;
        if subject.common_name().is_some() {
            return Err(bad("it has a second CN; the CN of a CA comes from its name (--name)"));
        }
        names = subject.fixed_der().ok_or_else(|| bad("it has a template, and a CA has no row"))?;
    }
    let mut attribute = Vec::new();
    encode(AttributeKind::common_name(), common_name, &mut attribute);
    der::push(&mut names, SET, &attribute);
    let mut subject = Vec::with_capacity(names.len() + 4);
    der::push(&mut subject, SEQUENCE, &names);
    Ok(subject)
}

/// The text of a subject without its common name; `None` where nothing else is in it.
pub(crate) fn rest_of_subject(text: &str) -> Result<Option<String>, Error> {
    let bad = |reason| Error::BadSubject { text: text.to_owned(), reason };
    let rest = SubjectTemplate::parse(text).map_err(bad)?.fixed_text();
    Ok(rest.filter(|rest| !rest.is_empty()))
}

/// Makes sure that a relative name has each attribute once (X.501 §9.3).
fn check_types(part: &Relative) -> Result<(), String> {
    let mut seen = HashSet::new();
    match part.iter().find(|attribute| !seen.insert(attribute.kind.oid)) {
        None => Ok(()),
        Some(twice) => {
            Err(format!("`{}` is joined to itself by `+`: separate the two by a comma", twice.kind.to_text()))
        }
    }
}

impl Attribute {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_start();
        let Some((name, value)) = text.split_once('=') else {
            return Err(match text.trim() {
                "" => {
                    "an attribute is missing: two separators stand side by side, or one at an end".to_owned()
                }
                other => format!("`{other}` is not an attribute: there is no `=`"),
            });
        };
        let name = name.trim();
        if name.contains("{{") || name.contains("{%") {
            return Err(format!("the name of an attribute can't be a template: `{name}`"));
        }
        let kind = AttributeKind::parse(name)?;
        if let Some(hex) = value.trim().strip_prefix('#') {
            return Self::parse_hex(kind, hex);
        }
        let value = Template::compile(&unescape(value)?)?;
        let mut attribute = Self { kind, value, encoded: None };
        if let Some(text) = attribute.value.fixed() {
            kind.check(text)?;
            let mut out = Vec::new();
            encode(kind, text, &mut out);
            attribute.encoded = Some(out);
        }
        Ok(attribute)
    }

    /// A value that is given as its encoding (RFC 4514 §2.4): a text of a string type that the attribute may have,
    /// under the rules of a value that is written as text.
    fn parse_hex(kind: AttributeKind, hex: &str) -> Result<Self, String> {
        use pkcs8::der::Tagged as _;

        let parsed = AttributeTypeAndValue::from_str(&format!("{}=#{hex}", kind.oid))
            .map_err(|_| format!("`#{hex}` is not the hex of a value in DER"))?;
        let tag = match parsed.value.tag() {
            Tag::Utf8String => UTF8_STRING,
            Tag::PrintableString => PRINTABLE_STRING,
            Tag::Ia5String => IA5_STRING,
            _ => return Err(format!("`#{hex}` is not the encoding of a text")),
        };
        let kind = kind.as_string(tag).map_err(|due| {
            format!("`#{hex}` is no {due}, which `{}` must be; write the value as text", kind.to_text())
        })?;
        let text = std::str::from_utf8(parsed.value.value())
            .map_err(|_| format!("`#{hex}` has bytes that are not of its string type"))?;
        kind.check(text)?;
        let value = Template::compile(text)?;
        if value.fixed().is_none() {
            return Err(format!("`#{hex}` is the encoding of a template; write the value as text"));
        }
        let mut out = Vec::new();
        encode(kind, text, &mut out);
        Ok(Self { kind, value, encoded: Some(out) })
    }

    /// Appends the attribute as RFC 4514 §2 writes it; it is the one at a place of its relative name.
    fn append_text(&self, place: usize, value: &str, out: &mut String) {
        if !out.is_empty() {
            out.push(if place == 0 { ',' } else { '+' });
        }
        out.push_str(&self.kind.to_text());
        out.push('=');
        for (place, char) in value.char_indices() {
            if "\"+,;<>\\".contains(char) || (place == 0 && char == '#') {
                out.push('\\');
            }
            out.push(char);
        }
    }

    fn render(&self, row: RowValues<'_>, value: &mut String, out: &mut Vec<u8>) -> Result<(), String> {
        if let Some(encoded) = &self.encoded {
            out.extend_from_slice(encoded);
            return Ok(());
        }
        value.clear();
        self.value.render(row, value)?;
        self.kind.check(value)?;
        encode(self.kind, value, out);
        Ok(())
    }
}

fn encode(kind: AttributeKind, value: &str, out: &mut Vec<u8>) {
    let Ok(()) = der::wrap(out, SEQUENCE, |out| {
        der::push(out, OBJECT_IDENTIFIER, kind.oid.as_bytes());
        der::push(out, kind.tag, value.as_bytes());
        Ok::<_, Infallible>(())
    });
}

/// The parts of a text between separators that are neither escaped nor inside of a template.
fn split(text: &str, separator: char) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let mut start = 0;
    let mut place = 0;
    while let Some(rest) = text.get(place..) {
        let Some(char) = rest.chars().next() else { break };
        if let Some(end) = closing(rest) {
            place += rest.find(end).map_or(rest.len(), |found| found + end.len());
        } else if char == '\\' {
            place += 1 + rest.chars().nth(1).map_or(0, char::len_utf8);
        } else if char == '"' {
            return Err(format!(
                "character {} is an unescaped quote: RFC 4514 writes `\\,` for a comma in a value, not quotes",
                characters_to(text, place)
            ));
        } else if ";<>".contains(char) {
            return Err(format!(
                "character {} is an unescaped `{char}`: RFC 4514 §2.4 writes `\\{char}` for it in a value, and separates \
                 attributes by commas",
                characters_to(text, place)
            ));
        } else {
            if char == separator {
                parts.push(text.get(start..place).unwrap_or_default());
                start = place + 1;
            }
            place += char.len_utf8();
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    Ok(parts)
}

/// The number of the character at a place of a text, from 1.
fn characters_to(text: &str, place: usize) -> usize {
    text.get(..place).map_or(0, |before| before.chars().count()) + 1
}

/// The end of the tag of a template that a text begins with.
fn closing(text: &str) -> Option<&'static str> {
    [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
        .into_iter()
        .find_map(|(begin, end)| text.starts_with(begin).then_some(end))
}

/// The source of a value's template: the escapes of what stands around its tags are undone.
fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = trim_unescaped(value);
    while !rest.is_empty() {
        if let Some(end) = closing(rest) {
            let length = rest.find(end).map_or(rest.len(), |found| found + end.len());
            let (tag, after) = rest.split_at(length);
            out.push_str(tag);
            rest = after;
            continue;
        }
        let length =
            ["{{", "{%", "{#"].iter().filter_map(|begin| rest.find(begin)).min().unwrap_or(rest.len());
        let (literal, after) = rest.split_at(length);
        out.push_str(&unescape_literal(literal)?);
        rest = after;
    }
    Ok(out)
}

fn unescape_literal(literal: &str) -> Result<String, String> {
    let bad =
        || format!("`{literal}` has an escape that RFC 4514 does not know; a backslash itself is `\\\\`");
    // Behind a value that is put in, a `#` is no sign of hex.
    let escape = if literal.starts_with('#') { "\\" } else { "" };
    let parsed =
        AttributeTypeAndValue::from_str(&format!("2.5.4.41={escape}{literal}")).map_err(|_| bad())?;
    let is_text = pkcs8::der::Tagged::tag(&parsed.value) == Tag::Utf8String;
    let text = is_text.then(|| std::str::from_utf8(parsed.value.value()).ok().map(str::to_owned)).flatten();
    text.ok_or_else(bad)
}

/// A value without the blanks around it that are not escaped.
fn trim_unescaped(value: &str) -> &str {
    let trimmed = value.trim();
    match trimmed.ends_with('\\') && value.len() > trimmed.len() {
        true => value.trim_start().get(..trimmed.len() + 1).unwrap_or(trimmed),
        false => trimmed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hub_types::IdentityId;
    use x509_parser::prelude::FromDer as _;
    use x509_parser::x509::X509Name;

    use super::super::columns::Columns;
    use super::*;

    fn render(text: &str, cells: &[(&str, &str)]) -> Result<(String, Vec<u8>), String> {
        let columns: BTreeMap<_, _> = cells.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let (identity, columns) = (IdentityId::parse("d1", None).unwrap(), Columns::from(columns));
        let row = RowValues { identity: &identity, columns: &columns };
        let rendered = SubjectTemplate::parse(text)?.render(row, true)?;
        let mut der = Vec::new();
        der::push(&mut der, SEQUENCE, &rendered.der);
        Ok((rendered.text, der))
    }

    #[test]
    fn a_name_runs_from_the_country_down_whichever_end_it_begins_at() {
        for text in
            ["C=DE,O=Acme,OU=Plant 7", "OU=Plant 7, O=Acme, C=DE", "ou=Plant 7,2.5.4.10=Acme,countryName=DE"]
        {
            let (text, der) = render(text, &[]).unwrap();
            assert_eq!(text, "C=DE,O=Acme,OU=Plant 7");
            assert_eq!(X509Name::from_der(&der).unwrap().1.to_string(), "C=DE, O=Acme, OU=Plant 7");
        }
        assert_eq!(render("DC=plant,DC=acme,DC=com", &[]).unwrap().0, "DC=com,DC=acme,DC=plant");
    }

    #[test]
    fn escapes_and_several_values_are_read() {
        let (text, der) = render(r"L=K\C3\B6ln+O=Acme\, Inc.\20x,C=DE", &[]).unwrap();
        assert_eq!(text, r"C=DE,L=Köln+O=Acme\, Inc. x");
        let (_, name) = X509Name::from_der(&der).unwrap();
        assert_eq!(name.iter().map(|part| part.iter().count()).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn no_value_adds_an_attribute() {
        let (text, der) =
            render("C=DE,serialNumber={{ x_sn }},OU={{ x_ou }}", &[("x_sn", "A-1"), ("x_ou", "a,O=b")])
                .unwrap();
        assert_eq!(X509Name::from_der(&der).unwrap().1.iter().count(), 3);
        assert!(text.ends_with(r"OU=a\,O=b"), "{text}");
        for value in [
            "5,CN=other",
            "5/CN=other",
            "5+cn = other",
            "CN=other",
            "5, commonName=x",
            "A,OID.2.5.4.03=x",
            "A,id-at-commonName=x",
        ] {
            let error = render("OU={{ x_sn }}", &[("x_sn", value)]).unwrap_err();
            assert!(error.contains("second CN"), "{value}: {error}");
        }
    }

    #[test]
    fn what_separates_elsewhere_and_what_nobody_sees_is_refused() {
        for (text, told) in [
            ("O=a;OU=b", "character 4 is an unescaped `;`"),
            ("O=a<b", "character 4 is an unescaped `<`"),
            ("O=a\u{200b}b", "invisible character U+200B"),
            ("O=a\u{202e}b", "invisible character U+202E"),
            ("O=a\u{2028}b", "invisible character U+2028"),
            ("O=a\u{ad}b", "invisible character U+00AD"),
        ] {
            let error = SubjectTemplate::parse(text).unwrap_err();
            assert!(error.contains(told), "{text:?}: {error}");
        }
        assert_eq!(render(r"O=a\;b", &[]).unwrap().0, r"O=a\;b");
    }

    /// A value as RFC 4514 §2.4 writes its encoding.
    fn hex_of(tag: u8, value: &[u8]) -> String {
        let mut der = Vec::new();
        der::push(&mut der, tag, value);
        format!("#{}", hub_types::thumbprint::upper_hex(&der))
    }

    #[test]
    fn a_value_given_as_its_encoding_is_what_it_would_be_as_text() {
        for (name, tag) in [("O", UTF8_STRING), ("1.2.3.4", UTF8_STRING), ("DC", IA5_STRING)] {
            let hex = render(&format!("{name}={}", hex_of(tag, b"acme")), &[]).unwrap();
            assert_eq!(hex, render(&format!("{name}=acme"), &[]).unwrap());
        }
        let (text, der) = render(&format!("O={}", hex_of(PRINTABLE_STRING, b"acme")), &[]).unwrap();
        assert_eq!(text, "O=acme");
        assert!(
            X509Name::from_der(&der).unwrap().1.iter_attributes().all(|it| it.attr_value().tag().0 == 19)
        );
    }

    #[test]
    fn a_value_given_as_its_encoding_passes_no_rule_by() {
        for value in ["A,CN=evil", "\u{1b}[31m", "A\nB", "A\0", "", "  ", " a", "{{ x }}", &"x".repeat(65)] {
            assert!(
                render(&format!("O={}", hex_of(UTF8_STRING, value.as_bytes())), &[]).is_err(),
                "{value:?}"
            );
        }
        for (name, tag, value) in [
            ("C", UTF8_STRING, &b"DE"[..]),
            ("C", PRINTABLE_STRING, b"de"),
            ("serialNumber", UTF8_STRING, b"1"),
            ("serialNumber", PRINTABLE_STRING, b"a_b"),
            ("DC", UTF8_STRING, b"acme"),
            ("O", IA5_STRING, b"acme"),
            ("O", PRINTABLE_STRING, b"a_b"),
            ("O", UTF8_STRING, b"\xFF"),
            ("CN", UTF8_STRING, b"A,CN=evil"),
            ("1.2.3.4", IA5_STRING, b"\xE9"),
        ] {
            assert!(render(&format!("{name}={}", hex_of(tag, value)), &[]).is_err(), "{name} {value:?}");
        }
        // Every other type: no text, or one of an outdated type.
        for tag in (0..=0x3F).filter(|tag| ![PRINTABLE_STRING, IA5_STRING, UTF8_STRING].contains(tag)) {
            for value in [&b""[..], b"A", &[0, 0x41], &[0xFF]] {
                assert!(render(&format!("O={}", hex_of(tag, value)), &[]).is_err(), "{tag} {value:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_name_is_told() {
        for (text, told) in [
            ("Acme", "there is no `=`"),
            ("O=Acme,", "missing"),
            ("C=DE,OU=a+OU=b", "joined to itself"),
            ("FOO=x", "`FOO` is not an attribute"),
            ("O=\"Acme, Inc\"", "quote"),
            ("C=Germany", "2"),
            ("C=de", "capital"),
            ("O= ", "yields nothing"),
            ("O=a\\qb", "escape"),
            ("CN={{ x }}", "CN is the identity"),
            ("{{ x }}=a", "can't be a template"),
            ("serialNumber=a_b", "U+005F"),
            ("O={{ x_missing }}", "not a column"),
        ] {
            let error = render(text, &[]).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}

//! [`OwnExtension`]: an extension of the owner's own, by its OID.

use std::convert::Infallible;

use pkcs8::der::asn1::ObjectIdentifier;
use pkcs8::der::{Decode as _, SliceReader, asn1::AnyRef};

use super::columns::RowValues;
use super::der::{self, IA5_STRING, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, UTF8_STRING};
use super::template::Template;
use crate::x509::rights::right_of;

/// An extension whose value is a template.
#[derive(Debug, Clone)]
pub(crate) struct OwnExtension {
    pub(crate) oid: ObjectIdentifier,
    pub(crate) form: ValueForm,
    pub(crate) value: Template,
    /// The line of the file.
    pub(crate) line: usize,
}

/// The ASN.1 type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueForm {
    /// Hex of any value in DER.
    Der,
    Ia5,
    Integer,
    /// Hex of an OCTET STRING's content.
    Octets,
    Utf8,
}

impl OwnExtension {
    /// Appends the extension for a row.
    pub(crate) fn render(
        &self,
        row: RowValues<'_>,
        value: &mut String,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        value.clear();
        self.value.render(row, value)?;
        let content = self.form.encode(value)?;
        let Ok(()) = der::wrap(out, SEQUENCE, |out| {
            der::push(out, OBJECT_IDENTIFIER, self.oid.as_bytes());
            der::push(out, OCTET_STRING, &content);
            Ok::<_, Infallible>(())
        });
        Ok(())
    }
}

impl ValueForm {
    /// The key in a profile.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Der => "der",
            Self::Ia5 => "ia5",
            Self::Integer => "integer",
            Self::Octets => "octets",
            Self::Utf8 => "utf8",
        }
    }

    /// The value in DER, or why it has none.
    pub(crate) fn encode(self, text: &str) -> Result<Vec<u8>, String> {
        if text.trim().is_empty() {
            return Err("it yields nothing".to_owned());
        }
        let mut out = Vec::with_capacity(text.len() + 4);
        match self {
            Self::Utf8 if !text.chars().any(char::is_control) => {
                der::push(&mut out, UTF8_STRING, text.as_bytes())
            }
            Self::Ia5 if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => {
                der::push(&mut out, IA5_STRING, text.as_bytes());
            }
            Self::Utf8 => return Err("it has a control character".to_owned()),
            Self::Ia5 => return Err(format!("`{text}` is not printable ASCII")),
            Self::Integer => {
                let number: i64 =
                    text.parse().map_err(|_| format!("`{text}` is not a whole number of 64 bits"))?;
                der::push(&mut out, INTEGER, shortest(&number.to_be_bytes()));
            }
            Self::Octets => der::push(&mut out, OCTET_STRING, &from_hex(text)?),
            Self::Der => {
                out = from_hex(text)?;
                check_der(&out).ok_or_else(|| format!("`{text}` is not the hex of one value in DER"))?;
            }
        }
        Ok(out)
    }
}

/// The fewest bytes of a number in two's complement (X.690 §8.3.2).
fn shortest(mut bytes: &[u8]) -> &[u8] {
    while let [0, next, ..] | [0xff, next, ..] = bytes {
        let is_needless = (bytes.first() == Some(&0)) == (*next < 0x80);
        if !is_needless {
            break;
        }
        bytes = bytes.get(1..).unwrap_or_default();
    }
    bytes
}

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let bad = || format!("`{text}` is not hex");
    let digits: Option<Vec<u32>> =
        text.chars().filter(|char| !matches!(char, ' ' | ':')).map(|char| char.to_digit(16)).collect();
    let digits = digits.ok_or_else(bad)?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(bad());
    }
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(high << 4 | low).map_err(|_| bad()));
    bytes.collect()
}

fn check_der(bytes: &[u8]) -> Option<()> {
    let mut reader = SliceReader::new(bytes).ok()?;
    AnyRef::decode(&mut reader).ok()?;
    pkcs8::der::Reader::is_finished(&reader).then_some(())
}

/// Returns the reason why a profile may not use an OID for an extension of its own, if there is
/// one: other settings make that extension, or it would contradict what they say.
pub(crate) fn refusal(oid: ObjectIdentifier) -> Option<String> {
    let right = right_of(oid);
    let oid = oid.to_string();
    let is_below = |arc: &str| oid.strip_prefix(arc).is_some_and(|rest| rest.starts_with('.'));
    let instead = match oid.as_str() {
        "2.5.29.19" => "basic constraints: a profile is for devices and modules, never for a CA (CA:TRUE)",
        "2.5.29.15" => "the key usage, which is always digitalSignature",
        "2.5.29.14" | "2.5.29.35" => "a key identifier, which is made for each certificate",
        "2.5.29.17" => "the alternative names: write them under `san`",
        "2.5.29.37" => "the extended key usage: write it as `extended_key_usages`",
        "2.5.29.31" => "the distribution points: write them as `crl_distribution_points`",
        "1.3.6.1.5.5.7.1.1" => "the authority information access: write it as `ca_issuers` or `ocsp`",
        "2.16.840.1.113730.1.1" => {
            "the Netscape certificate type, which OpenSSL weighs as the extended key usage and as CA:TRUE: \
             write `extended_key_usages`"
        }
        "1.3.6.1.4.1.11129.2.4.2" | "1.3.6.1.4.1.11129.2.4.3" => {
            "one of Certificate Transparency, which depends on each certificate"
        }
        "1.3.6.1.5.5.7.48.1.5" => "one for the certificates of OCSP responders",
        _ if is_below("2.5.29") => "one that X.509 defines, not one of your own",
        _ if is_below("1.3.6.1.5.5.7.1") => "one that the profile of RFC 5280 defines, not one of your own",
        // The comment limits nothing and gives no rights.
        _ if is_below("2.16.840.1.113730.1") && oid != "2.16.840.1.113730.1.13" => {
            "one of Netscape, which programs read in place of those of RFC 5280"
        }
        _ if is_below("1.3.6.1.5.5.7.3") => "a purpose of keys: write it under `extended_key_usages`",
        _ if is_below("2.23.133.6") => "one of TPMs and platforms, for which their makers vouch",
        _ if is_below("2.5.4") || is_below("2.23.133.2") => "an attribute of names, not an extension",
        _ => right?,
    };
    Some(format!("{oid} is {instead}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_that_say_what_a_certificate_is_for_are_not_of_ones_own() {
        let refusal = |oid: &str| refusal(oid.parse().unwrap());
        for (oid, told) in [
            ("2.5.29.14", "a key identifier"),
            ("2.5.29.15", "the key usage"),
            ("2.5.29.19", "(CA:TRUE)"),
            ("2.5.29.30", "one that X.509 defines"),
            ("2.5.29.31", "`crl_distribution_points`"),
            ("2.5.29.37", "`extended_key_usages`"),
            ("1.3.6.1.5.5.7.1.1", "`ca_issuers`"),
            ("1.3.6.1.5.5.7.1.14", "RFC 5280"),
            ("1.3.6.1.5.5.7.3.2", "a purpose of keys"),
            ("2.16.840.1.113730.1.1", "Netscape"),
            ("2.23.133.8.1", "TPMs"),
            ("2.23.133.6.2", "TPMs"),
            ("2.16.840.1.113730.1.3", "Netscape"),
            ("1.3.6.1.4.1.311.20.2", "template of Windows"),
            ("1.3.6.1.4.1.311.21.7", "template of Windows"),
            ("1.3.6.1.4.1.311.21.11", "gives rights"),
            ("1.3.6.1.4.1.311.25.2", "security identifier"),
            ("1.3.6.1.5.2.2", "Kerberos"),
            ("2.23.133.2.1", "an attribute of names"),
            ("1.3.6.1.4.1.311.21.10", "application policies"),
        ] {
            let reason = refusal(oid).unwrap();
            assert!(reason.starts_with(&format!("{oid} is ")) && reason.contains(told), "{reason}");
        }
        // Those of TCG's DICE, a comment of Netscape, one of one's own.
        for oid in ["2.23.133.5.4.1", "2.16.840.1.113730.1.13", "1.3.6.1.4.1.55555.1"] {
            assert_eq!(refusal(oid), None, "{oid}");
        }
    }

    #[test]
    fn values_are_in_der() {
        for (form, text, expected) in [
            (ValueForm::Utf8, "Ö", vec![0x0c, 2, 0xc3, 0x96]),
            (ValueForm::Ia5, "a", vec![0x16, 1, b'a']),
            (ValueForm::Integer, "0", vec![2, 1, 0]),
            (ValueForm::Integer, "128", vec![2, 2, 0, 0x80]),
            (ValueForm::Integer, "-128", vec![2, 1, 0x80]),
            (ValueForm::Integer, "-129", vec![2, 2, 0xff, 0x7f]),
            (ValueForm::Octets, "DE:AD", vec![4, 2, 0xde, 0xad]),
            (ValueForm::Der, "0500", vec![5, 0]),
        ] {
            assert_eq!(form.encode(text).unwrap(), expected, "{form:?} {text}");
        }
        for (form, text) in [
            (ValueForm::Utf8, " "),
            (ValueForm::Ia5, "ö"),
            (ValueForm::Integer, "1.5"),
            (ValueForm::Octets, "abc"),
            (ValueForm::Der, "0501"),
            (ValueForm::Der, "050005"),
        ] {
            assert!(form.encode(text).is_err(), "{form:?} {text}");
        }
    }
}

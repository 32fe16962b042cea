//! Numbers in JSON text, checked before they are converted.
//!
//! A JSON number has any number of digits (RFC 8259 §6), but parsers keep 64 bits. A twin holds
//! integers from −2^52 to 2^52 − 1 ("Understand and use device twins in IoT Hub") and decimals in
//! double precision. So each text is compared with the value that remains of it.

use std::fmt::{self, Write};

use memchr::memchr2;
use serde_json::Number;

/// The smallest integer of a twin.
pub const MIN_INTEGER: i64 = -(1 << 52);
/// The largest integer of a twin.
pub const MAX_INTEGER: i64 = (1 << 52) - 1;

/// A number, and whether it is written back as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadNumber {
    /// The number.
    pub number: Number,
    /// True if the number's own text is the text that was read: so for `1.5`, but not for `1.50`
    /// and `15e-1`.
    pub has_same_text: bool,
}

/// The reason why a text is not a number that a twin can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// A decimal with more digits, or a greater exponent, than double precision keeps.
    #[error("the number has more digits or a greater exponent than a twin keeps")]
    Inexact,
    /// An integer beyond ±2^52.
    #[error("the integer is outside the range of a twin, {MIN_INTEGER} to {MAX_INTEGER}")]
    OutOfRange,
    /// Not a number of JSON.
    #[error("this is no JSON number")]
    Syntax,
}

/// Reads a number. Returns an error for every text whose value would be changed.
pub fn read(text: &str) -> Result<ReadNumber, NumberError> {
    match form(text.as_bytes()) {
        None => Err(NumberError::Syntax),
        Some(Form::Integer) => integer(text),
        Some(Form::Decimal) => decimal(text),
    }
}

/// A number in a JSON text, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal<'a> {
    /// Its first byte.
    pub offset: usize,
    /// The number as it is written.
    pub text: &'a str,
    /// The number of objects and arrays around it.
    pub depth: usize,
    /// The index, from 0, of the item of the outermost array, or of the member of the outermost
    /// object, that contains it.
    pub item: usize,
}

impl Literal<'_> {
    /// Returns true if it is an integer with so few digits that conversion can't change it.
    pub fn is_plain(&self) -> bool {
        is_plain(self.text.as_bytes())
    }
}

/// The numbers of a JSON text, in its order. The rest of the text is not checked.
pub fn literals(json: &[u8]) -> Literals<'_> {
    Literals { json, at: 0, depth: 0, item: 0 }
}

/// Returns true if every number of a JSON text is an integer with so few digits that conversion
/// can't change it. This is a cheap test that nearly all texts pass.
pub fn are_all_plain(json: &[u8]) -> bool {
    literals(json).all(|literal| literal.is_plain())
}

/// The iterator of [`literals`].
#[derive(Debug, Clone)]
pub struct Literals<'a> {
    json: &'a [u8],
    at: usize,
    depth: usize,
    item: usize,
}

impl<'a> Iterator for Literals<'a> {
    type Item = Literal<'a>;

    fn next(&mut self) -> Option<Literal<'a>> {
        loop {
            let rest = self.json.get(self.at..)?;
            match rest.first()? {
                b'"' => self.at += string_length(rest),
                b'-' | b'0'..=b'9' => return self.number(rest),
                byte => {
                    match byte {
                        b'{' | b'[' => self.depth += 1,
                        b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                        b',' if self.depth == 1 => self.item += 1,
                        _ => {}
                    }
                    self.at += 1;
                }
            }
        }
    }
}

impl<'a> Literals<'a> {
    fn number(&mut self, rest: &'a [u8]) -> Option<Literal<'a>> {
        let is_of_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let length = rest.iter().take_while(is_of_number).count();
        let offset = self.at;
        self.at += length;
        let text = rest.get(..length).and_then(|text| str::from_utf8(text).ok())?;
        Some(Literal { offset, text, depth: self.depth, item: self.item })
    }
}

/// The length of the string that begins the text, both quotes included.
pub(crate) fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        match text.get(at) {
            Some(b'\\') => at += 2,
            _ => return at + 1,
        }
    }
    text.len()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Integer,
    Decimal,
}

/// The grammar of RFC 8259 §6.
fn form(text: &[u8]) -> Option<Form> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return None;
    }
    let mut rest = rest.get(whole..)?;
    if rest.is_empty() {
        return Some(Form::Integer);
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        rest = fraction.get(digits(fraction)..).filter(|rest| rest.len() < fraction.len())?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent =
            exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        rest = exponent.get(digits(exponent)..).filter(|rest| rest.len() < exponent.len())?;
    }
    rest.is_empty().then_some(Form::Decimal)
}

/// Returns true if a text of number characters is an integer of few digits.
fn is_plain(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    text != b"-0" && digits.len() <= SAFE_DIGITS && digits.iter().all(u8::is_ascii_digit)
}

fn integer(text: &str) -> Result<ReadNumber, NumberError> {
    // The sign of `-0` is kept by a decimal only.
    let number = if text == "-0" {
        Number::from_f64(-0.0).ok_or(NumberError::Syntax)?
    } else {
        let integer: i64 = text.parse().map_err(|_| NumberError::OutOfRange)?;
        if !(MIN_INTEGER..=MAX_INTEGER).contains(&integer) {
            return Err(NumberError::OutOfRange);
        }
        integer.into()
    };
    Ok(ReadNumber { number, has_same_text: text != "-0" })
}

fn decimal(text: &str) -> Result<ReadNumber, NumberError> {
    let value: f64 = text.parse().map_err(|_| NumberError::Syntax)?;
    let number = Number::from_f64(value).filter(|_| is_kept(text, value)).ok_or(NumberError::Inexact)?;
    Ok(ReadNumber { has_same_text: has_text(&number, text), number })
}

/// Returns true if the value, rounded to as many digits as the text has, has the same digits. So
/// the seventeen digits that many programs write for each number are accepted, and a longer text
/// only if it denotes exactly this value.
fn is_kept(text: &str, value: f64) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_matches('0');
    match digits.len() {
        0 => true,
        1..=SAFE_DIGITS if value.is_normal() => true,
        1..=MOST_DIGITS => {
            let rounded = format!("{value:.*e}", digits.len() - 1);
            let (rounded, _) = rounded.split_once('e').unwrap_or((&rounded, ""));
            rounded.chars().filter(char::is_ascii_digit).eq(digits.chars())
        }
        _ => false,
    }
}

/// Returns true if the number is written as this text.
fn has_text(number: &Number, text: &str) -> bool {
    struct Rest<'a>(&'a str);

    impl Write for Rest<'_> {
        fn write_str(&mut self, part: &str) -> fmt::Result {
            self.0 = self.0.strip_prefix(part).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    let mut rest = Rest(text);
    write!(rest, "{number}").is_ok() && rest.0.is_empty()
}

/// The number of significant digits that double precision keeps for every decimal.
const SAFE_DIGITS: usize = 15;
/// The largest number of significant digits that a double-precision value has.
const MOST_DIGITS: usize = 767;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn same(text: &str) -> bool {
        read(text).unwrap_or_else(|error| panic!("{text}: {error}")).has_same_text
    }

    #[test]
    fn integers_are_judged_by_their_text() {
        for text in ["0", "-1", "4503599627370495", "-4503599627370496"] {
            assert!(same(text), "{text}");
        }
        for text in ["4503599627370496", "-4503599627370497", "89014103211118510720", &"9".repeat(400)] {
            assert_eq!(read(text), Err(NumberError::OutOfRange), "{text}");
        }
        assert!(!same("-0"));
    }

    #[test]
    fn decimals_keep_their_value_or_are_refused() {
        for text in ["1.5", "0.1", "1.0", "-0.0", "1e+300"] {
            assert!(same(text), "{text}");
        }
        // What C programs print with `%.17g` is the value that they hold.
        for text in ["1.50", "1e5", "15e-1", "0.10000000000000001", "1122334455E6", "0.000", "0e0", "1e300"] {
            assert!(!same(text), "{text}");
        }
        for text in ["0.1234567890123456789", "1e400", "1e-400", "3e-324", &format!("0.{}", "1".repeat(900))]
        {
            assert_eq!(read(text), Err(NumberError::Inexact), "{text}");
        }
    }

    #[test]
    fn other_texts_are_no_numbers() {
        for text in ["", "-", "01", "+1", "1.", ".5", "1e", "1e+", "0x1", "NaN", "1 ", "1,5", "--1", "1.2.3"]
        {
            assert_eq!(read(text), Err(NumberError::Syntax), "{text}");
        }
    }

    #[test]
    fn literals_are_found_outside_of_strings() {
        let json = br#"{"a1": "2 \" 3", "b": [4, -5.5e1], "\\": 6}"#;
        let found: Vec<_> =
            literals(json).map(|found| (found.offset, found.text, found.depth, found.item)).collect();
        assert_eq!(found, [(23, "4", 2, 1), (26, "-5.5e1", 2, 1), (41, "6", 1, 2)]);
        assert!(are_all_plain(b"[1, \"1e5\", 123456789012345]"));
        for json in ["[1.0]", "[1234567890123456]", "[-0]", "[1e1]"] {
            assert!(!are_all_plain(json.as_bytes()), "{json}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_json_reads(text in "-?[0-9]{1,20}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?|[-+0-9.eE]{0,8}") {
            let by_json = serde_json::from_str::<Number>(&text);
            match read(&text) {
                Err(NumberError::Syntax) => prop_assert!(by_json.is_err()),
                Err(_) => {}
                Ok(read) => {
                    prop_assert_eq!(&read.number, &by_json.unwrap());
                    prop_assert_eq!(read.has_same_text, read.number.to_string() == text);
                }
            }
        }

        #[test]
        fn every_value_of_double_precision_is_kept_in_17_digits(value in any::<f64>()) {
            prop_assume!(value.is_normal());
            let in_17_digits = format!("{value:.16e}");
            prop_assert!(read(&in_17_digits).is_ok());
            prop_assert!(read(&Number::from_f64(value).unwrap().to_string()).is_ok_and(|read| read.has_same_text));
        }

        #[test]
        fn no_text_is_a_panic(json in proptest::collection::vec(any::<u8>(), 0..60)) {
            literals(&json).for_each(|literal| drop(read(literal.text)));
        }
    }
}

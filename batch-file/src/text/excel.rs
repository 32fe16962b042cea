//! Damage that spreadsheets do to values, recognised by its form.

use memchr::memchr;

use crate::problem::Flaw;

/// Returns true if the value is a formula's error that was saved in place of a value.
pub(crate) fn is_formula_error(value: &str) -> bool {
    value.starts_with('#') && FORMULA_ERRORS.contains(&value)
}

/// The message for a formula's error.
pub(crate) fn formula_error() -> Flaw {
    Flaw::new(
        "the spreadsheet saved a formula's error instead of a value",
        "repair the formula in the spreadsheet and export again",
    )
}

/// Returns true if the value has the form in which spreadsheets show a long number: `1.2E+11`, in
/// German `1,2E+11`.
pub(crate) fn is_rounded_number(value: &str) -> bool {
    // Nearly every value lacks the letter, so one search for it is enough.
    let Some((mantissa, exponent)) = memchr(b'E', value.as_bytes()).and_then(|at| value.split_at_checked(at))
    else {
        return false;
    };
    let Some(exponent) = exponent.strip_prefix("E+") else {
        return false;
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    whole.len() == 1 && is_digits(whole) && is_digits(fraction) && exponent.len() >= 2 && is_digits(exponent)
}

/// The message for a rounded number.
pub(crate) fn rounded_number() -> Flaw {
    Flaw::new(
        "this is what a spreadsheet makes of a long number; its digits are lost",
        "format the column as text, enter the values again and export; \
         `:string` or `:number` after a twin column's name says that it is meant",
    )
}

/// The message for a text that a spreadsheet may have changed, if it has such a form.
pub(crate) fn doubt(value: &str) -> Option<Flaw> {
    match () {
        () if is_date(value) => Some(date()),
        () if is_cut_number(value) => Some(cut_number()),
        () => None,
    }
}

/// Returns true if the value has the form of a spreadsheet's date: `3-Apr`, `Apr-26`, in German
/// `03. Apr`. Spreadsheets convert `3-4` and `APR26` to them.
fn is_date(value: &str) -> bool {
    if value.len() > LONGEST_DATE {
        return false;
    }
    let point = value.split_once('.').and_then(|(one, other)| Some((one, other.strip_prefix(' ')?)));
    let Some((one, other)) = point.or_else(|| value.split_once('-')) else { return false };
    let is_day = |text: &str| matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_day(one) && MONTHS.contains(&other)) || (is_day(other) && MONTHS.contains(&one))
}

/// The message for a date.
fn date() -> Flaw {
    Flaw::new(
        "this is what a spreadsheet makes of a text that looks like a date, such as `3-4` or `APR26`",
        "format the column as text, enter the values again and export; if it is meant, leave it",
    )
}

/// Returns true if the value has more digits than a spreadsheet keeps of a number, with zeros in
/// place of the rest.
fn is_cut_number(value: &str) -> bool {
    let rest = value.as_bytes().get(KEPT_DIGITS..).unwrap_or_default();
    rest.len() > 1 && rest.iter().all(|byte| *byte == b'0') && value.bytes().all(|byte| byte.is_ascii_digit())
}

/// The message for a truncated number.
fn cut_number() -> Flaw {
    Flaw::new(
        format!(
            "a spreadsheet keeps {KEPT_DIGITS} digits of a number, and behind these there are only zeros"
        ),
        "compare with the label; if digits are lost, format the column as text, enter the values again and export",
    )
}

/// Spreadsheets' abbreviations of months, in English and German.
const MONTHS: &[&str] = &[
    "Jan", "Feb", "Mar", "Mrz", "Apr", "May", "Mai", "Jun", "Jul", "Aug", "Sep", "Oct", "Okt", "Nov", "Dec",
    "Dez",
];
const LONGEST_DATE: usize = "03. Apr".len();
const KEPT_DIGITS: usize = 15;

/// Formula errors in English, German and French, depending on the spreadsheet's language.
const FORMULA_ERRORS: &[&str] = &[
    "#REF!", "#N/A", "#NAME?", "#VALUE!", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#BEZUG!",
    "#NV", "#WERT!", "#ZAHL!", "#VALEUR!", "#NOM?", "#NOMBRE!",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounded_numbers_are_told_from_ids() {
        for damaged in ["1.2E+11", "1,23457E+12", "5E+15", "0.1E+100"] {
            assert!(is_rounded_number(damaged), "{damaged}");
        }
        for fine in ["1.2e11", "E+11", "12E+11", "1.2E+1", "PUMPE+11", "1.2E11", "1.2E+1x", ""] {
            assert!(!is_rounded_number(fine), "{fine}");
        }
    }

    #[test]
    fn dates_and_cut_numbers_are_told_from_ids() {
        for damaged in ["3-Apr", "Apr-26", "03. Apr", "1-Mrz"] {
            assert!(is_date(damaged), "{damaged}");
        }
        for fine in ["3-4", "APR-26", "pump-3", "Apr", "123-Apr", "3-Aprx", "2026-04-03", ""] {
            assert!(!is_date(fine), "{fine}");
        }
        assert!(is_cut_number("8949022712345670000"));
        for fine in ["894902271234567", "8949022712345670", "8949022712345678000", "89490227123456x0000"] {
            assert!(!is_cut_number(fine), "{fine}");
        }
    }

    #[test]
    fn formula_errors_are_whole_values() {
        assert!(is_formula_error("#REF!") && is_formula_error("#N/A"));
        assert!(!is_formula_error("#1") && !is_formula_error("see #REF!"));
    }
}

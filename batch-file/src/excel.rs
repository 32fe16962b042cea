//! Damage that spreadsheets do to values, recognised by its looks.

use crate::problem::Flaw;

/// Whether the value is a formula's error that was saved in place of a value.
pub(crate) fn is_formula_error(value: &str) -> bool {
    value.starts_with('#') && FORMULA_ERRORS.contains(&value)
}

/// What to say of a formula's error.
pub(crate) fn formula_error() -> Flaw {
    Flaw::new(
        "the spreadsheet saved a formula's error instead of a value",
        "repair the formula in the spreadsheet and export again",
    )
}

/// Whether the value looks as a spreadsheet shows a long number: `1.2E+11`, in German `1,2E+11`.
pub(crate) fn is_rounded_number(value: &str) -> bool {
    let Some((mantissa, exponent)) = value.split_once("E+") else {
        return false;
    };
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    whole.len() == 1 && is_digits(whole) && is_digits(fraction) && exponent.len() >= 2 && is_digits(exponent)
}

/// What to say of a rounded number.
pub(crate) fn rounded_number() -> Flaw {
    Flaw::new(
        "this is what a spreadsheet makes of a long number; its digits are lost",
        "format the column as text, enter the values again and export; \
         `:string` or `:number` after a twin column's name says that it is meant",
    )
}

/// In English, German and French, as the spreadsheet's language has it.
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
    fn formula_errors_are_whole_values() {
        assert!(is_formula_error("#REF!") && is_formula_error("#N/A"));
        assert!(!is_formula_error("#1") && !is_formula_error("see #REF!"));
    }
}

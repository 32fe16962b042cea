//! Display of foreign characters and texts in messages, with every invisible character made
//! visible.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

/// A character between quotes; an invisible one is shown as its number in Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownChar(pub char);

impl fmt::Display for ShownChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(character) = *self;
        match character {
            '\'' => f.write_str("\"'\""),
            _ if is_seen(character) => write!(f, "'{character}'"),
            _ => write!(f, "U+{:04X}", u32::from(character)),
        }
    }
}

/// A text between double quotes; invisible characters are shown as their numbers in Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownText<'t>(pub &'t str);

impl fmt::Display for ShownText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", ShownBare(self.0))
    }
}

/// A text without quotes; invisible characters are shown as their numbers in Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownBare<'t>(pub &'t str);

impl fmt::Display for ShownBare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match is_seen(character) {
            true => write!(f, "{character}"),
            false => write!(f, "<U+{:04X}>", u32::from(character)),
        })
    }
}

/// A path without quotes, on one line; invisible characters are shown as their numbers in Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownPath<'p>(pub &'p Path);

impl fmt::Display for ShownPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownBare(&self.0.to_string_lossy()).fmt(f)
    }
}

/// Text of one or more lines for a terminal. Invisible characters other than line ends are shown as
/// their numbers in Unicode, so that foreign text can't move the cursor or forge a line's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShownLines<'t>(pub &'t str);

impl fmt::Display for ShownLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\n')) {
            return f.write_str(self.0);
        }
        let mut lines = self.0.split('\n');
        if let Some(first) = lines.next() {
            write!(f, "{}", ShownBare(first))?;
        }
        lines.try_for_each(|line| write!(f, "\n{}", ShownBare(line)))
    }
}

/// The text without the numbers that follow the words of the operating system's errors: ` (os error 2)`.
pub fn without_os_codes(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    while let Some(start) = shown.find(OS_CODE) {
        let rest = shown.get(start + OS_CODE.len()..).unwrap_or_default();
        let digits = rest.trim_start_matches('-').trim_start_matches(|letter: char| letter.is_ascii_digit());
        let Some(behind) = digits.strip_prefix(')').filter(|_| digits.len() < rest.len()) else { break };
        let end = shown.len() - behind.len();
        shown.to_mut().replace_range(start..end, "");
    }
    shown
}

const OS_CODE: &str = " (os error ";

/// Returns true if a character is visible or a plain space, and does not affect the text around it.
pub fn is_seen(character: char) -> bool {
    let is_blank = character.is_whitespace() && character != ' ';
    // The general category Cf, but for signs that stand before numbers in Arabic and other scripts.
    let is_format = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}'
    );
    !character.is_control() && !is_blank && !is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_ends_and_nothing_else_that_moves_a_cursor() {
        let shown = |text| ShownLines(text).to_string();
        assert_eq!(shown("a: b\n  hint: c"), "a: b\n  hint: c");
        assert_eq!(shown("\u{1b}[31mred\r\nü\u{202e}"), "<U+001B>[31mred<U+000D>\nü<U+202E>");
        assert_eq!(shown("\u{9b}2J\u{7}\t"), "<U+009B>2J<U+0007><U+0009>");
    }

    #[test]
    fn what_can_not_be_seen_is_named() {
        let shown = |character| ShownChar(character).to_string();
        assert_eq!(['/', ' ', '\'', 'ß'].map(shown), ["'/'", "' '", "\"'\"", "'ß'"]);
        assert_eq!(
            ['\n', '\u{0}', '\u{a0}', '\u{202e}'].map(shown),
            ["U+000A", "U+0000", "U+00A0", "U+202E"]
        );
        assert_eq!(ShownText("a \"b\"\t\\").to_string(), "\"a \"b\"<U+0009>\\\"");
        assert_eq!(ShownBare("it can't\u{1b}[2J").to_string(), "it can't<U+001B>[2J");
        let path = Path::new("a\n\u{2028}/b \u{85}.csv");
        assert_eq!(ShownPath(path).to_string(), "a<U+000A><U+2028>/b <U+0085>.csv");
    }

    #[test]
    fn words_of_the_operating_system_have_no_numbers() {
        let error = std::io::Error::from_raw_os_error(2);
        assert!(error.to_string().contains(OS_CODE));
        let text = format!("can't read `a`: {error}: x; {error}");
        let words = "No such file or directory";
        #[cfg(unix)]
        assert_eq!(without_os_codes(&text), format!("can't read `a`: {words}: x; {words}"));
        assert!(!without_os_codes(&text).contains("os error"));
        assert_eq!(without_os_codes("a (os error x) b"), "a (os error x) b");
    }
}

//! [`Dialect`] and [`Format`]: the syntax of a batch file, so that rows can be written in the same
//! form.

/// The syntax of a batch file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Comma-separated values with a header.
    Csv {
        /// The character between two cells.
        delimiter: u8,
        /// The line ends.
        line_end: LineEnd,
        /// The presence of a byte order mark, by which Excel recognises UTF-8.
        mark: ByteOrderMark,
    },
    /// One JSON object per line.
    JsonLines,
}

/// The line ends of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineEnd {
    /// `\r\n`
    CrLf,
    /// `\n`
    Lf,
}

/// The presence of a UTF-8 byte order mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByteOrderMark {
    /// The file has no mark.
    Absent,
    /// The file begins with a mark.
    Present,
}

/// A dialect and the original names of the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pub(crate) dialect: Dialect,
    /// The original names of the columns; empty in JSON Lines, where each row has its own names.
    pub(crate) names: Vec<String>,
}

impl Format {
    /// Plain CSV with these columns: commas, `\n`, no byte order mark.
    pub fn csv<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            dialect: Dialect::Csv { delimiter: b',', line_end: LineEnd::Lf, mark: ByteOrderMark::Absent },
            names: names.into_iter().map(str::to_owned).collect(),
        }
    }
}

/// The kind of the first line, which shows the dialect.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FirstLine {
    /// `sep=;`, a line that Excel reads and writes to name the delimiter.
    Separator(u8),
    /// A header, with the delimiter that it uses.
    Header(u8),
    /// A JSON array, which is not JSON Lines.
    JsonArray,
    /// A JSON object.
    JsonLines,
}

impl FirstLine {
    pub(crate) fn read(line: &[u8]) -> Self {
        let line = line.trim_ascii();
        match line {
            [b'{', ..] => Self::JsonLines,
            [b'[', ..] => Self::JsonArray,
            [b's' | b'S', b'e' | b'E', b'p' | b'P', b'=', delimiter] if DELIMITERS.contains(delimiter) => {
                Self::Separator(*delimiter)
            }
            _ => Self::Header(most_frequent_delimiter(line)),
        }
    }
}

/// A comma, unless a different delimiter is more frequent outside quotes.
fn most_frequent_delimiter(line: &[u8]) -> u8 {
    let outside_quotes = || line.split(|&byte| byte == b'"').step_by(2).flatten();
    let count = |delimiter: u8| outside_quotes().filter(|&&byte| byte == delimiter).count();
    // Of equals, `max_by_key` takes the last.
    let found = DELIMITERS.into_iter().max_by_key(|&delimiter| count(delimiter));
    found.unwrap_or(b',')
}

const DELIMITERS: [u8; 4] = *b"|\t;,";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_dialect() {
        for (line, expected) in [
            ("device_id,module_id", FirstLine::Header(b',')),
            ("device_id;module_id\r\n", FirstLine::Header(b';')),
            ("device_id\tmodule_id", FirstLine::Header(b'\t')),
            ("device_id|module_id|x_a;b\r\n", FirstLine::Header(b'|')),
            ("\"a|b|c\",device_id", FirstLine::Header(b',')),
            ("device_id", FirstLine::Header(b',')),
            ("\"a;b;c\",device_id", FirstLine::Header(b',')),
            ("sep=;\r\n", FirstLine::Separator(b';')),
            ("sep=|", FirstLine::Separator(b'|')),
            ("{\"device_id\":\"d\"}", FirstLine::JsonLines),
            ("[", FirstLine::JsonArray),
        ] {
            assert_eq!(FirstLine::read(line.as_bytes()), expected, "{line}");
        }
    }
}

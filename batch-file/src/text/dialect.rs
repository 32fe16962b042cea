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
    /// True if CSV begins with the names; false if only the options have them.
    pub(crate) has_header: bool,
}

impl Format {
    /// Plain CSV with these columns: commas, `\n`, no byte order mark.
    pub fn csv<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            dialect: Dialect::Csv { delimiter: b',', line_end: LineEnd::Lf, mark: ByteOrderMark::Absent },
            names: names.into_iter().map(str::to_owned).collect(),
            has_header: true,
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

/// The delimiter of a row with so many cells: the first that makes as many of it, or else the one of which it
/// has most.
pub(crate) fn delimiter_of_row(line: &[u8], cells: usize) -> u8 {
    let fits = |delimiter: &u8| count_outside_quotes(line, *delimiter) + 1 == cells;
    DELIMITERS.into_iter().rev().find(fits).unwrap_or_else(|| most_frequent_delimiter(line))
}

fn count_outside_quotes(line: &[u8], delimiter: u8) -> usize {
    let outside_quotes = line.split(|&byte| byte == b'"').step_by(2).flatten();
    outside_quotes.filter(|&&byte| byte == delimiter).count()
}

/// A comma, unless a different delimiter is more frequent outside quotes.
fn most_frequent_delimiter(line: &[u8]) -> u8 {
    // Of equals, `max_by_key` takes the last.
    let found = DELIMITERS.into_iter().max_by_key(|&delimiter| count_outside_quotes(line, delimiter));
    found.unwrap_or(b',')
}

const DELIMITERS: [u8; 4] = *b"|\t;,";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_known_length_tells_its_delimiter() {
        for (line, cells, expected) in [
            ("d1;1,5;x\r\n", 3, b';'),
            ("d1", 1, b','),
            ("d1\t\t\r\n", 3, b'\t'),
            ("d1|\"a;b\"|c", 3, b'|'),
            ("d1;x", 3, b';'),
        ] {
            assert_eq!(delimiter_of_row(line.as_bytes(), cells), expected, "{line}");
        }
    }

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

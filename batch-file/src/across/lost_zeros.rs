//! [`LostZeros`]: numbers that may have lost their leading zeros, found by comparison within a column.
//!
//! A spreadsheet that opens a CSV changes `007` to `7` without a message. The value alone does not
//! show the damage, but its neighbours may: numeric ids usually have one length. JSON has no such
//! damage.

use crate::header::cells::{Cell, Cells};
use crate::header::column::{Column, Content};
use crate::header::twin_column::Kind;
use crate::problem::{Findings, Flaw};

/// The all-digit values of the rows so far.
#[derive(Debug, Default)]
pub(crate) struct LostZeros {
    /// The lengths by column index; `None` if digits are a quantity, or no value was all digits
    /// yet.
    columns: Vec<Option<Lengths>>,
}

/// The numbers of one column, by their length.
#[derive(Debug)]
struct Lengths {
    column: String,
    /// True if digits are always a name here. Otherwise they are a quantity, unless some value has
    /// a leading zero.
    is_name: bool,
    /// The values of 1 digit, of 2, and so on.
    of: [Option<Values>; MAX_DIGITS],
    /// The first value that has a leading zero.
    padded: Option<(String, u64)>,
}

/// Values of one length.
#[derive(Debug)]
struct Values {
    count: u64,
    first: String,
    line: u64,
}

impl LostZeros {
    /// Checks a row; the cost is very small if no value is all digits.
    pub(crate) fn observe(&mut self, cells: &Cells, line: u64) {
        for (place, (header, cell)) in cells.pairs().enumerate() {
            let Cell::Text(text) = cell else { continue };
            let Some(is_name) = header.column.as_ref().and_then(is_name) else { continue };
            if (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
                if self.columns.len() <= place {
                    self.columns.resize_with(place + 1, || None);
                }
                if let Some(slot) = self.columns.get_mut(place) {
                    slot.get_or_insert_with(|| Lengths::new(&header.name, is_name)).add(text, line);
                }
            }
        }
    }

    /// Reports, at the end, numbers that are shorter than the others of their column.
    pub(crate) fn report(&self, findings: &mut Findings<'_>) {
        self.columns.iter().flatten().for_each(|lengths| lengths.report(findings));
    }
}

impl Lengths {
    fn new(column: &str, is_name: bool) -> Self {
        Self { column: column.to_owned(), is_name, of: Default::default(), padded: None }
    }

    fn add(&mut self, text: &str, line: u64) {
        if text.len() > 1 && text.starts_with('0') && self.padded.is_none() {
            self.padded = Some((text.to_owned(), line));
        }
        match text.len().checked_sub(1).and_then(|index| self.of.get_mut(index)) {
            Some(Some(values)) => values.count += 1,
            Some(none) => *none = Some(Values { count: 1, first: text.to_owned(), line }),
            None => {}
        }
    }

    fn report(&self, findings: &mut Findings<'_>) {
        if !self.is_name && self.padded.is_none() {
            return;
        }
        let lengths = || self.of.iter().flatten();
        // The length that most have: of two that are as frequent, the greater.
        let Some(usual) = lengths().max_by_key(|values| (values.count, values.first.len())) else { return };
        let shorter = || lengths().filter(|values| values.first.len() < usual.first.len());
        let Some(short) = shorter().min_by_key(|values| values.line) else { return };
        let rows = match shorter().map(|values| values.count).sum() {
            1 => "1 row has".to_owned(),
            count => format!("{count} rows have"),
        };
        let example = match &self.padded {
            Some((value, line)) => format!("line {line} has `{value}`"),
            None => format!("line {} has `{}`", usual.line, usual.first),
        };
        findings.set_line(short.line);
        findings.cell_warning(
            &self.column,
            &short.first,
            Flaw::new(
                format!(
                    "numbers here usually have {} digits ({example}), and {rows} fewer: a spreadsheet may have eaten \
                     leading zeros",
                    usual.first.len()
                ),
                "compare with the labels; if zeros are lost, format the column as text, enter the values again and export",
            ),
        );
    }
}

/// Returns true if digits in a column are a name, false if they may be one; `None` if they are
/// neither.
fn is_name(column: &Column) -> Option<bool> {
    match column {
        Column::Field(field) if field.content() == Content::Id => Some(true),
        Column::Free(_) => Some(false),
        Column::Twin(twin_column) => match twin_column.kind {
            Kind::String => Some(true),
            Kind::AsWritten => Some(false),
            Kind::Bool | Kind::Json | Kind::Number => None,
        },
        Column::Module(column) => is_name(&column.column),
        Column::Field(_) | Column::Ignored(_) => None,
    }
}

/// The most digits of a considered value. A serial number of a SIM card has 20.
const MAX_DIGITS: usize = 24;

#[cfg(test)]
mod tests {
    use crate::reader::BatchReader;
    use crate::{Problem, ReadOptions};
    use std::io::Cursor;

    fn warnings(text: &str) -> Vec<Problem> {
        let input = Cursor::new(text.as_bytes().to_vec());
        let reader = BatchReader::from_read(input, "b.csv", "".as_ref(), &ReadOptions::default()).unwrap();
        reader.read_all().file_problems
    }

    #[test]
    fn an_id_that_is_shorter_than_the_others_may_have_lost_its_zeros() {
        let ids: String = (95..110).map(|id| format!("{id}\n")).collect();
        let found = warnings(&format!("device_id\n{ids}"));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].value.as_deref()), (Some(2), Some("95")));
        assert!(found[0].message.contains("usually have 3 digits (line 7 has `100`), and 5 rows have fewer"));
        assert!(!found[0].is_error());
        let padded: String = (95..110).map(|id| format!("{id:03}\n")).collect();
        assert_eq!(warnings(&format!("device_id\n{padded}")), []);
    }

    #[test]
    fn one_value_that_was_typed_again_is_found_by_the_zeros_of_the_others() {
        let found = warnings("device_id,tags.lot\na,0071\nb,0072\nc,73\n");
        assert_eq!((found[0].line, found[0].column.as_deref()), (Some(4), Some("tags.lot")));
        assert!(found[0].message.contains("line 2 has `0071`), and 1 row has fewer"), "{}", found[0].message);
    }

    #[test]
    fn amounts_and_words_are_no_ids() {
        let text = "device_id,desired.interval,tags.note:number\npump-1,5,1\npump-22,60,22\n";
        assert_eq!(warnings(text), []);
        assert_eq!(warnings("device_id,tags.lot:string\na,7\nb,70\n").len(), 1);
    }
}

//! [`Header`]: the columns of a CSV batch, and the resolution of names (aliases, `--map`).

pub(crate) mod cells;
pub(crate) mod column;
mod ignored;
pub(crate) mod module_column;
pub(crate) mod suggest;
pub(crate) mod twin_column;

use std::sync::Arc;

use hub_types::ModuleId;

use crate::header::column::{Column, Field};
pub use crate::header::ignored::{ColumnPattern, ColumnPatternError};
use crate::header::module_column::ModuleColumn;
use crate::header::suggest::suggest;
use crate::header::twin_column::TwinColumn;
use crate::problem::{Findings, Flaw};

/// The most columns that a batch may have.
pub(crate) const MAX_COLUMNS: usize = 1000;

/// A column's original name, and its meaning.
#[derive(Debug)]
pub(crate) struct HeaderCell {
    /// The name in the file.
    pub(crate) written: String,
    /// The name in our vocabulary; as written if it is unknown.
    pub(crate) name: String,
    /// The meaning; `None` if the name is unknown, which is reported.
    pub(crate) column: Option<Column>,
    /// Its index among the columns of the file; `None` if there are too many to count.
    pub(crate) place: Option<usize>,
    /// True in the row of a module for a column that is the module's own.
    pub(crate) is_of_module: bool,
}

/// The columns of a CSV batch.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) cells: Vec<Arc<HeaderCell>>,
    /// Pairs of columns of which a row may fill only one.
    pub(crate) overlaps: Vec<(usize, usize)>,
    /// True if the names are given with the options, as the file has no header.
    pub(crate) is_given: bool,
}

/// The options about names, [`crate::ReadOptions::map`] and others, parsed.
#[derive(Debug, Clone)]
pub(crate) struct NameMap {
    pairs: Vec<(String, Column)>,
    modules: Vec<ModuleId>,
    ignored: Vec<ColumnPattern>,
    columns: Vec<String>,
}

/// The right side of a pair is not a known name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{ours}`, to which `{theirs}` is mapped, is no column of a batch")]
pub struct MapError {
    /// The name in the file.
    pub theirs: String,
    /// The intended name.
    pub ours: String,
    /// The action that resolves the error.
    pub remedy: String,
}

impl NameMap {
    pub(crate) fn new(
        pairs: &[(String, String)],
        modules: &[ModuleId],
        ignored: &[ColumnPattern],
        columns: &[String],
    ) -> Result<Self, MapError> {
        let parse = |(theirs, ours): &(String, String)| match column_of(ours, modules) {
            Ok(column) => Ok((theirs.trim().to_owned(), column)),
            Err(flaw) => Err(MapError { theirs: theirs.clone(), ours: ours.clone(), remedy: flaw.remedy }),
        };
        let pairs = pairs.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { pairs, modules: modules.to_vec(), ignored: ignored.to_vec(), columns: columns.to_vec() })
    }

    /// The names of the columns of a file without a header; empty if the file has one.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The modules that each row has, if rows are devices with their modules.
    pub(crate) fn modules(&self) -> &[ModuleId] {
        &self.modules
    }

    /// Resolves a name: the map first, then the ignored columns, our own names and the aliases.
    pub(crate) fn read(
        &self,
        written: &str,
        place: Option<usize>,
        findings: &mut Findings<'_>,
    ) -> HeaderCell {
        let mapped = self.pairs.iter().find(|(theirs, _)| is_same_name(theirs, written));
        let column = match mapped {
            Some((_, column)) => Ok(column.clone()),
            None if self.ignored.iter().any(|pattern| pattern.matches(written)) => {
                Ok(Column::Ignored(written.trim().to_owned()))
            }
            None => column_of(written, &self.modules),
        };
        let column = column.map_err(|flaw| findings.column_error(written.trim(), flaw)).ok();
        let name = column.as_ref().map_or_else(|| written.trim().to_owned(), Column::to_string);
        HeaderCell { written: written.to_owned(), name, column, place, is_of_module: false }
    }

    /// Reports mapped names that the file does not have, because they are probably mistyped, and those that
    /// are mapped twice.
    fn check_used(&self, header: &Header, findings: &mut Findings<'_>) {
        let written = || header.cells.iter().map(|cell| cell.written.trim());
        for (index, (theirs, column)) in self.pairs.iter().enumerate() {
            let earlier = self.pairs.iter().take(index).find(|(earlier, _)| is_same_name(earlier, theirs));
            if let Some((_, earlier)) = earlier.filter(|(_, earlier)| earlier != column) {
                let flaw = Flaw::new(
                    format!("the column is mapped twice, to `{earlier}` and to `{column}`"),
                    "map it once",
                );
                findings.column_error(theirs, flaw);
            }
            if !written().any(|name| is_same_name(theirs, name)) {
                let remedy = match suggest(theirs, written()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "name a column of this file, or leave the pair out".to_owned(),
                };
                findings.column_error(theirs, Flaw::new("the file has no such column to map", remedy));
            }
        }
    }
}

impl Header {
    /// Reads the names of a CSV header.
    pub(crate) fn parse<'a>(
        written: impl Iterator<Item = &'a str>,
        map: &NameMap,
        findings: &mut Findings<'_>,
    ) -> Self {
        let read = |(place, name)| Arc::new(map.read(name, Some(place), findings));
        let cells: Vec<_> = written.enumerate().map(read).collect();
        let header = Self { overlaps: overlaps(&cells), cells, is_given: !map.columns.is_empty() };
        map.check_used(&header, findings);
        header.check_duplicates(findings);
        if !header.has_device_id() {
            findings.column_error(Field::DeviceId.name(), header.without_device_id());
        }
        header
    }

    fn without_device_id(&self) -> Flaw {
        if self.is_given {
            let remedy = "name it at its place, as in `--columns device_id,x_lot`";
            return Flaw::new("`--columns` has no such column, which every batch needs", remedy);
        }
        let rename =
            "begin the file with a header that names `device_id`; `--map theirs=device_id` renames a column";
        let has_known = self.cells.iter().any(|cell| cell.column.is_some());
        let remedy = match self.cells.len() {
            _ if has_known => rename.to_owned(),
            1 => format!("{rename}; a list of ids without a header is read with `--columns device_id`"),
            _ => format!("{rename}; a file without a header is read with `--columns device_id,…`"),
        };
        Flaw::new("the header has no such column, which every batch needs", remedy)
    }

    /// Returns true if a row has the names of the columns in its cells.
    pub(crate) fn is_repeated_by<'a>(&self, row: impl Iterator<Item = &'a str>) -> bool {
        let folded = |text: &str| text.trim().to_lowercase();
        row.map(folded).eq(self.cells.iter().map(|cell| folded(&cell.written)))
    }

    pub(crate) fn has_device_id(&self) -> bool {
        let device_id = Some(Column::Field(Field::DeviceId));
        self.cells.iter().any(|cell| cell.column == device_id)
    }

    fn check_duplicates(&self, findings: &mut Findings<'_>) {
        for (index, cell) in self.cells.iter().enumerate() {
            let earlier = self.cells.iter().take(index).position(|other| is_same_column(other, cell));
            if let Some((earlier, other)) = earlier.and_then(|at| Some((at, self.cells.get(at)?))) {
                findings.column_error(&cell.name, twice((earlier, other), (index, cell)));
            }
        }
    }
}

/// Returns true if two columns have the same meaning, regardless of forced types.
pub(crate) fn is_same_column(one: &HeaderCell, other: &HeaderCell) -> bool {
    match (&one.column, &other.column) {
        (Some(one), Some(other)) => one.is_same(other),
        _ => false,
    }
}

/// The flaw of two columns with the same meaning, each with its index.
fn twice((earlier, other): (usize, &HeaderCell), (index, cell): (usize, &HeaderCell)) -> Flaw {
    let (first, second) = (earlier + 1, index + 1);
    if is_same_name(&other.written, &cell.written) {
        return Flaw::new(
            format!("the column is there twice, as number {first} and number {second}"),
            "remove one of them, or rename it to `x_…`",
        );
    }
    Flaw::new(
        format!(
            "two columns give its values: `{}`, number {first}, and `{}`, number {second}",
            other.written.trim(),
            cell.written.trim()
        ),
        "pass over one of them with `--ignore`, or map it to a free column, `--map theirs=x_…`",
    )
}

/// The column with a name, ours or one of the aliases.
fn column_of(name: &str, modules: &[ModuleId]) -> Result<Column, Flaw> {
    match ModuleColumn::parse(name, modules) {
        Some(column) => column.map(Column::Module),
        None => Column::parse(name),
    }
}

/// The pairs of columns that are paths of the twin, one inside the other.
pub(crate) fn overlaps(cells: &[Arc<HeaderCell>]) -> Vec<(usize, usize)> {
    let twin_columns: Vec<(usize, &TwinColumn)> = cells
        .iter()
        .enumerate()
        .filter_map(|(index, cell)| match &cell.column {
            Some(Column::Twin(twin_column)) => Some((index, twin_column)),
            _ => None,
        })
        .collect();
    let mut pairs = Vec::new();
    for (nth, (index, twin_column)) in twin_columns.iter().enumerate() {
        let earlier = twin_columns.iter().take(nth);
        let inside =
            earlier.filter(|(_, other)| twin_column.overlaps(other) && !twin_column.is_same_place(other));
        pairs.extend(inside.map(|(other, _)| (*other, *index)));
    }
    pairs
}

fn is_same_name(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &[&str], map: &[(&str, &str)]) -> (Header, Vec<String>) {
        let pairs: Vec<_> = map.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
        let map = NameMap::new(&pairs, &[], &[], &[]).unwrap();
        let mut findings = Findings::new("f", Some(1));
        let header = Header::parse(names.iter().copied(), &map, &mut findings);
        let problems = findings.into_problems();
        (header, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn their_names_are_mapped_to_ours() {
        let (header, problems) =
            header(&["Seriennummer", "Typ"], &[("seriennummer", "device_id"), ("Typ", "x_type")]);
        assert_eq!(problems, [""; 0]);
        let names: Vec<_> = header.cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names, ["device_id", "x_type"]);
    }

    #[test]
    fn a_map_to_nowhere_or_from_nowhere_is_refused() {
        let error = NameMap::new(&[("a".into(), "devce_id".into())], &[], &[], &[]).unwrap_err();
        assert!(error.remedy.contains("`device_id`"), "{}", error.remedy);
        let (_, problems) = header(&["device_id", "Serial1"], &[("Serial2", "x_s"), ("Serial1", "x_t")]);
        assert!(problems[0].contains("did you mean `Serial1`?"), "{problems:?}");
    }

    #[test]
    fn columns_that_mean_the_same_are_doubled() {
        let (_, problems) = header(&["device_id", "DeviceID", "tags.a", "tags.a:number", "x_a", "x_b"], &[]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        let sources = "two columns give its values: `device_id`, number 1, and `DeviceID`, number 2";
        assert!(problems[0].contains(sources), "{problems:?}");
        assert!(problems[1].contains("`tags.a`, number 3, and `tags.a:number`, number 4"), "{problems:?}");
        let (_, problems) = header(&["device_id", "tags.a", "tags.a"], &[]);
        assert!(problems[0].contains("column tags.a: the column is there twice"), "{problems:?}");
        let (_, problems) = header(&["device_id", "Serial"], &[("Serial", "device_id")]);
        assert!(problems[0].contains("`device_id`, number 1, and `Serial`, number 2"), "{problems:?}");
        let (_, problems) = header(&["device_id", "a"], &[("a", "x_a"), ("A", "x_b")]);
        assert!(problems[0].contains("mapped twice, to `x_a` and to `x_b`"), "{problems:?}");
    }

    #[test]
    fn without_device_id_there_is_no_batch() {
        let (header, problems) = header(&["status"], &[]);
        assert!(!header.has_device_id());
        assert!(problems[0].contains("every batch needs"), "{problems:?}");
    }

    #[test]
    fn places_inside_one_another_are_found() {
        let (header, problems) = header(&["device_id", "tags.a", "tags.b", "tags.a.b"], &[]);
        assert_eq!(header.overlaps, [(1, 3)]);
        assert_eq!(problems, [""; 0]);
    }
}

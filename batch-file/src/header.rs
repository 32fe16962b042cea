//! [`Header`]: the columns of a CSV batch, and the resolution of names (aliases, `--map`).

pub(crate) mod cells;
pub(crate) mod column;
pub(crate) mod suggest;
pub(crate) mod twin_column;

use std::sync::Arc;

use crate::header::column::{Column, Field};
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
}

/// The columns of a CSV batch.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) cells: Vec<Arc<HeaderCell>>,
    /// Pairs of columns of which a row may fill only one.
    pub(crate) overlaps: Vec<(usize, usize)>,
}

/// The pairs of [`crate::ReadOptions::map`], parsed.
#[derive(Debug, Clone)]
pub(crate) struct NameMap {
    pairs: Vec<(String, Column)>,
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
    pub(crate) fn new(pairs: &[(String, String)]) -> Result<Self, MapError> {
        let parse = |(theirs, ours): &(String, String)| match Column::parse(ours) {
            Ok(column) => Ok((theirs.trim().to_owned(), column)),
            Err(flaw) => Err(MapError { theirs: theirs.clone(), ours: ours.clone(), remedy: flaw.remedy }),
        };
        let pairs = pairs.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { pairs })
    }

    /// Resolves a name: the map first, then our own names and the aliases.
    pub(crate) fn read(
        &self,
        written: &str,
        place: Option<usize>,
        findings: &mut Findings<'_>,
    ) -> HeaderCell {
        let mapped = self.pairs.iter().find(|(theirs, _)| is_same_name(theirs, written));
        let column = match mapped {
            Some((_, column)) => Ok(column.clone()),
            None => Column::parse(written),
        };
        let column = column.map_err(|flaw| findings.column_error(written.trim(), flaw)).ok();
        let name = column.as_ref().map_or_else(|| written.trim().to_owned(), Column::to_string);
        HeaderCell { written: written.to_owned(), name, column, place }
    }

    /// Warns of mapped names that the file does not have, because they are probably mistyped.
    fn check_used(&self, header: &Header, findings: &mut Findings<'_>) {
        let written = || header.cells.iter().map(|cell| cell.written.trim());
        for (theirs, _) in &self.pairs {
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
        let header = Self { overlaps: overlaps(&cells), cells };
        map.check_used(&header, findings);
        header.check_duplicates(findings);
        if !header.has_device_id() {
            findings.column_error(
                Field::DeviceId.name(),
                Flaw::new(
                    "the header has no such column, which every batch needs",
                    "begin the file with a header that names `device_id`; `--map theirs=device_id` renames a column",
                ),
            );
        }
        header
    }

    pub(crate) fn has_device_id(&self) -> bool {
        let device_id = Some(Column::Field(Field::DeviceId));
        self.cells.iter().any(|cell| cell.column == device_id)
    }

    fn check_duplicates(&self, findings: &mut Findings<'_>) {
        for (index, cell) in self.cells.iter().enumerate() {
            let earlier = self.cells.iter().take(index).position(|other| is_same_column(other, cell));
            if let Some(earlier) = earlier {
                findings.column_error(
                    &cell.name,
                    Flaw::new(
                        format!(
                            "the column is there twice, as number {} and number {}",
                            earlier + 1,
                            index + 1
                        ),
                        "remove one of them, or rename it to `x_…`",
                    ),
                );
            }
        }
    }
}

/// Returns true if two columns have the same meaning, regardless of forced types.
pub(crate) fn is_same_column(one: &HeaderCell, other: &HeaderCell) -> bool {
    match (&one.column, &other.column) {
        (Some(Column::Twin(one)), Some(Column::Twin(other))) => one.is_same_place(other),
        (Some(one), Some(other)) => one == other,
        _ => false,
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
        let map = NameMap::new(&pairs).unwrap();
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
        let error = NameMap::new(&[("a".into(), "devce_id".into())]).unwrap_err();
        assert!(error.remedy.contains("`device_id`"), "{}", error.remedy);
        let (_, problems) = header(&["device_id", "Serial1"], &[("Serial2", "x_s"), ("Serial1", "x_t")]);
        assert!(problems[0].contains("did you mean `Serial1`?"), "{problems:?}");
    }

    #[test]
    fn columns_that_mean_the_same_are_doubled() {
        let (_, problems) = header(&["device_id", "DeviceID", "tags.a", "tags.a:number", "x_a", "x_b"], &[]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("number 1 and number 2"), "{problems:?}");
        assert!(problems[1].contains("column tags.a: the column is there twice"), "{problems:?}");
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

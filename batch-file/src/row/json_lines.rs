//! A row of JSON Lines: one object whose members have the names of columns.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use hub_types::{number, repeated_member};
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};

use crate::header::cells::{Cells, JsonCell, WrittenNumber};
use crate::header::twin_column::{json_reason, repeated};
use crate::header::{HeaderCell, MAX_COLUMNS, NameMap, is_same_column};
use crate::problem::{Findings, Flaw};

/// Reads objects, and caches the meaning of their members' names.
pub(crate) struct JsonRows {
    map: NameMap,
    known: HashMap<String, Arc<HeaderCell>>,
}

impl JsonRows {
    pub(crate) fn new(map: NameMap) -> Self {
        Self { map, known: HashMap::new() }
    }

    /// Reads one line; `None` if it is not a row.
    pub(crate) fn read(&mut self, line: &[u8], findings: &mut Findings<'_>) -> Option<Cells> {
        let members = match parse(line) {
            Ok(members) => members,
            Err(flaw) => {
                findings.error(flaw);
                return None;
            }
        };
        if members.len() > MAX_COLUMNS {
            findings.error(Flaw::new(
                format!("the object has {} members, more than {MAX_COLUMNS}", members.len()),
                "leave out what is no column of a batch",
            ));
            return None;
        }
        let (names, values): (Vec<_>, Vec<_>) = members.into_iter().unzip();
        let cells: Vec<_> = names.iter().map(|name| self.cell(name, findings)).collect();
        check_duplicates(&cells, findings);
        Some(Cells::of_json(cells, values))
    }

    fn cell(&mut self, name: &str, findings: &mut Findings<'_>) -> Arc<HeaderCell> {
        if let Some(known) = self.known.get(name) {
            return Arc::clone(known);
        }
        let place = Some(self.known.len()).filter(|&place| place < MAX_COLUMNS);
        let cell = Arc::new(self.map.read(name, place, findings));
        // An unknown name is reported in every row that has it.
        if cell.column.is_some() && cell.place.is_some() {
            self.known.insert(name.to_owned(), Arc::clone(&cell));
        }
        cell
    }
}

fn check_duplicates(cells: &[Arc<HeaderCell>], findings: &mut Findings<'_>) {
    for (index, cell) in cells.iter().enumerate() {
        if cells.iter().take(index).any(|other| is_same_column(other, cell)) {
            let flaw = Flaw::new("the object has this member twice", "leave one of them out");
            findings.column_error(&cell.name, flaw);
        }
    }
}

/// The members of an object in their order, repeated ones included.
fn parse(line: &[u8]) -> Result<Vec<(String, JsonCell)>, Flaw> {
    let mut deserializer = serde_json::Deserializer::from_slice(line);
    let members = deserializer.deserialize_map(Members);
    let mut members = members
        .and_then(|members| deserializer.end().map(|()| members))
        .map_err(|error| too_large(line).unwrap_or_else(|| no_object(&error)))?;
    let names: HashSet<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
    // A column that is there twice is reported as such.
    if names.len() == members.len() {
        repeated_member::check(line).map_err(|error| repeated(&error))?;
    }
    for literal in number::literals(line).filter(|literal| !literal.is_plain()) {
        if let Some((_, cell)) = members.get_mut(literal.item) {
            let before = line.get(..literal.offset).unwrap_or(line);
            let character = String::from_utf8_lossy(before).chars().count() + 1;
            cell.numbers.push(WrittenNumber { text: literal.text.into(), character });
        }
    }
    Ok(members)
}

fn no_object(error: &serde_json::Error) -> Flaw {
    let remedy = "write one JSON object per line, as in {\"device_id\": \"pump-0001\"}";
    Flaw::new(format!("this is no JSON object: {}", json_reason(error)), remedy)
}

/// The flaw of a number that no floating-point number can hold, if there is one. The parser gives up there.
fn too_large(line: &[u8]) -> Option<Flaw> {
    let is_too_large = |text: &str| text.parse().is_ok_and(f64::is_infinite);
    let literal = number::literals(line).find(|literal| is_too_large(literal.text))?;
    let before = line.get(..literal.offset).unwrap_or(line);
    let character = String::from_utf8_lossy(before).chars().count() + 1;
    Some(Flaw::new(
        format!("the number at character {character} is larger than any that a hub can hold"),
        "put it in quotes to keep it as a text",
    ))
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, JsonCell)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            members.push((name, JsonCell { value, numbers: Vec::new() }));
        }
        Ok(members)
    }
}

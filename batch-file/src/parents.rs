//! [`Parents`]: the check that named parents are devices that can have children.

use std::collections::HashMap;

use hub_types::DeviceId;

use crate::column::Field;
use crate::problem::{Findings, Flaw};
use crate::row::Row;
use crate::seen::Seen;

/// The parents named by the rows so far. Rows of the parents themselves may follow until the end.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    /// The parents, each with the line of the first row that names it.
    first_child: HashMap<DeviceId, u64>,
}

impl Parents {
    pub(crate) fn note(&mut self, row: &Row) {
        if let Some(parent) = &row.parent
            && !self.first_child.contains_key(parent)
        {
            self.first_child.insert(parent.clone(), row.line);
        }
    }

    /// Reports the parents with a row that does not make them edge devices.
    pub(crate) fn report(&self, seen: &mut Seen, findings: &mut Findings<'_>) {
        seen.compare_spilled(self.first_child.keys(), findings);
        let mut parents: Vec<_> = self.first_child.iter().collect();
        parents.sort_unstable_by_key(|(_, line)| **line);
        for (parent, child) in parents {
            if let Some((line, false)) = seen.device(parent) {
                findings.set_line(*child);
                findings.cell_error(
                    Field::Parent.name(),
                    parent.as_str(),
                    Flaw::new(
                        format!("only edge devices have children, and this one, on line {line}, is none"),
                        format!("write `true` into `edge` on line {line}, or name another parent"),
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::reader::BatchReader;
    use crate::{Problem, ReadOptions};
    use std::io::Cursor;

    fn problems(text: &str) -> Vec<Problem> {
        let input = Cursor::new(text.as_bytes().to_vec());
        let reader = BatchReader::from_read(input, "b.csv", "".as_ref(), &ReadOptions::default()).unwrap();
        reader.read_all().file_problems
    }

    #[test]
    fn a_parent_whose_row_makes_it_no_edge_device_is_found_wherever_it_stands() {
        let text = "device_id,edge,parent\na,,gw\nb,,gw\nc,,other\ngw,,\nother,true,elsewhere\nd,,c\n";
        let found = problems(text);
        let places: Vec<_> = found.iter().map(|problem| (problem.line, problem.value.as_deref())).collect();
        assert_eq!(places, [(Some(2), Some("gw")), (Some(7), Some("c"))]);
        assert!(found[0].message.contains("on line 5"), "{}", found[0].message);
        assert!(found.iter().all(Problem::is_error));
    }
}

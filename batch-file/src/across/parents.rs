//! [`Parents`]: the check that named parents are devices that can have children, and that no device
//! is its own ancestor.

use std::io;

use hub_types::{DeviceId, IdentityId};

use crate::across::cycles::{self, Cycles};
use crate::across::duplicates::{Duplicates, KeyHasher, MAX_PROBLEMS, number};
use crate::across::links::{Link, Links};
use crate::across::spill::{PARTS, unusable};
use crate::header::column::Field;
use crate::problem::{Findings, Flaw};

/// The parents named by the rows so far. Rows of the parents themselves may follow until the end.
#[derive(Default)]
pub(crate) struct Parents {
    links: Links,
    failed: Option<io::Error>,
}

/// A problem with the parent that a line names.
struct ParentProblem {
    line: u32,
    parent: DeviceId,
    flaw: Flaw,
}

/// The first problems with parents, by their lines.
#[derive(Default)]
struct FirstParentProblems {
    kept: Vec<ParentProblem>,
    left_out: u64,
}

impl Parents {
    /// Records the parent of a row. An I/O error is reported at the end.
    pub(crate) fn note(
        &mut self,
        line: u64,
        identity: &IdentityId,
        parent: Option<&DeviceId>,
        keys: &mut KeyHasher,
    ) {
        let Some(parent) = parent.filter(|_| self.failed.is_none()) else { return };
        let link = Link {
            child: keys.of_identity(identity.device(), None),
            parent: keys.of_identity(parent, None),
            line: number(line),
            named: parent.clone(),
        };
        self.failed = self.links.push(link).err();
    }

    /// Reports parents whose rows declare no edge device, and devices in cycles. Also compares the
    /// keys that `duplicates` had no room for.
    pub(crate) fn report(&mut self, duplicates: &mut Duplicates, findings: &mut Findings<'_>) {
        let mut problems = FirstParentProblems::default();
        let links = &mut self.links;
        duplicates.compare_spilled(findings, |part, duplicates| {
            for (key, link) in links.parents(part)? {
                if let Some((line, false)) = duplicates.device(key) {
                    problems.push(no_edge_device(link, line));
                }
            }
            Ok(())
        });
        let cycles = match self.failed.take() {
            Some(error) => Err(error),
            None => cycles::find(std::mem::take(&mut self.links)),
        };
        if let Err(error) = cycles.and_then(|cycles| report_cycles(cycles, &mut problems, findings)) {
            findings.error_without_line(unusable("the parents can't be compared", &error));
        }
        problems.report(findings);
    }
}

fn report_cycles(
    cycles: Cycles,
    problems: &mut FirstParentProblems,
    findings: &mut Findings<'_>,
) -> io::Result<()> {
    let mut links = match cycles {
        Cycles::Found(links) => links,
        Cycles::TooDeep(devices) => {
            findings.error_without_line(Flaw::new(
                format!(
                    "the parents of {devices} devices have too many parents above them, or lead back to themselves"
                ),
                "leave the parents of those empty that stand at the top",
            ));
            return Ok(());
        }
    };
    for part in 0..PARTS {
        links.each(part, |link| {
            problems.push(in_cycle(link));
            Ok(())
        })?;
    }
    Ok(())
}

fn no_edge_device(link: Link, line: u32) -> ParentProblem {
    let flaw = Flaw::new(
        format!("only edge devices have children, and this one, on line {line}, is none"),
        format!("write `true` into `edge` on line {line}, or name another parent"),
    );
    ParentProblem { line: link.line, parent: link.named, flaw }
}

fn in_cycle(link: Link) -> ParentProblem {
    let flaw =
        Flaw::new("the parents of this device lead back to itself", "leave the parent of one of them empty");
    ParentProblem { line: link.line, parent: link.named, flaw }
}

impl FirstParentProblems {
    fn push(&mut self, problem: ParentProblem) {
        self.kept.push(problem);
        if self.kept.len() >= 2 * MAX_PROBLEMS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.kept.sort_by_key(|problem| problem.line);
        self.left_out += self.kept.len().saturating_sub(MAX_PROBLEMS) as u64;
        self.kept.truncate(MAX_PROBLEMS);
    }

    fn report(mut self, findings: &mut Findings<'_>) {
        self.cut();
        for ParentProblem { line, parent, flaw } in self.kept {
            findings.set_line(line.into());
            findings.cell_error(Field::Parent.name(), parent.as_str(), flaw);
        }
        if self.left_out > 0 {
            findings.error_without_line(Flaw::new(
                format!("{} more rows name a parent that can't be theirs", self.left_out),
                "correct those that are listed, then look again",
            ));
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

    #[test]
    fn devices_whose_parents_lead_back_to_themselves_are_told_with_their_lines() {
        let text = "device_id,edge,parent\na,true,b\nb,true,c\nc,true,b\nd,true,top\ne,,a\n";
        let found = problems(text);
        let places: Vec<_> = found.iter().map(|problem| (problem.line, problem.value.as_deref())).collect();
        assert_eq!(
            places,
            [2, 3, 4, 6].map(Some).into_iter().zip(["b", "c", "b", "a"].map(Some)).collect::<Vec<_>>()
        );
        assert!(found.iter().all(|problem| problem.is_error() && problem.message.contains("back to itself")));
    }
}

//! [`ProblemGroups`]: problems that many rows have in common are reported once, with their lines.

use std::collections::HashMap;
use std::fmt;

use batch_file::Problem;

use super::problem_limit::ProblemLimit;
use cli_support::counted::counted;

/// Collects problems: those that differ only in their line are one group.
#[derive(Debug, Default)]
pub(crate) struct ProblemGroups {
    groups: Vec<ProblemGroup>,
    /// The position of each group, by its problem without the line.
    positions: HashMap<GroupKey, usize>,
    limit: ProblemLimit,
}

type GroupKey = (Option<String>, Option<String>, String, String);

/// A problem, and the other lines that have it too.
#[derive(Debug)]
pub(crate) struct ProblemGroup {
    first: Problem,
    /// The first and the last line of each range of consecutive lines.
    more: Vec<(u64, u64)>,
}

impl ProblemGroups {
    /// Adds a problem. A new group is left out if there are too many.
    pub(crate) fn add(&mut self, problem: Problem) {
        let key =
            (problem.column.clone(), problem.value.clone(), problem.message.clone(), problem.remedy.clone());
        let position = self.positions.get(&key).copied();
        let group = position.and_then(|position| self.groups.get_mut(position));
        match (group, problem.line) {
            (Some(group), Some(line)) => group.add(line),
            (Some(_), None) => {}
            (None, _) if self.limit.shows(&problem) => {
                self.positions.insert(key, self.groups.len());
                self.groups.push(ProblemGroup { first: problem, more: Vec::new() });
            }
            (None, _) => {}
        }
    }

    /// The groups in the order of their first lines.
    pub(crate) fn groups(&self) -> &[ProblemGroup] {
        &self.groups
    }

    /// Says how many problems are in no group, if any.
    pub(crate) fn summary(&self) -> Option<String> {
        self.limit.summary()
    }
}

impl ProblemGroup {
    fn add(&mut self, line: u64) {
        match self.more.last_mut() {
            Some((_, last)) if *last + 1 == line => *last = line,
            _ => self.more.push((line, line)),
        }
    }
}

impl fmt::Display for ProblemGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        let rows: u64 = self.more.iter().map(|(first, last)| last - first + 1).sum();
        if rows == 0 {
            return Ok(());
        }
        write!(
            f,
            "\n  the same in {}: {}",
            counted(rows, "more row"),
            if rows == 1 { "line" } else { "lines" }
        )?;
        for (number, (first, last)) in self.more.iter().take(RANGES).enumerate() {
            let comma = if number == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma} {first}")?,
                false => write!(f, "{comma} {first} to {last}")?,
            }
        }
        if self.more.len() > RANGES { f.write_str(" and others") } else { Ok(()) }
    }
}

/// The number of ranges of lines that are listed.
const RANGES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use batch_file::Severity;

    fn problem(line: u64, message: &str) -> Problem {
        Problem {
            severity: Severity::Error,
            file: "b.csv".to_owned(),
            line: Some(line),
            column: None,
            value: None,
            message: message.to_owned(),
            remedy: "correct it".to_owned(),
        }
    }

    #[test]
    fn a_problem_of_many_rows_is_one_text_with_its_lines() {
        let mut groups = ProblemGroups::default();
        for line in (2..62).chain([70]) {
            groups.add(problem(line, "no certificate"));
        }
        groups.add(problem(65, "something else"));
        let texts: Vec<String> = groups.groups().iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert_eq!(texts[0].matches("correct it").count(), 1, "{}", texts[0]);
        assert!(texts[0].ends_with("\n  the same in 60 more rows: lines 3 to 61, 70"), "{}", texts[0]);
        assert_eq!(texts[1], problem(65, "something else").to_string());
        assert_eq!(groups.summary(), None);
    }
}
